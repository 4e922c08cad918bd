"""The guard: arbitration, errors, and the orderly end of everything in flight."""

from __future__ import annotations

import random
from typing import Any

import pytest

from systola.hw.dma.axi import FETCH_OUTSTANDING
from systola.hw.isa import ENGINES, Engine
from systola.hw.registers import Fault

from .axi_memory import RANDOM
from .dma_bench import AxiMemory, Bench, Fields, Timing, make_params

DRAM_BYTES = 1 << 14
BASE = 0x1000
PARAMS = make_params(8, 8, burst_beats=4, read_outstanding=4, write_outstanding=4)
STORE_AT = 8192
STREAMS_AT = 12288
STREAM_BYTES = 192
STREAM_WORDS = STREAM_BYTES // 16


def _load(sp: int = 0, rows: int = 4) -> Fields:
    return {"dram_address": 0, "sp_address": sp, "count_x": 10, "count_y": rows, "count_z": 1, "dram_stride_y": 80,
            "dram_stride_z": 0, "sp_stride_y": 10, "sp_stride_z": 0}  # fmt: skip


def _store(rows: int = 4) -> Fields:
    return _load(200, rows) | {"dram_address": STORE_AT}


class _Session:
    """Load, store and fetch at once; then abort; then a clean program."""

    def __init__(self, timing: Timing, seed: int = 0, **faults: frozenset[int]) -> None:
        self.memory = AxiMemory(PARAMS, DRAM_BYTES, base=BASE, timing=timing, seed=seed, **faults)
        self.bench = Bench(PARAMS, self.memory, with_fetch=True)
        self.machine = self.bench.machine

    async def begin(self, ctx: Any, loads: int, stores: int, fetch: bool = True) -> None:
        """Offers one load and one store (if wanted) and starts fetch."""
        machine = self.machine
        for unit in (machine.load, machine.store, machine.fetch):
            ctx.set(unit.dram_base, BASE)
        for engine in ENGINES:
            ctx.set(machine.fetch.stream_addresses[engine], STREAMS_AT + STREAM_BYTES * engine)
            ctx.set(machine.fetch.stream_bytes[engine], STREAM_BYTES)
        ctx.set(machine.fetch.start, fetch)
        for port, fields, wanted in ((machine.load.control, _load(), loads), (machine.store.control, _store(), stores)):
            ctx.set(port.instruction.payload, {"opcode": 0, **fields})
            ctx.set(port.instruction.valid, wanted)
        await ctx.tick()
        ctx.set(machine.fetch.start, 0)
        ctx.set(machine.load.control.instruction.valid, 0)
        ctx.set(machine.store.control.instruction.valid, 0)

    async def abort(self, ctx: Any) -> None:
        """As the control unit does it: guard in abort, engines in reset, until quiet."""
        machine, memory = self.machine, self.memory
        bursts = len(memory.reads), len(memory.writes)
        strobes = len(memory.strobes)
        ctx.set(machine.guard.abort, 1)
        ctx.set(machine.reset, 1)
        await self.bench.until(ctx, lambda: ctx.get(machine.guard.quiet), 3000)
        assert memory.idle, "quiet, but something is in flight"
        # One address may have been on offer in each direction; one beat with strobes too.
        assert len(memory.reads) <= bursts[0] + 1
        assert len(memory.writes) <= bursts[1] + 1
        assert not any(memory.strobes[strobes + 1 :])
        await ctx.tick().repeat(3)
        ctx.set(machine.reset, 0)
        ctx.set(machine.guard.abort, 0)
        await ctx.tick()

    async def clean(self, ctx: Any) -> None:
        """A program without faults does what it should."""
        bench, memory = self.bench, self.memory
        memory.read_faults = memory.write_faults = frozenset()
        bench.faults.clear()
        for seen in (bench.load, bench.store):
            seen.retired.clear()
        start = len(bench.writes)
        await self.begin(ctx, 1, 1)
        fetched = 0

        def done() -> bool:
            nonlocal fetched
            fetched += ctx.get(self.machine.fetch.put) != 0
            return bool(bench.load.retired and bench.store.retired and fetched == STREAM_WORDS * len(ENGINES))

        await bench.until(ctx, done, 4000)
        assert [a for _, a in bench.writes[start:]] == list(range(40))
        assert b"".join(bench.words[:40]) == memory.bytes[:320]
        assert b"".join(bench.words[200:240]) == memory.bytes[STORE_AT : STORE_AT + 320]
        assert not bench.faults
        assert len(bench.load.retired) == len(bench.store.retired) == 1


@pytest.mark.parametrize("far", [False, True])
def test_every_faulty_read_is_told(far: bool) -> None:
    """One fault after the other in one simulation: the address is the burst's, and the machine works again after abort."""
    timing = Timing(latency=(20, 20)) if far else RANDOM
    session = _Session(timing)
    bench, memory = session.bench, session.memory

    async def main(ctx: Any) -> None:
        for index in range(12):
            memory.read_faults = frozenset([len(memory.reads) + index])
            bench.faults.clear()
            await session.begin(ctx, 1, 0)
            await bench.until(ctx, lambda: bench.faults, 4000)
            burst = next(b for b in memory.reads if b.bad)
            assert set(bench.faults) == {(Fault.READ_RESPONSE, burst.address, Engine.LOAD if burst.id else 7)}
            await session.abort(ctx)
            memory.reads.clear()
        await session.clean(ctx)

    bench.run(main)


def test_every_faulty_write_is_told() -> None:
    session = _Session(RANDOM, seed=3)
    bench, memory = session.bench, session.memory

    async def main(ctx: Any) -> None:
        for index in range(12):
            memory.write_faults = frozenset([index])
            bench.faults.clear()
            bench.store.retired.clear()
            await session.begin(ctx, 1, 1)
            await bench.until(ctx, lambda: bench.faults, 4000)
            assert bench.faults == [(Fault.WRITE_RESPONSE, memory.writes[index].address, Engine.STORE)]
            assert index < 11 or not bench.store.retired, "retired though its last burst failed"
            await session.abort(ctx)
            memory.writes.clear()
        await session.clean(ctx)

    bench.run(main)


@pytest.mark.parametrize("timing", [RANDOM, Timing(latency=(15, 15)), Timing(ar=0.1, aw=0.1, w=0.1, latency=(3, 9))])
def test_abort_at_any_cycle(timing: Timing) -> None:
    """Whatever is going on when abort comes, it ends as AXI demands (the memory checks it), and a clean program works."""
    session = _Session(timing, seed=8)
    rng = random.Random(6)

    async def main(ctx: Any) -> None:
        for cycles in [*range(12), *(rng.randint(12, 150) for _ in range(14))]:
            await session.begin(ctx, 1, 1)
            await ctx.tick().repeat(cycles + 1)
            await session.abort(ctx)
        session.bench.faults.clear()
        await session.clean(ctx)

    session.bench.run(main)


def test_abort_owes_beats_without_strobes() -> None:
    """A store whose scratchpad never answers: the beats of accepted addresses are sent by the guard."""
    session = _Session(Timing(latency=(2, 2)))
    bench, memory = session.bench, session.memory
    bench.patience = 0.0

    async def main(ctx: Any) -> None:
        await ctx.tick().repeat(3)
        before = bytes(memory.bytes)
        await session.begin(ctx, 0, 1, fetch=False)
        await ctx.tick().repeat(30)
        assert len(memory.writes) == 4
        await session.abort(ctx)
        assert len(memory.writes) == 4
        assert memory.bytes == before
        assert memory.strobes == [0] * sum(b.beats for b in memory.writes)

    bench.run(main)


def test_urgent_fetch_goes_first_and_load_is_not_held_up_by_its_full_queue() -> None:
    session = _Session(Timing(latency=(60, 60)))
    memory = session.memory

    async def main(ctx: Any) -> None:
        await session.begin(ctx, 1, 0)
        await ctx.tick().repeat(50)

    session.bench.run(main)
    order = [b.id for b in memory.reads]
    assert order.count(0) == FETCH_OUTSTANDING
    assert order.count(1) == 4  # read_outstanding
    assert 0 in order[:4], "urgent fetches waited for loads"
