"""Scale and zero point of an activation tensor: from a line of graph.quant, or from a range of real values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.hw.numerics import INT8_HIGH, INT8_LOW, clamp
from systola.mapper.graph import QuantEntry

__all__ = ["ActivationParameters", "from_entry", "from_range", "linear_grid"]

_STEPS = INT8_HIGH - INT8_LOW


@dataclass(frozen=True)
class ActivationParameters:
    """``real = (code − zero_point) · scale``; codes lie in ``low`` … ``high``. ``unsigned``: the source's codes are these
    plus 128."""

    scale: float
    zero_point: int
    low: int = INT8_LOW
    high: int = INT8_HIGH
    unsigned: bool = False

    def code(self, value: float) -> int:
        """The code nearest to a real value (round half to even, clamped)."""
        if math.isinf(value):
            return self.high if value > 0 else self.low
        return clamp(round(value / self.scale) + self.zero_point, self.low, self.high)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """``code`` of every value; not-a-number becomes the zero point."""
        codes = np.rint(np.nan_to_num(values, nan=0.0, posinf=math.inf, neginf=-math.inf) / self.scale) + self.zero_point
        return np.asarray(np.clip(codes, self.low, self.high), np.int8)

    def values(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """The real values of codes."""
        return (codes.astype(np.float64) - self.zero_point) * self.scale

    def same_grid(self, other: ActivationParameters) -> bool:
        """Equal codes mean equal values."""
        return (self.scale, self.zero_point) == (other.scale, other.zero_point)


def linear_grid(entry: QuantEntry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(scale, zero point) of an entry's stored integers, as NNEF's formulas state them; the zero point may be no integer.

    Raises QuantizationError for a logarithmic grid.
    """
    p = entry.parameters
    if entry.op == "zero_point_linear_quantize":
        return np.asarray(p["scale"], np.float64), np.asarray(p["zero_point"], np.float64)
    if entry.op == "logarithmic_quantize":
        raise QuantizationError(f"{entry.place}: logarithmic quantization has no integer arithmetic here; use a linear one")
    low, high = np.asarray(p["min"], np.float64), np.asarray(p["max"], np.float64)
    signed, symmetric = p.get("signed", False), p.get("symmetric", False)
    scale = (high - low) / (math.ldexp(1.0, p["bits"]) - 1 - (signed and symmetric))
    offset = math.ldexp(1.0, p["bits"] - 1) - symmetric if signed else 0.0
    return scale, -low / scale - offset


def from_entry(entry: QuantEntry, name: str) -> ActivationParameters:
    """The parameters of an activation tensor from its line in graph.quant; unsigned codes are re-centred.

    A zero point between two integers (a min/max range that misses zero) is rounded: the grid moves by less than half a step.
    Raises QuantizationError for per-channel parameters, more than 8 bits, or a zero point outside the codes.
    """
    bits = entry.parameters["bits"]
    scale, zero = linear_grid(entry)
    if scale.size != 1 or zero.size != 1:
        raise QuantizationError(f"{entry.place}: activation '{name}' has a scale per channel; one per tensor is expected")
    if bits > 8:
        raise QuantizationError(f"{entry.place}: activation '{name}' has {bits} bits; the accelerator computes with up to 8")
    signed = entry.parameters.get("signed", entry.op != "linear_quantize")
    symmetric = entry.parameters.get("symmetric", False)
    half = 1 << bits - 1
    shift = 0 if signed else 128
    low, high = (-half + symmetric, half - 1) if signed else (-128, 2 * half - 1 - 128)
    zero_point = round(float(zero.reshape(-1)[0])) - shift
    if not INT8_LOW <= zero_point <= INT8_HIGH:
        raise QuantizationError(
            f"{entry.place}: the zero point of '{name}' is {zero_point + shift}, outside its codes of {bits} bits; a range that "
            "holds zero is expected"
        )
    return ActivationParameters(float(scale.reshape(-1)[0]), zero_point, low, high, not signed)


def from_range(low: float, high: float) -> ActivationParameters:
    """The int8 grid over ``low`` … ``high``, widened to hold zero exactly. An empty range gets scale 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise QuantizationError(f"a tensor's values reach {low} … {high}; finite ones are needed to choose a scale")
    scale = (high - low) / _STEPS
    if scale < np.finfo(np.float32).tiny:
        return ActivationParameters(1.0, 0)
    return ActivationParameters(scale, clamp(round(INT8_LOW - low / scale), INT8_LOW, INT8_HIGH))
