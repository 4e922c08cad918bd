"""The last four steps of both stages: rounding right shift, zero point, clamp.

The wide product is never shifted at full width, and never saturated. The end result is clamped to int8, so that of a value
that would come out beyond ±256 before the zero point only the sign matters: beside a value cut to the bits that can still
matter travel its sign and whether bits that were cut off differ from it (``over``). With
``q = floor(2·product / 2**shift)``, the rounded quotient is ``floor((q + 1) / 2)``, so

1. coarse: ``2·product`` shifted by 0, 16, 32 or 48, cut to 24 bits and a sign (a fine shift of at most 15 leaves 9);
2. fine: shifted by 0 … 15 in steps of 8, 4, 2 and 1, each cut to what the steps after it need: this is q, 9 bits and a sign;
3. ``(q + 2·(zero − low) + 1) >> 1``: rounding and zero point in one 11-bit addition; below ``low`` if that is negative, above
   ``high`` if ``q > 2·(high − zero)``, beyond the limit on its sign's side if over;
4. ``low`` and, unless it is below, that sum or, where it is above, ``high − low``.

That is exact: a quotient of at least 256 (at most −256) lies beyond every int8 limit after any int8 zero point. Where a coarse
shift leaves nothing but signs, q would be 0 or −1; both round to 0, and 0 is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, signed

__all__ = ["COARSE_CHOICES", "CODE_BITS", "Limits", "build_tail", "copy_limits", "delays"]

CODE_BITS = 8

_FINE_BITS = 4
COARSE_CHOICES = 4
"""Coarse shifts: 0, 16, 32, 48."""
_QUOTIENT_BITS = 9  # beside the sign


@dataclass(frozen=True)
class _Cut:
    """A number of which only the lower ``bits`` are kept; the bits above them are all as ``sign``, unless ``over``."""

    bits: Signal
    sign: Signal
    over: Signal


def delays(m: Module, signal: Signal, cycles: int) -> list[Signal]:
    """``signal`` and its copies 1 … ``cycles`` cycles later."""
    line = [signal]
    for cycle in range(1, cycles + 1):
        line.append(Signal.like(signal, name=f"{signal.name}_{cycle}"))
        m.d.sync += line[-1].eq(line[-2])
    return line


def _cut(name: str, width_bits: int) -> _Cut:
    return _Cut(
        Signal(width_bits, name=name, reset_less=True),
        Signal(name=f"{name}_sign", reset_less=True),
        Signal(name=f"{name}_over", reset_less=True),
    )


def _differ(bits: Value, sign: Value) -> Value:
    """Some of the bits are not as the sign."""
    return (bits ^ sign.replicate(len(bits))).any()


def _any(values: Sequence[Value]) -> Value:
    result: Value = C(0, 1)
    for value in values:
        result = result | value
    return result


def _coarse(m: Module, enable: Value, product: Signal, choice: Value, name: str) -> _Cut:
    """Register of ``2·product >> 16·k``, where bit k of ``choice`` is 1, written where ``enable``."""
    width_bits = _QUOTIENT_BITS + (1 << _FINE_BITS) - 1
    result = _cut(name, width_bits)
    sign = product[-1]
    doubled = Cat(C(0, 1), product[:-1])  # without its sign
    shifts = [k << _FINE_BITS for k in range(COARSE_CHOICES) if k << _FINE_BITS < len(doubled)]
    fills: dict[int, Value] = {}  # per number of shifts that leave a bit to be a sign: the sign, if it is one of them
    bits = []
    for bit in range(width_bits):
        kept = [k for k, shift in enumerate(shifts) if bit + shift < len(doubled)]
        terms: list[Value] = [doubled[bit + shifts[k]] & choice[k] for k in kept]
        if len(kept) < len(shifts):
            if len(kept) not in fills:
                fills[len(kept)] = Signal(name=f"{name}_fill_{len(kept)}")
                m.d.comb += fills[len(kept)].eq(sign & choice[len(kept) : len(shifts)].any())
            terms.append(fills[len(kept)])
        bits.append(_any(terms))
    over, beyond = [], len(doubled)
    for k in reversed(range(len(shifts))):  # what is beyond a shift's bits is beyond those of smaller shifts, too
        start = shifts[k] + width_bits
        if start < beyond:
            over.append(_differ(doubled[start:beyond], sign) & choice[: k + 1].any())
            beyond = start
    with m.If(enable):
        m.d.sync += [
            result.bits.eq(Cat(*bits)),
            result.sign.eq(sign & choice[: len(shifts)].any()),
            result.over.eq(_any(over)),
        ]
    return result


def _fine(m: Module, enable: Value, value: _Cut, amount: Value, name: str) -> _Cut:
    """Register of ``value >> amount``, written where ``enable``."""
    result = _cut(name, _QUOTIENT_BITS)
    bits: Value = value.bits
    over: list[Value] = [value.over]
    for level in reversed(range(_FINE_BITS)):
        shift = 1 << level
        kept = len(bits) - shift
        over.append(~amount[level] & _differ(bits[kept:], value.sign))
        shifted = Signal(kept, name=f"{name}_{shift}")
        m.d.comb += shifted.eq(Mux(amount[level], bits[shift:], bits[:kept]))
        bits = shifted
    with m.If(enable):
        m.d.sync += [result.bits.eq(bits), result.sign.eq(value.sign), result.over.eq(_any(over))]
    return result


@dataclass(frozen=True)
class Limits:
    """What the last two steps add and compare with, of all lanes: ``zero − low``, ``high − zero``, ``low``, ``high − low``."""

    offset: Signal
    ceiling: Signal
    low: Signal
    span: Signal


def copy_limits(m: Module, swap: Sequence[Value], zero: Value, low: Value, high: Value) -> Limits:
    """Registers of a zero point and int8 limits, ``low`` ≤ ``high``: copied with ``swap[0]`` for step 3, ``swap[1]`` for 4."""
    limits = Limits(
        Signal(signed(CODE_BITS + 1), name="offset", reset_less=True),
        Signal(signed(CODE_BITS + 1), name="ceiling", reset_less=True),
        Signal(signed(CODE_BITS), name="low", reset_less=True),
        Signal(CODE_BITS, name="span", reset_less=True),
    )
    with m.If(swap[0]):
        m.d.sync += limits.offset.eq(zero - low), limits.ceiling.eq(high - zero)
    with m.If(swap[1]):
        m.d.sync += limits.low.eq(low), limits.span.eq(high - low)
    return limits


def build_tail(
    m: Module, enables: Sequence[Value], products: Sequence[Signal], shift: Sequence[tuple[Any, Any]], limits: Limits
) -> list[Signal]:
    """Adds the tail for each lane to ``m`` and returns the codes, int8.

    ``enables[k]`` is 1 in the cycle in which step k + 1 has a word to work on. ``products`` are signed. ``shift`` has
    for each lane the coarse part (a bit for each of COARSE_CHOICES, one of them 1; used in step 1) and the fine part (shift
    bits 0 … 3; used in step 2); ``limits`` are used in steps 3 and 4.
    """
    codes = []
    for lane, (product, (coarse, fine)) in enumerate(zip(products, shift, strict=True)):
        near = _coarse(m, enables[0], product, coarse, f"coarse_{lane}")
        quotient = _fine(m, enables[1], near, fine, f"quotient_{lane}")
        q = Cat(quotient.bits, quotient.sign).as_signed()
        total = Signal(signed(_QUOTIENT_BITS + 2), name=f"total_{lane}")
        moved = Signal(CODE_BITS, name=f"moved_{lane}", reset_less=True)
        below, above = Signal(name=f"below_{lane}", reset_less=True), Signal(name=f"above_{lane}", reset_less=True)
        code = Signal(signed(CODE_BITS), name=f"code_{lane}", reset_less=True)
        # By a sign: of ``>``, synthesis may make a comparison for equality as well.
        beyond = (Cat(C(0, 1), limits.ceiling).as_signed() - q)[-1]
        m.d.comb += total.eq(q + Cat(C(1, 1), limits.offset).as_signed())
        with m.If(enables[2]):
            m.d.sync += [
                moved.eq(total[1:]),
                below.eq(Mux(quotient.over, quotient.sign, total[-1])),
                above.eq(Mux(quotient.over, ~quotient.sign, beyond)),
            ]
        with m.If(enables[3]):
            m.d.sync += code.eq(limits.low + Mux(above, limits.span, Mux(below, 0, moved)))
        codes.append(code)
    return codes
