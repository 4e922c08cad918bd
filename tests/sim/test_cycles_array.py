"""The array engine's cycle model against its RTL, cycle by cycle."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator

from systola.hw.array import engine as rtl
from systola.hw.config import load_config
from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.sim.cycles.array import ARRAY_STATE, array_offer, array_run, array_tick
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, hardware, instructions, new_record

Fields = dict[str, int]
OFFERS = ("act_valid", "act_address", "weights_valid", "weights_address", "acc_ready")
IDLE, BUSY, WEIGHTS, SETUP, FLUSH = CycleClass.IDLE, CycleClass.BUSY, CycleClass.WEIGHTS, CycleClass.SETUP, CycleClass.FLUSH
EVENTS = ("array_pixels", "array_padding", "weight_reads", "act_reads", "acc_reads", "acc_writes")


def _params(preset: str, **array: int) -> Params:
    config = load_config(preset)
    return Params(config.model_copy(update={"array": config.array.model_copy(update=array)}))


def _draw(params: Params, rng: random.Random) -> Fields:
    """A random instruction: long and short passes, padding on any side, any addresses and strides, as they wrap."""
    tile, size = params.weight_tile_words, params.scratchpad_words
    shapes = [(1, 1), (1, 2), (2, 2), (3, 1), (3, 3), (1, tile), (1, tile + 1), (2, tile), (1, 3 * tile), (5, 7)]
    count_y, count_x = rng.choice(shapes)
    limit_y, limit_x = rng.randint(1, 9), rng.randint(1, 9)
    wrapping = rng.random() < 0.2
    return {
        "act_address": rng.randrange(1 << 24),
        "stride_x": rng.choice([1, 1, 2, rng.randint(-9, 9)]),
        "stride_y": rng.randint(-size, size),
        "stride_kx": rng.randint(-9, 9),
        "stride_ky": rng.randint(-size, size),
        "stride_kb": rng.randint(-size, size),
        "count_x": count_x,
        "count_y": count_y,
        "count_kb": rng.randint(1, 3 if rng.random() < 0.8 else 9),
        "count_kx": rng.randint(1, 2),
        "count_ky": rng.randint(1, 2),
        "count_n": rng.choice([1, 1, 2, 3]),
        "origin_x": rng.choice([-32768, 32767]) if wrapping else rng.randint(-3, limit_x),
        "origin_y": rng.choice([-32768, 32767]) if wrapping else rng.randint(-3, limit_y),
        "step_x": 255 if wrapping else rng.randint(0, 3),
        "step_y": 255 if wrapping else rng.randint(0, 3),
        "dilation_x": 255 if wrapping else rng.randint(0, 3),
        "dilation_y": rng.randint(0, 3),
        "limit_x": rng.choice([limit_x, 65535]),
        "limit_y": rng.choice([limit_y, 65535]),
        "pad_value": rng.randint(-128, 127),
        "weight_address": rng.randrange(1 << 24),
        "acc_address": rng.randrange(params.accumulator_words),
        "accumulate": rng.randint(0, 1),
    }


def _program(params: Params, seed: int, length: int) -> tuple[list[Fields], Any]:
    rng = random.Random(seed)
    drawn = [_draw(params, rng) for _ in range(length)]
    return drawn, instructions(Opcode.ARRAY, [Instruction(Opcode.ARRAY, fields) for fields in drawn])


MODES = (
    # How often, and for about how many cycles: an instruction is offered; the weights are granted; the drain asks
    ((1.0, 1), (1.0, 1), (0.0, 1)),
    ((1.0, 1), (0.6, 1), (0.5, 1)),
    ((0.5, 40), (0.4, 30), (0.5, 20)),
    ((0.01, 1), (0.9, 1), (0.0, 1)),
)
MODE_CYCLES = 120


class Wires:
    """Instruction offered, weights granted, drain asking, by turns in each mode."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.mode, self.values = rng, MODES[-1], [0, 0, 0]

    def next(self) -> list[int]:
        """The wires of the next cycle."""
        if self.rng.random() < 1 / MODE_CYCLES:
            self.mode = self.rng.choice(MODES)
        for wire, (often, block_cycles) in enumerate(self.mode):
            if self.rng.random() < 1 / block_cycles:
                self.values[wire] = int(self.rng.random() < often)
        return self.values


@jit
def _cycle(
    hw: Record, s: Record, now: int, instruction_valid: int, program: Any, weights_ready: int, drain_valid: int, drain_half: int
) -> tuple[int, int, int, int, int]:
    """One cycle; returns the offers of the ports, and whether the accumulators are ready for the drain."""
    array_offer(hw, s, now)
    acc_ready = int(s.acc_half_read != drain_half)
    offers = s.act_valid, s.act_address, s.weights_valid, s.weights_address, acc_ready
    array_tick(hw, s, now, instruction_valid, program, weights_ready, drain_valid & acc_ready)
    return offers


class Model:
    """The model of one engine, ticked in every cycle, or only from ``wake`` on and where an input changes."""

    def __init__(self, params: Params, program: Any, sleeps: bool) -> None:
        self.hw, self.state, self.program, self.sleeps = hardware(params), new_record(ARRAY_STATE), program, sleeps
        self.inputs: tuple[int, int, int] = (0, 0, 0)
        self.offers: tuple[int, ...] = ()
        self.slept = 0

    def cycle(self, now: int, instruction_valid: int, weights_ready: int, drain_valid: int, drain_half: int) -> dict[str, int]:
        """The outputs of this cycle."""
        s = self.state
        acc_ready = int(s.acc_half_read != drain_half)
        inputs = (instruction_valid, int(weights_ready & s.weights_valid), drain_valid & acc_ready)
        if self.sleeps and now < s.wake and inputs == self.inputs:
            s.taken = s.retire = 0
            self.slept += 1
            self.offers = (*self.offers[:4], acc_ready)
        else:
            self.offers = _cycle(self.hw, s, now, instruction_valid, self.program, weights_ready, drain_valid, drain_half)
            self.inputs = (instruction_valid, int(weights_ready & self.offers[2]), drain_valid & self.offers[4])
        outputs = dict(zip(OFFERS, self.offers, strict=True))
        for port in ("act", "weights"):
            if not outputs[f"{port}_valid"]:
                del outputs[f"{port}_address"]
        return outputs | {name: int(s[name]) for name in ("taken", "retire", "cycle_class", *EVENTS)}


class NoSystolicArray(Component):
    """In the place of the systolic array: it has no control outputs, and simulates slowly."""

    def __init__(self, params: Params) -> None:
        super().__init__({
            "enter": In(1), "swap": In(1), "activations": In(8 * params.rows), "weights": In(8 * params.lanes),
            "select": In(params.weight_tile_words), "sums": Out(params.columns * params.partial_sum_bits),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        return Module()


class Lockstep:
    """RTL and models side by side, on random instructions."""

    def __init__(self, params: Params, seed: int, length: int) -> None:
        self.params, self.rng = params, random.Random(seed)
        self.fields, program = _program(params, seed, length)
        self.models = [Model(params, program, sleeps) for sleeps in (False, True)]
        self.wires = Wires(self.rng)
        self.counted = dict.fromkeys(EVENTS, 0)
        self.taken = self.retired = self.now = self.valid = 0
        self.classes: set[int] = set()

    def run(self) -> None:
        """The whole program and some cycles more."""
        self.dut = rtl.ArrayEngine(self.params)
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._bench)
        simulator.run()

    async def _bench(self, ctx: Any) -> None:
        ctx.set(self.dut.act.ready, 1)
        more = 20
        while more:
            self._cycle(ctx)
            await ctx.tick()
            self.now += 1
            more -= self.retired == len(self.fields)
            assert self.now < 200_000

    def _cycle(self, ctx: Any) -> None:
        dut, control = self.dut, self.dut.control
        offered, weights_ready, drain_valid = self.wires.next()
        drain_half = self.rng.randint(0, 1)
        if not self.valid and self.taken < len(self.fields) and offered:
            self.valid = 1
            ctx.set(control.instruction.payload, self.fields[self.taken])
        ctx.set(control.instruction.valid, self.valid)
        ctx.set(dut.weights.ready, weights_ready)
        ctx.set(dut.acc_read.valid, drain_valid)
        ctx.set(dut.acc_read.address, drain_half * self.params.accumulator_half_words)
        expected = self._sample(ctx)
        for model in self.models:
            seen = model.cycle(self.now, self.valid, weights_ready, drain_valid, drain_half)
            if seen != expected:
                different = {n: (expected.get(n), seen.get(n)) for n in expected | seen if expected.get(n) != seen.get(n)}
                pytest.fail(f"cycle {self.now}, sleeping {model.sleeps}: (RTL, model) differ: {different}")
        self.taken += expected["taken"]
        self.retired += expected["retire"]
        self.valid &= 1 - expected["taken"]
        self.classes.add(expected["cycle_class"])

    def _sample(self, ctx: Any) -> dict[str, int]:
        """What the RTL does in this cycle; events are counts up to and with it."""
        dut = self.dut
        outputs = {"acc_ready": ctx.get(dut.acc_read.ready)}
        for name in ("act", "weights"):
            outputs[f"{name}_valid"] = ctx.get(getattr(dut, name).valid)
            if outputs[f"{name}_valid"]:
                outputs[f"{name}_address"] = ctx.get(getattr(dut, name).address)
        self.counted["act_reads"] += outputs["act_valid"]
        self.counted["weight_reads"] += outputs["weights_valid"] & ctx.get(dut.weights.ready)
        for event, name in (("array_pixels", "pixels"), ("array_padding", "padding"), *((n, n) for n in EVENTS[4:])):
            self.counted[event] += ctx.get(dut.events[name])
        outputs["taken"] = self.valid & ctx.get(dut.control.instruction.ready)
        outputs["retire"] = ctx.get(dut.control.retire)
        outputs["cycle_class"] = ctx.get(dut.control.cycle_class)
        return outputs | self.counted


GEOMETRIES = {
    "tiny": _params("tiny"),
    "tiny, 4 segments": _params("tiny", segment_columns=1),
    "tiny, 16 rows, 2 segments": _params("tiny", rows=16, segment_columns=2),
    "tiny, 16 columns": _params("tiny", columns=16),
    "small": _params("small"),
    "tall": _params("tall"),
    "wide": _params("wide"),
    "base": _params("base"),
    "64 × 64, 64 segments": _params("large", rows=64, columns=64, segment_columns=1),
}


def _lockstep(monkeypatch: pytest.MonkeyPatch, geometry: str, length: int) -> None:
    monkeypatch.setattr(rtl, "SystolicArray", NoSystolicArray)
    lockstep = Lockstep(GEOMETRIES[geometry], 100 * length + list(GEOMETRIES).index(geometry), length)
    lockstep.run()
    assert lockstep.taken == lockstep.retired == length
    assert lockstep.classes == {int(c) for c in (IDLE, BUSY, WEIGHTS, SETUP, FLUSH)}
    assert lockstep.models[1].slept > 20


@pytest.mark.parametrize(("geometry", "length"), [(g, 16 if g.startswith("tiny") else 9) for g in GEOMETRIES if g[0] != "6"])
def test_equals_the_rtl(monkeypatch: pytest.MonkeyPatch, geometry: str, length: int) -> None:
    _lockstep(monkeypatch, geometry, length)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_the_rtl_for_long(monkeypatch: pytest.MonkeyPatch, geometry: str) -> None:
    _lockstep(monkeypatch, geometry, 5 if geometry[0] == "6" else 60)


@jit
def _ticks(hw: Record, s: Record, now: int, end: int, instruction_valid: int, program: Any) -> int:
    """Cycles ``now`` to before ``end``, one by one, nobody else reading; returns in how many, but for the last, an instruction
    was taken or retired or the engine was idle."""
    seen = 0
    for cycle in range(now, end):
        array_offer(hw, s, cycle)
        apart = (s.act_address ^ s.weights_address) & (hw.banks - 1) != 0
        array_tick(hw, s, cycle, instruction_valid, program, int((1 - s.act_valid) | apart), 0)
        s.class_cycles[s.cycle_class] += 1
        if cycle + 1 < end:
            seen += s.taken | s.retire | (s.cycle_class == 0)
    return seen


class Ahead:
    """An engine that runs ahead for random times, and one beside it that ticks in every cycle, on random instructions.

    ``wires``: what ``array_offer`` sets anew in each cycle.
    """

    wires = ("act_valid", "weights_valid", "issue", "acc_half_read")

    def __init__(self, params: Params, seed: int, length: int) -> None:
        self.hw, self.rng, self.length = hardware(params), random.Random(seed), length
        _, self.program = _program(params, seed, length)
        self.running, self.ticked = new_record(ARRAY_STATE), new_record(ARRAY_STATE)
        self.offered = self.rng.choice([0.05, 0.5, 1.0])
        self.now = self.retired = self.ran = self.runs = 0

    def run(self) -> None:
        """All instructions; both are compared after each run."""
        while self.retired < self.length:
            self.step()
            for name in self.wires:
                self.running[name] = self.ticked[name]
            if self.running.tobytes() != self.ticked.tobytes():
                names = [n for n in ARRAY_STATE.names or () if not np.array_equal(self.running[n], self.ticked[n])]
                pytest.fail(f"after cycle {self.now - 1} these differ: {names}")

    def step(self) -> None:
        """A run; where it does not move, a tick."""
        hw, s, now = self.hw, self.running, self.now
        valid = int(s.next < self.length and self.rng.random() < self.offered)
        end = array_run(hw, s, now, now + self.rng.choice([1, 2, 5, 30, 200, 1 << 40]), valid, self.program)
        if end == now:
            end = now + 1
            _ticks(hw, s, now, end, valid, self.program)
        else:
            self.ran += end - now
            self.runs += 1
        assert _ticks(hw, self.ticked, now, end, valid, self.program) == 0
        self.retired += int(s.retire)
        self.now = end


@pytest.mark.parametrize("seed", range(40))
def test_running_ahead_equals_ticking(seed: int) -> None:
    ahead = Ahead(random.Random(seed).choice(list(GEOMETRIES.values())), seed, 12)
    ahead.run()
    assert ahead.ran > 4 * ahead.runs
    assert sum(ahead.running.class_cycles) == ahead.now


def test_running_ahead_refuses_weights_of_the_same_bank() -> None:
    """Strides of all banks and of none beside the weight words: some are refused, and some passes go on without."""
    waits = []
    for stride_x in (0, 1, GEOMETRIES["small"].banks):
        ahead = Ahead(GEOMETRIES["small"], 1, 8)
        ahead.program.stride_x, ahead.program.limit_x, ahead.program.limit_y = stride_x, 65535, 65535
        ahead.run()
        waits.append(ahead.running.class_cycles[WEIGHTS])
    assert len(set(waits)) > 1


def _small_run() -> str:
    """The states after a short program, run ahead and ticked."""
    ahead = Ahead(GEOMETRIES["tiny, 16 columns"], 5, 3)
    ahead.run()
    return hashlib.sha256(ahead.running.tobytes() + ahead.ticked.tobytes()).hexdigest()


def test_plain_python_equals_compiled() -> None:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    plain = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == _small_run()


if __name__ == "__main__":
    print(_small_run())
