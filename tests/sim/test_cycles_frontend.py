"""The cycle model's front end and the RTL's, side by side."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.frontend import Frontend
from systola.hw.isa import ENGINES, Instruction, Opcode, encode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.sim.cycles.frontend import FRONTEND_STATE, HEADER_COLUMNS, frontend_offer, frontend_tick
from systola.sim.cycles.records import new_record

CYCLES = 3000
INSTRUCTIONS = 60


def drawn_program(opcode: Opcode, rng: random.Random) -> list[Instruction]:
    """Waits that end one after the other as counts grow; END last."""
    program = []
    for number in range(INSTRUCTIONS + 1):
        fields = {f"wait_{e.name.lower()}": max(0, number + rng.randint(-4, 1)) % (1 << 16) for e in ENGINES}
        kind = opcode if number < INSTRUCTIONS else Opcode.END
        program.append(Instruction(kind, {**fields, "wait_enable": rng.choice((0, 0, rng.randrange(32)))}))
    return program


def words_of(program: list[Instruction]) -> list[int]:
    raw = b"".join(encode(instruction) for instruction in program)
    raw += bytes(-len(raw) % 64)
    return [int.from_bytes(raw[i : i + 16], "little") for i in range(0, len(raw), 16)]


def lockstep(opcode: Opcode, seed: int, put_rate: float, take_rate: float) -> None:
    """Random words, counts and acceptance; every output is compared in every cycle, the model's tick left out where it sleeps."""
    rng, params = random.Random(seed), Params(load_config("tiny"))
    dut, program = Frontend(params, opcode), drawn_program(opcode, rng)
    words, room = words_of(program), params.queue_bytes // 16
    headers = np.array([[i["wait_enable"], *(i[f"wait_{e.name.lower()}"] for e in ENGINES)] for i in program], np.int64)
    assert headers.shape[1] == HEADER_COLUMNS
    model = new_record(FRONTEND_STATE)
    model.words, model.instructions, model.has_stream = instruction_units(opcode) * 2, INSTRUCTIONS, 1
    counts = np.zeros(len(ENGINES), np.int64)
    seen = {"taken": 0, "ended": 0, "slept": 0}

    async def bench(ctx: Any) -> None:
        nonlocal room
        ctx.set(dut.stream_bytes, len(words) * 16)
        position = 0
        for now in range(CYCLES):
            model.arrives = int(position < len(words) and room > 0 and rng.random() < put_rate)
            ctx.set(dut.put, int(model.arrives))
            ctx.set(dut.word, words[position] if model.arrives else 0)
            ctx.set(dut.counts, [int(count) for count in counts])
            take = int(rng.random() < take_rate)
            ctx.set(dut.engine.instruction.ready, take)
            if now >= model.wake:
                frontend_offer(model, headers, counts)
            expected = (int(model.freed), int(model.valid), int(model.ended), blocked_class(int(model.blocked_engine)))
            found = (ctx.get(dut.freed), ctx.get(dut.engine.instruction.valid), ctx.get(dut.ended), ctx.get(dut.cycle_class))
            assert found == expected, f"cycle {now}: RTL {found}, model {expected} (freed, valid, ended, class)"
            taken = int(model.valid) & take
            position += int(model.arrives)
            room += int(model.freed) - int(model.arrives)
            if now >= model.wake or taken or model.arrives:
                frontend_tick(model, now, taken)
            else:
                seen["slept"] += 1
            seen["taken"] += taken
            seen["ended"] |= int(model.ended)
            await ctx.tick()
            if rng.random() < 0.16:
                counts[rng.randrange(len(ENGINES))] += 1
                model.wake = now + 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen["taken"] == INSTRUCTIONS
    assert seen["ended"]
    assert seen["slept"] > CYCLES // 10


def blocked_class(engine: int) -> int:
    return int(CycleClass.IDLE) if engine < 0 else int(CycleClass.WAIT_LOAD) + engine


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.ARRAY, Opcode.VECTOR])
@pytest.mark.parametrize(("put_rate", "take_rate"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2)])
def test_front_end_equals_rtl(opcode: Opcode, put_rate: float, take_rate: float) -> None:
    for seed in range(2):
        lockstep(opcode, seed, put_rate, take_rate)
