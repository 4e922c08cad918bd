"""``systola.hw.numerics`` on arrays, exact.

Everything is computed in float64, whose 53 bits hold every value in between: a sum and its bias have 32 bits each and a
multiplier at most 17, so a product is an integer under 2**50 times 2**−shift. Adding 1/2 needs no more than 53 bits up to a
shift of 52; beyond that the product is smaller than 1/4 in magnitude, and the result is 0 either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["elementwise", "requantize"]

Array = NDArray[Any]
Codes = NDArray[np.int8]


def _to_codes(values: NDArray[np.float64], zero_point: int, low: int, high: int) -> Codes:
    """floor(values) + zero point, clamped; ``values`` is overwritten."""
    np.floor(values, out=values)
    values += zero_point
    np.clip(values, low, high, out=values)
    return values.astype(np.int8)


def requantize(sums: Array, bias: Array | int, multiplier: Array | int, shift: Array | int, zero_point: int, low: int,
               high: int) -> Codes:  # fmt: skip
    """Stage A: ``numerics.requantize`` of integer-valued ``sums`` (any dtype); per-channel arrays broadcast against them."""
    factor = np.ldexp(np.asarray(multiplier, np.float64), -np.asarray(shift))
    values = np.multiply(sums, factor, dtype=np.float64)
    values += np.asarray(bias, np.float64) * factor + 0.5
    return _to_codes(values, zero_point, low, high)


def elementwise(
    codes: Codes, zero_code: int, multiplier_positive: int, multiplier_negative: int, operand: Codes | None, zero_operand: int,
    multiplier_operand: int, shift: int, zero_point: int, low: int, high: int,
) -> Codes:  # fmt: skip
    """Stage B: ``numerics.elementwise``; ``operand`` broadcasts against ``codes``, None counts as its zero point."""
    d = codes.astype(np.float64)
    d -= zero_code
    if multiplier_positive == multiplier_negative:
        d *= np.ldexp(multiplier_positive, -shift)
    else:
        d *= np.where(d < 0, np.ldexp(multiplier_negative, -shift), np.ldexp(multiplier_positive, -shift))
    if operand is not None:
        d += (operand.astype(np.float64) - zero_operand) * np.ldexp(multiplier_operand, -shift)
    d += 0.5
    return _to_codes(d, zero_point, low, high)
