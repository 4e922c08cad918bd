"""Instruction fetch behind the guard: every word reaches its queue, in order and with room, whatever memory and queues do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.config import Config
from systola.hw.dma.axi import FETCH_OUTSTANDING
from systola.hw.dma.fetch import ChunkPlanner, chunk_bytes
from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params

from .axi_memory import RANDOM
from .dma_bench import AxiMemory, Bench, Fields, Timing, make_params

DRAM_BYTES = 1 << 15
BASE = 0x4000_0F00
WORD_BYTES = 16


def _params(bus_bytes: int, units: int = 16, **bus: int) -> Params:
    config = make_params(8, bus_bytes, **bus).config.model_dump()
    config["queue"] = {"units": units}
    return Params(Config.model_validate(config))


@dataclass
class _Run:
    """Streams of ``sizes`` bytes, at random places; ``patience``: how likely each engine takes a word that its queue has, in a
    cycle; it may be changed while it runs."""

    params: Params
    sizes: Sequence[int]
    timing: Timing = field(default_factory=Timing)
    patience: list[float] = field(default_factory=lambda: [1.0] * len(ENGINES))
    seed: int = 1

    def __post_init__(self) -> None:
        granule = self.params.stream_granule_bytes
        self.rng = random.Random(self.seed)
        self.base = BASE - BASE % granule
        self.memory = AxiMemory(self.params, DRAM_BYTES, base=self.base, timing=self.timing)
        self.addresses, begin = [0] * len(ENGINES), 0
        for e in self.rng.sample(list(ENGINES), len(ENGINES)):
            self.addresses[e] = begin = begin + granule * self.rng.randint(1, 3)
            begin += self.sizes[e]
        self.bench = Bench(self.params, self.memory, with_fetch=True)
        self.fetch = self.bench.machine.fetch
        self.got: list[list[int]] = [[] for _ in ENGINES]
        self.queued = [0] * len(ENGINES)
        self.most = [0] * len(ENGINES)
        self.cycles: list[list[int]] = [[] for _ in ENGINES]
        self.started = 0
        self.bench.simulator.add_process(self._queues)

    async def _queues(self, ctx: Any) -> None:
        """The queues, as far as fetch sees them."""
        fetch = self.fetch
        while True:
            _, _, put, word = await ctx.tick().sample(fetch.put, fetch.word)
            freed = 0
            for e in ENGINES:
                if put >> e & 1:
                    self.got[e].append(word)
                    self.cycles[e].append(self.bench.cycle - self.started)
                    self.queued[e] += 1
                    self.most[e] = max(self.most[e], self.queued[e])
                    assert self.queued[e] <= self.params.queue_bytes // WORD_BYTES, "a queue overflows"
                if self.queued[e] and self.rng.random() < self.patience[e]:
                    freed |= 1 << e
                    self.queued[e] -= 1
            ctx.set(fetch.freed, freed)

    def expected(self, engine: int) -> list[int]:
        """The words of a stream."""
        data = self.memory.bytes[self.addresses[engine] : self.addresses[engine] + self.sizes[engine]]
        return [int.from_bytes(data[i : i + WORD_BYTES], "little") for i in range(0, len(data), WORD_BYTES)]

    async def start(self, ctx: Any) -> None:
        fetch = self.fetch
        ctx.set(fetch.dram_base, self.base)
        for e in ENGINES:
            ctx.set(fetch.stream_addresses[e], self.addresses[e])
            ctx.set(fetch.stream_bytes[e], self.sizes[e])
        ctx.set(fetch.start, 1)
        self.started = self.bench.cycle
        await ctx.tick()
        ctx.set(fetch.start, 0)

    def complete(self, *engines: Engine) -> bool:
        return all(len(self.got[e]) * WORD_BYTES == self.sizes[e] for e in engines or ENGINES)

    def go(self) -> None:
        """To the end of all streams."""

        async def main(ctx: Any) -> None:
            await self.start(ctx)
            await self.bench.until(ctx, self.complete)
            await ctx.tick().repeat(300)
            assert self.memory.idle

        self.bench.run(main)
        self.check()

    def check(self) -> None:
        """Words are right, and nothing else was read, nor anything twice."""
        for e in ENGINES:
            assert self.got[e] == self.expected(e)[: len(self.got[e])]
        wanted = [(self.base + a, self.base + a + size) for a, size in zip(self.addresses, self.sizes, strict=True)]
        for burst in self.memory.reads:
            assert burst.id == 0
            end = burst.address + burst.beats * self.params.bus_bytes
            assert any(low <= burst.address and end <= high for low, high in wanted)
        addresses = [burst.address for burst in self.memory.reads]
        assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize(("bus_bytes", "units", "burst_beats"), [
    (4, 16, 16), (4, 4, 1), (8, 16, 16), (16, 32, 16), (16, 4, 4), (32, 16, 16), (64, 64, 2), (128, 16, 16), (128, 4, 16),
])  # fmt: skip
@pytest.mark.parametrize("busy", [False, True])
def test_every_word_reaches_its_queue(bus_bytes: int, units: int, burst_beats: int, busy: bool) -> None:
    params = _params(bus_bytes, units, burst_beats=burst_beats)
    rng = random.Random(bus_bytes + units)
    granule = params.stream_granule_bytes
    sizes = [granule * rng.choice((0, 1, 2, rng.randint(3, 40))) for _ in ENGINES]
    sizes[rng.randrange(5)] = 41 * granule
    patience = [rng.choice((0.05, 0.3, 1.0)) for _ in ENGINES] if busy else [1.0] * 5
    run = _Run(params, sizes, RANDOM if busy else Timing(), patience)
    run.go()
    beats = sum(sizes) // bus_bytes
    assert run.bench.events["fetch_beats"] == run.bench.events["read_beats"] == len(run.memory.read_beats) == beats


def test_a_full_queue_blocks_no_other_stream() -> None:
    """One engine after the other takes nothing; all others get their streams, and at last it does too."""
    for blocked in ENGINES:
        params = _params(16)
        run = _Run(params, [64 * 40] * 5, patience=[0.0 if e is blocked else 0.5 for e in ENGINES])

        async def main(ctx: Any, run: _Run = run, blocked: Engine = blocked) -> None:
            await run.start(ctx)
            await run.bench.until(ctx, lambda: run.complete(*(e for e in ENGINES if e is not blocked)))
            await ctx.tick().repeat(100)
            depth = run.params.queue_bytes // WORD_BYTES
            assert depth - chunk_bytes(run.params) // WORD_BYTES < len(run.got[blocked]) <= depth
            run.patience[blocked] = 1.0
            await run.bench.until(ctx, run.complete)

        run.bench.run(main)
        run.check()


def test_first_instructions_come_a_latency_after_the_start() -> None:
    """Not one latency after the other: load's first, then those of all others while the first is hardly there."""
    run = _Run(_params(16, 32), [64 * 20] * 5, Timing(latency=(100, 100)))
    run.go()
    whole = [run.cycles[e][3] for e in ENGINES]
    assert min(whole) == whole[Engine.LOAD] <= 100 + 15
    assert max(whole) <= 100 + 40


@pytest.mark.parametrize("alone", [False, True])
def test_keeps_pace_with_a_far_memory(alone: bool) -> None:
    """All together get a 64-byte instruction every 5 cycles, 100 cycles from memory; one alone as its queue allows."""
    sizes = [64 * 60 if e is Engine.ARRAY or not alone else 0 for e in ENGINES]
    run = _Run(_params(16, 32), sizes, Timing(latency=(100, 100)))
    run.go()
    last = max(cycle for cycles in run.cycles for cycle in cycles)
    assert last <= 120 + (60 * 9 if alone else 300 * 5)


def test_bursts_in_flight() -> None:
    run = _Run(_params(16, 64), [64 * 60] * 5, Timing(latency=(500, 500)))

    async def main(ctx: Any) -> None:
        await run.start(ctx)
        await ctx.tick().repeat(400)

    run.bench.run(main)
    assert len(run.memory.reads) == FETCH_OUTSTANDING


def test_loads_go_first_unless_it_is_urgent() -> None:
    """While queues have a chunk or more, loads are not held up; when one has less, it is served between loads."""
    params = _params(8, 32, burst_beats=4, read_outstanding=64)
    run = _Run(params, [64 * 40] * 5, Timing(latency=(4, 4)), patience=[0.0] * 5)
    load: Fields = {"opcode": 0, "dram_address": 0, "sp_address": 0, "count_x": 1, "count_y": 600, "count_z": 1,
                    "dram_stride_y": 8, "dram_stride_z": 0, "sp_stride_y": 1, "sp_stride_z": 0}  # fmt: skip
    control = run.bench.machine.load.control

    async def main(ctx: Any) -> None:
        await run.start(ctx)
        ctx.set(run.bench.machine.load.dram_base, run.base)
        await run.bench.until(ctx, lambda: min(map(len, run.got)) * WORD_BYTES >= chunk_bytes(params))
        ctx.set(control.instruction.payload, load)
        ctx.set(control.instruction.valid, 1)
        await ctx.tick()
        ctx.set(control.instruction.valid, 0)
        await ctx.tick().repeat(20)
        first = len(run.memory.reads)
        await ctx.tick().repeat(100)
        during = [burst.id for burst in run.memory.reads[first:]]
        assert len(during) >= 90
        assert during.count(0) <= 4, "loads were held up"
        run.patience[Engine.DRAIN] = 1.0
        before = len(run.got[Engine.DRAIN])
        await ctx.tick().repeat(150)
        assert len(run.got[Engine.DRAIN]) > before, "an empty queue got nothing"
        assert not run.bench.load.retired
        await run.bench.until(ctx, lambda: run.bench.load.retired)

    run.bench.run(main)


FIRST_WORDS = 5
"""Words that leave load's queue before anything is asked for in advance."""


def _chunks(params: Params, sizes: Sequence[int], cycles: int) -> list[tuple[int, int, int]]:
    """What a planner asks for: (engine, offset, bytes). Load takes an instruction and a word after 100 cycles, others nothing."""
    dut = ChunkPlanner(params)
    found: list[tuple[int, int, int]] = []

    async def bench(ctx: Any) -> None:
        for e in ENGINES:
            ctx.set(dut.addresses[e], 4096 * e)
            ctx.set(dut.sizes[e], sizes[e])
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.chunks.ready, 1)
        for cycle in range(cycles):
            ctx.set(dut.freed, int(100 <= cycle < 100 + FIRST_WORDS) << Engine.LOAD)
            if ctx.get(dut.chunks.valid):
                engine = ctx.get(dut.engine).bit_length() - 1
                chunk = ctx.get(dut.chunks.payload)
                found.append((engine, chunk["address"] - 4096 * engine, WORD_BYTES * (chunk["words_minus_one"] + 1)))
                assert cycle >= 2
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def test_streams_take_turns() -> None:
    """A granule of each, then chunks of 256 bytes, as far as the queues have room."""
    found = _chunks(_params(16, 32), [4096, 64, 320, 0, 1024], 300)
    assert found[:4] == [(0, 0, 64), (1, 0, 64), (2, 0, 64), (4, 0, 64)]
    assert found[4:7] == [(0, 64, 256), (2, 64, 256), (4, 64, 256)]
    assert found[7:] == [(0, 320, 256), (4, 320, 256), (0, 576, 256), (4, 576, 256), (0, 832, 256)]


def test_nothing_in_advance_before_load_has_begun() -> None:
    """A granule and a chunk of each are asked for; then it waits for load, if that has a stream."""
    sizes = [4096] * 5
    params = _params(16, 32)
    assert len(_chunks(params, sizes, 95)) == 10
    assert len(_chunks(params, sizes, 300)) > 15
    sizes[Engine.LOAD] = 0
    assert len(_chunks(params, sizes, 95)) == 16


@pytest.mark.parametrize(("bus_bytes", "units", "chunk"), [
    (4, 16, 64), (4, 4, 64), (8, 32, 128), (16, 8, 128), (16, 16, 256), (64, 256, 256), (128, 4, 128),
])  # fmt: skip
def test_chunks_are_half_a_queue_at_most(bus_bytes: int, units: int, chunk: int) -> None:
    params = _params(bus_bytes, units)
    assert chunk_bytes(params) == chunk
    found = _chunks(params, [1 << 16] * 5, 1000)
    asked = [sum(size for engine, _, size in found if engine == e) for e in ENGINES]
    asked[Engine.LOAD] -= FIRST_WORDS * WORD_BYTES
    assert all(params.queue_bytes - chunk < size <= params.queue_bytes for size in asked)
    assert max(size for _, _, size in found) == chunk
