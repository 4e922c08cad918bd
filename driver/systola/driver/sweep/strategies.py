"""Which points of a space are computed, and in which order.

A strategy gives batches. A later batch may depend on the results of the earlier ones; within a batch it does not, so that what
a strategy asks for is the same however many workers there are, and the same again when a sweep is resumed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from systola.driver.sweep.points import Point, PointMaker
from systola.hw.errors import ConfigError

__all__ = ["Grid", "RandomPoints", "Results", "Strategy"]

Results = Mapping[str, Mapping[str, float]]
"""Metrics by the point's hash; empty for points that are invalid or failed."""

MOST_COMBINATIONS = 1_000_000
MOST_DRAWS_IN_VAIN = 10_000


class Strategy(Protocol):
    """``total``: how many points there will be, at most."""

    @property
    def total(self) -> int: ...

    def batches(self) -> Iterator[Iterable[Point]]:
        """Points to compute; ``tell`` comes between two batches."""
        ...

    def tell(self, results: Results) -> None:
        """The results of every point of the last batch."""
        ...


class Grid:
    """Every combination that the constraints allow; the last axis changes fastest."""

    def __init__(self, maker: PointMaker) -> None:
        combinations = math.prod(len(axis.values) for axis in maker.axes)
        if combinations > MOST_COMBINATIONS:
            raise ConfigError(
                f"the grid has {combinations:,} combinations, the most is {MOST_COMBINATIONS:,}: take fewer values, or "
                "sampling.strategy = \"random\" or \"optuna\" with points"
            )
        self._maker = maker
        self.total = sum(1 for _ in self._fields())
        if not self.total:
            raise ConfigError("no combination of the axes meets every constraint: there is nothing to sweep")

    def batches(self) -> Iterator[Iterable[Point]]:
        """One batch."""
        yield (self._maker.point(fields, number) for number, fields in enumerate(self._fields()))

    def tell(self, results: Results) -> None:
        """A grid does not depend on results."""

    def _fields(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*(axis.values for axis in self._maker.axes)):
            fields = self._maker.fields(values)
            if self._maker.allowed(fields):
                yield fields


class RandomPoints:
    """Points drawn evenly from those that the constraints allow, none twice. More of them begin with the same ones."""

    def __init__(self, maker: PointMaker, points: int, seed: int) -> None:
        self._maker, self._seed = maker, seed
        self.total = min(points, math.prod(len(axis.values) for axis in maker.axes))

    def batches(self) -> Iterator[Iterable[Point]]:
        """One batch."""
        yield self._draw()

    def tell(self, results: Results) -> None:
        """Draws do not depend on results."""

    def _draw(self) -> Iterator[Point]:
        generator, seen, vain = random.Random(self._seed), set[str](), 0
        while len(seen) < self.total and vain < MOST_DRAWS_IN_VAIN:
            fields = self._maker.fields([generator.choice(axis.values) for axis in self._maker.axes])
            point = self._maker.point(fields, len(seen)) if self._maker.allowed(fields) else None
            if point is None or point.hash in seen:
                vain += 1
                continue
            vain = 0
            seen.add(point.hash)
            yield point
        if not seen:
            raise ConfigError(
                f"none of {MOST_DRAWS_IN_VAIN:,} points drawn meets every constraint: loosen them, or take fewer values"
            )
        self.total = len(seen)

