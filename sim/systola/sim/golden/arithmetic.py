"""``systola.hw.numerics`` on arrays, exact.

Multipliers of the accelerator (at most 17 bits) are computed with in float64, whose 53 bits hold every value in between: a
sum and its bias have 32 bits each, so a product is an integer under 2**50 times 2**−shift. Adding 1/2 needs no more than 53
bits up to a shift of 52; beyond that the product is smaller than 1/4 in magnitude, and the result is 0 either way. Wider
multipliers, which only studies use, go through int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["elementwise", "requantize"]

Array = NDArray[Any]
Codes = NDArray[np.int8]

_FLOAT64_MULTIPLIER_BITS = 20


def _to_codes(values: NDArray[np.float64], zero_point: int, low: int, high: int) -> Codes:
    """floor(values) + zero point, clamped; ``values`` is overwritten."""
    np.floor(values, out=values)
    values += zero_point
    np.clip(values, low, high, out=values)
    return values.astype(np.int8)


def requantize(sums: Array, bias: Array | int, multiplier: Array | int, shift: Array | int, zero_point: int, low: int,
               high: int) -> Codes:  # fmt: skip
    """Stage A: ``numerics.requantize`` of integer-valued ``sums`` (any dtype); per-channel arrays broadcast against them."""
    if np.any(np.asarray(multiplier) >> _FLOAT64_MULTIPLIER_BITS):
        return _requantize_wide(sums, bias, multiplier, shift, zero_point, low, high)
    factor = np.ldexp(np.asarray(multiplier, np.float64), -np.asarray(shift))
    values = np.multiply(sums, factor, dtype=np.float64)
    values += np.asarray(bias, np.float64) * factor + 0.5
    return _to_codes(values, zero_point, low, high)


def _requantize_wide(sums: Array, bias: Array | int, multiplier: Array | int, shift: Array | int, zero_point: int, low: int,
                     high: int) -> Codes:  # fmt: skip
    """The same in int64, for multipliers of up to 31 bits."""
    wide = np.asarray(shift, np.int64)
    product = (sums.astype(np.int64) + bias) * np.asarray(multiplier, np.int64)
    half = np.where(wide > 0, np.int64(1) << np.maximum(wide - 1, 0), 0)  # 1 << 63 >> 1 is negative here
    rounded = (product + half) >> wide
    return np.asarray(np.clip(rounded + zero_point, low, high), np.int8)


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
