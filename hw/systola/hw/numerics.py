"""The arithmetic of the machine, written once, in Python integers.

Every other implementation (golden in NumPy, the interpreter, the RTL) is tested against these functions.

The requantization follows the common integer scheme (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018): a real factor is an unsigned ``multiplier`` and a right
``shift``. Rounding is *half up*: add half, then floor. It differs from half-away-from-zero only on exact negative ties
and costs one adder.
"""

from __future__ import annotations

import math

from systola.hw.errors import QuantizationError

__all__ = [
    "ACCUMULATOR_BITS",
    "INT8_HIGH",
    "INT8_LOW",
    "MAX_SHIFT",
    "clamp",
    "elementwise",
    "quantize_factor",
    "quantize_factors",
    "requantize",
    "rounding_shift",
]

INT8_LOW = -128
INT8_HIGH = 127
ACCUMULATOR_BITS = 32
MAX_SHIFT = 63


def clamp(value: int, low: int, high: int) -> int:
    """``value`` limited to ``low`` … ``high``."""
    return max(low, min(high, value))


def rounding_shift(value: int, shift: int) -> int:
    """``value / 2**shift`` rounded half up: ``floor(value / 2**shift + 1/2)``; ``shift`` 0 … 63."""
    return (value + (1 << shift >> 1)) >> shift


def requantize(
    accumulator: int, bias: int, multiplier: int, shift: int, zero_point: int, low: int, high: int
) -> int:
    """Stage A: an int32 sum to an int8 code, per channel.

    ``clamp(rounding_shift((accumulator + bias) * multiplier, shift) + zero_point, low, high)``.
    ``accumulator + bias`` fits int32 (the mapper proves it); ``multiplier`` is unsigned.
    """
    return clamp(rounding_shift((accumulator + bias) * multiplier, shift) + zero_point, low, high)


def elementwise(
    code: int,
    zero_code: int,
    multiplier_positive: int,
    multiplier_negative: int,
    operand: int,
    zero_operand: int,
    multiplier_operand: int,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
) -> int:
    """Stage B: an int8 code, and a second operand where there is one, to an int8 code, per tensor.

    With ``d = code - zero_code`` and ``e = operand - zero_operand``:
    ``clamp(rounding_shift(d * (multiplier_negative if d < 0 else multiplier_positive) + e * multiplier_operand, shift)
    + zero_point, low, high)``. The multipliers are signed, of ``multiplier_bits + 1`` bits.
    """
    d = code - zero_code
    total = d * (multiplier_negative if d < 0 else multiplier_positive) + (operand - zero_operand) * multiplier_operand
    return clamp(rounding_shift(total, shift) + zero_point, low, high)


def quantize_factor(factor: float, multiplier_bits: int) -> tuple[int, int]:
    """The ``(multiplier, shift)`` nearest to a real ``factor`` ≥ 0: ``factor ≈ multiplier / 2**shift``.

    The multiplier is normalised to ``multiplier_bits`` bits where the shift's range (0 … 63) allows it; a factor
    too small for any shift becomes ``(0, 0)``. Raises QuantizationError for a negative, infinite, not-a-number or
    too large factor.
    """
    if not math.isfinite(factor) or factor < 0:
        raise QuantizationError(f"a scale ratio is {factor}; it must be a finite number, zero or more")
    if factor == 0.0:
        return 0, 0
    _, exponent = math.frexp(factor)
    shift = multiplier_bits - exponent
    if shift < 0:
        raise QuantizationError(
            f"a scale ratio is {factor}; with {multiplier_bits}-bit multipliers it must be below 2**{multiplier_bits}"
        )
    shift = min(shift, MAX_SHIFT)
    multiplier = round(math.ldexp(factor, shift))
    if multiplier >> multiplier_bits:  # rounded up to the next power of two
        if shift == 0:
            raise QuantizationError(f"a scale ratio is {factor}; it does not fit {multiplier_bits}-bit multipliers")
        multiplier, shift = round(math.ldexp(factor, shift - 1)), shift - 1
    return (multiplier, shift) if multiplier else (0, 0)


def quantize_factors(factors: tuple[float, ...], multiplier_bits: int) -> tuple[tuple[int, ...], int]:
    """Signed multipliers of several real factors that share one ``shift`` (stage B's operands).

    The largest magnitude is normalised to ``multiplier_bits`` bits. Raises QuantizationError as quantize_factor does.
    """
    largest = max(abs(f) for f in factors)
    _, shift = quantize_factor(largest, multiplier_bits)
    limit = (1 << multiplier_bits) - 1
    multipliers = tuple(round(math.ldexp(f, shift)) for f in factors)
    if any(abs(m) > limit for m in multipliers):
        shift -= 1
        multipliers = tuple(round(math.ldexp(f, shift)) for f in factors)
    return multipliers, shift
