"""Points of a small space, all of them; and, where nothing meets the limits, those aside that might be closest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from systola.driver.search.judge import Judgement, closest, judge, relaxations
from systola.driver.search.limits import Limit
from systola.driver.search.screen import Candidate, Screen
from systola.driver.sweep.points import Point, PointMaker
from systola.driver.sweep.strategies import Grid, Results

__all__ = ["BATCH", "Nearby", "Whole"]

BATCH = 8
"""Points aside that are simulated together: always as many, whatever there are of workers, so that a search can be repeated."""


class Whole:
    """Every point of the space that the screen lets through."""

    def __init__(self, maker: PointMaker, screen: Screen) -> None:
        grid = Grid(maker)
        self._points = [point for batch in grid.batches() for point in batch if screen.passes(point)]
        self.total = len(self._points)

    def batches(self) -> Iterator[Iterable[Point]]:
        """One batch."""
        yield self._points

    def tell(self, results: Results) -> None:
        """A space as a whole does not depend on results."""


class Nearby:
    """Points aside, as long as one may be closer to the limits than the ``count`` closest so far, or may be short of one limit
    alone by less than any so far. ``judgements``: of what was simulated before. At most ``most`` points."""

    def __init__(
        self, aside: Iterable[Candidate], judgements: Iterable[Judgement], limits: Sequence[Limit], count: int, most: int
    ) -> None:
        self._judgements = {judgement.name: judgement for judgement in judgements}
        self._waiting = {c.point.hash: c for c in aside if c.point.hash not in self._judgements}
        self._limits, self._count, self._most = limits, count, most
        self.total = 0

    def batches(self) -> Iterator[Iterable[Point]]:
        """The most promising, until none is."""
        while self.total < self._most and (chosen := self._closer() or self._alone()):
            batch = [candidate.point for candidate in chosen[: min(BATCH, self._most - self.total)]]
            for point in batch:
                del self._waiting[point.hash]
            self.total += len(batch)
            yield batch

    def tell(self, results: Results) -> None:
        """Judge what was simulated; a point that is invalid is none."""
        for name, metrics in results.items():
            if metrics:
                self._judgements[name] = judge(name, metrics, self._limits)

    def _closer(self) -> list[Candidate]:
        """Those that violate what is known by less than the last of the closest does."""
        known = closest(self._judgements.values(), self._count)
        most = known[-1].worst if len(known) == self._count else math.inf
        return _by_excess({c: c.worst for c in self._waiting.values() if c.worst < most})

    def _alone(self) -> list[Candidate]:
        """Those that violate one limit alone, as far as is known, and by less than what does so in truth."""
        truly = {r.limit.option: r.judgement for r in relaxations(list(self._judgements.values()), self._limits)}
        for limit in self._limits:
            option = limit.option
            most = truly[option].excesses[option] if option in truly else math.inf
            alone = {c: c.excesses[option] for c in self._waiting.values() if _violates_alone(c, option)}
            if found := _by_excess({candidate: excess for candidate, excess in alone.items() if excess < most}):
                return found
        return []


def _violates_alone(candidate: Candidate, option: str) -> bool:
    return {other for other, excess in candidate.excesses.items() if excess > 0} == {option}


def _by_excess(excesses: dict[Candidate, float]) -> list[Candidate]:
    return sorted(excesses, key=lambda candidate: (excesses[candidate], candidate.point.hash))
