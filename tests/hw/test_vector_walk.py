"""Parts of the vector engine's walker by themselves."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.config import Config, load_config
from systola.hw.params import Params
from systola.hw.vector.fetch import RequestBuffer
from systola.hw.vector.walk import ColumnCount, ColumnMask


def make_params(taps: int) -> Params:
    raw = load_config("tiny").model_dump()
    raw["vector"]["depthwise_taps"] = taps
    return Params(Config.model_validate(raw))


def simulate(dut: Any, bench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def expected_mask(taps: int, column: int, count_x: int, count_kx: int, step_x: int) -> int:
    """Slots with an output whose window covers the column: window column j is in slot taps − count_kx + j."""
    mask = 0
    for x in range(count_x):
        j = column - x * step_x
        if 0 <= j < count_kx:
            mask |= 1 << taps - count_kx + j
    return mask


@pytest.mark.parametrize("taps", [1, 2, 3, 9])
def test_column_mask(taps: int) -> None:
    """Two rows of every shape."""
    dut = ColumnMask(make_params(taps))
    shapes = [(x, kx, step) for x in (1, 2, 5) for kx in range(1, taps + 1) for step in (1, 2, 3, 10)]

    async def bench(ctx: Any) -> None:
        for count_x, count_kx, step_x in shapes:
            for name, value in {"count_kx": count_kx, "step_x": step_x, "column_mode": 1, "load": 1}.items():
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            ctx.set(dut.load, 0)
            columns = (count_x - 1) * step_x + count_kx
            for column in (*range(columns), *range(columns)):
                for _ in range(column % 2):  # a column may last
                    ctx.set(dut.advance, 0)
                    await ctx.tick()
                shape = (count_x, count_kx, step_x, column)
                mask, expected = ctx.get(dut.mask), expected_mask(taps, column, count_x, count_kx, step_x)
                assert mask == expected_mask(taps, column, columns, count_kx, step_x), shape  # outputs beyond the row's last
                assert mask & ~(mask ^ expected) == expected, shape
                assert (mask != 0, mask >> taps - 1) == (expected != 0, expected >> taps - 1), shape
                ctx.set(dut.advance, 1)
                ctx.set(dut.restart, column == columns - 1)
                await ctx.tick()
            ctx.set(dut.advance, 0)

    simulate(dut, bench)


def test_plain_mode_uses_the_last_slot() -> None:
    dut = ColumnMask(make_params(3))

    async def bench(ctx: Any) -> None:
        for name, value in {"count_kx": 1, "step_x": 2, "column_mode": 0, "load": 1}.items():
            ctx.set(getattr(dut, name), value)
        await ctx.tick()
        assert ctx.get(dut.mask) == 0b100
        assert ctx.get(dut.start) == 0b100

    simulate(dut, bench)


def test_column_count() -> None:
    """Ready after three cycles, and again after each clear."""
    dut = ColumnCount()

    async def bench(ctx: Any) -> None:
        ctx.set(dut.valid, 1)
        for count_x, step_x, count_kx in ((1, 1, 1), (112, 2, 3), (1000, 255, 9), (65535, 1, 1)):
            for name, value in {"count_x": count_x, "step_x": step_x, "count_kx": count_kx}.items():
                ctx.set(getattr(dut, name), value)
            for _ in range(3):
                assert not ctx.get(dut.ready)
                await ctx.tick()
            assert ctx.get(dut.ready)
            assert ctx.get(dut.columns) == (count_x - 1) * step_x + count_kx
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)

    simulate(dut, bench)


@pytest.mark.parametrize(("idle", "refuse"), [(0.0, 0.0), (0.5, 0.2), (0.2, 0.5), (0.0, 0.5)])
def test_request_buffer(idle: float, refuse: float) -> None:
    """Keeps order, loses nothing, and passes a request every cycle when nothing holds it up."""
    dut = RequestBuffer(make_params(3))
    rng = random.Random(2)

    async def bench(ctx: Any) -> None:
        sent = received = cycles = 0
        offering = holding = False
        while received < 200:
            offering = offering or rng.random() >= idle
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.i.payload.address, sent)
            ctx.set(dut.o.ready, rng.random() >= refuse)
            valid = bool(ctx.get(dut.o.valid))
            assert valid or not holding, "a request that waits must stay"
            if valid:
                assert ctx.get(dut.o.payload.address) == received
            taken = valid and bool(ctx.get(dut.o.ready))
            holding = valid and not taken
            received += taken
            if offering and ctx.get(dut.i.ready):
                sent += 1
                offering = False
            await ctx.tick()
            cycles += 1
        if not idle and not refuse:
            assert cycles == 201

    simulate(dut, bench)
