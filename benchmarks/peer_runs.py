"""One network on one tool, measured: Systola's compiler and cycle model, ZigZag, SCALE-Sim."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peer_inputs import (
    RUN_NAME,
    Dataflow,
    Layer,
    Machine,
    scalesim_config,
    scalesim_cycles,
    scalesim_report,
    scalesim_topology,
    zigzag_accelerator,
    zigzag_layer_cycles,
    zigzag_mapping,
    zigzag_workload,
)
from peer_tools import RESULTS, run_process

__all__ = ["Figures", "Subject", "measure_scalesim", "measure_systola", "measure_zigzag", "with_rest"]

Figures = dict[str, Any]
"""Of a run: ``cycles``; ``seconds`` and ``cpu_seconds`` of the analysis alone, ``process_seconds`` and ``process_cpu_seconds`` of
the whole process, interpreter and imports included; ``layers``: how many were ``measured``, and the rest; ``error`` alone if it
failed."""


@dataclass(frozen=True)
class Subject:
    """A network and what it has to run on. ``seed``: of random weights, where it has none."""

    name: str
    model: Path
    seed: int | None
    layers: tuple[Layer, ...]
    accel: str
    machine: Machine


def measure_systola(subject: Subject, how: str) -> Figures:
    """Compile and cycle model of the whole network in a process of its own. ``how``: "cold" or "warm" (``run_systola.py``)."""
    seed = "none" if subject.seed is None else str(subject.seed)
    with TemporaryDirectory() as name:
        process = run_process(sys.executable, "run_systola", [subject.model, seed, subject.accel, RESULTS, how], Path(name))
    if process.error is not None:
        return {"error": process.error}
    return process.results[-1] | process.figures


def measure_zigzag(subject: Subject, python: Path) -> Figures:
    """All layers, in one process."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {
            "workload.yaml": zigzag_workload(subject.layers),
            "accelerator.yaml": zigzag_accelerator(subject.machine),
            "mapping.yaml": zigzag_mapping(subject.layers, subject.machine),
        }
        for file, text in inputs.items():
            (folder / file).write_text(text, encoding="utf-8")
        process = run_process(python, "run_zigzag", [*inputs, RESULTS, "out"], folder)
        if process.error is not None:
            return {"error": process.error}
        by_layer = [
            zigzag_layer_cycles((folder / "out" / f"layer{place}_complete.json").read_text(encoding="utf-8"))
            for place in range(len(subject.layers))
        ]
    counts = {"measured": len(by_layer), "repeated": 0, "by_formula": 0}
    return process.results[-1] | process.figures | {"layer_cycles": by_layer, "layers": counts}


def measure_scalesim(
    subject: Subject, python: Path, dataflow: Dataflow, *, bandwidth: bool, limit_seconds: float | None
) -> Figures:
    """All layers; or with a limit, one of each shape from the cheapest on, until time is up, and the rest by ``with_rest``."""
    costs = [scalesim_cycles(layer, subject.machine, dataflow) for layer in subject.layers]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    if limit_seconds is not None:
        order = list({subject.layers[place].shape: place for place in order}.values())
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = scalesim_config(subject.machine, dataflow, bandwidth=bandwidth)
        (folder / "machine.cfg").write_text(config, encoding="utf-8")
        arguments = ["machine.cfg", RESULTS]
        for place in order:
            (folder / f"layer{place}.csv").write_text(scalesim_topology([subject.layers[place]]), encoding="utf-8")
            arguments += [f"layer{place}.csv", f"layer{place}"]
        process = run_process(python, "run_scalesim", arguments, folder, limit_seconds)
        if process.error is not None:
            return {"error": process.error}
        done = {
            place: spent | dict(zip(("cycles", "with_prefetch", "stalls"), _report(folder, place), strict=True))
            for place, spent in zip(order, process.results[1:], strict=False)
        }
    if not done:
        return {"error": f"no layer was simulated in {limit_seconds:.0f} s"}
    return process.figures | with_rest(subject.layers, costs, done, process.results[0]["import_cpu_seconds"])


def _report(folder: Path, place: int) -> tuple[int, int, int]:
    return scalesim_report((folder / f"layer{place}" / RUN_NAME / "COMPUTE_REPORT.csv").read_text(encoding="utf-8"))


def with_rest(layers: Sequence[Layer], costs: Sequence[int], done: dict[int, Figures], import_cpu_seconds: float) -> Figures:
    """Cycles and seconds of all layers from those that were simulated.

    A layer of a shape that was simulated has its cycles and seconds. Of another one, ``costs`` has the cycles, those without
    stalls, and its seconds are at such cycles per second of all simulated layers together. The whole process is then the import
    and these seconds. ``formula_right``: in how many simulated layers ``costs`` is what the tool says.
    """
    alike = {layers[place].shape: figures for place, figures in done.items()}
    simulated = {key: sum(figures[key] for figures in done.values()) for key in ("seconds", "cpu_seconds")}
    simulated_cost = sum(costs[place] for place in done)
    cycles, seconds, cpu_seconds, unknown, by_layer = 0, 0.0, 0.0, 0, []
    for place, layer in enumerate(layers):
        figures = done.get(place) or alike.get(layer.shape)
        if figures is None:
            unknown += 1
            share = costs[place] / simulated_cost
            figures = {key: simulated[key] * share for key in ("seconds", "cpu_seconds")} | {"cycles": costs[place]}
        cycles += figures["cycles"]
        seconds += figures["seconds"]
        cpu_seconds += figures["cpu_seconds"]
        by_layer.append(figures["cycles"])
    whole = {} if len(done) == len(layers) else {
        "process_seconds": import_cpu_seconds + seconds, "process_cpu_seconds": import_cpu_seconds + cpu_seconds,
    }  # fmt: skip
    return whole | {
        "cycles": cycles, "seconds": seconds, "cpu_seconds": cpu_seconds, "layer_cycles": by_layer,
        "layers": {"measured": len(done), "repeated": len(layers) - len(done) - unknown, "by_formula": unknown},
        "with_prefetch": None if unknown else sum(alike[layer.shape]["with_prefetch"] for layer in layers),
        "stalls": sum(figures["stalls"] for figures in done.values()),
        "simulated_cycles_per_cpu_second": simulated_cost / simulated["cpu_seconds"],
        "simulated_seconds": simulated["seconds"], "simulated_cpu_seconds": simulated["cpu_seconds"],
        "import_cpu_seconds": import_cpu_seconds,
        "formula_right": sum(figures["cycles"] == costs[place] for place, figures in done.items()),
    }  # fmt: skip
