"""Which points meet all limits; if none does, how far the closest are, and what would have to give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from systola.driver.search.limits import Limit, Metrics

__all__ = ["Judgement", "Relaxation", "closest", "judge", "relaxations"]


@dataclass(frozen=True)
class Judgement:
    """A point against the limits. ``excesses``: by option, the share of the limit by which it is violated; negative: room."""

    name: str
    metrics: Metrics
    excesses: Mapping[str, float]

    @property
    def worst(self) -> float:
        """Of the limit that binds; −inf where there are none."""
        return max(self.excesses.values(), default=-math.inf)

    @property
    def binding(self) -> str | None:
        """The option of the limit that is violated most, or has the least room."""
        return max(self.excesses, key=lambda option: self.excesses[option]) if self.excesses else None

    @property
    def meets_all(self) -> bool:
        """Nothing is violated."""
        return self.worst <= 0

    def meets_all_but(self, option: str) -> bool:
        """Nothing else is violated."""
        return all(excess <= 0 for other, excess in self.excesses.items() if other != option)


@dataclass(frozen=True)
class Relaxation:
    """A limit that alone is in the way: if it were relaxed to what ``judgement``'s point has, that point would meet all."""

    limit: Limit
    judgement: Judgement


def judge(name: str, metrics: Metrics, limits: Sequence[Limit]) -> Judgement:
    """A point against the limits; what is not known violates without bound."""
    return Judgement(name, metrics, {limit.option: limit.excess(metrics) for limit in limits})


def closest(judgements: Iterable[Judgement], count: int) -> list[Judgement]:
    """The points whose worst violation is the smallest; then those whose violations are the smallest in sum, then by name."""
    return sorted(judgements, key=_distance)[:count]


def _distance(judgement: Judgement) -> tuple[float, float, str]:
    return judgement.worst, sum(max(0.0, excess) for excess in judgement.excesses.values()), judgement.name


def relaxations(judgements: Sequence[Judgement], limits: Sequence[Limit]) -> list[Relaxation]:
    """For each limit that some point violates alone: the point that violates it least. The smallest violation first."""
    found = []
    for limit in limits:
        alone = [j for j in judgements if j.meets_all_but(limit.option) and 0 < j.excesses[limit.option] < math.inf]
        if alone:
            found.append(Relaxation(limit, min(alone, key=lambda j: (j.excesses[limit.option], j.name))))
    return sorted(found, key=lambda relaxation: relaxation.judgement.excesses[relaxation.limit.option])
