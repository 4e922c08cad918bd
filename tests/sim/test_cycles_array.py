"""The array engine's cycle model against its RTL, cycle by cycle."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator

from systola.hw.array import engine as rtl
from systola.hw.config import load_config
from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.sim.cycles.array import ARRAY_STATE, array_offer, array_tick
from systola.sim.cycles.records import hardware, instructions, new_record

Fields = dict[str, int]
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


def _pattern(rng: random.Random, often: float, block_cycles: int) -> Callable[[], int]:
    """A wire that is 1 with probability ``often``; with ``block_cycles`` it keeps its value for about as long."""
    state = 0

    def value() -> int:
        nonlocal state
        if block_cycles <= 1 or rng.random() < 1 / block_cycles:
            state = int(rng.random() < often)
        return state

    return value


class Model:
    """The model of one engine, ticked in every cycle, or only from ``wake`` on and where an input changes."""

    def __init__(self, params: Params, program: Any, sleeps: bool) -> None:
        self.hw, self.state, self.program, self.sleeps = hardware(params), new_record(ARRAY_STATE), program, sleeps
        self.inputs: tuple[int, ...] = ()
        self.slept = 0

    def offer(self, now: int, instruction_valid: int) -> None:
        """The outputs that come from registers; asleep, they are as they were."""
        if not self.sleeps or now >= self.state.wake or self.inputs[0] != instruction_valid:
            array_offer(self.hw, self.state, now)

    def tick(self, now: int, instruction_valid: int, weights_ready: int, acc_served: int) -> None:
        """The rest of the cycle."""
        inputs = (instruction_valid, int(weights_ready and self.state.weights_valid), acc_served)
        if self.sleeps and now < self.state.wake and inputs == self.inputs:
            self.state.taken = self.state.retire = 0
            self.slept += 1
            return
        array_offer(self.hw, self.state, now)
        array_tick(self.hw, self.state, now, instruction_valid, self.program, weights_ready, acc_served)
        self.inputs = inputs


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
    """RTL and models side by side. ``offered``, ``granted``, ``drained``: the patterns of instruction, weights and drain."""

    def __init__(
        self, params: Params, seed: int, length: int, offered: Callable[[], int], granted: Callable[[], int],
        drained: Callable[[], int],
    ) -> None:  # fmt: skip
        self.params, self.rng = params, random.Random(seed)
        self.fields, program = _program(params, seed, length)
        self.models = [Model(params, program, sleeps) for sleeps in (False, True)]
        self.offered, self.granted, self.drained = offered, granted, drained
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
        if not self.valid and self.taken < len(self.fields) and self.offered():
            self.valid = 1
            ctx.set(control.instruction.payload, self.fields[self.taken])
        weights_ready, drain_valid, drain_half = self.granted(), self.drained(), self.rng.randint(0, 1)
        ctx.set(control.instruction.valid, self.valid)
        ctx.set(dut.weights.ready, weights_ready)
        ctx.set(dut.acc_read.valid, drain_valid)
        ctx.set(dut.acc_read.address, drain_half * self.params.accumulator_half_words)
        expected = self._sample(ctx)
        for model in self.models:
            state = model.state
            model.offer(self.now, self.valid)
            acc_ready = int(state.acc_half_read != drain_half)
            seen = {name: int(state[name]) for name in ("act_valid", "weights_valid", "act_address", "weights_address")}
            model.tick(self.now, self.valid, weights_ready, drain_valid & acc_ready)
            seen |= {"acc_ready": acc_ready} | {n: int(state[n]) for n in ("taken", "retire", "cycle_class", *EVENTS)}
            for name in ("act", "weights"):
                if not seen[f"{name}_valid"]:
                    del seen[f"{name}_address"]
            different = {name: (expected.get(name), seen.get(name)) for name in expected | seen
                         if expected.get(name) != seen.get(name)}  # fmt: skip
            assert not different, f"cycle {self.now}, sleeping {model.sleeps}: RTL, model: {different}"
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


GEOMETRIES = [
    pytest.param(_params(preset, **array), length, id=" ".join([preset, *(f"{k}={v}" for k, v in array.items())]))
    for preset, array, length in (
        ("tiny", {}, 14),
        ("tiny", {"segment_columns": 1}, 10),
        ("tiny", {"rows": 16, "segment_columns": 2}, 8),
        ("tiny", {"columns": 16}, 8),
        ("small", {}, 8),
        ("tall", {}, 8),
        ("wide", {}, 8),
        ("base", {}, 5),
        ("large", {"rows": 64, "columns": 64, "segment_columns": 1}, 2),
    )
]
PATTERNS = {
    "at once": ((1.0, 1), (1.0, 1), (0.0, 1)),
    "weights refused": ((1.0, 1), (0.6, 1), (0.5, 1)),
    "long refusals": ((0.5, 40), (0.4, 30), (0.5, 20)),
    "rare instructions": ((0.01, 1), (0.9, 1), (0.0, 1)),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("params", "length"), GEOMETRIES)
def test_equals_the_rtl(monkeypatch: pytest.MonkeyPatch, params: Params, length: int, pattern: str) -> None:
    monkeypatch.setattr(rtl, "SystolicArray", NoSystolicArray)
    seed = sorted(PATTERNS).index(pattern)
    rng = random.Random(seed)
    lockstep = Lockstep(params, seed, length, *(_pattern(rng, *wire) for wire in PATTERNS[pattern]))
    lockstep.run()
    assert lockstep.taken == lockstep.retired == length
    if pattern == "rare instructions":
        assert lockstep.models[1].slept > 50
