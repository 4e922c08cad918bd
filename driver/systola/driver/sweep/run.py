"""A whole sweep: models and space → points → database → tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from systola.driver.flow import tool_versions
from systola.driver.sweep.networks import Described, Model, describe, model_name
from systola.driver.sweep.outcomes import Evaluation, Progress
from systola.driver.sweep.points import PointMaker
from systola.driver.sweep.schedule import run_sweep
from systola.driver.sweep.space import Space, load_space
from systola.driver.sweep.store import Store
from systola.driver.sweep.strategies import Grid, RandomPoints, Strategy
from systola.driver.sweep.verify import chosen_points, verify_points
from systola.driver.sweep.workers import Executor
from systola.hw.config import Config
from systola.hw.errors import ConfigError, ToolError
from systola.reports.files import output_folder
from systola.reports.sweep.database import load_results
from systola.reports.sweep.results import NetworkDefinition, Objective, PointResult, SweepDefinition, SweepResults, Verification

__all__ = ["SweepOptions", "Verified", "make_strategy", "named_models", "sweep"]

PACKAGES = ("numba", "optuna", "distributed")
Verified = list[tuple[PointResult, Verification]]


@dataclass(frozen=True)
class SweepOptions:
    """What ``systola sweep`` is told. ``verify``: how many of the best points run on RTL; ``verify_points``: beginnings of
    hashes of others."""

    models: tuple[Path, ...]
    space: Path
    output: Path
    random_weights: int | None = None
    verify: int = 0
    verify_points: tuple[str, ...] = ()
    retry_failed: bool = False


def sweep(
    options: SweepOptions,
    make_executor: Callable[[], Executor],
    evaluation: Evaluation,
    *,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[SweepResults, Verified]:
    """Compute what is missing, then verify. Everything is in the folder at every moment: a sweep that ends early goes on when
    it is called again.

    Raises ConfigError for the space, the models' errors, SystolaError where the folder holds another sweep.
    """
    space, base = load_space(options.space)
    maker = PointMaker(space, base)
    models = named_models(options.models, options.random_weights)
    _check_weights(space, models)
    strategy = make_strategy(maker, space)
    with _closing(make_executor()) as executor:
        notify("reading the models")
        definition = _definition(space, base, models, _describe(models, executor))
        folder = output_folder(options.output)
        with Store(folder, definition, tool_versions(*PACKAGES), executor.name) as store:
            if options.retry_failed:
                store.forget_failed()
            notify("preparing; the first time, compiler and cycle model are compiled: some minutes")
            executor.submit(evaluation.prepare, models[0], base).result()
            notify("sweeping")
            run_sweep(
                strategy, models, executor, store, evaluation, accuracy_samples=space.accuracy.samples, progress=progress,
            )  # fmt: skip
            executor.close()
            results = load_results(folder)
            chosen = chosen_points(results, options.verify, options.verify_points)
            verified = verify_points(chosen, models, store, notify)
            return (load_results(folder) if verified else results), verified


def named_models(paths: Sequence[Path], random_weights: int | None) -> tuple[Model, ...]:
    """The models by name; a seed for weights is for those that are a file alone. Raises ConfigError for two of one name."""
    models: dict[str, Model] = {}
    for path in paths:
        name = model_name(path)
        if name in models:
            raise ConfigError(f"two models are called {name} ({models[name].source}, {path}): results need a name each")
        models[name] = Model(name, str(path.resolve()), None if path.is_dir() else random_weights)
    return tuple(models.values())


def make_strategy(maker: PointMaker, space: Space) -> Strategy:
    """What the space's ``sampling`` says. Raises ToolError where Optuna is not installed."""
    sampling = space.sampling
    if sampling.strategy == "grid" or sampling.points is None:
        return Grid(maker)
    if sampling.strategy == "random":
        return RandomPoints(maker, sampling.points, sampling.seed)
    try:
        from systola.driver.sweep.evolution import Evolution  # a package of an extra
    except ImportError as error:
        raise ToolError("sampling.strategy = \"optuna\" needs Optuna: pip install 'systola[sweep]'") from error
    return Evolution(maker, _objectives(space), sampling.points, sampling.seed)


@contextmanager
def _closing(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    finally:
        executor.close()


def _check_weights(space: Space, models: Sequence[Model]) -> None:
    unknown = space.networks.keys() - {model.name for model in models}
    if unknown:
        raise ConfigError(
            f"networks has a weight for {min(unknown)}; the sweep's models are {', '.join(model.name for model in models)}"
        )


def _describe(models: Sequence[Model], executor: Executor) -> dict[str, Described]:
    """Every model, read by a worker. Raises ToolError where workers have another Systola."""
    futures = {model.name: executor.submit(describe, model) for model in models}
    described: dict[str, Described] = {name: future.result() for name, future in futures.items()}
    own = tool_versions()["systola"]
    for found in described.values():
        if found.systola != own:
            raise ToolError(f"the workers have Systola {found.systola}, this is {own}: install the same version everywhere")
    return described


def _objectives(space: Space) -> tuple[Objective, ...]:
    return tuple(Objective(name, direction) for name, direction in space.objectives.items())


def _definition(space: Space, base: Config, models: Sequence[Model], described: Mapping[str, Described]) -> SweepDefinition:
    networks = tuple(
        NetworkDefinition(m.name, m.source, space.networks.get(m.name, 1.0), described[m.name].digest, m.random_weights)
        for m in models
    )
    return SweepDefinition(
        networks=networks,
        base=base.model_dump(mode="json"),
        axes=space.axis_definitions(),
        constraints=space.constraints,
        objectives=_objectives(space),
        strategy=space.sampling.strategy,
        points=space.sampling.points,
        seed=space.sampling.seed,
        accuracy_samples=space.accuracy.samples,
    )
