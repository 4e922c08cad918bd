"""The networks that are measured, what is asked of each, and the lower bound that no schedule can pass."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from systola.hw.params import Params
from systola.mapper.quantgraph import Conv, Product, QuantGraph

__all__ = [
    "FULL", "FULL_SPEED", "MODELS", "OTHER_PRESETS", "Entry", "accelerator_source", "cycle_bound", "find_model", "models_folder",
]  # fmt: skip

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Entry:
    """A network on an accelerator.

    ``model``: a path in the folder of networks, or one that begins with ``examples/`` in the checkout. ``samples``: how many are
    run (None: all that the network has). ``target_cycles``: what a release must keep to; ``goal_cycles``: what the machine is to
    reach, or ``goal_over_bound`` times the bound, or ``goal_utilization`` as a share of the array's peak. ``agreement``: which
    share counts, "top1" or "within_1" (codes that are at most one apart), and ``agreement_least`` the least of it.
    ``accel``: a preset, or the name of a file in ``accelerators/``. ``most``: of a figure in seconds or bytes, what is allowed.
    """

    name: str
    model: str
    accel: str = "base"
    samples: int | None = None
    target_cycles: int | None = None
    goal_cycles: int | None = None
    goal_over_bound: float | None = None
    goal_utilization: float | None = None
    agreement: str | None = None
    agreement_least: float | None = None
    random_weights: int | None = None
    dram_bytes_per_cycle: int | None = None
    most: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name, with what differs from the description's own conditions."""
        rate = self.dram_bytes_per_cycle
        return self.name if rate is None else f"{self.name}, {rate} B/cycle"

    def goal(self, bound: int, peak_cycles: float) -> int | None:
        """The goal in cycles, however it is stated; ``peak_cycles``: of an array that works as a whole all the time."""
        if self.goal_utilization is not None:
            return int(peak_cycles / self.goal_utilization)
        return self.goal_cycles if self.goal_over_bound is None else int(self.goal_over_bound * bound)


def _random(name: str, goal_cycles: int | None = None, *, over_bound: float | None = None, rate: int | None = None) -> Entry:
    """A full-size graph, with weights drawn from seed 1, on one sample."""
    return Entry(
        name, f"graphs/{name}.nnef", samples=1, random_weights=1, goal_cycles=goal_cycles, goal_over_bound=over_bound,
        dram_bytes_per_cycle=rate,
    )  # fmt: skip


MODELS = (
    Entry("digits", "examples/digits/model", agreement="top1", agreement_least=0.97),
    Entry("resnet8_int8", "resnet8_int8", target_cycles=78_000, goal_cycles=57_000, agreement="top1", agreement_least=0.99),
    Entry("vww_int8", "vww_int8", goal_cycles=48_000, agreement="top1", agreement_least=1.0),
    Entry("kws_int8", "kws_int8", goal_cycles=15_000, agreement="top1", agreement_least=0.99),
    Entry("ad_int8", "ad_int8", goal_cycles=19_000, agreement="within_1", agreement_least=0.99),
    Entry("resnet8_f32", "resnet8_f32", goal_cycles=57_000, agreement="top1", agreement_least=0.97),
    Entry("vww_f32", "vww_f32", goal_cycles=48_000, agreement="top1", agreement_least=0.97),
    Entry("kws_f32", "kws_f32", goal_cycles=15_000, agreement="top1", agreement_least=0.97),
    Entry("ad_f32", "ad_f32", goal_cycles=19_000),
    Entry("resnet20_cifar10_f32", "resnet20_cifar10_f32", agreement="top1", agreement_least=0.97),
    Entry(
        "mobilenet_v2_ptq_int8", "mobilenet_v2_ptq_int8", samples=2, target_cycles=2_800_000, goal_cycles=1_380_000,
        agreement="top1", agreement_least=1.0,
    ),
)  # fmt: skip
"""On base: trained networks, on all samples in their folders (MobileNetV2: two)."""

OTHER_PRESETS = tuple(
    replace(entry, accel=preset, samples=2 if preset == "large" else None, target_cycles=None, goal_cycles=None)
    for preset in ("tiny", "small", "tall", "wide", "large")
    for entry in MODELS
    if entry.name in {"resnet8_int8", "kws_int8"}
)
"""Two of them on every other preset."""

FULL = (
    _random("resnet18_bnfolded", 7_460_000),
    _random("resnet50_bnfolded", 16_800_000),
    _random("resnet50_bnfolded", 20_000_000, rate=5),
    _random("mobilenet_v2_bnfolded", 1_380_000),
    _random("vgg16", 70_500_000),
    _random("alexnet", over_bound=1.08),
)
"""Full-size graphs on base. There are no trained weights for them: random ones take the same cycles."""


RESNET50_LIMITS = {"compile": 5.0, "golden": 5.0, "run": 120.0, "memory": float(2 << 30)}
"""Seconds of compiling, of golden and of the whole run, and bytes of the run's memory, simulator included."""


def _resnet50(accel: str, utilization: float | None = None) -> Entry:
    entry = _random("resnet50_bnfolded")
    return replace(entry, accel=accel, goal_utilization=utilization)


FULL_SPEED = (
    replace(_random("resnet50_bnfolded", 16_800_000), most=RESNET50_LIMITS),
    _random("resnet18_bnfolded", 7_460_000),
    Entry("mobilenet_v2_ptq_int8", "mobilenet_v2_ptq_int8", samples=1, goal_cycles=1_380_000, most={"compile": 2.0}),
    _random("vgg16", 70_500_000),
    _random("alexnet", over_bound=1.08),
    replace(_random("bert_base_encoder_s128"), goal_utilization=0.90),
    *(
        Entry(name, name, samples=1, goal_cycles=cycles)
        for name, cycles in (("resnet8_int8", 57_000), ("kws_int8", 15_000), ("vww_int8", 48_000), ("ad_int8", 19_000))
    ),
    _random("resnet50_bnfolded", 20_000_000, rate=5),
    _resnet50("small", 0.93),
    _resnet50("large", 0.90),
    _resnet50("array64"),
)
"""What the machine is to reach at full speed, one sample each. Where a graph has no weights, they are drawn from seed 1."""


def accelerator_source(name: str) -> str:
    """What ``--accel`` takes for an entry's accelerator: the path of a file in ``accelerators/``, or the preset's name."""
    path = Path(__file__).with_name("accelerators") / f"{name}.toml"
    return str(path) if path.is_file() else name


def models_folder() -> Path | None:
    """The folder of trained networks beside the checkout, or where ``SYSTOLA_MODELS`` says; None if it is not there."""
    named = os.environ.get("SYSTOLA_MODELS")
    folder = Path(named) if named else ROOT.parent / "shared" / "models"
    return folder if folder.is_dir() else None


def find_model(entry: Entry) -> Path | None:
    """Where an entry's network is; None if it is not here."""
    folder = ROOT if entry.model.startswith("examples/") else models_folder()
    path = None if folder is None else folder / entry.model
    return path if path is not None and path.exists() else None


def cycle_bound(graph: QuantGraph, params: Params) -> int:
    """Cycles that no schedule of this array and this memory can undercut: the larger of two.

    Array: a convolution needs a pass for every tile of rows × columns weights, with kernel positions packed into rows, and a
    pass takes a cycle for each output position, or for each row of weights to be loaded where these are more. Memory:
    weights, network inputs and outputs move once. Depthwise convolutions count as beside the array; biases as nothing. In a
    product of two computed tensors the second one counts as weights, but not as memory: it need not leave the chip.
    """
    array_cycles = weight_bytes = 0
    for node in graph.nodes:
        if isinstance(node, Product):
            rows, (_, depth, outputs) = graph.tensors[node.output].shape[0], graph.tensors[node.inputs[1]].shape
            array_cycles += _pass_cycles(rows, depth, outputs, params) * node.groups
        if not isinstance(node, Conv):
            continue
        weight_bytes += node.weights.size
        outputs, depth = len(node.weights), node.weights[0].size
        if node.groups > 1 and node.weights.shape[1] == 1:
            continue
        positions = math.prod(graph.tensors[node.output].shape) // outputs
        array_cycles += _pass_cycles(positions, depth, outputs // node.groups, params) * node.groups
    moved_bytes = weight_bytes + sum(math.prod(graph.tensors[name].shape) for name in (*graph.inputs, *graph.outputs))
    return max(array_cycles, math.ceil(moved_bytes / params.config.dram.bytes_per_cycle))


def _pass_cycles(positions: int, depth: int, outputs: int, params: Params) -> int:
    """Cycles of the passes of one matrix of depth × outputs weights."""
    whole, rest = divmod(depth, params.rows)
    cycles = whole * max(positions, params.rows) + (max(positions, rest) if rest else 0)
    return math.ceil(outputs / params.columns) * cycles
