"""The front end: instructions come out whole, in order, and not before their waits are over."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.frontend import Decoder, Frontend, ProgramEnd, Timeline
from systola.hw.isa import ENGINES, HEADER, INSTRUCTIONS, Instruction, Opcode, encode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import CycleClass


def random_instruction(opcode: Opcode, rng: random.Random) -> Instruction:
    """Every field random but the waits, which are 0 to 3 finished instructions of some engines."""
    fields = {f.name: rng.randint(f.low, f.high) for f in (*HEADER, *INSTRUCTIONS[opcode][1]) if f.name != "opcode"}
    for engine in ENGINES:
        fields[f"wait_{engine.name.lower()}"] = rng.randrange(4)
    return Instruction(opcode, fields)


def words_of(instruction: Instruction) -> list[int]:
    raw = encode(instruction)
    return [int.from_bytes(raw[i : i + 16], "little") for i in range(0, len(raw), 16)]


def stream_of(instructions: list[Instruction]) -> list[int]:
    """Their words, and zeros to a multiple of 64 bytes."""
    words = [word for instruction in instructions for word in words_of(instruction)]
    return words + [0] * (-len(words) % 4)


async def put(ctx: Any, frontend: Any, word: int) -> None:
    """A word for the queue."""
    ctx.set(frontend.word, word)
    ctx.set(frontend.put, 1)
    await ctx.tick()
    ctx.set(frontend.put, 0)


async def send(ctx: Any, stream: Any, payload: int) -> None:
    """One transfer."""
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    while not ctx.get(stream.ready):
        await ctx.tick()
    await ctx.tick()
    ctx.set(stream.valid, 0)


def waits_over(instruction: Instruction, counts: list[int]) -> bool:
    """As the instruction set defines it."""
    return all(
        not instruction["wait_enable"] >> e & 1 or (counts[e] - instruction[f"wait_{e.name.lower()}"]) % (1 << 16) < 1 << 15
        for e in ENGINES
    )


def run_frontend(preset: str, opcode: Opcode, seed: int, start_counts: int = 0) -> int:
    """Sends random instructions and END against random back-pressure; returns how many came out."""
    params, rng = Params(load_config(preset)), random.Random(seed)
    dut = Frontend(params, opcode)
    program = [random_instruction(opcode, rng) for _ in range(12)]
    for instruction in program:
        for e in ENGINES:
            name = f"wait_{e.name.lower()}"
            instruction.fields[name] = (instruction[name] + start_counts) % (1 << 16)  # type: ignore[index]  # a dict here
    words = stream_of([*program, Instruction(Opcode.END, {})])
    got: list[Instruction] = []
    counts = [start_counts] * len(ENGINES)
    room = params.queue_bytes // 16

    async def feed(ctx: Any) -> None:
        nonlocal room
        for word in words:
            while rng.random() < 0.3 or not room:
                await ctx.tick()
            room -= 1
            await put(ctx, dut, word)

    async def engine(ctx: Any) -> None:
        nonlocal room
        ctx.set(dut.stream_bytes, 16 * len(words))
        for _ in range(1500):
            room += ctx.get(dut.freed)
            assert not ctx.get(dut.illegal)
            assert not ctx.get(dut.ended) or len(got) == len(program)
            ready = rng.random() < 0.5
            ctx.set(dut.engine.instruction.ready, ready)
            for e in ENGINES:
                ctx.set(dut.counts[e], counts[e])
            cycle_class = ctx.get(dut.cycle_class)
            if ctx.get(dut.engine.instruction.valid):
                payload = dut.engine.instruction.payload
                expected = program[len(got)]
                assert waits_over(expected, counts)
                assert cycle_class == CycleClass.IDLE
                fields = [*HEADER, *INSTRUCTIONS[opcode][1]]
                values = {f.name: ctx.get(getattr(payload, f.name)) for f in fields}
                assert values == {f.name: int(opcode) if f.name == "opcode" else expected[f.name] for f in fields}
                if ready:
                    got.append(expected)
            elif cycle_class != CycleClass.IDLE:
                waited = cycle_class - CycleClass.WAIT_LOAD
                expected = program[len(got)]
                assert expected["wait_enable"] >> waited & 1
                assert not waits_over(expected, counts)
            if rng.random() < 0.05:
                e = rng.randrange(len(ENGINES))
                counts[e] = (counts[e] + 1) % (1 << 16)
            await ctx.tick()
        assert ctx.get(dut.ended)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(engine)
    simulator.add_testbench(feed, background=True)
    simulator.run()
    return len(got)


@pytest.mark.parametrize("opcode", [o for o in Opcode if o is not Opcode.END])
def test_instructions_come_out_whole(opcode: Opcode) -> None:
    assert run_frontend("tiny", opcode, seed=int(opcode)) == 12


def test_counts_wrap() -> None:
    assert run_frontend("tiny", Opcode.LOAD, seed=7, start_counts=(1 << 16) - 2) == 12


def test_queue_holds_its_units() -> None:
    """As many words as ``queue.units`` says, beside those in the decoder, are held while the engine takes nothing."""
    params = Params(load_config("tiny"))
    dut = Frontend(params, Opcode.LOAD)
    count = params.config.queue.units // 2  # instructions of two units
    program = [Instruction(Opcode.LOAD, {"tag": tag}) for tag in range(count + 1)]
    tags = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.stream_bytes, 1 << 20)
        for word in (word for instruction in program for word in words_of(instruction)):
            await put(ctx, dut, word)
        await ctx.tick().repeat(10)
        ctx.set(dut.engine.instruction.ready, 1)
        for _ in range(10 * count):
            if ctx.get(dut.engine.instruction.valid):
                tags.append(ctx.get(dut.engine.instruction.payload.tag))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert tags == list(range(count + 1))


def test_own_class_comes_first() -> None:
    """A waiting instruction does not hide what the engine does meanwhile; then the lowest engine waited for is named."""
    params = Params(load_config("tiny"))
    dut = Frontend(params, Opcode.LOAD)
    instruction = Instruction(Opcode.LOAD, {"wait_enable": 0b11010, "wait_array": 1, "wait_vector": 1, "wait_store": 1})

    async def bench(ctx: Any) -> None:
        ctx.set(dut.stream_bytes, 1 << 20)
        for word in words_of(instruction):
            await put(ctx, dut, word)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.cycle_class) == CycleClass.WAIT_ARRAY
        ctx.set(dut.engine.cycle_class, CycleClass.DRAM_LATENCY)
        assert ctx.get(dut.cycle_class) == CycleClass.DRAM_LATENCY
        ctx.set(dut.engine.cycle_class, CycleClass.IDLE)
        ctx.set(dut.counts[1], 1)
        assert ctx.get(dut.cycle_class) == CycleClass.WAIT_VECTOR
        assert not ctx.get(dut.engine.instruction.valid)
        ctx.set(dut.counts[3], 1)
        ctx.set(dut.counts[4], 2)
        assert ctx.get(dut.cycle_class) == CycleClass.IDLE
        await ctx.tick()
        assert ctx.get(dut.engine.instruction.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def run_decoder(opcode: Opcode, words: list[int], bench: Callable[[Any, Any, Any], Any], stream_bytes: int | None = None) -> None:
    """``words`` are a decoder's stream; ``bench`` gets the context, the decoder and the counts."""
    m = Module()
    m.submodules.timeline = timeline = Timeline()
    m.submodules.decoder = decoder = Decoder(opcode)
    m.d.comb += decoder.counts.eq(timeline.counts)

    async def feed(ctx: Any) -> None:
        ctx.set(decoder.stream_bytes, 16 * len(words) if stream_bytes is None else stream_bytes)
        for word in words:
            await send(ctx, decoder.words, word)

    async def main(ctx: Any) -> None:
        await bench(ctx, decoder, timeline)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(main)
    simulator.add_testbench(feed, background=True)
    simulator.run()


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.VECTOR])
def test_end_waits(opcode: Opcode) -> None:
    """END is told when what it waits for has finished, with the delay that WaitCheck states; it is no instruction, no class."""
    words = stream_of([Instruction(Opcode.END, {"wait_enable": 1 << 4, "wait_store": 1})])

    async def bench(ctx: Any, decoder: Any, timeline: Any) -> None:
        for cycle in range(15):
            assert not ctx.get(decoder.ended) and not ctx.get(decoder.illegal) and not ctx.get(decoder.instruction.valid)
            assert cycle < 5 or not ctx.get(decoder.blocked)
            await ctx.tick()
        ctx.set(timeline.retire, 1 << 4)
        await ctx.tick()
        ctx.set(timeline.retire, 0)
        assert ctx.get(timeline.counts[4]) == 1
        assert not ctx.get(decoder.ended)
        await ctx.tick()
        assert ctx.get(decoder.ended)
        assert not ctx.get(decoder.illegal) and not ctx.get(decoder.instruction.valid)
        ctx.set(timeline.clear, 1)
        await ctx.tick()
        assert ctx.get(timeline.counts[4]) == 0

    run_decoder(opcode, words, bench)


@pytest.mark.parametrize("own", [o for o in Opcode if o is not Opcode.END])
def test_only_the_engines_own_opcode_is_legal(own: Opcode) -> None:
    """Any other in the third place is told once, with the unit that it begins at; and it is never valid."""
    units = instruction_units(own)
    for opcode in set(range(16)) - {own, Opcode.END}:
        bad = [word & ~15 | opcode for word in words_of(Instruction(own, {}))]
        words = [*words_of(Instruction(own, {})), *words_of(Instruction(own, {})), *bad, *words_of(Instruction(own, {}))]
        offsets, taken = [], 0

        async def bench(ctx: Any, decoder: Any, timeline: Any) -> None:
            nonlocal taken
            ctx.set(decoder.instruction.ready, 1)
            for _ in range(60):
                if ctx.get(decoder.illegal):
                    offsets.append(ctx.get(decoder.offset))  # noqa: B023 - called in this round
                taken += ctx.get(decoder.instruction.valid)
                await ctx.tick()

        run_decoder(own, words, bench, stream_bytes=1 << 20)
        assert offsets == [2 * units]
        assert taken == 2


@pytest.mark.parametrize("own", [Opcode.ARRAY, Opcode.VECTOR])
@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_a_stream_must_end_with_end(own: Opcode, blocks: int) -> None:
    """Also in the midst of an instruction: its end is told."""
    words = [word for _ in range(6) for word in words_of(Instruction(own, {}))][: 4 * blocks]
    offsets = []

    async def bench(ctx: Any, decoder: Any, timeline: Any) -> None:
        ctx.set(decoder.instruction.ready, 1)
        for _ in range(60):
            if ctx.get(decoder.illegal):
                offsets.append(ctx.get(decoder.offset))
            assert not ctx.get(decoder.ended) and not ctx.get(decoder.empty)
            await ctx.tick()

    run_decoder(own, words, bench)
    assert set(offsets) == {2 * blocks}


def test_an_empty_stream() -> None:
    async def bench(ctx: Any, decoder: Any, timeline: Any) -> None:
        for cycle in range(20):
            assert ctx.get(decoder.empty) or cycle < 2
            assert not ctx.get(decoder.illegal) and not ctx.get(decoder.ended)
            await ctx.tick()

    run_decoder(Opcode.DRAIN, [], bench)


@pytest.mark.parametrize(("ended", "empty", "illegal", "outcome"), [
    (0b00000, 0b00000, 0b00000, None), (0b01111, 0b00000, 0b00000, None), (0b11111, 0b00000, 0b00000, "end"),
    (0b00101, 0b11010, 0b00000, "end"), (0b00001, 0b11010, 0b00000, None), (0b00000, 0b11111, 0b00000, (7, 0)),
    (0b00000, 0b00011, 0b10100, (2, 64)), (0b00111, 0b01000, 0b10000, (4, 128)), (0b00000, 0b00000, 0b00001, (0, 0)),
])  # fmt: skip
def test_the_end_of_a_program(ended: int, empty: int, illegal: int, outcome: Any) -> None:
    dut = ProgramEnd()

    async def bench(ctx: Any) -> None:
        for e in ENGINES:
            ctx.set(dut.offsets[e], e)
        ctx.set(dut.ended, ended)
        ctx.set(dut.empty, empty)
        ctx.set(dut.illegal, illegal)
        assert ctx.get(dut.end) == (outcome == "end")
        await ctx.tick()
        assert ctx.get(dut.fault) == isinstance(outcome, tuple)
        if isinstance(outcome, tuple):
            assert (ctx.get(dut.fault_engine), ctx.get(dut.fault_offset)) == outcome

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
