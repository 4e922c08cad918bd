"""The loop of a sweep: points go to workers, results come into the database, in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from systola.driver.sweep.networks import Model
from systola.driver.sweep.outcomes import Evaluation, PointOutcome, Progress
from systola.driver.sweep.points import Point
from systola.driver.sweep.store import AgreementKey, Store
from systola.driver.sweep.strategies import Strategy
from systola.driver.sweep.workers import Executor, WorkerDiedError, WorkersLostError
from systola.hw.errors import SystolaError
from systola.reports.sweep.results import Agreement

__all__ = ["run_sweep"]

@dataclass
class _Sweep:
    models: Sequence[Model]
    accuracy_samples: int
    executor: Executor
    store: Store
    evaluation: Evaluation
    progress: Progress
    finished: set[str]
    agreements: set[AgreementKey]
    pending: dict[Future[Any], Point | AgreementKey] = field(default_factory=dict)

    def batch(self, points: Iterable[Point]) -> list[str]:
        """Compute the points that are not there yet. Returns the hashes of all."""
        hashes = []
        for point in points:
            hashes.append(point.hash)
            if point.hash in self.finished:
                self.progress.known += 1
                self._tell()
            else:
                self.finished.add(point.hash)
                self._submit(point)
            self._ask_for_agreements(point)
            while len(self.pending) >= self.executor.capacity:
                self._collect()
        while self.pending:
            self._collect()
        return hashes

    def _submit(self, point: Point) -> None:
        self.pending[self.executor.submit(self.evaluation.point, point, self.models)] = point

    def _ask_for_agreements(self, point: Point) -> None:
        bits = point.config["requantize"]["multiplier_bits"]
        for model in self.models if self.accuracy_samples else ():
            key = (model.name, point.method, bits)
            if key not in self.agreements:
                self.agreements.add(key)
                call = self.executor.submit(self.evaluation.agreement, model, point.method, bits, self.accuracy_samples)
                self.pending[call] = key

    def _collect(self) -> None:
        """Wait for results and record them."""
        done, _ = wait(self.pending, return_when=FIRST_COMPLETED)
        for future in done:
            asked = self.pending.pop(future)
            if isinstance(asked, Point):
                self._record_point(asked, future)
            else:
                self._record_agreement(asked, future)

    def _record_point(self, point: Point, future: Future[PointOutcome]) -> None:
        try:
            outcome = future.result()
        except WorkerDiedError as error:
            outcome = PointOutcome("failed", str(error))
        self.store.add_point(point, outcome)
        self.progress.states[outcome.state] += 1
        self._tell()

    def _record_agreement(self, key: AgreementKey, future: Future[Agreement | None]) -> None:
        try:
            self.store.add_agreement(key, future.result())
        except WorkersLostError:
            raise
        except SystolaError as error:  # a network that cannot be judged still has its cycles
            self.store.add_agreement(key, None, str(error))

    def _tell(self) -> None:
        self.progress.changed(self.progress)


def run_sweep(
    strategy: Strategy,
    models: Sequence[Model],
    executor: Executor,
    store: Store,
    evaluation: Evaluation,
    *,
    accuracy_samples: int = 0,
    progress: Progress | None = None,
) -> Progress:
    """Compute every point of the strategy that the store does not have. Returns how it went.

    Raises the errors of the executor; what is computed until then is in the store.
    """
    progress = progress or Progress()
    sweep = _Sweep(models, accuracy_samples, executor, store, evaluation, progress, store.finished(), store.agreements())
    progress.total = strategy.total
    for batch in strategy.batches():
        points = store.points(sweep.batch(batch))
        strategy.tell({name: point.metrics for name, point in points.items()})
        progress.total = strategy.total
    progress.total = strategy.total
    progress.changed(progress)
    return progress
