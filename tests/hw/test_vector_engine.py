"""The vector engine against what machine.md says, instruction by instruction, on simulated RTL."""

from __future__ import annotations

import random
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from systola.hw.config import Config, load_config
from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.isa import INSTRUCTIONS, RECORD, RECORD_BYTES, Opcode, VectorOp
from systola.hw.latencies import VECTOR_LATENCY_CYCLES
from systola.hw.numerics import elementwise, requantize
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.hw.vector import VectorEngine
from systola.hw.vector.window import sum_bits

Fields = dict[str, int]


def make_params(preset: str, *, requantize_lanes: int = 64, **vector: int) -> Params:
    """A preset with some values of its vector section replaced."""
    raw = load_config(preset).model_dump()
    raw["requantize"]["lanes"] = requantize_lanes
    raw["vector"].update(vector)
    return Params(Config.model_validate(raw))


# What the instruction means, in plain Python.


def records_at(memory: np.ndarray, address: int, lanes: int) -> list[tuple[int, int, int]]:
    """Bias, multiplier and shift per lane."""
    raw = np.concatenate([memory[(address + k) % len(memory)] for k in range(RECORD_BYTES)]).tobytes()
    records = []
    for lane in range(lanes):
        bits = int.from_bytes(raw[8 * lane : 8 * lane + 8], "little")
        bias = bits & 0xFFFFFFFF
        records.append((bias - (bias >> 31 << 32), bits >> 32 & 0xFFFFFF, bits >> 56 & 63))
    return records


def window_words(f: Fields, memory: np.ndarray, n: int, y: int, x: int) -> list[np.ndarray]:
    """The words of the window's positions, kernel row by kernel row."""
    words = []
    for ky in range(f["count_ky"]):
        for kx in range(f["count_kx"]):
            row = f["origin_y"] + y * f["step_y"] + ky * f["dilation_y"]
            column = f["origin_x"] + x * f["step_x"] + kx * f["dilation_x"]
            address = f["a_address"] + n * f["a_stride_n"] + y * f["a_stride_y"] + ky * f["a_stride_ky"]
            address += x * f["a_stride_x"] + kx * f["a_stride_kx"]
            if 0 <= row < f["limit_y"] and 0 <= column < f["limit_x"]:
                words.append(memory[address % len(memory)].astype(np.int64))
            else:
                words.append(np.full(memory.shape[1], f["pad_value"], np.int64))
    return words


def expected_writes(f: Fields, memory: np.ndarray) -> list[tuple[int, bytes]]:
    """Addresses and words that an instruction writes, in order. ``memory``: words × lanes int8."""
    op, lanes = VectorOp(f["op"]), memory.shape[1]
    writes = []
    for n in range(f["count_n"]):
        base = f["param_address"] + n * f["param_stride_n"]
        records = records_at(memory, base, lanes)
        positions = f["count_ky"] * f["count_kx"]
        weights = [memory[(base + RECORD_BYTES + k) % len(memory)].astype(np.int64) for k in range(positions)]
        table = np.concatenate([memory[(base + k) % len(memory)] for k in range(256 // lanes)])
        for y in range(f["count_y"]):
            for x in range(f["count_x"]):
                words = window_words(f, memory, n, y, x)
                b_address = f["b_address"] + n * f["b_stride_n"] + y * f["b_stride_y"] + x * f["b_stride_x"]
                b = memory[b_address % len(memory)].astype(np.int64)
                if op is VectorOp.DEPTHWISE:
                    sums = sum((a - f["zero_in"]) * w for a, w in zip(words, weights, strict=True))
                elif op is VectorOp.SUM:
                    sums = sum(a - f["zero_in"] for a in words)
                elif op is VectorOp.MUL:
                    sums = (words[0] - f["zero_in"]) * (b - f["zero_operand"])
                elif op is VectorOp.MAX:
                    sums = np.max(words, axis=0)
                elif op is VectorOp.COPY:
                    sums = words[0]
                else:
                    sums = table[words[0] + 128].astype(np.int64)
                codes = [finish(f, op, int(s), records[lane], int(b[lane])) for lane, s in enumerate(sums)]
                address = f["dst_address"] + n * f["dst_stride_n"] + y * f["dst_stride_y"] + x * f["dst_stride_x"]
                writes.append((address % len(memory), np.array(codes, np.int8).tobytes()))
    return writes


def finish(f: Fields, op: VectorOp, value: int, record: tuple[int, int, int], b: int) -> int:
    """Stages A and B of one lane."""
    if op in {VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MUL}:
        value = requantize(value, *record, f["zero_a"], f["low_a"], f["high_a"])
    if not f["stage_b"]:
        return value
    factor = f["multiplier_operand"] if f["operand"] and op is not VectorOp.MUL else 0
    return elementwise(
        value, f["zero_a"], f["multiplier_positive"], f["multiplier_negative"], b, f["zero_operand"], factor,
        f["shift_b"], f["zero_b"], f["low_b"], f["high_b"],
    )  # fmt: skip


# Random instructions.


def random_post(rng: random.Random, operand: bool, multiplier_bits: int) -> Fields:
    """Fields of stages A and B."""
    stage_b = operand or rng.random() < 0.4
    largest = (1 << multiplier_bits) - 1
    low_a, high_a = sorted((rng.randint(-128, 0), rng.randint(0, 127))) if rng.random() < 0.5 else (-128, 127)
    low_b, high_b = sorted((rng.randint(-128, 0), rng.randint(0, 127))) if rng.random() < 0.5 else (-128, 127)
    return {
        "stage_b": int(stage_b), "zero_a": rng.randint(-128, 127), "low_a": low_a, "high_a": high_a,
        "multiplier_positive": rng.randint(-largest, largest), "multiplier_negative": rng.randint(-largest, largest),
        "multiplier_operand": rng.randint(-largest, largest) if operand else 0,
        "shift_b": rng.randint(multiplier_bits - 2, multiplier_bits + 2), "zero_operand": rng.randint(-128, 127),
        "zero_b": rng.randint(-128, 127), "low_b": low_b, "high_b": high_b,
    }  # fmt: skip


def random_instruction(rng: random.Random, params: Params, op: VectorOp | None = None) -> Fields:
    """Any instruction that the hardware has, small."""
    ops = [o for o in VectorOp if params.taps or o not in {VectorOp.DEPTHWISE, VectorOp.MUL}]
    op = rng.choice(ops) if op is None else op
    f: Fields = dict.fromkeys((item.name for item in INSTRUCTIONS[Opcode.VECTOR][1]), 0)
    words = params.scratchpad_words
    windowed = op in {VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MAX}
    column_mode = windowed and params.taps > 0 and rng.random() < 0.6
    operand = op is VectorOp.MUL or (not column_mode and rng.random() < 0.4)
    kx = rng.randint(1, params.taps if column_mode else 4) if windowed else 1
    ky = rng.randint(1, 4) if windowed else 1
    if op is VectorOp.DEPTHWISE and not column_mode:
        ky = min(ky, params.tap_entries // kx)
    step_x, dilation_x = rng.randint(1, 3), 1 if column_mode else rng.randint(1, 3)
    pitch = rng.randint(1, 40)
    count_x, count_y = rng.randint(1, 6), rng.randint(1, 4)
    f |= {
        "op": op, "count_x": count_x, "count_y": count_y, "count_n": rng.randint(1, 3), "count_kx": kx, "count_ky": ky,
        "column_mode": int(column_mode), "operand": int(operand),
        "step_x": step_x, "step_y": rng.randint(1, 3), "dilation_x": dilation_x, "dilation_y": rng.randint(1, 3),
        "origin_x": rng.randint(-3, 2), "origin_y": rng.randint(-3, 2),
        "limit_x": rng.randint(1, count_x * step_x + 2), "limit_y": rng.randint(1, 8),
        "pad_value": rng.randint(-128, 127), "zero_in": rng.randint(-128, 127),
        "a_stride_x": step_x, "a_stride_kx": dilation_x, "a_stride_y": rng.randint(-2, 2) * pitch,
        "a_stride_ky": rng.randint(-2, 2) * pitch, "a_stride_n": rng.randint(-500, 500), "a_address": rng.randrange(words),
        "param_address": rng.randrange(words), "param_stride_n": rng.choice((0, 30)),
        "dst_address": rng.randrange(words),
    }  # fmt: skip
    for prefix in ("b", "dst"):
        f |= {f"{prefix}_stride_{name}": rng.choice((0, rng.randint(-99, 99))) for name in ("x", "y", "n")}
    f["b_address"] = rng.randrange(words)
    return f | random_post(rng, operand and op is not VectorOp.MUL, params.multiplier_bits)


def random_memory(rng: random.Random, params: Params, instructions: list[Fields]) -> np.ndarray:
    """Scratchpad contents, with records where the instructions look for them."""
    memory = np.frombuffer(rng.randbytes(params.scratchpad_words * params.lanes), np.int8).reshape(-1, params.lanes).copy()
    for f in instructions:
        if VectorOp(f["op"]) not in {VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MUL}:
            continue
        for n in range(f["count_n"]):
            raw = b""
            for _ in range(params.lanes):
                values = {"bias": rng.randint(-3000, 3000), "multiplier": rng.getrandbits(params.multiplier_bits), "shift": 0}
                values["shift"] = params.multiplier_bits + rng.randint(1, 9)
                bits = position = 0
                for item in RECORD:
                    bits |= (values.get(item.name, 0) & (1 << item.width_bits) - 1) << position
                    position += item.width_bits
                raw += bits.to_bytes(RECORD_BYTES, "little")
            base = f["param_address"] + n * f["param_stride_n"]
            for k, word in enumerate(np.frombuffer(raw, np.int8).reshape(-1, params.lanes)):
                memory[(base + k) % len(memory)] = word
    return memory


# The simulation.


@dataclass
class Observed:
    """What an engine did."""

    writes: list[tuple[int, bytes]] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)  # cycle of each retirement
    writes_retired: list[int] = field(default_factory=list)  # writes accepted by then
    taken: list[int] = field(default_factory=list)
    classes: Counter[CycleClass] = field(default_factory=Counter)
    trace: list[CycleClass] = field(default_factory=list)
    steps: int = 0
    reads: int = 0
    cycles: int = 0


def run_engine(
    params: Params,
    instructions: list[Fields],
    memory: np.ndarray,
    seed: int = 0,
    refuse_read: float = 0.0,
    refuse_write: float = 0.0,
    gap: float = 0.0,
    reset_at: int | None = None,
) -> Observed:
    """Feeds the instructions to the engine; reads see ``memory`` as it was at the start, writes are noted.

    Each cycle, each port refuses with the probability given; ``gap``: probability that the next instruction is not there yet.
    In cycle ``reset_at`` the engine is reset, and all begins again; only what follows is observed.
    """
    rng = random.Random(seed)
    dut = VectorEngine(params)
    reset = Signal()
    observed = Observed()
    limit = 4000 + 400 * len(instructions) * (1 + int(8 * max(refuse_read, refuse_write, gap)))

    async def bench(ctx: Any) -> None:
        nonlocal reset_at
        waiting, valid = deque(instructions), False
        arriving: deque[bytes | None] = deque([None] * (SCRATCHPAD_READ_LATENCY_CYCLES - 1))
        held: tuple[int, int] | None = None
        while len(observed.retired) < len(instructions):
            valid = valid or (bool(waiting) and rng.random() >= gap)
            ctx.set(dut.control.instruction.valid, valid)
            if valid:
                ctx.set(dut.control.instruction.payload, waiting[0])
            ready = rng.random() >= refuse_read
            ctx.set(dut.read.ready, ready)
            ctx.set(dut.read.free, -1 if ready else 0)
            ctx.set(dut.write.ready, rng.random() >= refuse_write)
            read = bool(ctx.get(dut.read.valid)), ctx.get(dut.read.address), bool(ctx.get(dut.read.ready))
            if held is not None:
                assert read[:2] == held, "a refused read must be held"
            held = (True, read[1]) if read[0] and not read[2] else None
            arriving.append(memory[read[1]].tobytes() if read[0] and read[2] else None)
            observed.reads += read[0] and read[2]
            if ctx.get(dut.write.valid) and ctx.get(dut.write.ready):
                assert ctx.get(dut.write.mask) == (1 << params.column_groups) - 1
                word = ctx.get(dut.write.data).to_bytes(params.lanes, "little")
                observed.writes.append((ctx.get(dut.write.address), word))
            if ctx.get(dut.control.retire):
                observed.retired.append(observed.cycles)
                observed.writes_retired.append(len(observed.writes))
            taken = valid and ctx.get(dut.control.instruction.ready)
            now = CycleClass(ctx.get(dut.control.cycle_class))
            observed.classes[now] += 1
            observed.trace.append(now)
            observed.steps += ctx.get(dut.events.steps)
            resetting = reset_at is not None and observed.cycles == reset_at
            ctx.set(reset, resetting)
            await ctx.tick()
            if resetting:
                observed.__init__()  # type: ignore[misc] # the same object, as new
                waiting, valid, held, reset_at = deque(instructions), False, None, None
                arriving = deque([None] * (SCRATCHPAD_READ_LATENCY_CYCLES - 1))
                ctx.set(reset, 0)
                ctx.set(dut.control.instruction.valid, 0)
                continue
            if taken:
                waiting.popleft()
                observed.taken.append(observed.cycles)
                valid = False
            word_now = arriving.popleft()
            # Where no read was accepted the bus carries rubbish.
            ctx.set(dut.read.data, int.from_bytes(rng.randbytes(params.lanes) if word_now is None else word_now, "little"))
            observed.cycles += 1
            assert observed.cycles < limit, f"no end: {len(observed.retired)} of {len(instructions)} retired"
        for _ in range(5):
            assert ctx.get(dut.control.cycle_class) == CycleClass.IDLE
            assert not ctx.get(dut.write.valid)
            await ctx.tick()

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return observed


def check(params: Params, instructions: list[Fields], seed: int, **patterns: Any) -> Observed:
    """Runs the instructions and compares every write."""
    memory = random_memory(random.Random(seed), params, instructions)
    observed = run_engine(params, instructions, memory, seed, **patterns)
    expected: list[tuple[int, bytes]] = []
    ends = []
    for f in instructions:
        expected += expected_writes(f, memory)
        ends.append(len(expected))
    position = 0
    for number, (f, end) in enumerate(zip(instructions, ends, strict=True)):
        assert observed.writes[position:end] == expected[position:end], f"instruction {number}: {f}"
        position = end
    assert len(observed.writes) == len(expected)
    assert observed.writes_retired == ends
    assert sum(observed.classes.values()) == observed.cycles
    return observed


@pytest.mark.parametrize("op", list(VectorOp))
@pytest.mark.parametrize("preset", ["tiny", "tall"])
def test_each_operation(preset: str, op: VectorOp) -> None:
    params = make_params(preset)
    rng = random.Random(int(op))
    check(params, [random_instruction(rng, params, op) for _ in range(4)], seed=int(op))


def test_expectation_is_not_trivial() -> None:
    """Most results of the random instructions lie inside the limits: saturation would hide errors."""
    params = make_params("small")
    rng = random.Random(5)
    instructions = [random_instruction(rng, params, VectorOp.DEPTHWISE) for _ in range(8)]
    memory = random_memory(rng, params, instructions)
    inside = total = 0
    for f in instructions:
        low, high = (f["low_b"], f["high_b"]) if f["stage_b"] else (f["low_a"], f["high_a"])
        codes = np.frombuffer(b"".join(word for _, word in expected_writes(f, memory)), np.int8)
        inside += int(np.sum((codes > low) & (codes < high)))
        total += codes.size
    assert inside > total // 3


MIXED_PATTERNS = ({}, {"refuse_read": 0.4, "refuse_write": 0.4}, {"refuse_write": 0.9, "gap": 0.8})


def check_mixed(preset: str, vector: dict[str, int], pattern: int, count: int) -> None:
    """All operations one after the other."""
    params = make_params(preset, **vector)
    seed = zlib.crc32(repr((preset, sorted(vector.items()), pattern)).encode())
    rng = random.Random(seed)
    check(params, [random_instruction(rng, params) for _ in range(count)], seed, **MIXED_PATTERNS[pattern])


@pytest.mark.parametrize(
    ("preset", "vector", "pattern"),
    [
        ("tiny", {}, 0),
        ("tiny", {}, 1),
        ("tiny", {}, 2),
        ("tiny", {"depthwise_taps": 0, "table_lanes": 4}, 1),
        ("tiny", {"depthwise_taps": 1, "table_lanes": 1}, 1),
        ("small", {"depthwise_taps": 2, "tap_depth": 4, "table_lanes": 8}, 0),
        ("tiny", {"requantize_lanes": 2}, 0),
        ("tiny", {"requantize_lanes": 1, "table_lanes": 4}, 1),
        ("small", {"requantize_lanes": 1, "depthwise_taps": 1}, 2),
        ("wide", {}, 1),
    ],
)
def test_mixed_instructions(preset: str, vector: dict[str, int], pattern: int) -> None:
    check_mixed(preset, vector, pattern, 12 if preset == "tiny" else 7)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", range(len(MIXED_PATTERNS)))
@pytest.mark.parametrize(
    ("preset", "vector"),
    [
        ("tiny", {"depthwise_taps": 0}),
        ("tiny", {"depthwise_taps": 7, "table_lanes": 64}),
        ("small", {"depthwise_taps": 9, "tap_depth": 4, "table_lanes": 1}),
        ("tall", {"depthwise_taps": 5, "table_lanes": 16}),
        ("tall", {"requantize_lanes": 1, "table_lanes": 16}),
        ("wide", {"requantize_lanes": 4}),
        ("base", {}),
        ("large", {}),
    ],
)
def test_mixed_instructions_everywhere(preset: str, vector: dict[str, int], pattern: int) -> None:
    check_mixed(preset, vector, pattern, 20)


def test_blocks_of_one_pixel() -> None:
    """The shortest blocks and instructions: records and tables follow each other as fast as they can."""
    params = make_params("tiny")
    rng = random.Random(8)
    instructions = []
    for number in range(18):
        op = rng.choice([VectorOp.TABLE, VectorOp.COPY, VectorOp.SUM, VectorOp.DEPTHWISE, VectorOp.MUL])
        f = random_instruction(rng, params, op)
        f |= {"count_x": 1, "count_y": 1, "count_kx": 1, "count_ky": 1, "count_n": 1 + number % 3, "param_stride_n": 70}
        instructions.append(f)
    check(params, instructions, 8)


@pytest.mark.parametrize("seed", (1, 2, 4, 11))
def test_table_with_operand_under_refusals(seed: int) -> None:
    """A table's set is released once, also where the step of its second operand is refused: the records after it stay whole."""
    params, rng = make_params("tiny"), random.Random(seed)
    instructions = []
    for number in range(10):
        f = random_instruction(rng, params, VectorOp.SUM if number % 2 else VectorOp.TABLE)
        f |= {"count_x": 1, "count_y": 1, "count_kx": 1, "count_ky": 1, "column_mode": 0, "param_stride_n": 70}
        f |= {"operand": 0 if number % 2 else 1, "stage_b": 0 if number % 2 else 1}
        instructions.append(f)
    check(params, instructions, seed, refuse_read=0.3)


def test_reset_in_the_middle() -> None:
    """After a reset nothing of what was under way is left."""
    params = make_params("tiny")
    rng = random.Random(21)
    instructions = [random_instruction(rng, params) for _ in range(6)]
    for reset_at in (9, 61, 203):
        check(params, instructions, 21, refuse_read=0.2, refuse_write=0.5, reset_at=reset_at)


# Time.

START_CYCLES = 5  # from an instruction that comes to an idle engine to its first step

PLAIN: Fields = {
    "count_x": 7, "count_y": 7, "count_n": 1, "count_kx": 1, "count_ky": 1, "column_mode": 0, "operand": 0, "stage_b": 0,
    "step_x": 1, "step_y": 1, "dilation_x": 1, "dilation_y": 1, "origin_x": 0, "origin_y": 0, "limit_x": 99, "limit_y": 99,
    "param_stride_n": 0, "a_stride_x": 1, "a_stride_kx": 1, "a_stride_y": 7, "a_stride_ky": 7,
}  # fmt: skip
SAME: Fields = PLAIN | {
    "count_kx": 3, "count_ky": 3, "column_mode": 1, "origin_x": -1, "origin_y": -1, "limit_x": 7, "limit_y": 7
}  # fmt: skip
VALID: Fields = SAME | {"origin_x": 0, "origin_y": 0, "limit_x": 9, "limit_y": 9}
SAME_STEPS, RECORDS, WEIGHTS = 7 * 9 * 3, 8, 9


@pytest.mark.parametrize(
    ("op", "fields", "repeat", "cycles"),
    [
        (VectorOp.COPY, PLAIN, 1, START_CYCLES + 49),
        (VectorOp.COPY, PLAIN, 3, START_CYCLES + 3 * 49),
        (VectorOp.COPY, PLAIN | {"operand": 1, "stage_b": 1}, 2, START_CYCLES + 2 * 98),
        # Records are read before the first step; there is no padding to read the next ones in.
        (VectorOp.MUL, PLAIN | {"operand": 1}, 1, 2 + RECORDS + 98),
        # A row of 7 outputs takes 9 columns of 3 steps; the next block's parameters are read while padding passes.
        (VectorOp.DEPTHWISE, SAME, 1, 2 + RECORDS + WEIGHTS + SAME_STEPS),
        (VectorOp.DEPTHWISE, SAME | {"count_n": 4, "param_stride_n": 17}, 1, 2 + RECORDS + WEIGHTS + 4 * SAME_STEPS),
        (VectorOp.DEPTHWISE, SAME, 3, 2 + RECORDS + WEIGHTS + 3 * SAME_STEPS),
        # Without padding they are read between the blocks.
        (VectorOp.DEPTHWISE, VALID | {"count_n": 3, "param_stride_n": 17}, 1, 3 * (RECORDS + WEIGHTS + SAME_STEPS)),
        (VectorOp.MAX, SAME, 1, START_CYCLES + SAME_STEPS),
    ],
)
def test_one_step_a_cycle(op: VectorOp, fields: Fields, repeat: int, cycles: int) -> None:
    """Cycles from the first instruction to the last retirement, beyond the pipeline's latency."""
    params = make_params("tiny")
    rng = random.Random(3)
    f = random_instruction(rng, params, op) | fields
    observed = check(params, [f] * repeat, 3)
    assert observed.classes[CycleClass.BUSY] == observed.steps
    assert observed.classes[CycleClass.FLUSH] == VECTOR_LATENCY_CYCLES
    slack = observed.cycles - VECTOR_LATENCY_CYCLES - cycles
    assert 0 <= slack <= 4 * f["count_n"]


@pytest.mark.parametrize(
    ("op", "fields", "cycles"),
    [
        (VectorOp.COPY, PLAIN, 4 * 48 + 1),  # an output every four cycles
        (VectorOp.COPY, PLAIN | {"operand": 1, "stage_b": 1}, 2 + 4 * 48),
        (VectorOp.DEPTHWISE, SAME | {"count_ky": 4, "limit_y": 8}, 7 * 9 * 4),  # every four cycles as it is
        (VectorOp.DEPTHWISE, SAME, 7 * (2 * 3 + 7 * 4) - 1),  # every three, which become four
    ],
)
def test_one_lane_at_once(op: VectorOp, fields: Fields, cycles: int) -> None:
    """Outputs are as far apart as a word takes to be requantized; steps that complete none are not held up by it."""
    params = make_params("tiny", requantize_lanes=1)
    f = random_instruction(random.Random(3), params, op) | fields
    observed = check(params, [f], 3)
    assert abs(observed.classes[CycleClass.BUSY] - cycles) <= 8
    assert observed.classes[CycleClass.FLUSH] == VECTOR_LATENCY_CYCLES + params.vector_word_cycles - 1


def test_table_takes_its_look_ups() -> None:
    """A word of 4 lanes at 2 look-ups a cycle takes 2 cycles."""
    params = make_params("tiny")
    f = random_instruction(random.Random(3), params, VectorOp.TABLE) | PLAIN
    observed = check(params, [f], 3)
    assert observed.classes[CycleClass.BUSY] == 2 * 49 - 1
    assert observed.reads == 49 + params.table_words


def test_stride_and_dead_columns() -> None:
    """Column mode with steps wider than the window: every column is a step, those that no output covers are not read."""
    params = make_params("tiny")
    f = random_instruction(random.Random(4), params, VectorOp.MAX) | VALID
    f |= {"step_x": 3, "count_kx": 2, "count_x": 5, "a_stride_x": 3, "limit_x": 99, "limit_y": 99}
    observed = check(params, [f], 4)
    assert observed.steps == 7 * 3 * (4 * 3 + 2)
    assert observed.reads == 7 * 3 * 5 * 2


def test_time_does_not_depend_on_data() -> None:
    params = make_params("tiny")
    rng = random.Random(6)
    instructions = [random_instruction(rng, params) for _ in range(5)]
    traces = []
    for seed in (1, 2):
        memory = random_memory(random.Random(seed), params, instructions)
        traces.append(run_engine(params, instructions, memory, 7, refuse_read=0.3).trace)
    assert traces[0] == traces[1]


def test_sums_cannot_overflow() -> None:
    """A window of 255 × 255 takes 25 bits; only the deepest tap stores take more. Slots before the last hold fewer columns."""
    base = make_params("base")
    assert sum_bits(base, base.taps - 1) == 25
    deepest = make_params("base", depthwise_taps=9, tap_depth=128)
    assert 255 * 128 * deepest.tap_entries < 1 << sum_bits(deepest, 8) - 1
    for params in (base, deepest):
        for slot in range(params.taps - 1):
            assert 255 * 255 * (slot + 1) < 1 << sum_bits(params, slot) - 1
            assert 255 * 128 * params.config.vector.tap_depth * (slot + 1) < 1 << sum_bits(params, slot) - 1
            assert sum_bits(params, slot) <= sum_bits(params, slot + 1)


def test_largest_factors() -> None:
    """Factors of ±255 and weights of −128 in the deepest kernel, and MUL of the largest distances."""
    params = make_params("tiny", depthwise_taps=2, tap_depth=8)
    rng = random.Random(12)
    extremes: Fields = {"zero_in": 127, "zero_operand": -128, "limit_x": 99, "limit_y": 99, "origin_x": 0, "origin_y": 0}
    instructions = []
    for op, kernel in ((VectorOp.DEPTHWISE, (4, 4)), (VectorOp.MUL, (1, 1)), (VectorOp.SUM, (15, 15))):
        f = random_instruction(rng, params, op) | PLAIN | extremes
        f |= {"count_kx": kernel[0], "count_ky": kernel[1], "operand": int(op is VectorOp.MUL)}
        f |= {"a_address": 0, "b_address": 2000, "param_address": 1000 + 40 * op, "count_x": 2, "count_y": 1, "zero_a": 0}
        instructions.append(f)
    memory = random_memory(rng, params, instructions)
    memory[:900] = -128
    memory[1008:1024] = -128
    memory[2000:2900] = 127
    for op, shift in ((VectorOp.DEPTHWISE, 13), (VectorOp.MUL, 9), (VectorOp.SUM, 9)):
        record = np.frombuffer(bytes([0, 0, 0, 0, 1, 0, 0, shift]), np.int8)
        memory[1000 + 40 * op : 1008 + 40 * op] = np.tile(record, params.lanes).reshape(-1, params.lanes)
    observed = run_engine(params, instructions, memory)
    assert observed.writes == [write for f in instructions for write in expected_writes(f, memory)]
    codes = np.frombuffer(b"".join(word for _, word in observed.writes), np.int8)
    assert set(codes[:8].tolist()) == {(255 * 128 * 16 + 4096) >> 13}
