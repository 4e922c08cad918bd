"""``space.toml``: what is swept, by which rules, in which order."""

from __future__ import annotations

import math
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from systola.driver.sweep.expressions import Expression, parse_expression
from systola.hw.config import PRESETS, Config, load_config
from systola.hw.errors import ConfigError
from systola.mapper.quantize import Method
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import AxisDefinition, Direction

__all__ = ["DEFAULT_METHOD", "METHOD_AXIS", "Sampling", "Space", "config_fields", "load_space", "nested"]

METHOD_AXIS = "quantize.method"
DEFAULT_METHOD = "mse"
METHODS: tuple[str, ...] = get_args(Method)
MOST_VALUES = 10_000
MOST_FILE_BYTES = 1 << 20
Value = int | float | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False)


class Range(_Section):
    """``{from, to, step}``: every step; ``{from, to, factor}``: every power. Both ends are in it where the steps hit them."""

    first: int | float = Field(alias="from")
    last: int | float = Field(alias="to")
    step: int | float | None = Field(default=None, gt=0)
    factor: int | float | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if (self.step is None) == (self.factor is None):
            raise ValueError("give either step or factor")
        if self.last < self.first:
            raise ValueError(f"from is {self.first} and to is {self.last}: to must not be smaller")
        if self.factor is not None and self.first <= 0:
            raise ValueError(f"from is {self.first}: with a factor it must be positive")
        if self._count() > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")
        return self

    def _count(self) -> int:
        if self.step is not None:
            return math.floor((self.last - self.first) / self.step + 1e-9) + 1
        assert self.factor is not None
        return math.floor(math.log(self.last / self.first) / math.log(self.factor) + 1e-9) + 1

    def values(self) -> tuple[int | float, ...]:
        """The values in order; whole numbers where ``from`` and ``step`` or ``factor`` are."""
        if self.step is not None:
            return tuple(self.first + self.step * number for number in range(self._count()))
        assert self.factor is not None
        return tuple(self.first * self.factor**number for number in range(self._count()))


_RANGE_KEYS = {"from", "to", "step", "factor"}


def _axis_kind(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "range"


Listed = Annotated[tuple[Value, ...], Field(min_length=1, max_length=MOST_VALUES, strict=False)]
Axis = Annotated[Annotated[Listed, Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_axis_kind)]


class Sampling(_Section):
    """Which points of the space. ``points``: how many; of a grid always all."""

    strategy: Literal["grid", "random", "optuna"] = "grid"
    points: int | None = Field(default=None, ge=1, le=10_000_000)
    seed: int = Field(default=0, ge=0, lt=1 << 32)

    @model_validator(mode="after")
    def _has_points(self) -> Sampling:
        if self.strategy == "grid" and self.points is not None:
            raise ValueError("a grid has all the points of its axes: leave points out, or take the strategy random")
        if self.strategy != "grid" and self.points is None:
            raise ValueError(f"the strategy {self.strategy} needs points: how many")
        return self


class Accuracy(_Section):
    """How accuracy is measured. ``samples``: the first of a model's samples, at most; 0: not at all."""

    samples: int = Field(default=100, ge=0)


Weight = Annotated[float, Field(gt=0, strict=False)]


class Space(_Section):
    """A sweep's file, checked in itself. ``base``: a preset, or a path from the folder of the file."""

    base: str
    axes: dict[str, Axis] = Field(min_length=1)
    constraints: tuple[str, ...] = Field(default=(), strict=False)
    networks: dict[str, Weight] = Field(default={})
    objectives: dict[str, Direction] = Field(default={"latency_ms": "min", "energy_uj": "min"}, min_length=1)
    sampling: Sampling = Sampling()
    accuracy: Accuracy = Accuracy()

    @field_validator("axes", mode="before")
    @classmethod
    def _by_dotted_name(cls, axes: Any) -> Any:
        """``array.rows = […]`` and ``[axes.array]`` are TOML for a section in ``axes``: the same as ``"array.rows"``."""
        if not isinstance(axes, dict):
            return axes
        sections = {n: v for n, v in axes.items() if isinstance(v, dict) and v.keys().isdisjoint(_RANGE_KEYS)}
        return {name: value for name, value in axes.items() if name not in sections} | {
            f"{section}.{name}": value for section, inner in sections.items() for name, value in inner.items()
        }

    def axis_definitions(self) -> tuple[AxisDefinition, ...]:
        """The axes with their values, in the file's order, as the results hold them."""
        return tuple(_definition(name, axis) for name, axis in self.axes.items())

    def expressions(self) -> tuple[Expression, ...]:
        """The constraints, ready to be computed."""
        return tuple(parse_expression(text) for text in self.constraints)

    def base_config(self, folder: Path) -> Config:
        """The description that the axes change."""
        return load_config(self.base if self.base in PRESETS else folder / self.base)


def config_fields(config: Config) -> dict[str, Any]:
    """Every value of a description by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": entry for inner, entry in value.items()}
        else:
            flat[name] = value
    return flat


def nested(fields: dict[str, Any]) -> dict[str, Any]:
    """The inverse of ``config_fields``: sections as dictionaries."""
    result: dict[str, Any] = {}
    for name, value in fields.items():
        section, _, inner = name.rpartition(".")
        (result.setdefault(section, {}) if section else result)[inner] = value
    return result


def load_space(path: Path) -> tuple[Space, Config]:
    """A sweep's file and the description that it begins from. Raises ConfigError that names file and field."""
    text = _text(path)
    try:
        space = Space.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    config = space.base_config(path.parent)
    _check_axes(space, config, path)
    _check_names(space, config, path)
    return space, config


def _text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: --space takes a TOML file with the axes to sweep (docs/reference/space.md)")
    if path.stat().st_size > MOST_FILE_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB: a space is a short TOML file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _check_axes(space: Space, config: Config, path: Path) -> None:
    fields = config_fields(config)
    for name, axis in space.axes.items():
        values = axis.values() if isinstance(axis, Range) else axis
        if name == "name" or (name not in fields and name != METHOD_AXIS):
            raise ConfigError(
                f"{path}: axes has '{name}', which is no field of an accelerator (docs/reference/accelerator.md), nor "
                f"{METHOD_AXIS}; a field is written with its section: \"array.rows\""
            )
        if len(set(values)) != len(values):
            raise ConfigError(f"{path}: axes.\"{name}\" has a value twice; every value must be another")
        _check_kind(name, values, METHODS[0] if name == METHOD_AXIS else fields[name], path)
    unknown = set(space.axes.get(METHOD_AXIS, ())) - set(METHODS) if METHOD_AXIS in space.axes else set()
    if unknown:
        raise ConfigError(f"{path}: axes.\"{METHOD_AXIS}\" has {min(map(str, unknown))}; the methods are {', '.join(METHODS)}")


def _check_kind(name: str, values: tuple[Value, ...], example: Any, path: Path) -> None:
    expected: tuple[type, ...] = (str,) if isinstance(example, str) else (int, float) if isinstance(example, float) else (int,)
    for value in values:
        if not isinstance(value, expected) or isinstance(value, bool):
            kind = "a text" if expected == (str,) else "a whole number" if expected == (int,) else "a number"
            raise ConfigError(f"{path}: axes.\"{name}\" has {value!r}; the field takes {kind}")


def _check_names(space: Space, config: Config, path: Path) -> None:
    fields = {**config_fields(config), METHOD_AXIS: DEFAULT_METHOD}
    for text in space.constraints:
        try:
            expression = parse_expression(text)
            for name in sorted(expression.names - fields.keys()):
                raise ConfigError(
                    f"constraint '{text}' names '{name}', which is no field of an accelerator (docs/reference/accelerator.md)"
                )
            expression.holds(fields)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    for name in space.objectives:
        if name not in METRICS:
            raise ConfigError(f"{path}: objectives has '{name}'; the figures are {', '.join(METRICS)}")


def _definition(name: str, axis: Listed | Range) -> AxisDefinition:
    if isinstance(axis, Range):
        return AxisDefinition(name, axis.values(), "log" if axis.factor is not None else "linear")
    if any(isinstance(value, str) for value in axis):
        return AxisDefinition(name, axis, "category")
    return AxisDefinition(name, axis, "log" if _is_geometric(cast("tuple[float, ...]", axis)) else "linear")


def _is_geometric(values: tuple[float, ...]) -> bool:
    """Three values or more whose ratios are alike: 8, 16, 32."""
    if len(values) < 3 or min(values) <= 0:
        return False
    ratios = [b / a for a, b in pairwise(values)]
    return max(ratios) / min(ratios) < 1.01 and ratios[0] != 1


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"] if part not in ("list", "range"))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "no such field; the fields are listed in docs/reference/space.md"
        elif item["type"] == "missing":
            message = "missing"
        elif item["type"] != "value_error":
            message = f"is {item['input']!r}: {message[0].lower()}{message[1:]}"
        parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)
