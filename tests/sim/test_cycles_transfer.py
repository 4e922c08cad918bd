"""Load and store engines of the cycle model against the RTL, cycle by cycle, on random transfers and random refusals.

The RTL runs first; then the model gets the same inputs. Nothing that the inputs are made from comes from the model.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import data
from amaranth.sim import Simulator
from plain_cycles import plain_module

from systola.hw.config import Config, load_config
from systola.hw.dma import LoadEngine, StoreEngine
from systola.hw.dma.ports import PAGE_BYTES
from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.sim.cycles import bursts
from systola.sim.cycles.jit import jit
from systola.sim.cycles.load import LOAD_STATE, load_offer, load_reset, load_tick
from systola.sim.cycles.records import NEVER, hardware, instructions, new_record
from systola.sim.cycles.store import STORE_STATE, store_offer, store_reset, store_tick

Fields = dict[str, int]
Values = dict[str, int]
"""Signals of one cycle by name."""

INPUTS = ("instruction_valid", "request_ready", "access_ready", "beat_in", "acknowledged_last")
OUTPUTS = (
    "request_valid", "request_length", "request_last", "request_address", "access_valid", "access_address", "beat_out",
    "taken", "retire", "cycle_class", "events",
)  # fmt: skip
"""``access``: of the scratchpad. ``beat_in``, ``beat_out``: valid and ready of beats, for LOAD; ready and valid for STORE."""

Pattern = Callable[[random.Random], Iterator[int]]
Draw = Callable[[random.Random, int], Fields]


def always(rng: random.Random) -> Iterator[int]:
    return itertools.repeat(1)


def coin(rng: random.Random) -> Iterator[int]:
    while True:
        yield int(rng.random() < 0.5)


def blocks(rng: random.Random) -> Iterator[int]:
    """Long stretches of the same answer."""
    while True:
        for answer in (1, 0):
            yield from itertools.repeat(answer, rng.randint(1, 70))


def seldom(rng: random.Random) -> Iterator[int]:
    while True:
        yield int(rng.random() < 0.15)


PATTERNS: tuple[Pattern, ...] = (always, coin, blocks, seldom)


def make_params(lanes: int, bus_bytes: int, burst_beats: int, outstanding: int) -> Params:
    """A small accelerator with a word of ``lanes`` bytes and a bus of ``bus_bytes``."""
    config = load_config("tiny").model_dump()
    config["array"] = {"rows": lanes, "columns": lanes}
    config["memory"]["accumulator_bytes"] = max(512, 16 * 4 * lanes)
    config["bus"] |= {
        "data_bytes": bus_bytes, "burst_beats": burst_beats, "read_outstanding": outstanding, "write_outstanding": outstanding,
    }  # fmt: skip
    return Params(Config.model_validate(config))


def draw(rng: random.Random, lanes: int) -> Fields:
    """A transfer of any shape; no row passes the end of the addresses, but rows go round from there to the beginning."""
    x, y = rng.choice((1, 1, 2, 3, 5)), rng.choice((1, 2, 7, rng.randint(1, 12)))
    if rng.random() < 0.3:
        x, y = rng.randint(4, 90), rng.randint(1, 2)
    before_page = (rng.randrange(1, 1 << 19) << 12) - rng.randrange(0, 600)
    address = rng.choice((rng.randrange(1 << 24, 1 << 31), before_page, before_page, (1 << 32) - (1 << 16)))
    return {
        "dram_address": address & -lanes, "sp_address": rng.randrange(1 << 24),
        "count_x": x, "count_y": y, "count_z": rng.choice((1, 1, 2, 3)),
        "dram_stride_y": rng.choice((x * lanes, rng.randint(1 << 17, 1 << 18) & -64, 4096 - lanes)),
        "dram_stride_z": rng.choice((rng.randint(1 << 19, 1 << 20) & -64, 0)),
        "sp_stride_y": rng.choice((x, rng.randint(-(1 << 23), (1 << 23) - 1))), "sp_stride_z": rng.randint(-100, 100),
    }  # fmt: skip


def draw_word(rng: random.Random, lanes: int) -> Fields:
    """A transfer of one word."""
    return draw(rng, lanes) | {"count_x": 1, "count_y": 1, "count_z": 1}


def in_reach(fields: Fields, lanes: int) -> bool:
    """No row passes the end of the addresses."""
    rows = itertools.product(range(fields["count_z"]), range(fields["count_y"]))
    starts = [(fields["dram_address"] + z * fields["dram_stride_z"] + y * fields["dram_stride_y"]) % (1 << 32) for z, y in rows]
    return max(starts) + fields["count_x"] * lanes < 1 << 32


def draw_program(rng: random.Random, lanes: int, count: int, shape: Draw) -> list[Fields]:
    legal = (fields for fields in iter(lambda: shape(rng, lanes), None) if in_reach(fields, lanes))
    return list(itertools.islice(legal, count))


class Frontend:
    """Offers instructions with random gaps; an offer stands until it is taken."""

    def __init__(self, rng: random.Random, program: list[Fields]) -> None:
        self.rng, self.program = rng, program
        self.next = 0
        self.gap = 3

    @property
    def valid(self) -> int:
        return int(self.next < len(self.program) and self.gap == 0)

    def after(self, taken: int) -> None:
        """End of a cycle."""
        if taken:
            self.next += 1
            self.gap = self.rng.choice((0, 0, 0, 2, 9, self.rng.randint(0, 120)))
        elif self.gap:
            self.gap -= 1


class Rtl(Elaboratable):
    """The engine; its inputs are the bits of one signal, its outputs those of another."""

    def __init__(self, params: Params, opcode: Opcode) -> None:
        self.load = opcode is Opcode.LOAD
        self.engine = LoadEngine(params) if self.load else StoreEngine(params)
        self.inputs = Signal(len(INPUTS))
        self.outputs: Any = Signal(data.StructLayout(dict.fromkeys(OUTPUTS, 32)))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        m = Module()
        m.submodules.engine = engine = self.engine
        bus, access = (engine.read, engine.write) if self.load else (engine.bus, engine.read)
        control, request, out = engine.control, bus.request, self.outputs
        instruction_valid, request_ready, access_ready, beat_in, acknowledged_last = self.inputs
        beat = (bus.beats.valid, bus.beats.ready) if self.load else (bus.beats.ready, bus.beats.valid)
        m.d.comb += [
            control.instruction.valid.eq(instruction_valid),
            request.ready.eq(request_ready),
            access.ready.eq(access_ready),
            beat[0].eq(beat_in),
            out.request_valid.eq(request.valid),
            out.request_length.eq(request.payload.length),
            out.request_last.eq(request.payload.last),
            out.request_address.eq(request.payload.address),
            out.access_valid.eq(access.valid),
            out.access_address.eq(access.address),
            out.beat_out.eq(beat[1]),
            out.taken.eq(control.instruction.ready & instruction_valid),
            out.retire.eq(control.retire),
            out.cycle_class.eq(control.cycle_class),
            out.events.eq(access.valid & access_ready),
        ]
        if not self.load:
            m.d.comb += bus.acknowledged_last.eq(acknowledged_last)
        return m

    async def cycle(self, ctx: Any, inputs: Values) -> Values:
        """Outputs of a cycle: those just before the edge at its end."""
        ctx.set(self.inputs, sum(inputs[name] << bit for bit, name in enumerate(INPUTS)))
        _, _, packed = await ctx.tick().sample(self.outputs.as_value())
        return {name: packed >> 32 * index & 0xFFFF_FFFF for index, name in enumerate(OUTPUTS)}


class Memory:
    """The other side of the bus: beats owed for requests, acknowledgements after the beats; so many bursts ``outstanding``."""

    def __init__(self, rng: random.Random, params: Params, load: bool, pattern: Pattern | None) -> None:
        self.requests, self.accesses, self.beats, self.answers = ((pattern or rng.choice(PATTERNS))(rng) for _ in range(4))
        self.load = load
        bus = params.config.bus
        self.outstanding = bus.read_outstanding if load else bus.write_outstanding
        if self.outstanding >= 4:
            self.outstanding += rng.choice((0, 3))  # more than the guard takes: the queue of rows is full before
        self.bursts: list[tuple[int, int]] = []  # beats owed, last of its instruction
        self.unanswered: list[int] = []
        self.held = 0

    def inputs(self) -> Values:
        room = len(self.bursts) + len(self.unanswered) < self.outstanding
        inputs = {"request_ready": int(room and next(self.requests)), "access_ready": next(self.accesses)}
        beat = int(bool(self.bursts) and next(self.beats))
        self.held = (self.held | beat) if self.load else beat
        answers = bool(self.unanswered) and next(self.answers)
        last = self.unanswered.pop(0) if answers else 0
        return inputs | {"beat_in": self.held, "acknowledged_last": last}

    def after(self, inputs: Values, seen: Values) -> None:
        """End of a cycle."""
        if inputs["beat_in"] & seen["beat_out"]:
            self.held = 0
            left, last = self.bursts.pop(0)
            if left > 1:
                self.bursts.insert(0, (left - 1, last))
            elif not self.load:
                self.unanswered.append(last)
        if seen["request_valid"] & inputs["request_ready"]:
            self.bursts.append((seen["request_length"] + 1, seen["request_last"]))


@dataclass
class Run:
    """What the RTL did: ``inputs`` and ``outputs`` of each cycle; one more input says that all are as in the cycle before."""

    hw: Any
    program: Any
    inputs: Any
    outputs: Any


def run_rtl(
    params: Params,
    opcode: Opcode,
    seed: int,
    count: int,
    pattern: Pattern | None = None,
    most_cycles: int = 2500,
    shape: Draw = draw,
) -> Run:
    """``count`` random instructions, or what is done of them in ``most_cycles``; ``pattern``: of all ports, not each its own."""
    rng = random.Random(seed)
    fields = draw_program(rng, params.lanes, count, shape)
    rtl, frontend, memory = Rtl(params, opcode), Frontend(rng, fields), Memory(rng, params, opcode is Opcode.LOAD, pattern)
    rows: list[tuple[Values, Values]] = []

    async def testbench(ctx: Any) -> None:
        retired, quiet, shown = 0, 0, -1
        while quiet < 20 and len(rows) < most_cycles:
            inputs = {"instruction_valid": frontend.valid, **memory.inputs()}
            if shown != frontend.next < count:
                shown = frontend.next
                ctx.set(rtl.engine.control.instruction.payload, {"opcode": 0, **fields[shown]})
            seen = await rtl.cycle(ctx, inputs)
            rows.append((inputs, seen))
            frontend.after(seen["taken"])
            memory.after(inputs, seen)
            retired += seen["retire"]
            quiet = quiet + 1 if retired == count else 0

    simulator = Simulator(rtl)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    inputs = np.array([[row[name] for name in INPUTS] for row, _ in rows], np.int64)
    outputs = np.array([[row[name] for name in OUTPUTS] for _, row in rows], np.int64)
    same = np.append(False, (inputs[1:] == inputs[:-1]).all(axis=1))
    inputs = np.column_stack((inputs, same))
    outputs[:, OUTPUTS.index("events")] = np.cumsum(outputs[:, OUTPUTS.index("events")])
    return Run(hardware(params), instructions(opcode, [Instruction(opcode, f) for f in fields]), inputs, outputs)


@jit
def replay_load(hw: Any, s: Any, program: Any, inputs: Any, outputs: Any, sleeps: int) -> int:
    """The model on recorded inputs. ``sleeps``: passed over before ``wake`` while its inputs do not change. Returns how often."""
    load_reset(hw, s)
    slept = 0
    for now in range(len(inputs)):
        i, o = inputs[now], outputs[now]
        asleep = 1 if sleeps and now < s.wake and i[5] else 0
        slept += asleep
        if not asleep:
            load_offer(hw, s, now, i[3])
        o[0], o[1], o[3], o[4], o[5] = s.request_valid, s.request_length, s.request_address, s.write_valid, s.write_address
        if not asleep:
            load_tick(hw, s, now, i[0], program, i[1], i[3], i[2])
        o[6], o[7], o[8], o[9], o[10] = s.beat_ready, s.taken, s.retire, s.cycle_class, s.load_writes
    return slept


@jit
def replay_store(hw: Any, s: Any, program: Any, inputs: Any, outputs: Any, sleeps: int) -> int:
    """Likewise."""
    store_reset(hw, s)
    slept = 0
    for now in range(len(inputs)):
        i, o = inputs[now], outputs[now]
        asleep = 1 if sleeps and now < s.wake and i[5] else 0
        slept += asleep
        if not asleep:
            store_offer(hw, s, now)
        o[0], o[1], o[2], o[3] = s.request_valid, s.request_length, s.request_last, s.request_address
        o[4], o[5], o[6] = s.read_valid, s.read_address, s.beat_valid
        if not asleep:
            store_tick(hw, s, now, i[0], program, i[1], i[2], i[3], i[4])
        o[7], o[8], o[9], o[10] = s.taken, s.retire, s.cycle_class, s.store_reads
    return slept


def meaningful(outputs: Any, opcode: Opcode) -> Any:
    """What is not valid is 0."""
    outputs = outputs.copy()
    outputs[:, 1:4] *= outputs[:, 0:1]
    outputs[:, 5] *= outputs[:, 4]
    if opcode is Opcode.LOAD:
        outputs[:, 2] = 0  # nobody asks the load engine which burst is an instruction's last
    return outputs


def replay(run: Run, opcode: Opcode, sleeps: bool, plain: ModuleType | None = None) -> tuple[Any, Any, int]:
    """The model's final state and outputs, and the cycles that it slept; ``plain``: its module where that is not compiled."""
    state = new_record(LOAD_STATE if opcode is Opcode.LOAD else STORE_STATE)
    outputs = np.zeros_like(run.outputs)
    function: Any = replay_load if opcode is Opcode.LOAD else replay_store
    if plain:
        function = getattr(function, "py_func", function)
        function = FunctionType(function.__code__, function.__globals__ | vars(plain))
    slept = function(run.hw, state, run.program, run.inputs, outputs, int(sleeps))
    return state, meaningful(outputs, opcode), slept


def check(run: Run, opcode: Opcode) -> set[CycleClass]:
    """The model, awake and sleeping, equals the RTL in each cycle; returns the classes seen."""
    expected = meaningful(run.outputs, opcode)
    for sleeps in (False, True):
        state, got, slept = replay(run, opcode, sleeps)
        for now, column in np.argwhere(got != expected)[:1]:
            pytest.fail(
                f"cycle {now}{' (sleeping)' if sleeps else ''}, {OUTPUTS[column]}: RTL {expected[now, column]}, "
                f"model {got[now, column]}; inputs {dict(zip(INPUTS, run.inputs[now].tolist(), strict=False))}"
            )
        ended = state.next == len(run.program) and (expected[-20:, OUTPUTS.index("cycle_class")] == CycleClass.IDLE).all()
        assert not ended or state.wake == NEVER
        assert bool(slept) is sleeps
    return set(map(CycleClass, expected[:, OUTPUTS.index("cycle_class")].tolist()))


SHAPES = [  # lanes, bus bytes, burst beats, outstanding
    (4, 4, 16, 16), (16, 16, 16, 16), (8, 8, 2, 8), (32, 4, 8, 2), (16, 8, 4, 4), (8, 4, 256, 1),
    (4, 64, 16, 4), (4, 16, 1, 8), (8, 16, 2, 2), (16, 128, 256, 64), (32, 64, 32, 1), (64, 16, 16, 16),
]  # fmt: skip
named = {"ids": lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else value.name.lower()}
each_opcode = pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE], **named)
each_shape = pytest.mark.parametrize("shape", SHAPES, **named)


@each_opcode
@each_shape
def test_equals_rtl(opcode: Opcode, shape: tuple[int, int, int, int]) -> None:
    check(run_rtl(make_params(*shape), opcode, seed=sum(shape), count=12), opcode)


@each_opcode
@pytest.mark.parametrize("preset", ["tiny", "tall", "wide"])
def test_equals_rtl_on_presets(opcode: Opcode, preset: str) -> None:
    check(run_rtl(Params(load_config(preset)), opcode, seed=1, count=8), opcode)


@pytest.mark.slow
@each_opcode
@each_shape
@pytest.mark.parametrize("seed", range(2))
def test_equals_rtl_for_long(opcode: Opcode, shape: tuple[int, int, int, int], seed: int) -> None:
    check(run_rtl(make_params(*shape), opcode, seed, count=60, most_cycles=8000), opcode)


@each_opcode
def test_every_class_occurs(opcode: Opcode) -> None:
    classes = check(run_rtl(make_params(8, 16, 4, 4), opcode, seed=3, count=12, pattern=coin), opcode)
    own = {CycleClass.IDLE, CycleClass.SETUP, CycleClass.BUSY, CycleClass.BANK, CycleClass.DRAM_LATENCY}
    assert classes == own | ({CycleClass.FLUSH} if opcode is Opcode.STORE else set())


@each_opcode
def test_full_speed(opcode: Opcode) -> None:
    """Nothing is refused: bursts, rows and instructions follow each other."""
    check(run_rtl(make_params(16, 16, 16, 16), opcode, seed=4, count=30, pattern=always), opcode)


@each_opcode
def test_plain_python_equals_compiled(opcode: Opcode, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_rtl(make_params(8, 16, 4, 4), opcode, seed=5, count=5, pattern=coin)
    state, outputs, slept = replay(run, opcode, True)
    plain_state, plain_outputs, plain_slept = replay(run, opcode, True, plain_module(monkeypatch, opcode.name.lower()))
    assert plain_state.tobytes() == state.tobytes()
    assert plain_slept == slept
    assert (plain_outputs == outputs).all()


@each_opcode
@pytest.mark.parametrize("seed", range(4))
def test_single_words(opcode: Opcode, seed: int) -> None:
    """Instructions end in cycles that follow each other, when nothing else moves."""
    check(run_rtl(make_params(16, 16, 16, 16), opcode, seed, 30, pattern=blocks, shape=draw_word), opcode)


def test_page_is_that_of_the_rtl() -> None:
    assert bursts.PAGE_BYTES == PAGE_BYTES
