"""Fits the model of FPGA resources on counts of synthesized configurations, and states its errors.

For developers: ``benchmarks/resources.py`` measures the counts and writes what this finds to ``resource_models/ecp5.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.config import Config
from systola.hw.params import Params
from systola.reports.resources import LUT4_PER_CARRY, LUT4_PER_RAM, UNITS, evaluate, features, term_value

__all__ = ["RESOURCES", "TERMS", "Fit", "Point", "Whole", "count", "fit_model", "fit_whole", "points", "ranges"]

RESOURCES = ("logic", "ff")
"""What is fitted: LUT4-equivalents without distributed RAM, and registers."""

TERMS: dict[str, dict[str, tuple[str, ...]]] = {
    "array": {
        "logic": ("1", "columns"),
        "ff": ("1", "address_bits", "array_bits", "columns"),
    },
    "drain": {
        "logic": ("1", "drain_lanes", "drain_lanes * multiplier_bits", "waiting_columns"),
        "ff": ("1", "columns", "columns * multiplier_bits", "drain_lanes"),
    },
    "vector": {
        "logic": ("1", "vector_lanes", "vector_lanes * multiplier_bits", "waiting_lanes", "lanes * slots", "lanes * table_lanes",
                  "logic_taps"),
        "ff": ("1", "lanes", "lanes * slots", "lanes * multiplier_bits", "vector_lanes"),
    },
    "load": {
        "logic": ("1", "bus_address_bits", "bus_bytes"),
        "ff": ("1", "address_bits", "bus_address_bits", "joined_bytes"),
    },
    "store": {
        "logic": ("1", "bus_address_bits", "bus_bytes"),
        "ff": ("1", "bus_address_bits", "lanes", "bus_bytes"),
    },
    "scratchpad": {
        "logic": ("1", "banks * lanes", "banks * address_bits"),
        "ff": ("banks * lanes", "lanes", "banks"),
    },
    "fetch": {
        "logic": ("1", "bus_address_bits", "fetch_buffered"),
        "ff": ("1", "bus_address_bits", "fetch_joined", "fetch_buffered"),
    },
    "guard": {
        "logic": ("1", "bus_address_bits", "bus_bytes", "outstanding_bits"),
        "ff": ("1", "bus_address_bits", "bus_bytes", "outstanding_bits"),
    },
    "frontends": {
        "logic": ("1", "queue_bits", "queue_deep"),
        "ff": ("1", "queue_bits", "queue_block"),
    },
    "control": {"logic": ("1",), "ff": ("1",)},
}
"""What each unit's resources are sums of, as its RTL has it; each with a coefficient that is not negative."""


KNOWN: dict[tuple[str, str], dict[str, float]] = {("array", "logic"): {"adder_bits": 1.0}}
"""Coefficients that are not fitted: a bit of an adder is half a CCU2C, in the array, where most of them are."""


@dataclass(frozen=True)
class Point:
    """A synthesized unit: its configuration's features and what was counted."""

    name: str
    features: Mapping[str, float]
    value: float
    ram: int
    """Distributed RAM beside it, TRELLIS_DPR16X4."""


@dataclass(frozen=True)
class Fit:
    """Coefficients by term. Relative errors: of the points that were fitted, and of each when fitted without it."""

    terms: dict[str, float]
    largest_fit_error: float
    largest_error: float
    rms_error: float
    left_out: dict[str, float]
    """By configuration, what is predicted without it."""


def points(counts: Mapping[str, Any]) -> dict[str, dict[str, list[Point]]]:
    """By unit and resource, a point for each configuration in which all parts of the unit were synthesized."""
    found: dict[str, dict[str, list[Point]]] = {unit: {resource: [] for resource in RESOURCES} for unit in UNITS}
    for name, entry in counts["configurations"].items():
        values = features(Params(Config.model_validate({"name": name, **entry["config"]})))
        for unit, parts in UNITS.items():
            if not all(part in entry["units"] for part in parts):
                continue
            cells = [entry["units"][part]["cells"] for part in parts]
            for resource in RESOURCES:
                value, ram = sum(count(c, resource) for c in cells), sum(c["TRELLIS_DPR16X4"] for c in cells)
                found[unit][resource].append(Point(name, values, value, ram))
    return found


def count(cells: Mapping[str, int], resource: str) -> int:
    """A resource in yosys' cells. "lut4" is "logic" and distributed RAM."""
    if resource == "ff":
        return cells["TRELLIS_FF"]
    logic = cells["LUT4"] + LUT4_PER_CARRY * cells["CCU2C"]
    return logic + LUT4_PER_RAM * cells["TRELLIS_DPR16X4"] if resource == "lut4" else logic


def fit_model(counts: Mapping[str, Any]) -> dict[str, dict[str, Fit]]:
    """By unit and resource."""
    return {
        unit: {
            resource: _fit(TERMS[unit][resource], KNOWN.get((unit, resource), {}), found)
            for resource, found in by_resource.items()
        }
        for unit, by_resource in points(counts).items()
    }


@dataclass(frozen=True)
class Whole:
    """``ratio``: a whole accelerator to the sum of its units, in the mean; ``ratio_spread``: how far, relatively, one was off it.

    ``largest_sum_error``, ``rms_sum_error``: of the sum of units, each configuration predicted without it. ``largest_error``:
    both together.
    """

    ratio: float
    ratio_spread: float
    largest_sum_error: float
    rms_sum_error: float

    @property
    def largest_error(self) -> float:
        return (1 + self.ratio_spread) * (1 + self.largest_sum_error) - 1


def fit_whole(counts: Mapping[str, Any], fits: Mapping[str, Mapping[str, Fit]]) -> dict[str, Whole]:
    """By "lut4" and "ff", from the configurations of which all units were synthesized."""
    found: dict[str, Whole] = {}
    complete = {name for name, entry in counts["configurations"].items() if _is_complete(entry)}
    measured = points(counts)
    for resource, fitted in (("lut4", "logic"), ("ff", "ff")):
        sums: dict[str, list[float]] = {}
        for unit, by_resource in measured.items():
            for point in (p for p in by_resource[fitted] if p.name in complete):
                total = sums.setdefault(point.name, [0.0, 0.0])
                total[0] += point.value + LUT4_PER_RAM * point.ram * (resource == "lut4")
                total[1] += fits[unit][fitted].left_out[point.name] + LUT4_PER_RAM * point.ram * (resource == "lut4")
        errors = [predicted / actual - 1 for actual, predicted in sums.values()]
        ratios = [
            count(entry["cells"], resource) / _sum_of_parts(counts["configurations"][name], resource)
            for name, entry in counts["whole"].items()
            if name in complete
        ]
        ratio = float(np.mean(ratios))
        found[resource] = Whole(
            ratio, _largest([r / ratio - 1 for r in ratios]), _largest(errors), float(np.sqrt(np.mean(np.square(errors))))
        )
    return found


def _is_complete(entry: Mapping[str, Any]) -> bool:
    return all(part in entry["units"] for parts in UNITS.values() for part in parts)


def _sum_of_parts(entry: Mapping[str, Any], resource: str) -> int:
    return sum(count(part["cells"], resource) for part in entry["units"].values())


def ranges(counts: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Lowest and highest of what configurations are described with."""
    described = ("rows", "columns", "banks", "address_bits", "multiplier_bits", "taps", "tap_depth", "table_lanes", "bus_bytes",
                 "bus_address_bits", "queue_units")  # fmt: skip
    found = [features(Params(Config.model_validate({"name": n, **e["config"]}))) for n, e in counts["configurations"].items()]
    return {name: (min(f[name] for f in found), max(f[name] for f in found)) for name in described}


def _fit(terms: Sequence[str], known: Mapping[str, float], found: list[Point]) -> Fit:
    coefficients = _solve(terms, known, found)
    fitted = [evaluate(coefficients, p.features) / p.value - 1 for p in found]
    left_out: dict[str, float] = {}
    for point in found:
        others = [p for p in found if not _same(terms, p, point)]
        left_out[point.name] = evaluate(_solve(terms, known, others), point.features)
    errors = [left_out[p.name] / p.value - 1 for p in found]
    return Fit(
        terms=coefficients,
        largest_fit_error=_largest(fitted),
        largest_error=_largest(errors),
        rms_error=float(np.sqrt(np.mean(np.square(errors)))),
        left_out=left_out,
    )


def _same(terms: Sequence[str], one: Point, other: Point) -> bool:
    """The same unit, as far as the model can tell, perhaps in two configurations: both are left out together."""
    return one.value == other.value and all(term_value(t, one.features) == term_value(t, other.features) for t in terms)


def _solve(terms: Sequence[str], known: Mapping[str, float], found: list[Point]) -> dict[str, float]:
    """Least squares of the relative errors. Terms whose coefficient comes out negative are left out, the most negative first."""
    left = list(terms)
    wanted = np.array([1 - evaluate(known, p.features) / p.value for p in found])
    while True:
        matrix = np.array([[term_value(term, p.features) / p.value for term in left] for p in found])
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
        solution: NDArray[np.float64] = np.linalg.lstsq(matrix / scale, wanted, rcond=1e-9)[0] / scale
        worst = int(np.argmin(solution * scale))
        if solution[worst] >= 0:
            return {**{term: float(f"{value:.5g}") for term, value in zip(left, solution, strict=True)}, **known}
        del left[worst]


def _largest(errors: Sequence[float]) -> float:
    return max((abs(error) for error in errors), default=0.0)
