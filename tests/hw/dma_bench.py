"""The manager's side as a whole, with a memory, a scratchpad and front ends made of Python."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from systola.hw.config import Config, load_config
from systola.hw.dma import AxiGuard, Fetch, LoadEngine, StoreEngine
from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.registers import CycleClass

from .axi_memory import AxiMemory, Timing


def make_params(lanes: int, bus_bytes: int, **bus: int) -> Params:
    """A small accelerator with a word of ``lanes`` bytes and a bus of ``bus_bytes``."""
    config = load_config("tiny").model_dump()
    config["array"] = {"rows": lanes, "columns": lanes}
    config["memory"]["accumulator_bytes"] = max(512, 16 * 4 * lanes)
    config["bus"] = {**config["bus"], "data_bytes": bus_bytes, **bus}
    return Params(Config.model_validate(config))


class Machine(wiring.Component):
    """The engines behind the guard, with a common reset as the control unit gives it."""

    def __init__(self, params: Params, with_fetch: bool) -> None:
        self.params = params
        self.guard = AxiGuard(params)
        self.load = LoadEngine(params)
        self.store = StoreEngine(params)
        self.fetch = Fetch(params) if with_fetch else None
        self.reset = Signal()
        super().__init__({})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        m = Module()
        reset = ResetInserter({"sync": self.reset})
        m.submodules.guard = self.guard
        m.submodules.load = reset(self.load)
        m.submodules.store = reset(self.store)
        wiring.connect(m, self.load.read, self.guard.load)
        wiring.connect(m, self.store.bus, self.guard.store)
        if self.fetch:
            m.submodules.fetch = reset(self.fetch)
            wiring.connect(m, self.fetch.read, self.guard.fetch)
            m.d.comb += self.guard.fetch_urgent.eq(self.fetch.urgent)
        return m


Fields = dict[str, int]


def rows_of(params: Params, fields: Fields) -> list[tuple[int, int]]:
    """(DRAM offset, first scratchpad word) of each row, in order."""
    return [
        (
            (fields["dram_address"] + z * fields["dram_stride_z"] + y * fields["dram_stride_y"]) % (1 << 32),
            (fields["sp_address"] + z * fields["sp_stride_z"] + y * fields["sp_stride_y"]) % params.scratchpad_words,
        )
        for z in range(fields["count_z"])
        for y in range(fields["count_y"])
    ]


@dataclass
class Engine:
    """What was seen at an engine's control port."""

    taken: list[int] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)
    classes: list[CycleClass] = field(default_factory=list)


class Bench:
    """Simulation of a ``Machine``. ``patience``: probability that the scratchpad accepts, and that a front end offers."""

    def __init__(
        self, params: Params, memory: AxiMemory, patience: float = 1.0, seed: int = 0, with_fetch: bool = False
    ) -> None:
        self.params = params
        self.memory = memory
        self.machine = Machine(params, with_fetch)
        self.rng = random.Random(seed)
        self.patience = patience
        self.words = [self.rng.randbytes(params.lanes) for _ in range(params.scratchpad_words)]
        self.writes: list[tuple[int, int]] = []  # (cycle, word address)
        self.load = Engine()
        self.store = Engine()
        self.faults: list[tuple[int, int, int]] = []  # kind, address, engine
        self.events = dict.fromkeys(("read_beats", "write_beats", "read_bursts", "write_bursts", "fetch_beats"), 0)
        self.cycle = 0
        self.simulator = Simulator(self.machine)
        self.simulator.add_clock(1e-6)
        for process in (self._memory, self._sp_write, self._sp_read, self._watch):
            self.simulator.add_process(process)

    async def _memory(self, ctx: Any) -> None:
        guard = self.machine.guard
        await self.memory.run(ctx, guard.read_bus, guard.write_bus)

    async def _sp_write(self, ctx: Any) -> None:
        port = self.machine.load.write
        ready = True
        ctx.set(port.ready, 1)
        cycle = 0
        while True:
            _, _, valid, address, data, mask = await ctx.tick().sample(port.valid, port.address, port.data, port.mask)
            if valid and ready:
                assert mask == (1 << self.params.column_groups) - 1
                self.words[address] = data.to_bytes(self.params.lanes, "little")
                self.writes.append((cycle, address))
            cycle += 1
            ready = self.rng.random() < self.patience
            ctx.set(port.ready, ready)

    async def _sp_read(self, ctx: Any) -> None:
        port = self.machine.store.read
        ready = True
        ctx.set(port.ready, 1)
        pipe: list[bytes | None] = [None] * (SCRATCHPAD_READ_LATENCY_CYCLES - 1)
        while True:
            _, _, valid, address = await ctx.tick().sample(port.valid, port.address)
            pipe.append(self.words[address] if valid and ready else None)
            word = pipe.pop(0)
            # Outside its one cycle the port carries noise, so a word taken too late is seen.
            ctx.set(port.data, int.from_bytes(word if word is not None else self.rng.randbytes(self.params.lanes), "little"))
            ready = self.rng.random() < self.patience
            ctx.set(port.ready, ready)

    async def _watch(self, ctx: Any) -> None:
        machine = self.machine
        guard = machine.guard
        names = list(self.events)
        engines = ((self.load, machine.load.control), (self.store, machine.store.control))
        signals = [guard.fault, guard.fault_kind, guard.fault_address, guard.fault_engine, *(getattr(guard, n) for n in names)]
        for _, port in engines:
            signals += [port.retire, port.cycle_class, port.instruction.valid, port.instruction.ready]
        while True:
            _, _, fault, kind, address, engine, *rest = await ctx.tick().sample(*signals)
            if fault:
                self.faults.append((int(kind), address, engine))
            for name, value in zip(names, rest, strict=False):
                self.events[name] += value
            rest = rest[len(names) :]
            for seen, _ in engines:
                retire, kind, valid, ready, *rest = rest
                if retire:
                    seen.retired.append(self.cycle)
                seen.classes.append(CycleClass(kind))
                if valid and ready:
                    seen.taken.append(self.cycle)
            self.cycle += 1

    async def feed(self, ctx: Any, port: Any, instructions: list[Fields]) -> None:
        """Offers instructions one after the other."""
        for fields in instructions:
            while self.rng.random() >= self.patience:
                await ctx.tick()
            ctx.set(port.instruction.payload, {"opcode": 0, **fields})
            ctx.set(port.instruction.valid, 1)
            await ctx.tick().until(port.instruction.ready)
            ctx.set(port.instruction.valid, 0)

    async def until(self, ctx: Any, condition: Any, limit: int = 20000) -> None:
        """Lets time pass until the Python condition holds."""
        for _ in range(limit):
            if condition():
                return
            await ctx.tick()
        raise AssertionError(f"nothing happened in {limit} cycles")

    def run(self, main: Any, *others: Any) -> None:
        """Runs until ``main`` ends."""
        self.simulator.add_testbench(main)
        for other in others:
            self.simulator.add_testbench(other, background=True)
        self.simulator.run()

    def transfer(self, loads: list[Fields], stores: list[Fields]) -> None:
        """Runs both lists to their end, side by side."""
        control = self.machine.load.control, self.machine.store.control

        async def main(ctx: Any) -> None:
            ctx.set(self.machine.load.dram_base, self.memory.base)
            ctx.set(self.machine.store.dram_base, self.memory.base)
            await self.until(
                ctx, lambda: len(self.load.retired) == len(loads) and len(self.store.retired) == len(stores), 60000
            )
            await ctx.tick().repeat(4)
            ctx.set(self.machine.guard.abort, 1)
            await ctx.delay(1e-9)
            assert ctx.get(self.machine.guard.quiet)

        async def feed_load(ctx: Any) -> None:
            await self.feed(ctx, control[0], loads)

        async def feed_store(ctx: Any) -> None:
            await self.feed(ctx, control[1], stores)

        self.run(main, feed_load, feed_store)


__all__ = ["AxiMemory", "Bench", "Engine", "Fields", "Machine", "Timing", "make_params", "rows_of"]
