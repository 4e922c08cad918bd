"""The drain engine against machine.md and ``systola.hw.numerics``: random instructions, refusals on every port, throughput."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw import numerics
from systola.hw.config import Config, load_config
from systola.hw.drain import RETIRE_LATENCY_CYCLES, START_LATENCY_CYCLES, DrainEngine
from systola.hw.interfaces import ACCUMULATOR_READ_LATENCY_CYCLES, SCRATCHPAD_READ_LATENCY_CYCLES, instruction_layout
from systola.hw.isa import Opcode
from systola.hw.params import Params
from systola.hw.post import record_words
from systola.hw.registers import CycleClass


@pytest.fixture(params=["tiny", "small", "tall", "wide"])
def params(request: pytest.FixtureRequest) -> Params:
    return Params(load_config(request.param))


def slow(preset: str, lanes: int) -> Params:
    """A preset that requantizes ``lanes`` lanes at once."""
    values = load_config(preset).model_dump()
    values["requantize"]["lanes"] = lanes
    return Params(Config.model_validate(values))


def narrow(lanes: int = 64) -> Params:
    """64 rows, 4 columns: sixteen column groups, records that do not fill a word."""
    values = load_config("tiny").model_dump()
    values["requantize"]["lanes"] = lanes
    values["array"] = {"rows": 64, "columns": 4, "segment_columns": 4}
    values["memory"] = {"scratchpad_bytes": 1 << 17, "scratchpad_banks": 4, "accumulator_bytes": 4096}
    return Params(Config.model_validate(values))


@dataclass
class Machine:
    """The memories around a drain engine, and what it should do to them."""

    params: Params
    words: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    instructions: list[dict[str, int]] = field(default_factory=list)

    def fill(self, rng: random.Random) -> None:
        self.words = [rng.getrandbits(8 * self.params.lanes) for _ in range(self.params.scratchpad_words)]
        columns, words = range(self.params.columns), range(self.params.accumulator_words)
        self.sums = [sum(rng.choice((rng.randint(0, 3000), rng.getrandbits(32))) << 32 * c for c in columns) for _ in words]

    def record(self, word: int, column: int) -> tuple[int, int, int]:
        lanes, address = self.params.lanes, 8 * column
        size = len(self.words)
        raw = b"".join(
            self.words[(word + i) % size].to_bytes(lanes, "little") for i in range(record_words(self.params.columns, lanes))
        )[address : address + 8]
        multiplier = int.from_bytes(raw[4:7], "little") % (1 << self.params.multiplier_bits)
        return int.from_bytes(raw[:4], "little", signed=True), multiplier, raw[7] & 63

    def put_records(self, rng: random.Random, word: int, blocks: int) -> None:
        """Plausible records: bits that no lane may use are left as they are, unknown."""
        lanes, columns = self.params.lanes, self.params.columns
        bits = self.params.multiplier_bits
        for block in range(blocks):
            raw = bytearray(record_words(columns, lanes) * lanes)
            for column in range(columns):
                bias, multiplier = rng.randint(-4000, 1000), rng.randint(1 << bits - 1, (1 << bits) - 1)
                raw[8 * column : 8 * column + 4] = bias.to_bytes(4, "little", signed=True)
                raw[8 * column + 4 : 8 * column + 8] = (multiplier | rng.randint(bits, bits + 8) << 24).to_bytes(4, "little")
            for i in range(record_words(columns, lanes)):
                address = (word + block * record_words(columns, lanes) + i) % len(self.words)
                self.words[address] = int.from_bytes(raw[lanes * i : lanes * (i + 1)], "little")

    def expected(self) -> tuple[list[int], list[int]]:
        """Scratchpad after all instructions, and writes made when each ends."""
        words, ends, writes = list(self.words), [], 0
        for instruction in self.instructions:
            for n in range(instruction["count_n"]):
                for y in range(instruction["count_y"]):
                    for x in range(instruction["count_x"]):
                        self.drain_pixel(words, instruction, n, y, x)
                        writes += 1
            ends.append(writes)
        return words, ends

    def drain_pixel(self, words: list[int], i: dict[str, int], n: int, y: int, x: int) -> None:
        p, size = self.params, len(words)
        block, group = divmod(i["group"] + n, p.column_groups)
        sums = self.sums[(i["acc_address"] + n * i["acc_stride_n"] + y * i["count_x"] + x) % len(self.sums)]
        b_word = words[(i["b_address"] + block * i["b_stride_n"] + y * i["b_stride_y"] + x) % size]
        dst = (i["dst_address"] + block * i["dst_stride_n"] + y * i["dst_stride_y"] + x * i["dst_stride_x"]) % size
        for c in range(p.columns):
            bias, multiplier, shift = self.record(i["param_address"] + n * record_words(p.columns, p.lanes), c)
            value = as_signed(as_signed(sums >> 32 * c, 32) + bias, 32)  # wraps as the hardware does; correct programs do not
            code = numerics.requantize(value, 0, multiplier, shift, i["zero_a"], i["low_a"], i["high_a"])
            lane = 8 * (group * p.columns + c)
            if i["stage_b"]:
                code = numerics.elementwise(
                    code, i["zero_a"], i["multiplier_positive"], i["multiplier_negative"],
                    as_signed(b_word >> lane, 8), i["zero_operand"], i["multiplier_operand"] if i["operand"] else 0,
                    i["shift_b"], i["zero_b"], i["low_b"], i["high_b"],
                )  # fmt: skip
            words[dst] = words[dst] & ~(255 << lane) | (code & 255) << lane


def as_signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def random_instruction(rng: random.Random, machine: Machine, number: int, **fixed: int) -> dict[str, int]:
    """Reads the lower half of the scratchpad, writes its own piece of the upper half, with gaps between rows and blocks."""
    p = machine.params
    i = {"opcode": int(Opcode.DRAIN), "count_n": rng.choice((1, 1, 2, 3))}
    i |= {"count_y": rng.randint(1, 4), "count_x": rng.randint(1, 5)}
    i |= {"stage_b": rng.randint(0, 1), "operand": rng.randint(0, 1), "group": rng.randrange(p.column_groups)}
    i |= fixed
    half = p.scratchpad_words // 2
    # Some rows of a tile: the rest of a block is skipped.
    i["acc_stride_n"] = i["count_y"] * i["count_x"] + rng.choice((0, 0, i["count_x"], rng.randrange(9)))
    i["acc_address"] = rng.randrange(max(1, p.accumulator_words - i["count_n"] * i["acc_stride_n"]))
    step = rng.choice((1, 2))
    pitch = i["count_x"] * step + rng.randint(0, 2)
    i |= {"dst_stride_x": step, "dst_stride_y": pitch, "dst_stride_n": pitch * i["count_y"] + rng.randint(0, 5)}
    blocks = (i["group"] + i["count_n"] - 1) // p.column_groups + 1
    i["dst_address"] = half + number * (half // 12)
    assert blocks * i["dst_stride_n"] < half // 12
    if rng.randint(0, 1):  # backwards
        i["dst_address"] += i["dst_stride_y"] * (i["count_y"] - 1)
        i["dst_stride_y"] = -i["dst_stride_y"]
    i |= {"b_address": rng.randrange(half // 2), "b_stride_y": rng.randint(-3, 20), "b_stride_n": rng.randint(0, 9)}
    i["param_address"] = half // 2 + number * (half // 32)
    machine.put_records(rng, i["param_address"], i["count_n"])
    limit = (1 << p.multiplier_bits) - 1
    i |= {name: rng.randint(-limit, limit) for name in ("multiplier_positive", "multiplier_negative", "multiplier_operand")}
    i |= {name: rng.randint(-128, 127) for name in ("zero_a", "zero_operand", "zero_b")}
    i["low_a"], i["high_a"] = rng.choice(((-128, 127), (-100, 90)))
    i["low_b"], i["high_b"] = rng.choice(((-128, 127), (-7, 100)))
    i["shift_b"] = rng.randint(p.multiplier_bits - 2, p.multiplier_bits + 2)
    return i


@dataclass
class Trace:
    """What happened: cycles of accumulator reads and retirements, class of each cycle, the scratchpad at the end."""

    reads: list[int] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)
    classes: list[CycleClass] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)


class Port:
    """The other side of a request port: refuses at random, checks that a refused request stays as it is."""

    def __init__(self, port: Any, refuse: float, rng: random.Random) -> None:
        self.port, self.refuse, self.rng = port, refuse, rng
        self.refused: int | None = None

    def step(self, ctx: Any) -> int | None:
        """Decides on this cycle's request: the address where one is accepted."""
        ready = self.rng.random() >= self.refuse
        ctx.set(self.port.ready, ready)
        if not ctx.get(self.port.valid):
            assert self.refused is None, "a refused request was withdrawn"
            return None
        address = int(ctx.get(self.port.address))
        assert self.refused in (None, address), "a refused request changed"
        self.refused = None if ready else address
        return address if ready else None


def simulate(machine: Machine, seed: int = 0, refuse: float | tuple[float, ...] = 0.0, idle: float = 0.0) -> Trace:
    """Runs all instructions on the engine; checks order and time of retirements against the writes made.

    ``refuse``: how often a request is refused, on all ports or on scratchpad reads, accumulator reads and writes.
    """
    limit = 20000
    refusals = refuse if isinstance(refuse, tuple) else (refuse,) * 3
    rng = random.Random(seed)
    p = machine.params
    dut = DrainEngine(p)
    trace = Trace(words=list(machine.words))
    _, ends = machine.expected()
    layout = instruction_layout(Opcode.DRAIN)

    async def bench(ctx: Any) -> None:
        read, acc, write = (Port(*pair, rng) for pair in zip((dut.read, dut.acc, dut.write), refusals, strict=True))
        read_data: deque[int] = deque([0] * SCRATCHPAD_READ_LATENCY_CYCLES)
        acc_data: deque[int] = deque([0] * ACCUMULATOR_READ_LATENCY_CYCLES)
        writes, offered = 0, False
        for cycle in range(limit):
            ctx.set(dut.read.data, read_data.popleft())
            ctx.set(dut.acc.data, acc_data.popleft())
            waiting = len(trace.taken) < len(machine.instructions)
            offered = waiting and (offered or rng.random() >= idle)
            ctx.set(dut.control.instruction.valid, offered)
            if offered:
                ctx.set(dut.control.instruction.payload, layout.const(machine.instructions[len(trace.taken)]))
            address = read.step(ctx)
            read_data.append(rng.getrandbits(8 * p.lanes) if address is None else trace.words[address])
            address = acc.step(ctx)
            acc_data.append(rng.getrandbits(32 * p.columns) if address is None else machine.sums[address])
            if address is not None:
                trace.reads.append(cycle)
            if ctx.get(dut.control.retire):
                assert writes >= ends[len(trace.retired)]
                trace.retired.append(cycle)
            address = write.step(ctx)
            if address is not None:
                writes += 1
                mask, data = ctx.get(dut.write.mask), ctx.get(dut.write.data)
                bits = sum(((1 << 8 * p.columns) - 1) << 8 * p.columns * g for g in range(p.column_groups) if mask >> g & 1)
                trace.words[address] = trace.words[address] & ~bits | data & bits
            trace.classes.append(CycleClass(ctx.get(dut.control.cycle_class)))
            if offered and ctx.get(dut.control.instruction.ready):
                trace.taken.append(cycle)
                offered = False
            await ctx.tick()
            if len(trace.retired) == len(machine.instructions):
                return
        raise AssertionError(f"{len(trace.retired)} of {len(machine.instructions)} instructions ended in {limit} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return trace


def prepared(params: Params, seed: int, instructions: list[dict[str, int]]) -> Machine:
    rng = random.Random(seed)
    machine = Machine(params)
    machine.fill(rng)
    for number, fixed in enumerate(instructions):
        machine.instructions.append(random_instruction(rng, machine, number, **fixed))
    return machine


def check_random(params: Params, seed: int, refuse: float, idle: float) -> None:
    machine = prepared(params, seed, [{}] * 12)
    trace = simulate(machine, seed, refuse, idle)
    wanted, ends = machine.expected()
    assert [a for a in range(len(wanted)) if trace.words[a] != wanted[a]] == []
    assert len(trace.reads) == ends[-1]
    if params.drain_word_cycles == 1:
        assert trace.classes.count(CycleClass.BUSY) == len(trace.reads)
    else:
        assert trace.classes.count(CycleClass.BUSY) >= params.drain_word_cycles * len(trace.reads)
    assert refuse > 0 or CycleClass.BANK not in trace.classes
    assert trace.retired == sorted(set(trace.retired))


@pytest.mark.parametrize(("refuse", "idle"), [(0.0, 0.0), (0.3, 0.9), (0.7, 0.3)])
def test_random_instructions(params: Params, refuse: float, idle: float) -> None:
    for seed in range(2):
        check_random(params, seed, refuse, idle)


@pytest.mark.parametrize("lanes", [1, 64])
@pytest.mark.parametrize("refuse", [0.0, 0.4])
def test_narrow_columns(refuse: float, lanes: int) -> None:
    """Blocks whose records are one word: swaps must keep their distance."""
    check_random(narrow(lanes), 5, refuse, 0.0)


@pytest.mark.parametrize(("preset", "lanes"), [("tiny", 2), ("small", 1), ("tall", 4), ("wide", 4)])
@pytest.mark.parametrize(("refuse", "idle"), [(0.0, 0.0), (0.5, 0.4)])
def test_some_lanes_at_once(preset: str, lanes: int, refuse: float, idle: float) -> None:
    check_random(slow(preset, lanes), 3, refuse, idle)


@pytest.mark.parametrize("lanes", [1, 2])
def test_pixels_are_as_far_apart_as_they_take(lanes: int) -> None:
    """Blocks long enough for their records follow each other without a bubble."""
    params = slow("tiny", lanes)
    pixels, cycles = params.drain_record_words + 4, params.drain_word_cycles
    machine = prepared(params, 2, [{"count_y": 1, "count_x": pixels, "operand": 0, "count_n": n, "group": 0} for n in (2, 1, 3)])
    trace = simulate(machine)
    assert trace.reads == list(range(trace.reads[0], trace.reads[0] + 6 * pixels * cycles, cycles))
    assert trace.retired[-1] - trace.reads[-1] == RETIRE_LATENCY_CYCLES + cycles - 1
    assert trace.words == machine.expected()[0]


@pytest.mark.slow
@pytest.mark.parametrize("refuse", [0.0, 0.4])
def test_base(refuse: float) -> None:
    check_random(Params(load_config("base")), 7, refuse, 0.2)


@pytest.mark.parametrize("operand", [0, 1])
def test_pixels_follow_each_other(params: Params, operand: int) -> None:
    """A single block takes its pixels plus a constant that does not depend on their number, with and without a residual."""
    times, each = set(), params.drain_word_cycles
    for y, x in ((1, 1), (2, 7), (5, 9)):
        machine = prepared(params, 1, [{"count_n": 1, "count_y": y, "count_x": x, "stage_b": 1, "operand": operand, "group": 0}])
        trace = simulate(machine)
        assert trace.retired[0] - trace.reads[-1] == RETIRE_LATENCY_CYCLES + each - 1
        assert trace.reads == list(range(trace.reads[0], trace.reads[0] + y * x * each, each))
        times.add(trace.retired[0] - trace.taken[0] - y * x * each)
    assert times == {params.drain_record_words + START_LATENCY_CYCLES + RETIRE_LATENCY_CYCLES + each - 2}


def test_no_bubble_between_blocks_and_instructions(params: Params) -> None:
    """Blocks of record words + 4 pixels: an accumulator read in every cycle, or as often as a pixel takes, from first to last."""
    pixels = params.drain_record_words + 4
    shape = {"count_y": 1, "count_x": pixels, "operand": 0}
    machine = prepared(params, 2, [shape | {"count_n": n, "group": 0} for n in (2, 1, 3, 1)])
    trace = simulate(machine)
    each = params.drain_word_cycles
    assert trace.reads == list(range(trace.reads[0], trace.reads[0] + 7 * pixels * each, each))
    assert trace.words == machine.expected()[0]


def test_records_share_the_port_with_residuals(params: Params) -> None:
    """Blocks with residuals take their pixels and the next block's record words, not more."""
    words = params.drain_record_words
    shape = {"count_y": 2, "count_x": words + 6, "stage_b": 1, "operand": 1, "group": 0, "count_n": 1}
    machine = prepared(params, 3, [shape] * 4)
    trace = simulate(machine)
    blocks, cycles = 4, 2 * (words + 6) * params.drain_word_cycles
    assert trace.reads[-1] - trace.reads[0] + 1 <= blocks * cycles + (blocks - 1) * words
    assert trace.words == machine.expected()[0]


def test_classes_of_a_short_instruction(params: Params) -> None:
    """Records, then the pixels, then the pipeline empties; each cycle from the instruction's arrival on is in that order."""
    machine = prepared(params, 4, [{"count_n": 1, "count_y": 2, "count_x": 3, "operand": 0}])
    trace = simulate(machine)
    start = trace.taken[0] + 1
    each = params.drain_word_cycles
    setup = trace.reads[0] - start - (each - 1)  # a block's start takes its turn in the post pipeline, too
    assert setup == params.drain_record_words + START_LATENCY_CYCLES - 1
    busy, flush = 7 * each - 1, RETIRE_LATENCY_CYCLES
    assert trace.classes[start:] == [CycleClass.SETUP] * setup + [CycleClass.BUSY] * busy + [CycleClass.FLUSH] * flush
    assert set(trace.classes[:start]) == {CycleClass.IDLE}


@pytest.mark.parametrize("refuse", [(0.8, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.0, 0.8), (0.4, 0.8, 0.0), (0.0, 0.4, 0.8)])
def test_one_slow_port(refuse: tuple[float, ...]) -> None:
    """Queues run full and empty, and nothing is lost: the pipeline holds more pixels than the output queue can take at once."""
    shape = {"count_y": 5, "count_x": 9, "stage_b": 1, "operand": 1}
    machine = prepared(Params(load_config("tiny")), 8, [{"count_n": 1} | shape] * 3)
    trace = simulate(machine, 8, refuse)
    assert trace.words == machine.expected()[0]
    assert trace.classes.count(CycleClass.BANK) > 0


def test_residual_in_place() -> None:
    """A block's output may replace its residual: each pixel's is read before it is written, and other groups are left alone."""
    params = Params(load_config("tall"))
    machine = prepared(params, 11, [{"count_n": 2, "stage_b": 1, "operand": 1, "group": 0, "count_y": 3, "count_x": 7}])
    instruction = machine.instructions[0]
    instruction |= {"b_address": instruction["dst_address"], "b_stride_y": instruction["dst_stride_y"], "dst_stride_x": 1}
    instruction |= {"b_stride_n": instruction["dst_stride_n"]}
    trace = simulate(machine, 11, 0.3)
    assert trace.words == machine.expected()[0]


def test_timing_does_not_depend_on_data(params: Params) -> None:
    """The same instructions over other sums, records and residuals take the same cycles, with the same refusals."""
    machine = prepared(params, 6, [{}] * 4)
    before = simulate(machine, seed=9, refuse=0.3)
    other = Machine(params, instructions=machine.instructions)
    other.fill(random.Random(99))
    after = simulate(other, seed=9, refuse=0.3)
    assert before.words != after.words
    assert (before.reads, before.retired, before.classes) == (after.reads, after.retired, after.classes)
