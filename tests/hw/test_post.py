"""Stage A and stage B against the arithmetic of ``systola.hw.numerics``, with idle cycles, swaps in flight and extreme values."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw import numerics
from systola.hw.post import (
    POST_LATENCY_CYCLES,
    RECORD_HOLD_CYCLES,
    STAGE_A_LATENCY_CYCLES,
    SWAP_INTERVAL_CYCLES,
    PostPipeline,
    post_config_layout,
    record_words,
)

INT32 = (-(1 << 31), (1 << 31) - 1)
STAGE_B_OFF = ("stage_b", "operand", "shift_b", "zero_b", "zero_operand", "low_b", "high_b")


@dataclass
class Block:
    """Words that share records and configuration."""

    config: dict[str, int]
    records: list[tuple[int, int, int]]
    words: list[tuple[list[int], list[int]]] = field(default_factory=list)


def signed_code(rng: random.Random) -> int:
    return rng.choice((-128, 127, 0, rng.randint(-128, 127)))


def random_record(rng: random.Random, multiplier_bits: int, shift: int) -> tuple[int, int, int]:
    high = (1 << multiplier_bits) - 1
    bias = rng.choice((0, rng.randint(-1000, 1000), *INT32, rng.randint(*INT32)))
    return bias, rng.choice((0, 1, high, 1 << multiplier_bits - 1, rng.randint(0, high))), shift


def random_sum(rng: random.Random, record: tuple[int, int, int]) -> int:
    """An accumulator for which the biased sum fits int32: extreme, or with a result near the int8 range or a rounding tie."""
    bias, multiplier, shift = record
    near = (rng.randint(-600, 600) << shift >> 1) // max(1, multiplier) + rng.randint(-1, 1)
    biased = rng.choice((*INT32, rng.randint(*INT32), rng.randint(-300, 300), near, near))
    low, high = max(INT32[0], INT32[0] + bias), min(INT32[1], INT32[1] + bias)  # biased − bias must be an int32 as well
    return min(max(biased, low), high) - bias


def random_config(rng: random.Random, multiplier_bits: int) -> dict[str, int]:
    limit = (1 << multiplier_bits) - 1

    def factor() -> int:
        return rng.choice((0, 1, -1, limit, -limit, rng.randint(-limit, limit)))

    config = {name: signed_code(rng) for name in ("zero_a", "zero_operand", "zero_b")}
    config["low_a"], config["high_a"] = sorted((signed_code(rng), signed_code(rng)))
    config["low_b"], config["high_b"] = rng.choice(((-128, 127), tuple(sorted((signed_code(rng), signed_code(rng))))))
    config |= {name: factor() for name in ("multiplier_positive", "multiplier_negative", "multiplier_operand")}
    config |= {name: rng.randint(0, 1) for name in ("stage_b", "operand")}
    config["stage_a"] = int(rng.random() < 0.8)
    config["shift_b"] = rng.choice((rng.randint(0, 63), rng.randint(multiplier_bits - 6, multiplier_bits + 6)))
    return config


def random_block(rng: random.Random, lanes: int, multiplier_bits: int, words: int, shift: int) -> Block:
    config = random_config(rng, multiplier_bits)
    records = [random_record(rng, multiplier_bits, (shift + 7 * lane) % 64) for lane in range(lanes)]
    block = Block(config, records)
    for _ in range(words):
        sums = [random_sum(rng, record) if config["stage_a"] else signed_code(rng) + 128 for record in records]
        block.words.append((sums, [signed_code(rng) for _ in range(lanes)]))
    return block


def expected(block: Block, sums: list[int], operands: list[int]) -> list[int]:
    c = block.config
    codes = []
    for value, operand, (bias, multiplier, shift) in zip(sums, operands, block.records, strict=True):
        code = value - 128
        if c["stage_a"]:
            code = numerics.requantize(value, bias, multiplier, shift, c["zero_a"], c["low_a"], c["high_a"])
        if c["stage_b"]:
            code = numerics.elementwise(
                code, c["zero_a"], c["multiplier_positive"], c["multiplier_negative"], operand, c["zero_operand"],
                c["multiplier_operand"] if c["operand"] else 0, c["shift_b"], c["zero_b"], c["low_b"], c["high_b"],
            )  # fmt: skip
        codes.append(code)
    return codes


def packed(values: list[int], bits: int) -> int:
    return sum((value & (1 << bits) - 1) << bits * i for i, value in enumerate(values))


def record_image(records: list[tuple[int, int, int]], word_bytes: int) -> list[int]:
    bits = packed([(bias & 0xFFFFFFFF) | multiplier << 32 | shift << 56 for bias, multiplier, shift in records], 64)
    return [bits >> 8 * word_bytes * i & (1 << 8 * word_bytes) - 1 for i in range(record_words(len(records), word_bytes))]


def run_blocks(
    dut: PostPipeline, blocks: list[Block], lanes: int, word_bytes: int, idle: float, word_cycles: int
) -> list[tuple[int, int, int]]:
    """Runs the blocks as close to each other as the contract allows; (cycle, meta, codes) of each result."""
    rng = random.Random(1)
    schedule: list[dict[str, Any]] = []
    pending: list[tuple[int, int]] = []
    last_swap = -100

    def at(cycle: int) -> dict[str, Any]:
        while len(schedule) <= cycle:
            schedule.append({})
        return schedule[cycle]

    now = 0
    for number, block in enumerate(blocks):
        load = max(last_swap + RECORD_HOLD_CYCLES, 0)
        for index, data in enumerate(record_image(block.records, word_bytes)):
            at(load + index)["load"] = (index, data)
        swap = max(load + record_words(lanes, word_bytes), last_swap + SWAP_INTERVAL_CYCLES, now - 1)
        at(swap)["config"] = block.config
        now, last_swap = swap + 1, swap
        for position, (sums, operands) in enumerate(block.words):
            while rng.random() < idle:
                now += 1
            at(now)["sums"] = packed(sums, 32)
            at(now)["meta"] = number * 64 + position
            at(now + STAGE_A_LATENCY_CYCLES)["operand"] = packed(operands, 8)
            pending.append((now, number * 64 + position))
            now += word_cycles
    results: list[tuple[int, int, int]] = []
    latency_cycles = POST_LATENCY_CYCLES + word_cycles - 1
    at(now + latency_cycles + 2)

    async def bench(ctx: Any) -> None:
        for cycle, step in enumerate(schedule):
            ctx.set(dut.load.valid, "load" in step)
            index, data = step.get("load", (0, rng.getrandbits(8 * word_bytes)))
            ctx.set(dut.load.index, index)
            ctx.set(dut.load.data, data)
            ctx.set(dut.swap, "config" in step)
            ctx.set(dut.config, post_config_layout.const(step.get("config", {"zero_a": 3, "stage_b": 1})))
            ctx.set(dut.i_valid, "sums" in step)
            ctx.set(dut.i_sums, step.get("sums", rng.getrandbits(32 * lanes)))
            ctx.set(dut.i_meta, step.get("meta", 0))
            ctx.set(dut.i_operand, step.get("operand", rng.getrandbits(8 * lanes)))
            assert ctx.get(dut.operand_take) == ("operand" in step)
            if ctx.get(dut.o_valid):
                start, meta = pending[len(results)]
                assert (cycle, ctx.get(dut.o_meta)) == (start + latency_cycles, meta)
                results.append((cycle, ctx.get(dut.o_meta), ctx.get(dut.o_codes)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def check(blocks: list[Block], lanes: int, word_bytes: int, multiplier_bits: int, idle: float, word_cycles: int = 1) -> None:
    dut = PostPipeline(lanes, word_bytes, multiplier_bits, meta_bits=16, lanes_at_once=lanes // word_cycles)
    results = run_blocks(dut, blocks, lanes, word_bytes, idle, word_cycles)
    wanted = [expected(block, sums, operands) for block in blocks for sums, operands in block.words]
    assert [codes for _, _, codes in results] == [packed(codes, 8) for codes in wanted]


@pytest.mark.parametrize("multiplier_bits", [8, 16, 17])
def test_all_shifts_and_extremes(multiplier_bits: int) -> None:
    """Every shift 0 … 63 on every lane, extreme sums, biases and multipliers, results around the limits and on ties."""
    rng = random.Random(multiplier_bits)
    blocks = [random_block(rng, 4, multiplier_bits, 12, shift) for shift in range(64)]
    check(blocks, 4, 4, multiplier_bits, 0.0)


@pytest.mark.parametrize("multiplier_bits", [8, 16, 17])
def test_edges_of_saturation(multiplier_bits: int) -> None:
    """Stage A alone: sums at and beside every power of two, every shift, extreme multipliers and zero points."""
    rng = random.Random(multiplier_bits)
    high = (1 << multiplier_bits) - 1
    powers = (sign << k for k in range(32) for sign in (-1, 1))
    sums = sorted({min(max(power + by, INT32[0]), INT32[1]) for power in powers for by in (-1, 0, 1)})
    blocks = []
    for shift in range(64):
        low, top = rng.choice(((-128, 127), (0, 0), (-128, -128), (127, 127), (-3, 90)))
        config = {"stage_a": 1, "zero_a": rng.choice((-128, 0, 127)), "low_a": low, "high_a": top}
        records = [(0, multiplier, shift) for multiplier in (1, high, 1 << multiplier_bits - 1, high - 1)]
        blocks.append(Block(config | dict.fromkeys(STAGE_B_OFF, 0), records, [([value] * 4, [0] * 4) for value in sums]))
    check(blocks, 4, 4, multiplier_bits, 0.0)


@pytest.mark.parametrize("multiplier_bits", [8, 17])
def test_edges_of_stage_b(multiplier_bits: int) -> None:
    """Stage B alone: extreme codes and operands at every shift, multipliers at their limits and powers of two."""
    rng = random.Random(multiplier_bits)
    limit = (1 << multiplier_bits) - 1
    codes = (-128, -127, -1, 0, 1, 126, 127)
    blocks = []
    for shift in range(64):
        config = random_config(rng, multiplier_bits) | {"stage_a": 0, "stage_b": 1, "operand": 1, "shift_b": shift}
        config |= {name: rng.choice((0, -128, 127)) for name in ("zero_a", "zero_operand", "zero_b")}
        for name in ("multiplier_positive", "multiplier_negative", "multiplier_operand"):
            config[name] = rng.choice((limit, -limit, 1 << rng.randrange(multiplier_bits), -1))
        words = [([code + 128] * 4, [operand] * 4) for code in codes for operand in codes]
        blocks.append(Block(config, [(0, 0, 0)] * 4, words))
    check(blocks, 4, 4, multiplier_bits, 0.0)


@pytest.mark.parametrize(("lanes", "word_bytes"), [(4, 4), (8, 8), (8, 16), (4, 64), (16, 16)])
@pytest.mark.parametrize("idle", [0.0, 0.6])
def test_swaps_in_flight(lanes: int, word_bytes: int, idle: float) -> None:
    """Short blocks, several of them in the pipeline at once, with and without idle cycles; records of any words."""
    rng = random.Random(lanes + word_bytes)
    blocks = [random_block(rng, lanes, 16, rng.randint(0, 5), rng.randint(8, 24)) for _ in range(15)]
    check(blocks, lanes, word_bytes, 16, idle)


@pytest.mark.parametrize(("lanes", "word_bytes", "word_cycles"), [(4, 4, 2), (4, 4, 4), (8, 16, 4), (16, 16, 2), (16, 16, 16)])
@pytest.mark.parametrize("idle", [0.0, 0.6])
def test_some_lanes_at_once(lanes: int, word_bytes: int, word_cycles: int, idle: float) -> None:
    """Words in parts: blocks follow each other as soon as a word's last part allows."""
    rng = random.Random(lanes + word_bytes + word_cycles)
    blocks = [random_block(rng, lanes, 17, rng.randint(0, 5), rng.randint(8, 24)) for _ in range(15)]
    check(blocks, lanes, word_bytes, 17, idle, word_cycles)


@pytest.mark.parametrize("stage_b", [0, 1])
def test_stage_a_skipped(stage_b: int) -> None:
    """Codes + 128 pass stage A as codes whatever the records; every code, with the records kept for a later block."""
    rng = random.Random(3)
    block = random_block(rng, 4, 16, 0, 12)
    block.config |= {"stage_a": 0, "stage_b": stage_b}
    block.words = [([code + 128] * 4, [code] * 4) for code in range(-128, 128)]
    check([block], 4, 4, 16, 0.0)
