"""How each axis of a sweep moves each objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.reports.sweep.results import PointResult, SweepResults

__all__ = ["Effect", "Group", "sensitivity"]

LOW, HIGH = 25, 75
"""Percentiles between which the middle half of a group lies."""


@dataclass(frozen=True)
class Group:
    """A metric over all points that have one value on an axis: median, and what half of the points lie between."""

    value: Any
    points: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Effect:
    """What an axis does to a metric, over all that the other axes do.

    ``groups``: by value, in the axis's order; values without a point are left out. ``share``: of the metric's variance, what the
    axis alone explains (main effect), 0 to 1; None where the metric does not change, or there are too few points to tell.
    ``factor``: the largest median by the smallest, None where one is not positive.
    """

    axis: str
    metric: str
    groups: tuple[Group, ...]
    share: float | None
    factor: float | None

    @property
    def direction(self) -> str:
        """How the medians go from the axis's first value to its last: "rises", "falls" or "" for neither."""
        steps = np.diff([group.median for group in self.groups])
        if not steps.any():
            return ""
        return "rises" if (steps >= 0).all() else "falls" if (steps <= 0).all() else ""


def sensitivity(results: SweepResults) -> tuple[Effect, ...]:
    """The effect of every axis on every objective that there are figures of, by axis and then objective, in the definition's
    order."""
    done = results.of_state("done")
    complete = results.definition.strategy == "grid"
    known = [o.metric for o in results.definition.objectives if any(o.metric in point.metrics for point in done)]
    return tuple(
        _effect(axis.name, axis.values, metric, done, complete) for axis in results.definition.axes for metric in known
    )


def _effect(axis: str, values: Sequence[Any], metric: str, points: Sequence[PointResult], complete: bool) -> Effect:
    found = [(_place(values, p.axes.get(axis)), p.metrics[metric]) for p in points if metric in p.metrics]
    known = [(place, figure) for place, figure in found if place is not None]
    place = np.array([p for p, _ in known], dtype=np.int64)
    figure = np.array([f for _, f in known], dtype=np.float64)
    groups = tuple(_group(values[n], figure[place == n]) for n in range(len(values)) if (place == n).any())
    medians = [group.median for group in groups]
    factor = max(medians) / min(medians) if medians and min(medians) > 0 else None
    return Effect(axis, metric, groups, _share(place, figure, complete), factor)


def _place(values: Sequence[Any], value: Any) -> int | None:
    """The first of ``values`` that this is; 1 and true are two."""
    return next((n for n, own in enumerate(values) if own == value and isinstance(own, bool) == isinstance(value, bool)), None)


def _group(value: Any, figures: NDArray[np.float64]) -> Group:
    low, median, high = np.percentile(figures, [LOW, 50, HIGH])
    return Group(value, len(figures), float(low), float(median), float(high))


def _share(place: NDArray[np.int64], figure: NDArray[np.float64], complete: bool) -> float | None:
    """Variance between groups by all variance, of logarithms where all figures are positive (effects multiply).

    Groups of points that were drawn differ by chance as well: unless the sweep is a ``complete`` grid, what chance explains on
    average is taken off: Kelley's ε² = 1 - (1 - η²)(n - 1)/(n - k), of n points in k groups.
    """
    if len(figure) < 2:
        return None
    scaled = np.log(figure) if (figure > 0).all() else figure
    total = float(((scaled - scaled.mean()) ** 2).sum())
    if total <= 1e-18 * max(1.0, float((scaled**2).sum())):
        return None
    names, inverse = np.unique(place, return_inverse=True)
    counts = np.bincount(inverse)
    means = np.bincount(inverse, weights=scaled) / counts
    share = float((counts * (means - scaled.mean()) ** 2).sum()) / total
    if not complete:
        free = len(figure) - len(names)
        if free < 1:
            return None
        share = 1 - (1 - share) * (len(figure) - 1) / free
    return min(1.0, max(0.0, share))
