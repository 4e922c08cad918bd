"""Points that Optuna's NSGA-II asks for: it goes where several objectives at once get better. Needs the extra ``sweep``.

Optuna keeps nothing on disk. A resumed sweep asks for the same points again in the same order; those in the database are told
to the study as they are, so it arrives where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import optuna

from systola.driver.sweep.points import Point, PointMaker
from systola.driver.sweep.strategies import Results
from systola.hw.errors import ConfigError
from systola.reports.sweep.results import AxisDefinition, Objective

__all__ = ["POPULATION", "Evolution"]

POPULATION = 24
"""Points of a generation, and of a batch."""

MOST_ASKED_IN_VAIN = 500


class Evolution:
    """Generations of points. What breaks a constraint, or is there already, does not count as a point."""

    def __init__(self, maker: PointMaker, objectives: Sequence[Objective], points: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.total = points
        self._maker, self._objectives = maker, objectives
        self._distributions = {axis.name: _distribution(axis) for axis in maker.axes}
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        self._study = optuna.create_study(directions=[_DIRECTIONS[o.direction] for o in objectives], sampler=sampler)
        self._known: dict[str, list[float] | None] = {}
        self._asked: list[tuple[optuna.trial.Trial, str]] = []

    def batches(self) -> Iterator[Iterable[Point]]:
        """A generation each, until there are as many points as were asked for, or no new ones come."""
        while len(self._known) < self.total and (batch := self._generation()):
            yield batch
        if not self._known:
            raise ConfigError(
                f"none of {MOST_ASKED_IN_VAIN:,} points that were drawn meets every constraint: loosen them, or take fewer values"
            )
        self.total = len(self._known)

    def tell(self, results: Results) -> None:
        """The generation's results, in the order in which it was asked for."""
        for name, metrics in results.items():
            self._known[name] = self._values(metrics)
        for trial, name in self._asked:
            self._tell(trial, self._known[name])
        self._asked.clear()

    def _generation(self) -> list[Point]:
        """New points; old ones are told again at once, so that the sampler moves on."""
        batch: dict[str, Point] = {}
        most = min(POPULATION, self.total - len(self._known))
        vain = 0
        while len(batch) < most and vain < MOST_ASKED_IN_VAIN:
            trial = self._study.ask(self._distributions)
            fields = self._maker.fields([_value(axis, trial.params[axis.name]) for axis in self._maker.axes])
            vain += 1
            if not self._maker.allowed(fields):
                self._tell(trial, None)
                continue
            point = self._maker.point(fields, len(self._known) + len(batch))
            if point.hash in self._known:
                self._tell(trial, self._known[point.hash])
                continue
            if point.hash not in batch:
                batch[point.hash], vain = point, 0
            self._asked.append((trial, point.hash))
        return list(batch.values())

    def _values(self, metrics: Any) -> list[float] | None:
        """The objectives; None for a point that lacks one."""
        names = [objective.metric for objective in self._objectives]
        return [metrics[name] for name in names] if all(name in metrics for name in names) else None

    def _tell(self, trial: optuna.trial.Trial, values: list[float] | None) -> None:
        if values is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, values)


_DIRECTIONS = {"min": optuna.study.StudyDirection.MINIMIZE, "max": optuna.study.StudyDirection.MAXIMIZE}


def _distribution(axis: AxisDefinition) -> optuna.distributions.BaseDistribution:
    """Values that have an order are asked for by their position: neighbours are alike."""
    if axis.scale == "category":
        return optuna.distributions.CategoricalDistribution(axis.values)
    return optuna.distributions.IntDistribution(0, len(axis.values) - 1)


def _value(axis: AxisDefinition, asked: Any) -> Any:
    return asked if axis.scale == "category" else axis.values[asked]
