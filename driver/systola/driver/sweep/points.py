"""Points of a space: an accelerator description and a calibration method, named by a hash of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from systola.driver.sweep.expressions import Expression
from systola.driver.sweep.space import DEFAULT_METHOD, METHOD_AXIS, Space, config_fields, nested
from systola.hw.config import Config
from systola.reports.sweep.results import AxisDefinition

__all__ = ["HASH_DIGITS", "Point", "PointMaker"]

HASH_DIGITS = 16


@dataclass(frozen=True)
class Point:
    """A point to compute. ``config``: the description as put together, not validated: that is its computation's first step."""

    hash: str
    ordinal: int
    axes: Mapping[str, Any]
    config: Mapping[str, Any]
    method: str


class PointMaker:
    """Puts points together from values of the axes."""

    def __init__(self, space: Space, base: Config) -> None:
        self.axes: tuple[AxisDefinition, ...] = space.axis_definitions()
        self._expressions: tuple[Expression, ...] = space.expressions()
        self._base = config_fields(base)
        self._name = base.name

    def fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """Every field by dotted name, the method too, with these values on the axes; whole numbers as the field takes them."""
        fields = {METHOD_AXIS: DEFAULT_METHOD, **self._base}
        for axis, value in zip(self.axes, values, strict=True):
            fields[axis.name] = float(value) if isinstance(fields[axis.name], float) else value
        return fields

    def allowed(self, fields: Mapping[str, Any]) -> bool:
        """Whether every constraint holds. Raises ConfigError where one mixes a text and a number."""
        return all(expression.holds(fields) for expression in self._expressions)

    def point(self, fields: Mapping[str, Any], ordinal: int) -> Point:
        """The point. Its hash is of the description but for its name, and of the method."""
        named = dict(fields)
        method = named.pop(METHOD_AXIS)
        named.pop("name")
        digest = hashlib.sha256(json.dumps([named, method], sort_keys=True).encode()).hexdigest()[:HASH_DIGITS]
        config = nested({"name": f"{self._name[:40]}-{digest}", **named})
        return Point(digest, ordinal, {axis.name: fields[axis.name] for axis in self.axes}, config, method)
