"""Pareto fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from systola.reports.sweep.results import Objective

__all__ = ["pareto_front"]


def pareto_front(metrics: Mapping[str, Mapping[str, float]], objectives: Sequence[Objective]) -> tuple[str, ...]:
    """The names of the points that no other is better than: at least as good in every objective, and better in one.

    ``metrics``: by point name; points without one of the objectives are not compared. Of equal points all are in the front.
    Sorted by the objectives, then by name, so that the order does not depend on when a point was computed.
    """
    names = sorted(name for name, values in metrics.items() if all(o.metric in values for o in objectives))
    if not names or not objectives:
        return ()
    signs = np.array([1.0 if o.direction == "min" else -1.0 for o in objectives])
    table = np.array([[metrics[name][o.metric] for o in objectives] for name in names]) * signs
    kept: list[int] = []
    for row in np.lexsort(table.T[::-1]):
        front = table[kept]
        if not (np.all(front <= table[row], axis=1) & np.any(front < table[row], axis=1)).any():
            kept.append(int(row))
    return tuple(names[row] for row in kept)
