"""Products without a multiplication."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from systola.hw.vector.product import product_in_logic


@pytest.mark.parametrize("bits", [8, 9])
def test_products_of_all_bytes(bits: int) -> None:
    """Every weight with a hundred factors, the extreme ones among them."""
    a, b, result = Signal(signed(9)), Signal(signed(bits)), Signal(signed(9 + bits))
    m = Module()
    m.d.comb += result.eq(product_in_logic(a, b))
    factors = (*range(-256, 256, 5), -255, 0, 1, 255)

    async def bench(ctx: Any) -> None:
        for weight in range(-(1 << bits - 1), 1 << bits - 1):
            ctx.set(b, weight)
            for factor in factors:
                ctx.set(a, factor)
                assert ctx.get(result) == factor * weight

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
