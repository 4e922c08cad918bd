"""Register file, sequencer and counters, seen from the bus."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.control import Controller
from systola.hw.counters import CLEAR_CYCLES, SETTLE_CYCLES, Counters
from systola.hw.isa import ENGINES, ISA_VERSION, Engine
from systola.hw.params import Params
from systola.hw.registers import (
    IDENTITY,
    REGISTERS,
    Control,
    CycleClass,
    Event,
    Fault,
    Irq,
    Status,
    class_address,
    event_address,
)

from .axi_lite import AxiLiteManager

ADDRESS = {register.name: register.address for register in REGISTERS}


class Bench(AxiLiteManager):
    """A controller with its counters, on an AXI4-Lite manager."""

    def __init__(self, preset: str = "tiny", seed: int = 1) -> None:
        self.params = Params(load_config(preset))
        self.module = Module()
        self.module.submodules.controller = self.dut = Controller(self.params)
        super().__init__(self.dut.bus, random.Random(seed))
        self.module.submodules.counters = self.counters = Counters()
        self.module.d.comb += [
            self.counters.running.eq(self.dut.running),
            self.counters.clear.eq(self.dut.launch),
            self.counters.read.eq(self.dut.counter_read),
            self.counters.read_address.eq(self.dut.counter_address),
            self.dut.counter_data.eq(self.counters.read_data),
        ]

    def run(self, test: Callable[[Any, Bench], Any]) -> None:
        async def wrapped(ctx: Any) -> None:
            ctx.set(self.dut.quiet, 1)
            ctx.set(self.dut.bus.b_ready, 1)
            await test(ctx, self)

        simulator = Simulator(self.module)
        simulator.add_clock(1e-6)
        simulator.add_testbench(wrapped)
        simulator.run()

    async def named(self, ctx: Any, name: str) -> int:
        return await self.read(ctx, ADDRESS[name])

    async def start(self, ctx: Any) -> None:
        await self.write(ctx, ADDRESS["CONTROL"], Control.START)

    async def start_at_once(self, ctx: Any) -> None:
        """Returns in the first running cycle: the write's response is left to itself."""
        ctx.set(self.dut.bus.aw_addr, ADDRESS["CONTROL"])
        ctx.set(self.dut.bus.w_data, Control.START)
        ctx.set(self.dut.bus.w_strb, 1)
        ctx.set(self.dut.bus.aw_valid, 1)
        ctx.set(self.dut.bus.w_valid, 1)
        ctx.set(self.dut.bus.b_ready, 1)
        await self.until(ctx, self.dut.bus.aw_ready, 10)
        await ctx.tick()
        ctx.set(self.dut.bus.aw_valid, 0)
        ctx.set(self.dut.bus.w_valid, 0)
        await self.until(ctx, self.dut.running, 10)
        assert ctx.get(self.dut.launch)

    async def until(self, ctx: Any, signal: Any, limit: int = 1000) -> None:
        for _ in range(limit):
            if ctx.get(signal):
                return
            await ctx.tick()
        raise AssertionError(f"{signal!r} did not come")

    async def pulse(self, ctx: Any, signal: Any, value: int = 1) -> None:
        ctx.set(signal, value)
        await ctx.tick()
        ctx.set(signal, 0)


@pytest.mark.parametrize("preset", ["tiny", "base", "wide"])
def test_constants(preset: str) -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        p = bench.params
        assert await bench.named(ctx, "IDENTITY") == IDENTITY
        assert await bench.named(ctx, "ISA_VERSION") == ISA_VERSION
        assert await bench.named(ctx, "FINGERPRINT") == p.fingerprint
        assert await bench.named(ctx, "GEOMETRY") == p.rows | p.columns << 8 | p.lanes << 16 | p.bus_bytes << 24
        assert await bench.named(ctx, "FAULT_ENGINE") == 7

    Bench(preset).run(test)


def test_writable_registers_keep_bytes_and_others_ignore_writes() -> None:
    plain = [r for r in REGISTERS if r.writable and r.name not in {"CONTROL", "IRQ_STATUS"}]

    async def test(ctx: Any, bench: Bench) -> None:
        expected = {}
        for register in plain:
            value, other, strobes = bench.rng.getrandbits(32), bench.rng.getrandbits(32), bench.rng.randrange(16)
            await bench.write(ctx, register.address, value)
            await bench.write(ctx, register.address, other, strobes)
            mask = sum(0xFF << 8 * byte for byte in range(4) if strobes >> byte & 1)
            expected[register.name] = value & ~mask | other & mask
        before = {r.name: await bench.read(ctx, r.address) for r in REGISTERS if not r.writable}
        for register in REGISTERS:
            if not register.writable:
                await bench.write(ctx, register.address, 0xFFFF_FFFF)
        for name, value in {**expected, **before}.items():
            assert await bench.named(ctx, name) == value, name
        assert await bench.read(ctx, 0x0FC) == 0
        assert await bench.read(ctx, 0xFFC) == 0
        for engine in ENGINES:
            assert ctx.get(bench.dut.stream_addresses[engine]) == expected[f"STREAM_ADDRESS_{engine.name}"]
            assert ctx.get(bench.dut.stream_bytes[engine]) == expected[f"STREAM_BYTES_{engine.name}"]
        assert ctx.get(bench.dut.dram_base) == expected["DRAM_BASE_LOW"]

    Bench().run(test)


def test_a_program_from_start_to_interrupt() -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        dut = bench.dut
        assert ctx.get(dut.reset)
        await bench.write(ctx, ADDRESS["IRQ_ENABLE"], Irq.DONE)
        await bench.start(ctx)
        await bench.until(ctx, dut.running)
        assert not ctx.get(dut.reset)
        assert await bench.named(ctx, "STATUS") == Status.BUSY
        await bench.start(ctx)  # ignored while busy
        cycles = 0
        while await bench.named(ctx, "CYCLES_LOW") < 300:
            cycles += 1
        ctx.set(dut.quiet, 0)
        await bench.pulse(ctx, dut.end)
        final = await bench.named(ctx, "CYCLES_LOW")
        assert ctx.get(dut.reset)
        await ctx.tick().repeat(3 * SETTLE_CYCLES)
        assert await bench.named(ctx, "STATUS") == Status.BUSY
        assert not ctx.get(dut.irq)
        ctx.set(dut.quiet, 1)
        await bench.until(ctx, dut.irq)
        assert await bench.named(ctx, "STATUS") == Status.DONE
        assert await bench.named(ctx, "CYCLES_LOW") == final
        assert await bench.named(ctx, "IRQ_STATUS") == Irq.DONE
        await bench.write(ctx, ADDRESS["IRQ_STATUS"], Irq.FAULT)
        assert ctx.get(dut.irq)
        await bench.write(ctx, ADDRESS["IRQ_STATUS"], Irq.DONE)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.irq)

    Bench().run(test)


def test_cycles_are_the_running_cycles() -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        dut, counted = bench.dut, 0
        await ctx.tick()
        await bench.start_at_once(ctx)
        for cycle in range(100):
            ctx.set(dut.end, cycle == 70)
            counted += ctx.get(dut.running)
            assert not (ctx.get(dut.running) and ctx.get(dut.aborting))
            await ctx.tick()
        assert counted == 71
        assert await bench.named(ctx, "CYCLES_LOW") == counted
        assert await bench.named(ctx, "CYCLES_HIGH") == 0

    Bench().run(test)


FAULTS = ("bus_read", "bus_write", "illegal", "stop", "watchdog")


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_stop_the_program_and_the_next_starts(kind: str) -> None:
    async def provoke(ctx: Any, bench: Bench) -> tuple[Fault, int, int]:
        dut = bench.dut
        if kind.startswith("bus"):
            fault = Fault.READ_RESPONSE if kind == "bus_read" else Fault.WRITE_RESPONSE
            ctx.set(dut.bus_fault_kind, fault)
            ctx.set(dut.bus_fault_address, 0x1234_5678)
            ctx.set(dut.bus_fault_engine, Engine.STORE)
            await bench.pulse(ctx, dut.bus_fault)
            ctx.set(dut.bus_fault_address, 0x999)
            await bench.pulse(ctx, dut.bus_fault)  # too late to count
            return fault, 0x1234_5678, Engine.STORE
        if kind == "illegal":
            ctx.set(dut.illegal_address, 0x40)
            ctx.set(dut.illegal_engine, Engine.DRAIN)
            await bench.pulse(ctx, dut.illegal)
            return Fault.ILLEGAL_INSTRUCTION, 0x40, Engine.DRAIN
        if kind == "stop":
            await bench.write(ctx, ADDRESS["CONTROL"], Control.STOP)
            return Fault.STOPPED, 0, 7
        await bench.until(ctx, dut.aborting)
        return Fault.WATCHDOG, 0, 7

    async def test(ctx: Any, bench: Bench) -> None:
        dut = bench.dut
        await bench.write(ctx, ADDRESS["IRQ_ENABLE"], Irq.FAULT)
        await bench.write(ctx, ADDRESS["WATCHDOG_CYCLES"], 200 if kind == "watchdog" else 0)
        await bench.start(ctx)
        await bench.until(ctx, dut.running)
        await ctx.tick().repeat(20)
        ctx.set(dut.quiet, 0)
        fault, address, engine = await provoke(ctx, bench)
        await bench.until(ctx, dut.aborting)
        assert ctx.get(dut.reset)
        await ctx.tick().repeat(2 * SETTLE_CYCLES)
        assert await bench.named(ctx, "STATUS") == Status.BUSY | Status.FAULT | fault << 8
        assert not ctx.get(dut.irq)
        ctx.set(dut.quiet, 1)
        await bench.until(ctx, dut.irq)
        assert await bench.named(ctx, "STATUS") == Status.FAULT | fault << 8
        assert await bench.named(ctx, "FAULT_ADDRESS_LOW") == address
        assert await bench.named(ctx, "FAULT_ENGINE") == engine
        assert await bench.named(ctx, "IRQ_STATUS") == Irq.FAULT
        await bench.write(ctx, ADDRESS["IRQ_STATUS"], Irq.FAULT)
        await bench.start(ctx)
        await bench.until(ctx, dut.running)
        assert await bench.named(ctx, "STATUS") == Status.BUSY
        await bench.pulse(ctx, dut.end)
        await ctx.tick().repeat(2 * SETTLE_CYCLES)
        assert await bench.named(ctx, "STATUS") == Status.DONE

    Bench().run(test)


def test_stop_without_a_program_does_nothing() -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        await bench.write(ctx, ADDRESS["CONTROL"], Control.STOP)
        await bench.start(ctx)
        await bench.until(ctx, bench.dut.running)
        await ctx.tick().repeat(50)
        assert await bench.named(ctx, "STATUS") == Status.BUSY

    Bench().run(test)


@pytest.mark.parametrize("limit", [1, 7, 40])
def test_watchdog_counts_cycles_without_a_retired_instruction(limit: int) -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        dut = bench.dut
        await bench.write(ctx, ADDRESS["WATCHDOG_CYCLES"], limit)
        await bench.start(ctx)
        await bench.until(ctx, dut.running)
        if limit > 1:
            for _ in range(5):
                await ctx.tick().repeat(limit - 2)
                await bench.pulse(ctx, dut.retire, 1 << 3)
                assert not ctx.get(dut.aborting)
        waited = 0
        while not ctx.get(dut.aborting):
            waited += 1
            await ctx.tick()
        assert limit <= waited <= limit + 2

    Bench().run(test)


def test_counters_explain_every_cycle() -> None:
    """Random classes and events over programs of some lengths; the second leaves nothing of the first. While counters are set,
    classes are not looked at: it is IDLE, also if the program ends meanwhile."""

    async def program(ctx: Any, bench: Bench, length: int) -> None:
        dut, counters, rng = bench.dut, bench.counters, bench.rng
        classes = [Counter[int]() for _ in ENGINES]
        events = Counter[int]()
        await bench.start_at_once(ctx)
        for cycle in range(10_000):
            now = [rng.choice(list(CycleClass)) for _ in ENGINES]
            happened = [rng.choice([0, 1, 1, 2 if event is Event.ACC_READS else 1]) for event in Event]
            for engine in ENGINES:
                ctx.set(counters.classes[engine], now[engine])
            for event in Event:
                ctx.set(counters.events[event], happened[event])
            ctx.set(dut.end, cycle >= length)
            if ctx.get(dut.running):
                for engine in ENGINES:
                    classes[engine][now[engine] if cycle >= CLEAR_CYCLES else CycleClass.IDLE] += 1
                for event in Event:
                    events[event] += happened[event]
            await ctx.tick()
            if not ctx.get(dut.running):
                break
        ctx.set(dut.end, 0)
        while await bench.named(ctx, "STATUS") != Status.DONE:
            pass
        cycles = await bench.named(ctx, "CYCLES_LOW")
        for engine in ENGINES:
            got = {c: await bench.read(ctx, class_address(engine, c)) for c in CycleClass}
            assert sum(got.values()) == cycles
            assert got == {c: classes[engine][c] for c in CycleClass}
        assert {e: await bench.read(ctx, event_address(e)) for e in Event} == {e: events[e] for e in Event}

    async def test(ctx: Any, bench: Bench) -> None:
        for length in (400, 0, 77, 9, CLEAR_CYCLES - 1, CLEAR_CYCLES, 30):
            await program(ctx, bench, length)

    Bench(seed=5).run(test)


@pytest.mark.parametrize("start_after", [1, 2])
def test_counters_are_read_while_a_program_runs(start_after: int) -> None:
    """Every read is right to some cycles, at the highest rate and over more cycles than a count holds; so are the last ones."""
    late = 16  # cycles from a change of a counter to a read that shows it, and back

    async def test(ctx: Any, bench: Bench) -> None:
        dut, counters, rng = bench.dut, bench.counters, bench.rng
        for engine in ENGINES:
            ctx.set(counters.classes[engine], CycleClass.BUSY)
        for event in Event:
            ctx.set(counters.events[event], 2 if event is Event.ACC_READS else 1)
        ctx.set(dut.bus.r_ready, 1)
        await bench.start_at_once(ctx)
        await ctx.tick().repeat(start_after)
        for number in range(400):
            before = await bench.named(ctx, "CYCLES_LOW") if number % 8 == 0 else None
            if before is None:
                await bench.read(ctx, 0x800 if rng.random() < 0.1 else class_address(Engine.STORE, CycleClass.SETUP))
                continue
            event = rng.choice(list(Event))
            got = await bench.read(ctx, event_address(event))
            after = await bench.named(ctx, "CYCLES_LOW")
            each = 2 if event is Event.ACC_READS else 1
            assert each * (before - late) <= got <= each * after, event
            busy = await bench.read(ctx, class_address(Engine.DRAIN, CycleClass.BUSY))
            assert after - CLEAR_CYCLES - late <= busy
        assert await bench.named(ctx, "CYCLES_LOW") > 2000
        await bench.pulse(ctx, dut.end)
        while await bench.named(ctx, "STATUS") != Status.DONE:
            pass
        cycles = await bench.named(ctx, "CYCLES_LOW")
        for engine in ENGINES:
            assert await bench.read(ctx, class_address(engine, CycleClass.IDLE)) == CLEAR_CYCLES
            assert await bench.read(ctx, class_address(engine, CycleClass.BUSY)) == cycles - CLEAR_CYCLES
        for event in Event:
            assert await bench.read(ctx, event_address(event)) == cycles * (2 if event is Event.ACC_READS else 1)

    Bench(seed=7).run(test)


def test_finished_counts_are_read() -> None:
    async def test(ctx: Any, bench: Bench) -> None:
        for engine in ENGINES:
            ctx.set(bench.dut.finished[engine], 100 + engine)
        for engine in ENGINES:
            assert await bench.named(ctx, f"FINISHED_{engine.name}") == 100 + engine

    Bench().run(test)
