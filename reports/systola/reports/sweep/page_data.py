"""What a sweep's page draws its figures from, as JSON: columns of points, effects of axes, and details of some points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from systola.hw.isa import ENGINES
from systola.hw.registers import CycleClass
from systola.reports.classes import USE_COLOURS, USE_OF_CLASS, USE_ORDER, USE_WORDS, Use
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import NetworkResult, PointResult, SweepResults
from systola.reports.sweep.sensitivity import Effect

__all__ = ["SHARES", "drawn_points", "page_data", "value_text"]

DRAWN = 5000
DIGITS = 6
SHARES = ("utilization", "agreement")
"""Metrics that are shown in percent."""

_SIZES = ((1 << 20, "MiB"), (1 << 10, "KiB"))
_ENGINES = [engine.name.lower() for engine in ENGINES]
_WORDS = USE_WORDS | {Use.USEFUL: "busy"}  # edge waste is not known here


def drawn_points(results: SweepResults) -> tuple[PointResult, ...]:
    """The points that figures show: all that are done, or, of very many, the front, those that ran on RTL, and others at even
    distances."""
    done = results.of_state("done")
    if len(done) <= DRAWN:
        return done
    front = set(results.front)
    kept = {p.hash for p in done if p.hash in front or p.verifications}
    step = len(done) / DRAWN
    kept |= {done[int(n * step)].hash for n in range(DRAWN)}
    return tuple(p for p in done if p.hash in kept)


def value_text(axis: str, value: Any) -> str:
    """A value on an axis as people read it; sizes in KiB and MiB."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and axis.endswith("_bytes"):
        size, unit = next(((size, unit) for size, unit in _SIZES if value and value % size == 0), (1, "B"))
        return f"{value // size:,} {unit}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def page_data(
    results: SweepResults, drawn: Sequence[PointResult], detailed: Sequence[PointResult], effects: Sequence[Effect]
) -> dict[str, Any]:
    """The whole of it; plain values that JSON can hold, none of them infinite."""
    front = set(results.front)
    objectives = [objective.metric for objective in results.definition.objectives]
    known = [*objectives, *(name for name in METRICS if name not in objectives)]
    metrics = [name for name in known if any(name in point.metrics for point in drawn)]
    directions = {o.metric: o.direction for o in results.definition.objectives}
    return {
        "objectives": [name for name in objectives if name in metrics],
        "metrics": [
            {
                "name": name, "title": METRICS[name].title, "share": name in SHARES,
                "direction": directions.get(name, METRICS[name].direction),
                "values": [_short(point.metrics.get(name)) for point in drawn],
            }
            for name in metrics
        ],
        "axes": [_axis(axis.name, axis.values, drawn) for axis in results.definition.axes],
        "hash": [point.hash for point in drawn],
        "front": [int(point.hash in front) for point in drawn],
        "rtl": [2 if point.refuted else int(point.verified) for point in drawn],
        "effects": [_effect(effect) for effect in effects],
        "uses": [{"name": use.name.lower(), "word": _WORDS[use], "colour": USE_COLOURS[use]} for use in USE_ORDER],
        "details": {point.hash: [_network(network, point) for network in point.networks] for point in detailed},
    }  # fmt: skip


def _axis(name: str, values: Sequence[Any], points: Sequence[PointResult]) -> dict[str, Any]:
    """``texts`` of the values, and for each point the number of its value."""
    order: dict[str, int] = {}
    for value in values:
        order.setdefault(value_text(name, value), len(order))
    places = [order.setdefault(value_text(name, point.axes.get(name)), len(order)) for point in points]
    return {"name": name, "texts": list(order), "places": places}


def _effect(effect: Effect) -> dict[str, Any]:
    groups = effect.groups
    return {
        "axis": effect.axis,
        "metric": effect.metric,
        "share": _short(effect.share),
        "texts": [value_text(effect.axis, group.value) for group in groups],
        "points": [group.points for group in groups],
        "low": [_short(group.low) for group in groups],
        "median": [_short(group.median) for group in groups],
        "high": [_short(group.high) for group in groups],
    }


def _network(network: NetworkResult, point: PointResult) -> dict[str, Any]:
    """``peak``, ``achieved``: multiply-accumulates a cycle; ``uses``: of each engine, cycles by use; ``energy``: µJ by
    component."""
    peak = point.metrics.get("macs_per_cycle", 0.0)
    done = network.macs - network.host_macs
    roofline = network.roofline
    return {
        "name": network.network,
        "cycles": network.cycles,
        "peak": _short(peak),
        "achieved": _short(done / network.cycles if network.cycles else 0.0),
        "intensity": _short(roofline.intensity),
        "ridge": _short(roofline.ridge),
        "bound": roofline.bound,
        "of_bound": _short(roofline.bound_cycles / network.cycles if network.cycles else 0.0),
        "uses": {engine: _uses(network.classes[engine]) for engine in sorted(network.classes, key=_ENGINES.index)},
        "energy": {name: _short(1e6 * value) for name, value in network.energy_components.items() if value},
    }


def _uses(classes: Mapping[str, int]) -> dict[str, int]:
    """Cycles by use instead of class; setting up and emptying are one."""
    result: dict[str, int] = {}
    for name, count in classes.items():
        if count:
            use = Use(int(USE_OF_CLASS[CycleClass[name.upper()]])).name.lower()
            result[use] = result.get(use, 0) + count
    return result


def _short(value: float | None) -> float | int | None:
    """Six digits are enough for a figure; what is not finite is no figure."""
    if value is None or not abs(value) < float("inf"):
        return None
    number = float(f"{value:.{DIGITS}g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
