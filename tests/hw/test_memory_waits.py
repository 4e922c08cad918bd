"""Waiting for the memory's answer and waiting for its turn are told apart."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.dma.waits import MemoryWaits
from systola.hw.params import Params
from systola.hw.registers import CycleClass


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_a_beat_in_the_last_bus_bytes_cycles_is_bandwidth(preset: str) -> None:
    """For each engine by itself; every other class stays as it is."""
    params = Params(load_config(preset))
    dut, rng = MemoryWaits(params), random.Random(3)
    counts = dict.fromkeys(CycleClass, 0)

    async def test(ctx: Any) -> None:
        last = -10_000
        for cycle in range(3000):
            rare = rng.random() < (0.5 if cycle % 500 < 40 else 0.6 / params.bus_bytes)
            beats = rng.choice([1, 2, 3]) if rare else 0
            last = cycle if beats else last
            ctx.set(dut.beats, beats)
            for own, seen in ((dut.load_own, dut.load_class), (dut.store_own, dut.store_class)):
                now = rng.choice([CycleClass.DRAM_LATENCY, rng.choice(list(CycleClass))])
                ctx.set(own, now)
                waits = now is CycleClass.DRAM_LATENCY and cycle - last < params.bus_bytes
                expected = CycleClass.DRAM_BANDWIDTH if waits else now
                assert ctx.get(seen) == expected, cycle
                counts[expected] += 1
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(test)
    simulator.run()
    assert counts[CycleClass.DRAM_LATENCY] > 500 and counts[CycleClass.DRAM_BANDWIDTH] > 500


@pytest.mark.parametrize("pause", [0, 15, 16, 40])
def test_a_streaming_memory_of_a_byte_a_cycle_is_bandwidth_throughout(pause: int) -> None:
    """base moves 16 bytes a beat: pauses of up to 15 cycles between beats are bandwidth, longer ones latency in part."""
    dut, seen = MemoryWaits(Params(load_config("base"))), []

    async def test(ctx: Any) -> None:
        ctx.set(dut.load_own, CycleClass.DRAM_LATENCY)
        for _ in range(5):
            for cycle in range(pause + 1):
                ctx.set(dut.beats, cycle == 0)
                seen.append(ctx.get(dut.load_class))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(test)
    simulator.run()
    assert seen.count(CycleClass.DRAM_LATENCY) == 5 * max(0, pause - 15)
    assert seen.count(CycleClass.DRAM_BANDWIDTH) == 5 * min(pause + 1, 16)
