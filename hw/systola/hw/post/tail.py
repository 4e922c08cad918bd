"""The last four steps of both stages: rounding right shift, zero point, clamp.

The wide product is never shifted at full width. The end result is clamped to int8, so any value that would come out
beyond ±256 before the zero point may be replaced by ±256: each step keeps only the bits that can still matter and
saturates the rest. With ``q = floor(2·product / 2**shift)``, the rounded quotient is ``floor((q + 1) / 2)``, so

1. coarse: ``2·product`` shifted by 0, 16, 32 or 48, saturated to 25 bits (a fine shift of at most 15 leaves 10);
2. fine: shifted by 0 … 15, saturated to 10 bits: this is q, limited to −512 … 511;
3. ``(q + 2·zero + 1) >> 1``: rounding and zero point in one 11-bit addition;
4. clamp.

Saturating q is exact: a quotient of at least 256 (at most −256) lies beyond every int8 limit after any int8 zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, signed

__all__ = ["CODE_BITS", "build_tail", "delays"]

CODE_BITS = 8

_FINE_BITS = 4
_QUOTIENT_BITS = 10
_COARSE_BITS = _QUOTIENT_BITS + (1 << _FINE_BITS) - 1


def delays(m: Module, signal: Signal, cycles: int) -> list[Signal]:
    """``signal`` and its copies 1 … ``cycles`` cycles later."""
    line = [signal]
    for cycle in range(1, cycles + 1):
        line.append(Signal.like(signal, name=f"{signal.name}_{cycle}"))
        m.d.sync += line[-1].eq(line[-2])
    return line


def _saturated(value: Signal, width_bits: int) -> Value:
    """A signed ``value`` limited to ``width_bits`` bits."""
    if len(value) <= width_bits:
        return value
    top = value[width_bits - 1 :]
    limit = Cat((~value[-1]).replicate(width_bits - 1), value[-1])
    return Mux(top.any() & ~top.all(), limit, value[:width_bits]).as_signed()


def _shifted(m: Module, enable: Value, value: Signal, amount: Value, width_bits: int, name: str) -> Signal:
    """Register of ``value >> amount`` saturated to ``width_bits``, written where ``enable``."""
    wide = Signal(value.shape(), name=f"{name}_wide")
    result = Signal(signed(width_bits), name=name, reset_less=True)
    m.d.comb += wide.eq(value >> amount)
    with m.If(enable):
        m.d.sync += result.eq(_saturated(wide, width_bits))
    return result


def build_tail(
    m: Module,
    enables: Sequence[Value],
    products: Sequence[Signal],
    shift: Sequence[tuple[Any, Any]],
    zero: Signal,
    low: Signal,
    high: Signal,
) -> list[Signal]:
    """Adds the tail for each lane to ``m`` and returns the codes, int8.

    ``enables[k]`` is 1 in the cycle in which step k + 1 has a word to work on. ``products`` are signed. ``shift`` has
    for each lane the coarse part (shift bits 4, 5; used in step 1) and the fine part (bits 0 … 3; used in step 2); ``zero`` is
    used in step 3, ``low`` and ``high`` (``low`` ≤ ``high``) in step 4.
    """
    codes = []
    for lane, (product, (coarse, fine)) in enumerate(zip(products, shift, strict=True)):
        doubled = Signal(signed(len(product) + 1), name=f"doubled_{lane}")
        m.d.comb += doubled.eq(Cat(C(0, 1), product))
        near = _shifted(m, enables[0], doubled, Cat(C(0, _FINE_BITS), coarse), _COARSE_BITS, f"coarse_{lane}")
        quotient = _shifted(m, enables[1], near, fine, _QUOTIENT_BITS, f"quotient_{lane}")
        moved = Signal(signed(_QUOTIENT_BITS), name=f"moved_{lane}", reset_less=True)
        code = Signal(signed(CODE_BITS), name=f"code_{lane}", reset_less=True)
        with m.If(enables[2]):
            m.d.sync += moved.eq((quotient + Cat(C(1, 1), zero).as_signed()) >> 1)
        with m.If(enables[3]):
            m.d.sync += code.eq(Mux(moved < low, low, Mux(moved > high, high, moved)))
        codes.append(code)
    return codes
