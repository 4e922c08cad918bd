"""Figures of a point over all its networks: what objectives and tables name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from systola.reports.sweep.results import Direction, NetworkDefinition, NetworkResult, Resources

__all__ = ["METRICS", "Metric", "point_metrics"]


@dataclass(frozen=True)
class _Point:
    """What a metric is computed from: ``pairs`` of (weight, result)."""

    pairs: Sequence[tuple[float, NetworkResult]]
    config: Mapping[str, Any]
    resources: Resources | None

    def weighted(self, of: Callable[[NetworkResult], float]) -> float:
        """The sum over networks, each times its weight."""
        return sum(weight * of(result) for weight, result in self.pairs)

    @property
    def macs_per_cycle(self) -> int:
        """Of the array."""
        return int(self.config["array"]["rows"]) * int(self.config["array"]["columns"])


@dataclass(frozen=True)
class Metric:
    """``title`` with its unit for tables; ``direction``: which way is better."""

    name: str
    title: str
    direction: Direction
    compute: Callable[[_Point], float | None]
    meaning: str


def _utilization(point: _Point) -> float:
    cycles = point.weighted(lambda n: n.cycles)
    return point.weighted(lambda n: n.macs - n.host_macs) / (point.macs_per_cycle * cycles) if cycles else 0.0


def _agreement(point: _Point) -> float | None:
    known = [result.agreement.top1 for _, result in point.pairs if result.agreement is not None]
    return min(known) if known else None


def _energy_uj(point: _Point) -> float:
    return 1e6 * point.weighted(lambda n: n.energy_j.value)


def _latency_ms(point: _Point) -> float:
    return point.weighted(lambda n: n.latency_ms)


def _resource(name: str) -> Callable[[_Point], float | None]:
    def compute(point: _Point) -> float | None:
        return None if point.resources is None else float(getattr(point.resources, name).value)

    return compute


_ALL = (
    Metric("latency_ms", "latency (ms)", "min", _latency_ms, "Time of one inference of each network times its weight, summed."),
    Metric("cycles", "cycles", "min", lambda p: p.weighted(lambda n: n.cycles), "Cycles, summed likewise."),
    Metric("energy_uj", "energy (µJ)", "min", _energy_uj, "Dynamic energy, summed likewise."),
    Metric(
        "power_mw", "power (mW)", "min",
        lambda p: _energy_uj(p) / _latency_ms(p) if _latency_ms(p) else None, "Energy by latency: average dynamic power.",
    ),
    Metric(
        "edp_uj_ms", "energy × latency (µJ·ms)", "min", lambda p: _energy_uj(p) * _latency_ms(p), "Energy-delay product.",
    ),
    Metric("dram_bytes", "DRAM bytes", "min", lambda p: p.weighted(lambda n: n.dram_bytes), "Bytes on the bus, summed likewise."),
    Metric(
        "memory_bytes", "memory (bytes)", "min", lambda p: max(n.memory_bytes for _, n in p.pairs),
        "DRAM that the largest image takes.",
    ),
    Metric(
        "utilization", "utilization", "max", _utilization,
        "Multiply-accumulates of all networks by those that the array could do in all their cycles, weighted.",
    ),
    Metric("agreement", "top-1 agreement", "max", _agreement, "The lowest of the networks' agreements with their references."),
    Metric(
        "macs_per_cycle", "MACs per cycle", "min", lambda p: float(p.macs_per_cycle), "Multipliers of the array.",
    ),
    Metric(
        "on_chip_bytes", "on-chip memory (bytes)", "min",
        lambda p: float(p.config["memory"]["scratchpad_bytes"] + p.config["memory"]["accumulator_bytes"]),
        "Scratchpad and accumulators.",
    ),
    Metric("lut4", "LUT4", "min", _resource("lut4"), "Estimated 4-input look-up tables."),
    Metric("ff", "flip-flops", "min", _resource("ff"), "Estimated flip-flops."),
    Metric("dsp", "DSP", "min", _resource("dsp"), "Estimated multiplier blocks."),
    Metric("ebr", "EBR", "min", _resource("ebr"), "Estimated block memories."),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by its name."""


def point_metrics(
    networks: Sequence[NetworkResult],
    definitions: Sequence[NetworkDefinition],
    config: Mapping[str, Any],
    resources: Resources | None,
) -> dict[str, float]:
    """The metrics of a point that can be computed; none where a network has no result."""
    weights = {definition.name: definition.weight for definition in definitions}
    if {result.network for result in networks} != weights.keys():
        return {}
    point = _Point([(weights[result.network], result) for result in networks], config, resources)
    values = {name: metric.compute(point) for name, metric in METRICS.items()}
    return {name: float(value) for name, value in values.items() if value is not None}
