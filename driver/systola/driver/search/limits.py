"""What an accelerator has to meet, and by how much a point does or does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from systola.driver.search.quantities import ENERGY, POWER, TIME, Quantity
from systola.hw.errors import ConfigError
from systola.reports.resources import DEVICES, Estimate, UnitResources, fits
from systola.reports.sweep.metrics import METRICS

__all__ = ["DEFAULT_UTILIZATION", "Bound", "Limit", "Metrics", "devices_for", "make_limits", "option_value", "show_metric"]

Metrics = Mapping[str, float]
"""Figures of a point by the names in METRICS; of one that was not computed, those that are known without."""

DEFAULT_UTILIZATION = 0.8
"""Of the look-up tables, as ``fits`` has it: a router needs room."""

_QUANTITIES: Mapping[str, Quantity] = {"latency_ms": TIME, "power_mw": POWER, "energy_uj": ENERGY}


@dataclass(frozen=True)
class Bound:
    """The most that a metric may be; with ``least``, the least. Positive."""

    metric: str
    value: float
    least: bool = False

    def excess(self, metrics: Metrics) -> float:
        """By what share of the bound it is violated: 0.1 is 10 % too much; negative where there is room. Infinite where the
        metric is not known."""
        if self.metric not in metrics:
            return math.inf
        ratio = metrics[self.metric] / self.value
        return 1 - ratio if self.least else ratio - 1


@dataclass(frozen=True)
class Limit:
    """One limit of the user's: ``option`` as on the command line. All its ``bounds`` have to hold. ``early``: it can be judged
    before a point is simulated. ``utilization``: of the FPGA's look-up tables, for ``--fits``."""

    option: str
    name: str
    bounds: tuple[Bound, ...]
    early: bool = False
    utilization: float = DEFAULT_UTILIZATION

    def binding(self, metrics: Metrics) -> Bound:
        """The bound that is violated most, or has the least room."""
        return max(self.bounds, key=lambda bound: bound.excess(metrics))

    def excess(self, metrics: Metrics) -> float:
        """That of the binding bound."""
        return self.binding(metrics).excess(metrics)

    def show(self) -> str:
        """The limit as a reader has it: ``latency ≤ 10 ms``."""
        if len(self.bounds) > 1:
            return self.name
        (bound,) = self.bounds
        return f"{self.name} {'≥' if bound.least else '≤'} {show_metric(bound.metric, bound.value)}"


def make_limits(
    *,
    latency_ms: float | None = None,
    power_mw: float | None = None,
    energy_uj: float | None = None,
    device: str | None = None,
    utilization: float = DEFAULT_UTILIZATION,
    agreement: float | None = None,
) -> tuple[Limit, ...]:
    """The limits that are given. Raises ConfigError for a device that is not known."""
    limits = []
    if device is not None:
        limits.append(_fitting(device, utilization))
    if agreement is not None:
        limits.append(Limit("--min-agreement", "agreement", (Bound("agreement", agreement, least=True),), early=True))
    for option, name, metric, most in (
        ("--max-latency", "latency", "latency_ms", latency_ms),
        ("--max-power", "power", "power_mw", power_mw),
        ("--max-energy", "energy", "energy_uj", energy_uj),
    ):
        if most is not None:
            limits.append(Limit(option, name, (Bound(metric, most),)))
    return tuple(limits)


def show_metric(metric: str, value: float | None) -> str:
    """A metric with its unit."""
    if value is None:
        return "not known"
    if metric in _QUANTITIES:
        return _QUANTITIES[metric].show(value)
    if metric == "agreement":
        return f"{value:.2%}".replace("%", " %")
    return f"{value:,.0f}" if float(value).is_integer() and METRICS[metric].direction == "min" else f"{value:.4g}"


def option_value(bound: Bound, needed: float) -> str:
    """What to write for a bound so that ``needed`` meets it: rounded to the side that does."""
    if bound.metric in _QUANTITIES:
        return _QUANTITIES[bound.metric].at_least(needed)
    return f"{math.floor(needed * 1e4) / 1e4:g}"


def _fitting(device: str, utilization: float) -> Limit:
    everything = Estimate(1 << 60, 0.0)
    shortages = fits(UnitResources(everything, everything, everything, everything), device, utilization)
    bounds = tuple(Bound(shortage.resource, float(shortage.limit)) for shortage in shortages)
    if any(bound.value <= 0 for bound in bounds):
        raise ConfigError(f"--utilization is {utilization:g}: nothing of {device} could be used")
    name = f"fits {device} with {100 * utilization:.4g} % of its LUT4"
    return Limit("--fits", name, bounds, early=True, utilization=utilization)


def devices_for(metrics: Metrics, utilization: float) -> Sequence[str]:
    """The devices that have enough, smallest first."""
    limits = {name: _fitting(name, utilization) for name in DEVICES}
    return [name for name, limit in limits.items() if limit.excess(metrics) <= 0]
