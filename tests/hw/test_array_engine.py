"""The array engine against the loop nest of machine.md, and its cycles."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from numpy.typing import NDArray

from systola.hw.array import latency
from systola.hw.array.engine import ArrayEngine
from systola.hw.config import load_config
from systola.hw.interfaces import ACCUMULATOR_READ_LATENCY_CYCLES, SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.registers import CycleClass

Fields = dict[str, int]


def _params(preset: str, **array: int) -> Params:
    """The parameters of a preset with changes to its array."""
    config = load_config(preset)
    return Params(config.model_copy(update={"array": config.array.model_copy(update=array)}))


def _passes(fields: Fields) -> int:
    return fields["count_n"] * fields["count_ky"] * fields["count_kx"] * fields["count_kb"]


def _pixels(fields: Fields) -> int:
    return fields["count_y"] * fields["count_x"]


def _words(fields: Fields) -> range:
    return range(fields["acc_address"], fields["acc_address"] + fields["count_n"] * _pixels(fields))


def _expect(params: Params, memory: NDArray[np.int8], sums: NDArray[np.int64], f: Fields) -> int:
    """Runs an instruction on the accumulators ``sums``, as machine.md says; returns how many positions are padding."""
    size = params.scratchpad_words
    paddings = 0
    for tile, (n, ky, kx, kb) in enumerate(np.ndindex(f["count_n"], f["count_ky"], f["count_kx"], f["count_kb"])):
        first = f["weight_address"] + tile * params.weight_tile_words
        words = memory[np.arange(first, first + params.weight_tile_words) % size]
        weights = words.reshape(params.rows, params.columns).astype(np.int64)
        for y, x in np.ndindex(f["count_y"], f["count_x"]):
            iy = f["origin_y"] + y * f["step_y"] + ky * f["dilation_y"]
            ix = f["origin_x"] + x * f["step_x"] + kx * f["dilation_x"]
            block, group = divmod(kb, params.row_groups)
            address = f["act_address"] + y * f["stride_y"] + x * f["stride_x"] + ky * f["stride_ky"] + kx * f["stride_kx"]
            address += block * f["stride_kb"]
            if 0 <= iy < f["limit_y"] and 0 <= ix < f["limit_x"]:
                pixel = memory[address % size, group * params.rows : (group + 1) * params.rows].astype(np.int64)
            else:
                pixel = np.full(params.rows, f["pad_value"])
                paddings += 1
            word = f["acc_address"] + (n * f["count_y"] + y) * f["count_x"] + x
            overwrites = (ky, kx, kb) == (0, 0, 0) and not f["accumulate"]
            sums[word] = pixel @ weights + (0 if overwrites else sums[word])
    return paddings


def _draw(params: Params, rng: random.Random, largest_pass: int) -> Fields:
    """A random instruction: any addresses and strides, as they wrap; some of the positions are padding."""
    size = params.scratchpad_words
    count_y, count_x, count_n = rng.choice([(1, 1, 1), (1, 1, 2), (2, 2, 2), (1, largest_pass, 1), (3, 3, 1), (3, 1, 2)])
    limit_y, limit_x = rng.randint(1, 9), rng.randint(1, 9)
    return {
        "act_address": rng.randrange(1 << 24),
        "stride_x": rng.randint(-9, 9),
        "stride_y": rng.randint(-size, size),
        "stride_kx": rng.randint(-9, 9),
        "stride_ky": rng.randint(-size, size),
        "stride_kb": rng.randint(-size, size),
        "count_x": count_x,
        "count_y": count_y,
        "count_kb": rng.randint(1, 3),
        "count_kx": rng.randint(1, 2),
        "count_ky": rng.randint(1, 2),
        "count_n": count_n,
        "origin_x": rng.randint(-3, limit_x),
        "origin_y": rng.randint(-3, limit_y),
        "step_x": rng.randint(0, 3),
        "step_y": rng.randint(0, 3),
        "dilation_x": rng.randint(0, 3),
        "dilation_y": rng.randint(0, 3),
        "limit_x": limit_x,
        "limit_y": limit_y,
        "pad_value": rng.randint(-128, 127),
        "weight_address": rng.randrange(size),
        "acc_address": rng.randrange(params.accumulator_words - count_n * count_y * count_x),
        "accumulate": 0,
    }


def _draw_program(params: Params, rng: random.Random, length: int) -> list[Fields]:
    """Random instructions; some go on with the sums of the one before."""
    program: list[Fields] = []
    for _ in range(length):
        fields = _draw(params, rng, 3 * params.weight_tile_words)
        if program and rng.random() < 0.3:
            kept = ("acc_address", "count_n", "count_y", "count_x")
            fields |= {name: program[-1][name] for name in kept} | {"accumulate": 1}
        program.append(fields)
    return program


@dataclass
class Run:
    """What happened: per cycle the class and events; when instructions were taken and retired; the accumulators at the end."""

    classes: list[int] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("pixels", "padding", "acc_reads", "acc_writes"), 0))
    taken: list[int] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)
    drained: int = 0
    sums: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def cycles_of(self, cycle_class: CycleClass) -> list[int]:
        """The cycles of a class."""
        return [cycle for cycle, seen in enumerate(self.classes) if seen == cycle_class]


class Bench:
    """Scratchpad, front end and drain around an engine, cycle by cycle.

    ``granted`` and ``offered`` are the probabilities that a read is granted and that a waiting instruction is offered;
    ``drains`` that of the drain asking for a word. The words that the retired instructions left for good are compared
    while the engine works on later ones, all others at the end.
    """

    def __init__(
        self, params: Params, memory: NDArray[np.int8], program: list[Fields], granted: float = 1.0, offered: float = 1.0,
        drains: float = 0.0,
    ) -> None:  # fmt: skip
        self.params, self.program = params, program
        self.granted, self.offered, self.drains = granted, offered, drains
        self.rng = random.Random(len(program))
        self.words = [int.from_bytes(word.tobytes(), "little") for word in memory]
        self.expected, self.padding = np.zeros((params.accumulator_words, params.columns), np.int64), 0
        for fields in program:
            self.padding += _expect(params, memory, self.expected, fields)
        last_use = {word: index for index, fields in enumerate(program) for word in _words(fields)}
        self.final_after = [[word for word in last_use if last_use[word] == index] for index in range(len(program))]

    def run(self) -> Run:
        """Runs the program and compares all words that it wrote."""
        self.dut = ArrayEngine(self.params)
        self.result = Run()
        self.arriving: dict[str, deque[int | None]] = {
            "act": deque([None] * SCRATCHPAD_READ_LATENCY_CYCLES),
            "weights": deque([None] * SCRATCHPAD_READ_LATENCY_CYCLES),
            "acc_read": deque([None] * ACCUMULATOR_READ_LATENCY_CYCLES),
        }
        self.drain_address: int | None = None
        self.final: list[int] = []
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._bench)
        simulator.run()
        assert self.result.events["padding"] == self.padding
        assert self.result.events["pixels"] == sum(_passes(f) * _pixels(f) for f in self.program)
        assert self.result.events["acc_writes"] == self.result.events["pixels"]
        return self.result

    async def _bench(self, ctx: Any) -> None:
        cycles = sum(_passes(f) * max(_pixels(f), self.params.weight_tile_words) + 200 for f in self.program)
        limit = 2 * cycles / self.granted / self.offered
        while len(self.result.retired) < len(self.program):
            await self._cycle(ctx)
            assert len(self.result.classes) < limit, "the engine does not finish"
        unread = list(self.final)
        while unread or self.drain_address is not None:
            if self.drain_address is None:
                self.drain_address = unread.pop()
            await self._cycle(ctx)
        for _ in range(ACCUMULATOR_READ_LATENCY_CYCLES):
            await self._cycle(ctx)
            assert self.result.classes[-1] == CycleClass.IDLE

    async def _cycle(self, ctx: Any) -> None:
        taken = len(self.result.taken)
        if self.drain_address is None and self.final and self.rng.random() < self.drains:
            self.drain_address = self.rng.choice(self.final)
        self._drive(ctx)
        self._sample(ctx)
        await ctx.tick()
        if len(self.result.taken) > taken:
            ctx.set(self.dut.control.instruction.valid, 0)

    def _drive(self, ctx: Any) -> None:
        for name in ("act", "weights"):
            port, address = getattr(self.dut, name), self.arriving[name].popleft()
            ctx.set(port.data, self.rng.getrandbits(8 * self.params.lanes) if address is None else self.words[address])
            ctx.set(port.ready, self.rng.random() < self.granted)
        ctx.set(self.dut.acc_read.valid, self.drain_address is not None)
        ctx.set(self.dut.acc_read.address, self.drain_address or 0)
        instruction, index = self.dut.control.instruction, len(self.result.taken)
        if index < len(self.program) and self.rng.random() < self.offered:
            ctx.set(instruction.payload, self.program[index])
            ctx.set(instruction.valid, 1)

    def _sample(self, ctx: Any) -> None:
        dut, result = self.dut, self.result
        address = self.arriving["acc_read"].popleft()
        if address is not None:
            data = ctx.get(dut.acc_read.data).to_bytes(4 * self.params.columns, "little")
            assert np.array_equal(np.frombuffer(data, np.int32), self.expected[address]), f"accumulator word {address}"
        for name, waiting in self.arriving.items():
            port = getattr(dut, name)
            waiting.append(ctx.get(port.address) if ctx.get(port.valid) and ctx.get(port.ready) else None)
        if self.arriving["acc_read"][-1] is not None:
            self.drain_address = None
        if ctx.get(dut.control.instruction.valid) and ctx.get(dut.control.instruction.ready):
            result.taken.append(len(result.classes))
        if ctx.get(dut.control.retire):
            self.final.extend(self.final_after[len(result.retired)])
            result.retired.append(len(result.classes))
        for name in result.events:
            result.events[name] += ctx.get(dut.events[name])
        result.classes.append(ctx.get(dut.control.cycle_class))


def _memory(params: Params) -> NDArray[np.int8]:
    return np.random.default_rng(5).integers(-128, 128, (params.scratchpad_words, params.lanes), np.int8, endpoint=False)


GEOMETRIES = [
    pytest.param(_params(preset, **array), id=" ".join([preset, *(f"{k}={v}" for k, v in array.items())]), marks=marks)
    for preset, array, marks in (
        ("tiny", {}, ()),
        ("tiny", {"segment_columns": 1}, ()),
        ("tiny", {"rows": 16}, ()),
        ("tiny", {"rows": 16, "segment_columns": 2}, ()),
        ("tiny", {"columns": 16, "segment_columns": 8}, ()),
        ("small", {"segment_columns": 4}, ()),
        ("tall", {}, ()),
        ("wide", {}, ()),
        ("base", {"segment_columns": 8}, pytest.mark.slow),
    )
]


@pytest.mark.parametrize("params", GEOMETRIES)
@pytest.mark.parametrize(("granted", "offered", "drains"), [(1.0, 1.0, 0.0), (0.7, 0.1, 0.8)])
def test_computes_the_loop_nest(params: Params, granted: float, offered: float, drains: float) -> None:
    program = _draw_program(params, random.Random(11), 9)
    result = Bench(params, _memory(params), program, granted, offered, drains).run()
    reads = sum(_passes(f) * _pixels(f) - (1 - f["accumulate"]) * f["count_n"] * _pixels(f) for f in program)
    assert result.events["acc_reads"] >= reads  # and the drain's


def _plain(params: Params, **changes: int) -> Fields:
    """One pass of one pixel, unless changed."""
    counts = dict.fromkeys(("count_x", "count_y", "count_kb", "count_kx", "count_ky", "count_n"), 1)
    return _draw(params, random.Random(3), 1) | counts | {"acc_address": 0} | changes


@pytest.mark.parametrize("params", GEOMETRIES)
def test_long_passes_have_no_bubble(params: Params) -> None:
    tile = params.weight_tile_words
    shapes = [{"count_x": tile, "count_kb": 2, "count_n": 2}, {"count_x": tile}, {"count_x": tile + 1}]
    program = [_plain(params, **shape) for shape in shapes]
    result = Bench(params, _memory(params), program).run()
    busy = result.cycles_of(CycleClass.BUSY)
    first = result.taken[0] + latency.FIRST_WEIGHT_CYCLES + tile - 1 + latency.TILE_READY_CYCLES
    assert busy == list(range(first, first + 6 * tile + 1))
    last_pixels = [busy[4 * tile - 1], busy[5 * tile - 1], busy[-1]]
    assert result.retired == [cycle + latency.retire_cycles(params) for cycle in last_pixels]


@pytest.mark.parametrize("params", GEOMETRIES)
def test_short_passes_take_a_tile_each(params: Params) -> None:
    tile = params.weight_tile_words
    program = [_plain(params, count_kx=5), _plain(params), _plain(params), _plain(params, count_kb=3, count_x=2)]
    result = Bench(params, _memory(params), program).run()
    busy = result.cycles_of(CycleClass.BUSY)
    starts = [*busy[:7], *busy[7::2]]
    assert starts == list(range(busy[0], busy[0] + 10 * tile, tile))


@pytest.mark.parametrize("preset", ["tiny", "wide"])
def test_classes_of_a_lone_instruction(preset: str) -> None:
    params = _params(preset)
    result = Bench(params, _memory(params), [_plain(params, count_x=3)]).run()
    seen = [cycle_class for cycle_class, _ in itertools.groupby(result.classes)]
    order = [CycleClass.IDLE, CycleClass.SETUP, CycleClass.WEIGHTS, CycleClass.BUSY, CycleClass.FLUSH, CycleClass.IDLE]
    assert seen == order
    assert result.cycles_of(CycleClass.SETUP) == [result.taken[0] + cycle for cycle in range(1, latency.TOKEN_CYCLES)]
    assert len(result.cycles_of(CycleClass.FLUSH)) == latency.retire_cycles(params) - 1


def test_refused_activations_are_bank_cycles() -> None:
    params = _params("tiny")
    fields = _plain(params, count_x=40, origin_x=0, origin_y=0, step_x=0, limit_x=1, limit_y=1)
    result = Bench(params, _memory(params), [fields], granted=0.5).run()
    busy, bank = result.cycles_of(CycleClass.BUSY), result.cycles_of(CycleClass.BANK)
    assert len(busy) == 40
    assert sorted(busy + bank) == list(range(min(busy + bank), busy[-1] + 1))
    assert len(bank) > 10
