"""What is computed for a point: every network compiled, and run on the cycle model. Runs in workers."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from systola.driver.sweep.networks import Model, measure_agreement, quantized
from systola.driver.sweep.outcomes import Evaluation, PointOutcome, worker_name
from systola.driver.sweep.points import Point
from systola.driver.sweep.space import DEFAULT_METHOD
from systola.hw.config import ClockConfig, Config, TechnologyConfig, config_from
from systola.hw.errors import ConfigError, MappingError, QuantizationError
from systola.hw.params import Params
from systola.hw.registers import Event
from systola.mapper.compile import compile_network
from systola.reports.actions import LayerActions
from systola.reports.energy import inference_energy
from systola.reports.resources import estimate_resources
from systola.reports.sweep.arithmetic import arithmetic_actions
from systola.reports.sweep.results import Estimate, NetworkResult, Resources, Roofline
from systola.reports.technology import load_technology
from systola.sim.cycles.run import run_image

__all__ = ["EVALUATION", "evaluate_network", "evaluate_point"]

UNUSABLE = (ConfigError, MappingError, QuantizationError)
"""Errors that say that the point is none; all others are failures."""


@dataclass(frozen=True)
class _Measured:
    """What a network does on an accelerator, counted: neither clock nor technology is in it."""

    cycles: int
    classes: Mapping[str, Mapping[str, int]]
    events: Mapping[Event, int]
    arithmetic: LayerActions
    memory_bytes: int
    macs: int
    host_macs: int
    layers: int
    host_layers: int
    compile_seconds: float
    model_seconds: float


def evaluate_point(point: Point, models: Sequence[Model]) -> PointOutcome:
    """All networks at a point. Nothing is raised: what went wrong is in the outcome, with what it means for the point."""
    begin = time.perf_counter()
    try:
        config = config_from(point.config, "the point")
        networks = tuple(evaluate_network(model, point.method, config) for model in models)
        outcome = PointOutcome("done", "", networks, _resources(Params(config)), time.perf_counter() - begin, worker_name())
    except UNUSABLE as error:
        outcome = PointOutcome("invalid", str(error), seconds=time.perf_counter() - begin, worker=worker_name())
    except Exception as error:
        reason = f"{type(error).__name__}: {error} ({_place(error)})"
        outcome = PointOutcome("failed", reason, seconds=time.perf_counter() - begin, worker=worker_name())
    return outcome


def _place(error: Exception) -> str:
    """The innermost line of Systola's that an error came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "systola" in Path(frame.filename).parts]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"


def evaluate_network(model: Model, method: str, config: Config) -> NetworkResult:
    """One network on one accelerator. Raises MappingError where it does not fit, and the errors of reading and quantizing."""
    technology = load_technology(config.technology.name)
    timeless = config.model_copy(update={"name": "sweep", "clock": ClockConfig(), "technology": TechnologyConfig()})
    measured, params = _measure(model, method, timeless), Params(config)
    latency_s = measured.cycles / (config.clock.frequency_mhz * 1e6)
    energy = inference_energy(measured.arithmetic, params, technology, measured.events, latency_s)
    read_bytes = measured.events[Event.READ_BEATS] * params.bus_bytes
    write_bytes = measured.events[Event.WRITE_BEATS] * params.bus_bytes
    macs = measured.macs - measured.host_macs
    return NetworkResult(
        network=model.name,
        cycles=measured.cycles,
        latency_ms=latency_s * 1e3,
        energy_j=energy.total,
        energy_components={name: part.value for name, part in energy.report.components.items()},
        macs=measured.macs,
        host_macs=measured.host_macs,
        layers=measured.layers,
        host_layers=measured.host_layers,
        dram_read_bytes=read_bytes,
        dram_write_bytes=write_bytes,
        memory_bytes=measured.memory_bytes,
        utilization=macs / (params.macs_per_cycle * measured.cycles) if measured.cycles else 0.0,
        classes=measured.classes,
        events={event.name.lower(): count for event, count in measured.events.items()},
        roofline=_roofline(macs, read_bytes + write_bytes, params),
        compile_seconds=measured.compile_seconds,
        model_seconds=measured.model_seconds,
    )


@lru_cache(maxsize=16)
def _measure(model: Model, method: str, config: Config) -> _Measured:
    params = Params(config)
    graph = quantized(model, method, params.multiplier_bits)
    begin = time.perf_counter()
    image = compile_network(graph, params, contents=False)
    compiled = time.perf_counter()
    counts = run_image(image, params)
    ended = time.perf_counter()
    on_host = [layer for layer in image.layers if layer.unit == "host"]
    return _Measured(
        cycles=counts.cycles,
        classes={e.name.lower(): {c.name.lower(): n for c, n in own.items() if n} for e, own in counts.classes.items()},
        events=counts.events,
        arithmetic=arithmetic_actions(image, params),
        memory_bytes=image.memory_bytes,
        macs=sum(layer.macs for layer in image.layers),
        host_macs=sum(layer.macs for layer in on_host),
        layers=len(image.layers),
        host_layers=len(on_host),
        compile_seconds=compiled - begin,
        model_seconds=ended - compiled,
    )


def _roofline(macs: int, dram_bytes: int, params: Params) -> Roofline:
    rate = min(params.bus_bytes, params.config.dram.bytes_per_cycle)
    return Roofline(
        compute_cycles=macs / params.macs_per_cycle,
        dram_cycles=dram_bytes / rate,
        intensity=macs / dram_bytes if dram_bytes else 0.0,
        ridge=params.macs_per_cycle / rate,
    )


def _resources(params: Params) -> Resources:
    """The estimate, as results hold it: of the whole accelerator."""
    estimate = estimate_resources(params)
    lut4, ff, dsp, ebr = (
        Estimate(float(part.value), part.relative_error) for part in (estimate.lut4, estimate.ff, estimate.dsp, estimate.ebr)
    )
    return Resources(lut4, ff, dsp, ebr, extrapolated=estimate.extrapolated)


def prepare(model: Model, config: Config) -> None:
    """Compute one network once: the first time, compiler and cycle model are compiled, for all processes of a machine."""
    with suppress(*UNUSABLE):
        evaluate_network(model, DEFAULT_METHOD, config)


EVALUATION = Evaluation(evaluate_point, measure_agreement, prepare)
"""The cycle model for cycles, golden for accuracy."""
