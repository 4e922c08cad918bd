"""What is known of a point before it is simulated: whether it fits the FPGA, and how well its quantization agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from systola.driver.search.limits import Limit, Metrics
from systola.driver.sweep.points import Point
from systola.hw.config import config_from
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.reports.resources import UnitResources

__all__ = ["Candidate", "Estimator", "Screen"]

Estimator = Callable[[Params], UnitResources]
RESOURCES = ("lut4", "ff", "dsp", "ebr")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A point that was not simulated, because it violates a limit that does not need it. ``metrics``: what is known."""

    point: Point
    metrics: Metrics
    excesses: Mapping[str, float]

    @property
    def worst(self) -> float:
        """Its largest violation, as far as is known: simulated, it is no closer to the limits than this."""
        return max(self.excesses.values())


class Screen:
    """Keeps back the points that cannot meet the limits: ``aside``. ``agreements``: by method and multiplier's bits; absent
    where they could not be measured. ``refused``: how many points are no valid description."""

    def __init__(
        self, limits: Sequence[Limit], agreements: Mapping[tuple[str, int], float], estimate: Estimator
    ) -> None:
        self._limits = [limit for limit in limits if limit.early]
        self._needs_resources = any(bound.metric in RESOURCES for limit in self._limits for bound in limit.bounds)
        self._agreements, self._estimate = agreements, estimate
        self.aside: dict[str, Candidate] = {}
        self.refused: set[str] = set()

    def excesses(self, point: Point) -> dict[str, float] | None:
        """Violations of the limits that can be judged, by option; None for a point that is no valid description. A point that
        violates one is put aside."""
        try:
            metrics = self._metrics(point)
        except ConfigError:
            self.refused.add(point.hash)
            return None
        excesses = {limit.option: limit.excess(metrics) for limit in self._limits}
        if any(excess > 0 for excess in excesses.values()):
            self.aside[point.hash] = Candidate(point, metrics, excesses)
        return excesses

    def passes(self, point: Point) -> bool:
        """Whether it is worth simulating."""
        excesses = self.excesses(point)
        return excesses is not None and all(excess <= 0 for excess in excesses.values())

    def agreeing(self) -> list[tuple[str, int]]:
        """The quantizations that meet a limit on agreement, method and multiplier's bits; none where there is no such limit."""
        limits = [limit for limit in self._limits if {bound.metric for bound in limit.bounds} == {"agreement"}]
        return [
            choice
            for choice, agreement in self._agreements.items()
            if limits and all(limit.excess({"agreement": agreement}) <= 0 for limit in limits)
        ]

    def reasons(self) -> Counter[str]:
        """How many of the points aside violate each limit; some violate several."""
        return Counter(option for c in self.aside.values() for option, excess in c.excesses.items() if excess > 0)

    def _metrics(self, point: Point) -> dict[str, float]:
        params = Params(config_from(point.config, "the point"))
        metrics = {}
        if self._needs_resources:
            resources = self._estimate(params)
            metrics = {name: float(getattr(resources, name).value) for name in RESOURCES}
        agreement = self._agreements.get((point.method, params.multiplier_bits))
        return metrics if agreement is None else metrics | {"agreement": agreement}
