"""A whole search: limits → plan → screen → points → database → those that meet all limits, or come closest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from systola.driver.flow import tool_versions
from systola.driver.search.judge import Judgement, Relaxation, closest, judge, relaxations
from systola.driver.search.limits import Limit
from systola.driver.search.plan import Plan, SearchOptions, is_calibrated, make_plan
from systola.driver.search.screen import Estimator, Screen
from systola.driver.search.strategies import Nearby, Whole
from systola.driver.sweep.networks import Described, Model, describe
from systola.driver.sweep.outcomes import Evaluation, Progress
from systola.driver.sweep.points import PointMaker
from systola.driver.sweep.run import PACKAGES, Verified, named_models
from systola.driver.sweep.schedule import run_sweep
from systola.driver.sweep.store import Store
from systola.driver.sweep.strategies import MOST_COMBINATIONS, Strategy
from systola.driver.sweep.verify import verify_points
from systola.driver.sweep.workers import Executor
from systola.hw.errors import ConfigError, SystolaError, ToolError
from systola.reports.files import output_folder
from systola.reports.resources import estimate_resources
from systola.reports.sweep.database import load_results
from systola.reports.sweep.pareto import pareto_front
from systola.reports.sweep.results import Agreement, NetworkDefinition, PointResult, SweepDefinition, SweepResults

__all__ = ["CLOSEST_SHOWN", "Found", "search"]

CLOSEST_SHOWN = 5
TIE_BREAKERS = ("lut4", "dsp", "ebr", "ff", "on_chip_bytes")
"""Of points that are alike in every objective, the smallest is kept."""


@dataclass(frozen=True)
class Found:
    """What a search leaves. ``results``: its database, the front being of points that meet all limits. ``judgements``: of every
    point that was simulated and is valid, by hash. ``whole``: all points of the space were looked at."""

    plan: Plan
    limits: tuple[Limit, ...]
    results: SweepResults
    judgements: Mapping[str, Judgement]
    screen: Screen
    whole: bool
    verified: Verified

    @property
    def closest(self) -> list[Judgement]:
        """The points closest to the limits, where none meets them."""
        return [] if self.results.front else closest(self.judgements.values(), CLOSEST_SHOWN)

    @property
    def relaxations(self) -> list[Relaxation]:
        """What each limit would have to be, were it alone to give."""
        return [] if self.results.front else relaxations(list(self.judgements.values()), self.limits)

    def point(self, name: str) -> PointResult:
        """A point by its hash."""
        return next(point for point in self.results.points if point.hash == name)


def search(
    options: SearchOptions,
    make_executor: Callable[[], Executor],
    evaluation: Evaluation,
    *,
    estimate: Estimator = estimate_resources,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Found:
    """Find the accelerators. The same options give the same result; a search that ended early goes on when it is called again.

    Raises ConfigError for options and space, the model's errors, SystolaError where the folder holds another search.
    """
    (model,) = named_models([options.model], options.random_weights)
    with _closing(make_executor()) as executor:
        notify("reading the model")
        described = _describe(model, executor)
        plan = make_plan(options, calibrated=executor.submit(is_calibrated, model).result())
        maker = PointMaker(plan.space, plan.base)
        whole = plan.points is None or math.prod(len(axis.values) for axis in maker.axes) <= plan.points
        folder = output_folder(options.output)
        with Store(folder, _definition(plan, model, described, whole), tool_versions(*PACKAGES), executor.name) as store:
            if options.retry_failed:
                store.forget_failed()
            notify("preparing; the first time, compiler and cycle model are compiled: some minutes")
            executor.submit(evaluation.prepare, model, plan.base).result()
            notify("measuring agreement")
            agreements = _measure_agreements(plan, model, options.limits, executor, store, evaluation)
            screen = Screen(options.limits, agreements, estimate)
            steps = _Search(plan, options.limits, folder, model, executor, store, evaluation)
            notify("searching")
            steps.run(_strategy(plan, maker, screen, options.limits, whole), progress)
            found = steps.found(screen, whole)
            if not found.results.front:
                notify("nothing meets the limits: looking for what comes closest")
                most = plan.points or len(screen.aside)
                nearby = Nearby(screen.aside.values(), found.judgements.values(), options.limits, CLOSEST_SHOWN, most)
                steps.run(nearby, Progress(progress.changed) if progress else None)
                found = steps.found(screen, whole)
            executor.close()
            verified = verify_points(found.results.front_points[: options.verify], [model], store, notify)
            return replace(steps.found(screen, whole), verified=verified)


@dataclass(frozen=True)
class _Search:
    """Where points are computed, and what becomes of them."""

    plan: Plan
    limits: tuple[Limit, ...]
    folder: Path
    model: Model
    executor: Executor
    store: Store
    evaluation: Evaluation

    def run(self, strategy: Strategy, progress: Progress | None) -> None:
        run_sweep(
            strategy, [self.model], self.executor, self.store, self.evaluation,
            accuracy_samples=self.plan.samples, progress=progress,
        )  # fmt: skip

    def found(self, screen: Screen, whole: bool) -> Found:
        """As the database has it now."""
        results = load_results(self.folder)
        judgements = {p.hash: judge(p.hash, p.metrics, self.limits) for p in results.of_state("done") if p.metrics}
        meeting = {name: judgement.metrics for name, judgement in judgements.items() if judgement.meets_all}
        front = _thinned(pareto_front(meeting, self.plan.objectives), meeting, self.plan)
        return Found(self.plan, self.limits, replace(results, front=front), judgements, screen, whole, [])


def _thinned(front: Sequence[str], metrics: Mapping[str, Mapping[str, float]], plan: Plan) -> tuple[str, ...]:
    """The front with the smallest of each group of points that are alike in every objective."""
    best: dict[tuple[float, ...], str] = {}
    for name in front:
        alike = tuple(metrics[name][objective.metric] for objective in plan.objectives)
        best[alike] = min(best.get(alike, name), name, key=lambda n: ([metrics[n].get(m, 0.0) for m in TIE_BREAKERS], n))
    return tuple(name for name in front if name in best.values())


def _strategy(plan: Plan, maker: PointMaker, screen: Screen, limits: Sequence[Limit], whole: bool) -> Strategy:
    """All points of a small space; NSGA-II in a large one. Raises ToolError where Optuna is not installed."""
    if whole or plan.points is None:
        return Whole(maker, screen)
    try:
        from systola.driver.search.evolution import ConstrainedEvolution  # a package of an extra
    except ImportError as error:
        raise ToolError(
            f"the space has more than {plan.points:,} points; searching it needs Optuna: pip install 'systola[sweep]'. Or let "
            f"--points be as many as it has (at most {MOST_COMBINATIONS:,})"
        ) from error
    values = plan.values(screen.agreeing())
    return ConstrainedEvolution(maker, screen, limits, plan.objectives, plan.points, plan.seed, values, plan.first)


@contextmanager
def _closing(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    finally:
        executor.close()


def _describe(model: Model, executor: Executor) -> Described:
    """The model, read by a worker. Raises ToolError where workers have another Systola."""
    described: Described = executor.submit(describe, model).result()
    own = tool_versions()["systola"]
    if described.systola != own:
        raise ToolError(f"the workers have Systola {described.systola}, this is {own}: install the same version everywhere")
    return described


def _measure_agreements(
    plan: Plan,
    model: Model,
    limits: Sequence[Limit],
    executor: Executor,
    store: Store,
    evaluation: Evaluation,
) -> dict[tuple[str, int], float]:
    """The agreement of every quantization of the space, by method and multiplier's bits. Raises ConfigError where one is asked
    for and none can be measured."""
    if not plan.samples:
        return {}
    choices = plan.quantizations
    missing = [choice for choice in choices if (model.name, *choice) not in store.agreements()]
    calls = {choice: executor.submit(evaluation.agreement, model, *choice, plan.samples) for choice in missing}
    for choice, call in calls.items():
        measured: Agreement | None = None
        reason = ""
        try:
            measured = call.result()
        except ToolError:
            raise
        except SystolaError as error:
            reason = str(error)
        store.add_agreement((model.name, *choice), measured, reason)
    known = store.agreement_values(model.name)
    if any(limit.option == "--min-agreement" for limit in limits) and not any(choice in known for choice in choices):
        raise ConfigError(
            f"--min-agreement: {model.name} has nothing to measure agreement on; that needs samples/input.npy beside the "
            "network, with real weights, and for a float network samples to calibrate on"
        )
    return known


def _definition(plan: Plan, model: Model, described: Described, whole: bool) -> SweepDefinition:
    return SweepDefinition(
        networks=(NetworkDefinition(model.name, model.source, 1.0, described.digest, model.random_weights),),
        base=plan.base.model_dump(mode="json"),
        axes=plan.space.axis_definitions(),
        constraints=plan.space.constraints,
        objectives=plan.objectives,
        strategy="grid" if whole else "optuna",
        points=plan.points,
        seed=plan.seed,
        accuracy_samples=plan.samples,
    )
