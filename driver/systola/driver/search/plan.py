"""What a search was asked for, put together: space, base description, objectives, how many points."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systola.driver.search.default_space import default_space
from systola.driver.search.limits import Limit
from systola.driver.sweep.networks import Model, samples_of
from systola.driver.sweep.space import DEFAULT_METHOD, METHOD_AXIS, Space, config_fields, load_space, nested
from systola.hw.config import Config, config_from, load_config
from systola.hw.errors import ConfigError
from systola.mapper.nnef import read_model
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import Objective

__all__ = ["OBJECTIVES", "Plan", "SearchOptions", "is_calibrated", "make_plan"]

DEFAULT_POINTS = 400
DEFAULT_BASE = "small"
OBJECTIVES: Mapping[str, str] = {"latency": "latency_ms", "energy": "energy_uj", "power": "power_mw", "area": "lut4"}
"""Short names of metrics; every other metric goes by its own."""

BITS_AXIS = "requantize.multiplier_bits"
THE_BOARDS = ("dram.", "technology.")
"""Sections that a search does not choose."""


@dataclass(frozen=True)
class SearchOptions:
    """What ``systola search`` is told; None is "not given". ``dram``: latency in cycles, bytes per cycle. ``verify``: how many
    of the best points run on RTL."""

    model: Path
    output: Path
    limits: tuple[Limit, ...] = ()
    objectives: tuple[str, ...] = ()
    base: str | None = None
    space: Path | None = None
    clock_mhz: float | None = None
    dram: tuple[int, int] | None = None
    points: int | None = None
    seed: int | None = None
    samples: int | None = None
    random_weights: int | None = None
    verify: int = 0
    retry_failed: bool = False


@dataclass(frozen=True)
class Plan:
    """``points``: the most that are simulated; None for all. ``samples``: the most that agreement is measured on."""

    space: Space
    base: Config
    objectives: tuple[Objective, ...]
    points: int | None
    seed: int
    samples: int

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each axis."""
        return {axis.name: axis.values for axis in self.space.axis_definitions()}

    @property
    def first(self) -> dict[str, Any]:
        """The base's value on each axis."""
        fields = {METHOD_AXIS: DEFAULT_METHOD, **config_fields(self.base)}
        return {name: fields[name] for name in self.axes}

    @property
    def quantizations(self) -> list[tuple[str, int]]:
        """Every quantization of the space: method and multiplier's bits."""
        methods = self.axes.get(METHOD_AXIS, (DEFAULT_METHOD,))
        bits = self.axes.get(BITS_AXIS, (self.base.requantize.multiplier_bits,))
        return [(method, width) for method in methods for width in bits]

    def values(self, agreeing: Collection[tuple[str, int]]) -> dict[str, tuple[Any, ...]]:
        """The values of each axis, of the quantization's only those that occur in a pair that is ``agreeing``; all if none is."""
        found: dict[str, set[Any]] = {METHOD_AXIS: {m for m, _ in agreeing}, BITS_AXIS: {bits for _, bits in agreeing}}
        return {
            name: tuple(value for value in values if not agreeing or name not in found or value in found[name])
            for name, values in self.axes.items()
        }


def is_calibrated(model: Model) -> bool:
    """Whether the model is a float one with samples: then the calibration's method matters."""
    graph = read_model(model.source, random_weights=model.random_weights)
    return not graph.quantized and samples_of(model, graph) is not None


def make_plan(options: SearchOptions, *, calibrated: bool) -> Plan:
    """The plan. ``calibrated``: the model is a float one, with samples. Raises ConfigError for what does not go together."""
    space, base = _space(options, calibrated)
    sampling = space.sampling
    if sampling.strategy == "random":
        raise ConfigError(
            f"{options.space}: sampling.strategy is \"random\": a search takes \"grid\" (all points) or \"optuna\", and without "
            "either chooses by the number of points"
        )
    points = options.points or sampling.points or DEFAULT_POINTS
    whole = "strategy" in sampling.model_fields_set and sampling.strategy == "grid" and options.points is None
    samples = space.accuracy.samples if options.samples is None else options.samples
    if not samples and any(limit.option == "--min-agreement" for limit in options.limits):
        raise ConfigError("--min-agreement needs samples to measure agreement on, and their number is set to 0")
    return Plan(
        space=space,
        base=_with_changes(base, options, {axis.name for axis in space.axis_definitions()}),
        objectives=_objectives(options.objectives, space),
        points=None if whole else points,
        seed=sampling.seed if options.seed is None else options.seed,
        samples=samples,
    )


def _space(options: SearchOptions, calibrated: bool) -> tuple[Space, Config]:
    if options.space is None:
        name = options.base or DEFAULT_BASE
        base = load_config(name)
        quantization = any(limit.option == "--min-agreement" for limit in options.limits)
        return default_space(name, base, quantization=quantization, calibrated=calibrated), base
    if options.base is not None:
        raise ConfigError(f"--base and --space do not go together: {options.space} names its base itself")
    space, base = load_space(options.space)
    for axis in space.axis_definitions():
        if axis.name.startswith(THE_BOARDS):
            raise ConfigError(
                f"{options.space}: axes has '{axis.name}', which a search cannot choose: DRAM is the board's (--dram, or the "
                "base), and figures of different technologies do not compare; a sweep can vary both"
            )
    return space, base


def _with_changes(base: Config, options: SearchOptions, axes: set[str]) -> Config:
    """The base with the clock and the DRAM that were given."""
    changes: dict[str, Any] = {}
    if options.clock_mhz is not None:
        if "clock.frequency_mhz" in axes:
            raise ConfigError(f"--clock and the axis 'clock.frequency_mhz' of {options.space} do not go together: leave out one")
        changes["clock.frequency_mhz"] = options.clock_mhz
    if options.dram is not None:
        changes["dram.latency_cycles"], changes["dram.bytes_per_cycle"] = options.dram
    return config_from(nested(config_fields(base) | changes), "--clock, --dram") if changes else base


def _objectives(given: Sequence[str], space: Space) -> tuple[Objective, ...]:
    """Those given; else the space's, latency and energy where it has none."""
    if not given:
        return tuple(Objective(name, direction) for name, direction in space.objectives.items())
    names = [OBJECTIVES.get(name, name) for name in given]
    for name, metric in zip(given, names, strict=True):
        if metric not in METRICS:
            raise ConfigError(f"--objective is '{name}': there are {', '.join(OBJECTIVES)}, and the figures {', '.join(METRICS)}")
    if len(set(names)) != len(names):
        raise ConfigError(f"--objective has the same figure twice: {', '.join(given)}")
    return tuple(Objective(name, METRICS[name].direction) for name in names)
