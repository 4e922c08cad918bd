"""The cycle model's vector engine beside the RTL, cycle by cycle."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from amaranth.sim import Simulator

from systola.hw.config import Config, load_config
from systola.hw.isa import INSTRUCTIONS, Instruction, Opcode, VectorOp
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.hw.vector import VectorEngine
from systola.sim.cycles.records import NEVER, hardware, instructions, new_record
from systola.sim.cycles.vector import VECTOR_STATE, vector_offer, vector_tick

WINDOWED = (VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MAX)
Fields = dict[str, int]


class Inputs(NamedTuple):
    """What the engine is given in a cycle."""

    instruction_valid: int
    read_ready: int
    write_ready: int


class Outputs(NamedTuple):
    """What the engine does in a cycle; addresses are −1 where there is no request."""

    read_valid: int
    read_address: int
    write_valid: int
    write_address: int
    taken: int
    retire: int
    cycle_class: CycleClass
    steps: int


Trace = list[tuple[Inputs, Outputs]]


def make_params(preset: str, *, requantize_lanes: int = 64, **vector: int) -> Params:
    """A preset with some values of its vector section replaced."""
    raw = load_config(preset).model_dump()
    raw["requantize"]["lanes"] = requantize_lanes
    raw["vector"].update(vector)
    return Params(Config.model_validate(raw))


# Instructions: every field that time depends on.


def random_instruction(rng: random.Random, params: Params) -> Fields:
    """Any instruction that the hardware has; sizes from the smallest to a few dozen outputs a block."""
    op = rng.choice([o for o in VectorOp if params.taps or o not in {VectorOp.DEPTHWISE, VectorOp.MUL}])
    windowed = op in WINDOWED
    column_mode = windowed and params.taps > 0 and rng.random() < 0.6
    operand = op is VectorOp.MUL or (not column_mode and rng.random() < 0.4)
    count_kx = rng.randint(1, params.taps if column_mode else 4) if windowed else 1
    count_ky = rng.randint(1, 4) if windowed else 1
    if op is VectorOp.DEPTHWISE and not column_mode:
        count_ky = max(1, min(count_ky, params.tap_entries // count_kx))
    largest = rng.choice((1, 3, 9))
    step_x = rng.randint(1, 4)
    count_x, count_y = rng.randint(1, largest), rng.randint(1, min(4, largest))
    pitch = rng.randint(1, 40)
    f = {
        "op": op, "count_x": count_x, "count_y": count_y, "count_n": rng.randint(1, 3), "count_kx": count_kx,
        "count_ky": count_ky, "column_mode": int(column_mode), "operand": int(operand),
        "step_x": step_x, "step_y": rng.randint(1, 3), "dilation_x": 1 if column_mode else rng.randint(1, 3),
        "dilation_y": rng.randint(1, 3), "origin_x": rng.randint(-4, 2), "origin_y": rng.randint(-3, 2),
        "limit_x": rng.choice((1, count_x * step_x + 2, 65535)), "limit_y": rng.choice((1, 5, 65535)),
        "a_address": rng.getrandbits(24), "a_stride_x": rng.randint(-9, 9), "a_stride_y": rng.randint(-2, 2) * pitch,
        "a_stride_n": rng.randint(-500, 500), "a_stride_kx": rng.randint(-3, 3), "a_stride_ky": rng.randint(-2, 2) * pitch,
        "param_address": rng.getrandbits(24), "param_stride_n": rng.choice((0, 0, 30, 65535)),
    }  # fmt: skip
    for prefix in ("b", "dst"):
        f |= {f"{prefix}_stride_{name}": rng.choice((0, rng.randint(-99, 99))) for name in ("x", "y", "n")}
        f[f"{prefix}_address"] = rng.getrandbits(24)
    f["stage_b"] = int(operand and op is not VectorOp.MUL)
    return f


def packed(fields: list[Fields]) -> list[Fields]:
    """All fields, those of the header too."""
    names = [item.name for item in INSTRUCTIONS[Opcode.VECTOR][1]]
    return [dict.fromkeys(names, 0) | f for f in fields]


# Handshakes.


def always(_: random.Random) -> Iterator[int]:
    while True:
        yield 1


def now_and_then(share: float) -> Callable[[random.Random], Iterator[int]]:
    """1 with that probability, each cycle for itself."""

    def pattern(rng: random.Random) -> Iterator[int]:
        while True:
            yield int(rng.random() < share)

    return pattern


def blocks(longest: int) -> Callable[[random.Random], Iterator[int]]:
    """Long times of 1 and of 0."""

    def pattern(rng: random.Random) -> Iterator[int]:
        while True:
            for value in (1, 0):
                for _ in range(rng.randint(1, longest)):
                    yield value

    return pattern


Pattern = Callable[[random.Random], Iterator[int]]
PATTERNS: dict[str, tuple[Pattern, Pattern, Pattern]] = {  # instruction there, read accepted, write accepted
    "free": (always, always, always),
    "gaps": (blocks(60), always, always),
    "contended": (now_and_then(0.3), now_and_then(0.6), now_and_then(0.6)),
    "reads_held": (always, blocks(25), always),
    "writes_held": (always, now_and_then(0.9), blocks(90)),
    "slow_writes": (always, always, now_and_then(0.2)),
    "slow_reads": (always, now_and_then(0.2), always),
}


# The two sides.


def run_rtl(params: Params, program: list[Fields], patterns: tuple[Pattern, Pattern, Pattern], seed: int) -> Trace:
    """The RTL's trace, until every instruction has retired and a little longer."""
    dut = VectorEngine(params)
    there, reads, writes = (pattern(random.Random(seed + k)) for k, pattern in enumerate(patterns))
    trace: Trace = []

    async def bench(ctx: Any) -> None:
        taken = retired = valid = rest = 0
        control, read, write = dut.control, dut.read, dut.write
        while rest < 8:
            if not valid and taken < len(program) and next(there):
                valid = 1
                ctx.set(control.instruction.payload, program[taken])
            given = Inputs(valid, next(reads), next(writes))
            ctx.set(control.instruction.valid, given.instruction_valid)
            ctx.set(read.ready, given.read_ready)
            ctx.set(read.free, -1 if given.read_ready else 0)
            ctx.set(write.ready, given.write_ready)
            read_valid, write_valid = ctx.get(read.valid), ctx.get(write.valid)
            done = Outputs(
                read_valid, ctx.get(read.address) if read_valid else -1,
                write_valid, ctx.get(write.address) if write_valid else -1,
                valid & ctx.get(control.instruction.ready), ctx.get(control.retire),
                CycleClass(ctx.get(control.cycle_class)), ctx.get(dut.events.steps),
            )  # fmt: skip
            trace.append((given, done))
            taken += done.taken
            retired += done.retire
            valid &= 1 - done.taken
            rest += retired == len(program)
            assert len(trace) < 40_000, f"no end: {retired} of {len(program)} retired"
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return trace


def outputs_of(s: Any, steps: int) -> Outputs:
    """What the model has done in this cycle."""
    return Outputs(
        int(s.read_valid), int(s.read_address) if s.read_valid else -1,
        int(s.write_valid), int(s.write_address) if s.write_valid else -1,
        int(s.taken), int(s.retire), CycleClass(int(s.cycle_class)), steps,
    )  # fmt: skip


def check_model(params: Params, program: list[Fields], trace: Trace, *, skip: bool) -> int:
    """Every cycle of the trace in the model; with ``skip`` the cycles in which it says that nothing happens are left out.

    Returns the number of cycles left out.
    """
    hw, s = hardware(params), new_record(VECTOR_STATE)
    table = instructions(Opcode.VECTOR, [Instruction(Opcode.VECTOR, f) for f in program])
    before, skipped = None, 0
    reads = writes = 0
    for now, (given, expected) in enumerate(trace):
        steps = int(s.vector_steps)
        if skip and given == before and now < s.wake:
            skipped += 1
            s.taken = s.retire = 0
        else:
            vector_offer(hw, s, now)
            vector_tick(hw, s, now, given.instruction_valid, table, given.read_ready, given.write_ready)
            before = given
        found = outputs_of(s, int(s.vector_steps) - steps)
        assert found == expected, f"cycle {now}, {given}: RTL {expected}, model {found}"
        reads += expected.read_valid & given.read_ready
        writes += expected.write_valid & given.write_ready
        assert (s.vector_reads, s.vector_writes) == (reads, writes), f"cycle {now}"
    assert s.wake == NEVER, "an idle engine has nothing to wake up for"
    return skipped


def check_program(params: Params, program: list[Fields], pattern: str, seed: int) -> Trace:
    """One program, on both sides; the model once in every cycle, once in those that it says are needed."""
    trace = run_rtl(params, program, PATTERNS[pattern], seed)
    check_model(params, program, trace, skip=False)
    check_model(params, program, trace, skip=True)
    return trace


def check(preset: str, vector: dict[str, int], pattern: str, count: int, seed: int = 0) -> Trace:
    """Random instructions."""
    params = make_params(preset, **vector)
    seed += zlib.crc32(repr((preset, sorted(vector.items()), pattern)).encode())
    rng = random.Random(seed)
    return check_program(params, packed([random_instruction(rng, params) for _ in range(count)]), pattern, seed)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tiny(pattern: str) -> None:
    check("tiny", {}, pattern, 10)


@pytest.mark.parametrize(
    ("preset", "vector", "pattern"),
    [
        ("tiny", {"depthwise_taps": 0, "table_lanes": 4}, "contended"),
        ("tiny", {"depthwise_taps": 1, "table_lanes": 1}, "contended"),
        ("tiny", {"depthwise_taps": 9, "tap_depth": 4}, "writes_held"),
        ("small", {}, "contended"),
        ("tall", {"table_lanes": 8}, "gaps"),
        ("tiny", {"requantize_lanes": 1}, "free"),
        ("tiny", {"requantize_lanes": 2, "table_lanes": 4}, "contended"),
        ("small", {"requantize_lanes": 1, "depthwise_taps": 1}, "writes_held"),
        ("wide", {"depthwise_taps": 1}, "reads_held"),
    ],
)
def test_configurations(preset: str, vector: dict[str, int], pattern: str) -> None:
    check(preset, vector, pattern, 4)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["free", "contended", "writes_held"])
@pytest.mark.parametrize(
    ("preset", "vector"),
    [
        ("tiny", {"depthwise_taps": 7, "table_lanes": 64}),
        ("tiny", {"depthwise_taps": 2, "tap_depth": 128, "table_lanes": 1}),
        ("small", {"depthwise_taps": 0}),
        ("tall", {"depthwise_taps": 5, "table_lanes": 16}),
        ("tall", {"requantize_lanes": 1, "table_lanes": 16}),
        ("wide", {"requantize_lanes": 4}),
        ("base", {}),
        ("large", {"depthwise_taps": 1}),
    ],
)
def test_configurations_everywhere(preset: str, vector: dict[str, int], pattern: str) -> None:
    check(preset, vector, pattern, 12)


@pytest.mark.parametrize("requantize_lanes", [1, 64])
@pytest.mark.parametrize("pattern", ["free", "gaps"])
def test_shortest_blocks(pattern: str, requantize_lanes: int) -> None:
    """One step an instruction or block: swaps, parameters and tables follow each other as fast as they can."""
    params = make_params("tiny", requantize_lanes=requantize_lanes)
    rng = random.Random(4)
    program = packed([random_instruction(rng, params) for _ in range(24)])
    for number, f in enumerate(program):
        f |= {"count_x": 1, "count_y": 1, "count_kx": 1, "count_ky": 1, "count_n": 1 + number % 3}
        if number % 2 or number >= 20:  # the last wait for nothing but the swap before
            f |= {"op": VectorOp.COPY, "column_mode": 0, "count_n": 1, "operand": 0}
    check_program(params, program, pattern, 4)


def test_every_class_occurs() -> None:
    """The engine's classes all occur in these traces, also that of writes that hold up steps."""
    params = make_params("tiny", table_lanes=1)
    rng = random.Random(11)
    program = packed([random_instruction(rng, params) for _ in range(6)])
    program[2] |= {"op": VectorOp.TABLE, "column_mode": 0, "count_kx": 1, "count_ky": 1}
    program[3] |= {"op": VectorOp.COPY, "column_mode": 0, "operand": 0, "count_kx": 1, "count_ky": 1, "count_x": 50}
    trace = check_program(params, program, "writes_held", 11)
    own = {CycleClass.IDLE, CycleClass.BUSY, CycleClass.BANK, CycleClass.SETUP, CycleClass.FLUSH}
    assert {done.cycle_class for _, done in trace} == own
    full = [d for g, d in trace if d.cycle_class is CycleClass.BANK and not (d.read_valid and not g.read_ready)]
    assert full, "a full output queue is a bank's refusal"


def test_sleeps_while_it_waits() -> None:
    """Cycles like the one before, in which nothing is accepted or issued, are left out; but for the first of a wait."""
    params = make_params("tiny")
    rng = random.Random(2)
    program = packed([random_instruction(rng, params) for _ in range(6)])
    trace = run_rtl(params, program, PATTERNS["reads_held"], 2)
    still = sum(
        (given, done) == before
        and not (done.steps or (done.read_valid and given.read_ready) or (done.write_valid and given.write_ready))
        for before, (given, done) in pairwise(trace)
    )
    assert still > 100
    assert check_model(params, program, trace, skip=True) > 0.8 * still


def model_state() -> str:
    """Of the model alone, after a random program."""
    params = make_params("tiny")
    rng = random.Random(9)
    program = packed([random_instruction(rng, params) for _ in range(12)])
    hw, s = hardware(params), new_record(VECTOR_STATE)
    table = instructions(Opcode.VECTOR, [Instruction(Opcode.VECTOR, f) for f in program])
    for now in range(3000):
        vector_offer(hw, s, now)
        vector_tick(hw, s, now, int(s.next < len(program)), table, int(rng.random() < 0.7), int(rng.random() < 0.7))
    assert s.next == len(program)
    assert s.vector_steps
    return hashlib.sha256(s.tobytes()).hexdigest()


def test_plain_python_equals_compiled() -> None:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    plain = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == model_state()


if __name__ == "__main__":
    print(model_state())
