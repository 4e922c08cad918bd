"""Energy tables: what an elementary action costs in a technology, with its source."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from systola.hw.errors import ConfigError
from systola.reports.schema import Bounded

__all__ = ["PRIMITIVES", "Primitive", "Technology", "load_technology", "technologies"]

PRIMITIVES = ("int8_add", "int8_multiply", "int32_add", "int32_multiply", "register_bit", "sram_access", "dram_bit")


class Primitive(BaseModel):
    """One action's energy in picojoules: value, bounds, what one is, where the figure is from and how it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    unit: str = Field(min_length=1)
    source: str = Field(min_length=1)
    method: str = Field(min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> Primitive:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low, value and high are {self.low}, {self.value}, {self.high}: they must not fall")
        return self

    def scaled(self, factor: float, source: str) -> Primitive:
        """The same action in another process, by a published factor."""
        return Primitive(
            value=self.value * factor, low=self.low * factor, high=self.high * factor, unit=self.unit,
            source=f"{self.source}; scaled: {source}", method=f"{self.method}; × {factor:g} for the process",
        )  # fmt: skip

    def times(self, factor: float) -> Bounded:
        """Picojoules of ``factor`` of them."""
        return Bounded(value=self.value * factor, low=self.low * factor, high=self.high * factor)


class Technology(BaseModel):
    """The energy of every action in one process. ``static_w``: leakage in watts where there is a source for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    node_nm: float
    bounds: str
    int8_add: Primitive
    int8_multiply: Primitive
    int32_add: Primitive
    int32_multiply: Primitive
    register_bit: Primitive
    sram_access: Primitive
    dram_bit: Primitive
    static_w: Primitive | None = None


def technologies() -> tuple[str, ...]:
    """Names of the tables there are."""
    folder = resources.files("systola.reports").joinpath("technologies")
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@lru_cache
def load_technology(name: str) -> Technology:
    """A table by name. Raises ConfigError if there is none."""
    if name not in technologies():
        raise ConfigError(
            f"technology.name is '{name}': there is no such energy table; the tables are {', '.join(technologies())}"
        )
    data = _read(name)
    base = data.pop("base", None)
    return Technology.model_validate(data) if base is None else _scale(load_technology(base), data)


def _read(name: str) -> dict[str, Any]:
    text = resources.files("systola.reports").joinpath("technologies", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _scale(base: Technology, data: dict[str, Any]) -> Technology:
    """A table that is another one times a factor, but for its ``unscaled`` actions."""
    entries: dict[str, Primitive] = {}
    for name in PRIMITIVES:
        entry: Primitive = getattr(base, name)
        entries[name] = entry if name in data["unscaled"] else entry.scaled(data["factor"], data["source"])
    bounds = f"{base.bounds}; the factor from {base.name} is taken as exact"
    return Technology(name=data["name"], node_nm=data["node_nm"], bounds=bounds, **entries)
