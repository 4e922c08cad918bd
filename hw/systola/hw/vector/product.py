"""Products by adders, where an FPGA's multiplier blocks are taken."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Value

__all__ = ["product_in_logic"]


def product_in_logic(a: Value, b: Value) -> Value:
    """``a`` times ``b``, both signed, without a multiplication: ``a`` for each bit of ``b``, added as a tree.

    The result is as wide as the product needs, or wider.
    """
    bits = len(b)
    rows: list[Value] = [Cat(Const(0, place), Mux(b[place], a, 0)).as_signed() for place in range(bits - 1)]
    sign = Cat(Const(0, bits - 1), Mux(b[bits - 1], a, 0)).as_signed()
    return _sum(rows) - sign


def _sum(terms: list[Value]) -> Value:
    """Neighbours first: their sums are narrow."""
    while len(terms) > 1:
        pairs = [terms[i] + terms[i + 1] for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(terms) & ~1 :]
    return terms[0]
