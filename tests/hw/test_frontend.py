"""The front end: instructions come out whole, in order, and not before their waits are over."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.frontend import Decoder, Frontend, Timeline
from systola.hw.isa import ENGINES, HEADER, INSTRUCTIONS, Instruction, Opcode, encode
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
    """Sends random instructions against random back-pressure; returns how many came out."""
    params, rng = Params(load_config(preset)), random.Random(seed)
    dut = Frontend(params, opcode)
    program = [random_instruction(opcode, rng) for _ in range(12)]
    for instruction in program:
        for e in ENGINES:
            name = f"wait_{e.name.lower()}"
            instruction.fields[name] = (instruction[name] + start_counts) % (1 << 16)  # type: ignore[index]  # a dict here
    words = [word for instruction in program for word in words_of(instruction)]
    got: list[Instruction] = []
    counts = [start_counts] * len(ENGINES)

    async def feed(ctx: Any) -> None:
        for word in words:
            while rng.random() < 0.3:
                await ctx.tick()
            await send(ctx, dut.words, word)

    async def engine(ctx: Any) -> None:
        for _ in range(1500):
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
    """As many words as ``queue.units`` says, and those in the decoder, are taken while the engine takes nothing."""
    params = Params(load_config("tiny"))
    dut = Frontend(params, Opcode.LOAD)
    taken = 0

    async def bench(ctx: Any) -> None:
        nonlocal taken
        ctx.set(dut.words.valid, 1)
        for _ in range(200):
            taken += ctx.get(dut.words.ready)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken == 2 * params.config.queue.units + 1 + 4


def test_own_class_comes_first() -> None:
    """A waiting instruction does not hide what the engine does meanwhile; then the lowest engine waited for is named."""
    params = Params(load_config("tiny"))
    dut = Frontend(params, Opcode.LOAD)
    instruction = Instruction(Opcode.LOAD, {"wait_enable": 0b11010, "wait_array": 1, "wait_vector": 1, "wait_store": 1})

    async def bench(ctx: Any) -> None:
        for word in words_of(instruction):
            await send(ctx, dut.words, word)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.cycle_class) == CycleClass.WAIT_ARRAY
        ctx.set(dut.engine.cycle_class, CycleClass.DRAM)
        assert ctx.get(dut.cycle_class) == CycleClass.DRAM
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


def test_end_goes_through_the_decoder() -> None:
    """END and the waits of a retiring engine, with the delay that Decoder states."""
    m = Module()
    m.submodules.timeline = timeline = Timeline()
    m.submodules.decoder = decoder = Decoder(Opcode.END)
    m.d.comb += decoder.counts.eq(timeline.counts)

    async def bench(ctx: Any) -> None:
        for word in words_of(Instruction(Opcode.END, {"wait_enable": 1 << 4, "wait_store": 1})):
            await send(ctx, decoder.words, word)
        await ctx.tick().repeat(5)
        assert not ctx.get(decoder.instruction.valid)
        ctx.set(timeline.retire, 1 << 4)
        await ctx.tick()
        ctx.set(timeline.retire, 0)
        assert ctx.get(timeline.counts[4]) == 1
        assert not ctx.get(decoder.instruction.valid)
        await ctx.tick()
        assert ctx.get(decoder.instruction.valid)
        ctx.set(timeline.clear, 1)
        await ctx.tick()
        assert ctx.get(timeline.counts[4]) == 0

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
