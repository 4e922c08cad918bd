"""Instruction fetch behind the guard: every word reaches its queue, in order, whatever the memory and the queues do."""

from __future__ import annotations

import random
from typing import Any

import pytest

from systola.hw.dma.fetch import BUFFER_BYTES
from systola.hw.isa import ENGINES, Instruction, Opcode, encode
from systola.hw.params import Params

from .axi_memory import RANDOM
from .dma_bench import AxiMemory, Bench, Timing, make_params

DRAM_BYTES = 1 << 14
BASE = 0x4000_0F00


def _program(rng: random.Random, count: int) -> tuple[bytes, list[list[int]]]:
    """Random instructions, END and padding; and the words that each engine's queue gets."""
    queues: list[list[int]] = [[] for _ in ENGINES]
    program = b""
    for _ in range(count):
        opcode = rng.choice([o for o in Opcode if o is not Opcode.END])
        body = bytearray(rng.randbytes(len(encode(Instruction(opcode, {})))))
        body[0] = body[0] & 0xF0 | opcode
        program += body
        queues[opcode - 1] += [int.from_bytes(body[i : i + 16], "little") for i in range(0, len(body), 16)]
    program += encode(Instruction(Opcode.END, {"wait_enable": 17, "wait_load": 4, "wait_store": 7, "tag": 99}))
    return program + bytes(-len(program) % 64), queues


class _Run:
    """A program of ``data`` at ``address``; the queues accept with probability ``patience``."""

    def __init__(self, params: Params, data: bytes, address: int = 0, timing: Timing | None = None, patience: float = 1) -> None:
        self.memory = AxiMemory(params, DRAM_BYTES, base=BASE, timing=timing or Timing())
        self.memory.bytes[address : address + len(data)] = data
        self.bench = Bench(params, self.memory, with_fetch=True)
        self.fetch = self.bench.machine.fetch
        self.data, self.address = data, address
        self.rng = random.Random(1)
        self.patience = patience
        self.queues: list[list[int]] = [[] for _ in ENGINES]
        self.illegal: list[int] = []
        self.cycles: list[int] = []
        self.ended = False
        self.bench.simulator.add_process(self._take)

    async def _take(self, ctx: Any) -> None:
        fetch = self.fetch
        signals = [s for q in fetch.queues for s in (q.valid, q.payload)]
        ready = [False] * len(ENGINES)
        while True:
            _, _, illegal, offset, ended, *values = await ctx.tick().sample(
                fetch.illegal, fetch.illegal_offset, fetch.end_valid, *signals
            )
            self.ended = bool(ended)
            if illegal:
                self.illegal.append(offset)
            for i, (valid, payload) in enumerate(zip(values[::2], values[1::2], strict=True)):
                if valid and ready[i]:
                    self.queues[i].append(payload)
                    self.cycles.append(self.bench.cycle)
                ready[i] = self.rng.random() < self.patience
                ctx.set(fetch.queues[i].ready, ready[i])

    async def start(self, ctx: Any) -> None:
        fetch = self.fetch
        ctx.set(fetch.dram_base, self.memory.base)
        ctx.set(fetch.program_address, self.address)
        ctx.set(fetch.program_bytes, len(self.data))
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)

    def go(self) -> None:
        async def main(ctx: Any) -> None:
            await self.start(ctx)
            await self.bench.until(ctx, lambda: self.ended or self.illegal)
            await ctx.tick().repeat(10)
            ctx.set(self.bench.machine.guard.abort, 1)
            await self.bench.until(ctx, lambda: ctx.get(self.bench.machine.guard.quiet))
            assert self.memory.idle

        self.bench.run(main)
        low, high = BASE + self.address, BASE + self.address + len(self.data)
        bus = self.bench.params.bus_bytes
        for burst in self.memory.reads:
            assert burst.id == 0
            assert low - low % bus <= burst.address
            assert burst.address + burst.beats * bus <= high + -high % bus


@pytest.mark.parametrize(("bus_bytes", "address"), [(4, 64), (8, 0), (16, 960), (32, 192), (64, 64), (128, 64)])
@pytest.mark.parametrize("busy", [False, True])
def test_hands_out_every_word(bus_bytes: int, address: int, busy: bool) -> None:
    program, queues = _program(random.Random(bus_bytes), 40)
    run = _Run(make_params(8, bus_bytes), program, address, RANDOM if busy else Timing(), 0.4 if busy else 1.0)
    run.go()
    assert run.queues == queues
    assert run.ended
    assert run.illegal == []
    assert sum(b.beats for b in run.memory.reads) * bus_bytes >= len(program) or not busy
    assert run.bench.events["fetch_beats"] == run.bench.events["read_beats"] == len(run.memory.read_beats)


def test_hands_out_the_end() -> None:
    run = _Run(make_params(8, 16), _program(random.Random(3), 2)[0])
    seen: dict[str, int] = {}

    async def main(ctx: Any) -> None:
        await run.start(ctx)
        await run.bench.until(ctx, lambda: run.ended)
        end = ctx.get(run.fetch.end)
        seen.update({name: end[name] for name in ("opcode", "wait_enable", "wait_load", "wait_store", "tag")})

    run.bench.run(main)
    assert seen == {"opcode": Opcode.END, "wait_enable": 17, "wait_load": 4, "wait_store": 7, "tag": 99}


@pytest.mark.parametrize("opcode", [0, 7, 15])
def test_illegal_opcode(opcode: int) -> None:
    """The unit's byte offset is told; what came before is handed out, what comes after is not."""
    load = encode(Instruction(Opcode.LOAD, {}))
    program = load + encode(Instruction(Opcode.VECTOR, {})) + bytes([opcode]) * 32 + load + bytes(64)
    run = _Run(make_params(8, 16), program + bytes(-len(program) % 64))
    run.go()
    assert run.illegal == [160]
    assert not run.ended
    assert [len(q) for q in run.queues] == [4, 0, 0, 6, 0]


@pytest.mark.parametrize(("program", "offset"), [(b"", 0), (encode(Instruction(Opcode.LOAD, {})) * 3, 192)])
def test_program_without_end(program: bytes, offset: int) -> None:
    run = _Run(make_params(8, 16), program)
    run.go()
    assert run.illegal == [offset]
    assert not run.ended


def test_reads_ahead_no_further_than_its_buffer() -> None:
    program, _ = _program(random.Random(1), 60)
    run = _Run(make_params(8, 16), program, patience=0.0)

    async def main(ctx: Any) -> None:
        await run.start(ctx)
        await ctx.tick().repeat(600)

    run.bench.run(main)
    ahead = sum(b.beats for b in run.memory.reads) * 16
    assert BUFFER_BYTES <= ahead <= BUFFER_BYTES + 32


def test_keeps_pace_with_a_far_memory() -> None:
    """A 64-byte instruction in 9 cycles or less, 100 cycles from memory."""
    params = make_params(8, 16)
    program = encode(Instruction(Opcode.LOAD, {})) * 60 + encode(Instruction(Opcode.END, {}))
    run = _Run(params, program + bytes(32), timing=Timing(latency=(100, 100)))
    run.go()
    assert len(run.cycles) == 240
    assert run.cycles[-1] - run.cycles[0] <= 60 * 9


def test_dispatch_takes_a_word_a_cycle() -> None:
    params = make_params(8, 16)
    rng = random.Random(4)
    program, queues = _program(rng, 5)
    run = _Run(params, program)
    run.go()
    assert run.cycles[-1] - run.cycles[0] == sum(map(len, queues)) - 1
