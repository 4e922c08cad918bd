"""Points of a large space: Optuna's NSGA-II, told by how much each point violates each limit. Needs the extra ``sweep``.

What the screen puts aside is told as it is, and costs no simulation. Optuna keeps nothing on disk: a search that goes on asks for
the same points again, and those in the database are told as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import optuna

from systola.driver.search.limits import Limit
from systola.driver.search.screen import Screen
from systola.driver.sweep.points import Point, PointMaker
from systola.driver.sweep.strategies import Results
from systola.hw.errors import ConfigError
from systola.reports.sweep.results import Objective

__all__ = ["POPULATION", "ConstrainedEvolution"]

POPULATION = 24
"""Trials of a generation; its new points are a batch."""

MOST_ASKED_IN_VAIN = 1000
MOST_EXCESS = 1e9
"""What stands for a violation without bound."""

_DIRECTIONS = {"min": optuna.study.StudyDirection.MINIMIZE, "max": optuna.study.StudyDirection.MAXIMIZE}


class ConstrainedEvolution:
    """Generations of points; ``points`` are simulated at most. ``values``: of each axis, those that are worth looking at.
    ``first``: a value for each axis to begin with."""

    def __init__(
        self,
        maker: PointMaker,
        screen: Screen,
        limits: Sequence[Limit],
        objectives: Sequence[Objective],
        points: int,
        seed: int,
        values: Mapping[str, Sequence[Any]],
        first: Mapping[str, Any] | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.total = points
        self._maker, self._screen, self._limits, self._objectives = maker, screen, limits, objectives
        self._values = values
        self._distributions = {axis.name: _distribution(len(values[axis.name]), axis.scale) for axis in maker.axes}
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        self._study = optuna.create_study(directions=[_DIRECTIONS[o.direction] for o in objectives], sampler=sampler)
        if first is not None and all(value in values[name] for name, value in first.items()):
            self._study.enqueue_trial({name: values[name].index(value) for name, value in first.items()})
        self._known: dict[str, Mapping[str, float]] = {}
        self._looked_at: dict[str, dict[str, float] | None] = {}
        self._asked: list[tuple[optuna.trial.Trial, str]] = []

    def batches(self) -> Iterator[Iterable[Point]]:
        """A generation each, until there are as many points as were asked for, or no new ones come."""
        while len(self._known) < self.total and (batch := self._generation()):
            yield batch
        if not self._looked_at:
            raise ConfigError(
                f"none of {MOST_ASKED_IN_VAIN:,} points that were drawn meets every constraint of the space: loosen them, or "
                "take fewer values"
            )
        self.total = len(self._known)

    def tell(self, results: Results) -> None:
        """The generation's results, in the order in which it was asked for."""
        self._known.update(results)
        for trial, name in self._asked:
            self._tell(trial, self._known[name])
        self._asked.clear()

    def _generation(self) -> list[Point]:
        """The new points of a generation, or of the next that has any. Constraints of the space hold for all of them."""
        batch: dict[str, Point] = {}
        most = self.total - len(self._known)
        vain = 0
        while not batch and vain < MOST_ASKED_IN_VAIN:
            for _ in range(POPULATION):
                vain += 1
                trial, point = self._ask()
                if point is not None and self._is_new(trial, point):
                    batch.setdefault(point.hash, point)
                if len(batch) == most:
                    break
        return list(batch.values())

    def _ask(self) -> tuple[optuna.trial.Trial, Point | None]:
        """A trial, and its point if the space's constraints hold; if not, the trial is told."""
        trial = self._study.ask(self._distributions)
        fields = self._maker.fields([self._values[axis.name][trial.params[axis.name]] for axis in self._maker.axes])
        if self._maker.allowed(fields):
            return trial, self._maker.point(fields, len(self._looked_at))
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return trial, None

    def _is_new(self, trial: optuna.trial.Trial, point: Point) -> bool:
        """Whether the point is to be simulated: then its trial waits. What is known, or aside, is told at once."""
        if point.hash in self._known:
            self._tell(trial, self._known[point.hash])
            return False
        if not self._passes(point, trial):
            return False
        self._asked.append((trial, point.hash))
        return True

    def _passes(self, point: Point, trial: optuna.trial.Trial) -> bool:
        """Whether the point is to be simulated; if not, its trial is told."""
        if point.hash not in self._looked_at:
            self._looked_at[point.hash] = self._screen.excesses(point)
        excesses = self._looked_at[point.hash]
        if excesses is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return False
        if all(excess <= 0 for excess in excesses.values()):
            return True
        _constrain(trial, dict.fromkeys((limit.option for limit in self._limits), 0.0) | excesses)
        self._study.tell(trial, [0.0] * len(self._objectives))  # not looked at: what violates is compared by how much
        return False

    def _tell(self, trial: optuna.trial.Trial, metrics: Mapping[str, float]) -> None:
        if any(objective.metric not in metrics for objective in self._objectives):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        _constrain(trial, {limit.option: limit.excess(metrics) for limit in self._limits})
        self._study.tell(trial, [metrics[objective.metric] for objective in self._objectives])


def _constrain(trial: optuna.trial.Trial, excesses: Mapping[str, float]) -> None:
    for option, excess in excesses.items():
        trial.set_constraint(option, min(excess, MOST_EXCESS))


def _distribution(count: int, scale: str) -> optuna.distributions.BaseDistribution:
    """Positions on an axis; of values that have an order, neighbours are alike."""
    if scale == "category":
        return optuna.distributions.CategoricalDistribution(range(count))
    return optuna.distributions.IntDistribution(0, count - 1)
