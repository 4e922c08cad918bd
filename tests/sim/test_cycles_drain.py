"""The drain's cycle model beside the drain engine: the same requests, classes and retirements in every cycle."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
import pytest
from amaranth.sim import Simulator

from systola.hw.config import Config, load_config
from systola.hw.drain import DrainEngine
from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.sim.cycles import drain
from systola.sim.cycles.records import hardware, instructions, new_record


def shaped(
    rows: int, columns: int, scratchpad_bytes: int = 1 << 14, accumulator_bytes: int = 2048, requantize_lanes: int = 64
) -> Params:
    values = load_config("tiny").model_dump()
    values["requantize"]["lanes"] = requantize_lanes
    values["array"] |= {"rows": rows, "columns": columns, "segment_columns": 4}
    values["memory"] |= {"scratchpad_bytes": scratchpad_bytes, "accumulator_bytes": accumulator_bytes}
    return Params(Config.model_validate(values))


class Pattern:
    """A bit a cycle: always 1, seldom or often 0, or long stretches of either."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.left, self.value = rng, 0, True
        self.kind = rng.choice(("always", "random", "random", "blocks"))
        self.chance = rng.choice((0.1, 0.5, 0.9))

    def __call__(self) -> bool:
        if self.kind == "always":
            return True
        if self.kind == "random":
            return self.rng.random() < self.chance
        if not self.left:
            self.value, self.left = not self.value, self.rng.choice((2, 7, 20, 60))
        self.left -= 1
        return self.value


def random_instruction(rng: random.Random, params: Params) -> dict[str, int]:
    """Every field that timing or an address depends on; addresses anywhere, beyond the memories' ends too."""
    x, y = rng.choice(((1, 1), (1, 2), (3, 1), (rng.randint(1, 12), rng.randint(1, 4)), (rng.randint(20, 60), 1)))
    fields = {"opcode": int(Opcode.DRAIN), "count_x": x, "count_y": y, "count_n": rng.choice((1, 1, 2, 3, 5))}
    fields |= {"stage_b": rng.random() < 0.8, "operand": rng.random() < 0.6, "group": rng.randrange(params.column_groups)}
    fields |= {name: rng.randrange(1 << 24) for name in ("dst_address", "param_address", "b_address")}
    fields |= {"acc_address": rng.randrange(1 << 16), "acc_stride_n": rng.randrange(1 << 16)}
    fields["dst_stride_x"] = rng.choice((1, 2, rng.randint(-(1 << 15), (1 << 15) - 1)))
    names = ("dst_stride_y", "dst_stride_n", "b_stride_y", "b_stride_n")
    return {k: int(v) for k, v in fields.items()} | {n: rng.choice((1, x, rng.randint(-(1 << 23), (1 << 23) - 1))) for n in names}


@dataclass
class Trace:
    """What went in and came out, cycle by cycle."""

    program: list[dict[str, int]]
    inputs: list[tuple[int, int, int, int]] = field(default_factory=list)  # valid, half read, read ready, write ready
    outputs: list[dict[str, int]] = field(default_factory=list)


def run_engine(params: Params, rng: random.Random, count: int) -> Trace:
    """The engine until it has retired ``count`` random instructions, and a while longer."""
    dut = DrainEngine(params)
    trace = Trace([random_instruction(rng, params) for _ in range(count)])
    layout = instruction_layout(Opcode.DRAIN)

    async def bench(ctx: Any) -> None:
        next_, retired, offered, rest = 0, 0, False, 40
        while rest:
            if rng.random() < 0.004 or not trace.inputs:  # now and then everything behaves otherwise
                offers, reads, writes, array = (Pattern(rng) for _ in range(4))
                halves = rng.choice(((0,), (1,), (0, 1)))
            offered = next_ < count and (offered or offers())
            ctx.set(dut.control.instruction.valid, offered)
            if offered:
                ctx.set(dut.control.instruction.payload, layout.const(trace.program[next_]))
            half_read = -1 if array() else rng.choice(halves)
            read_ready, write_ready = int(reads()), int(writes())
            ctx.set(dut.acc.ready, ctx.get(dut.acc.address) >> (params.accumulator_address_bits - 1) != half_read)
            ctx.set(dut.read.ready, read_ready)
            ctx.set(dut.write.ready, write_ready)
            out = observe(ctx, dut)
            trace.inputs.append((int(offered), half_read, read_ready, write_ready))
            trace.outputs.append(out)
            if out["taken"]:
                next_, offered = next_ + 1, False
            retired += out["retire"]
            rest -= retired == count
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return trace


def observe(ctx: Any, dut: Any) -> dict[str, int]:
    """The outputs of this cycle; addresses only of requests."""
    out = {"taken": ctx.get(dut.control.instruction.valid) & ctx.get(dut.control.instruction.ready)}
    out |= {"retire": ctx.get(dut.control.retire), "cycle_class": ctx.get(dut.control.cycle_class)}
    for name, port in (("acc", dut.acc), ("read", dut.read), ("write", dut.write)):
        valid, ready = ctx.get(port.valid), ctx.get(port.ready)
        out |= {f"{name}_valid": valid, f"{name}_address": ctx.get(port.address) if valid else 0}
        out["acc_reads" if name == "acc" else f"drain_{name}s"] = valid & ready
    out["acc_served"] = out["acc_reads"]
    return out


EVENTS = ("acc_reads", "drain_reads", "drain_writes")


def outputs(state: Any, before: tuple[int, ...]) -> dict[str, int]:
    """The model's outputs of this cycle, as ``observe`` names them. ``before``: the events counted before it."""
    out = {name: int(state[name]) for name in ("taken", "retire", "cycle_class", "acc_served")}
    for name in ("acc", "read", "write"):
        out[f"{name}_valid"] = int(state[f"{name}_valid"])
        out[f"{name}_address"] = int(state[f"{name}_address"]) if out[f"{name}_valid"] else 0
    return out | {name: int(state[name]) - counted for name, counted in zip(EVENTS, before, strict=True)}


def check(params: Params, trace: Trace, skip: bool, model: Any = drain) -> tuple[Any, int]:
    """Replays the trace on the model; the first difference fails. Returns the last state, and in how many cycles it slept.

    ``skip``: cycles before ``wake`` are passed over while the inputs stay.
    """
    hw, state = hardware(params), new_record(drain.DRAIN_STATE)
    program = instructions(Opcode.DRAIN, [Instruction(Opcode.DRAIN, fields) for fields in trace.program])
    slept, seen = 0, None
    for now, (inputs, wanted) in enumerate(zip(trace.inputs, trace.outputs, strict=True)):
        valid, half_read, read_ready, write_ready = inputs
        before = tuple(int(state[name]) for name in EVENTS)
        # Answers to requests that are not made are no inputs.
        heard = (valid, half_read if state.acc_valid else 0, read_ready if state.read_valid else 0)
        heard += (write_ready if state.write_valid else 0,)
        if skip and now < state.wake and heard == seen:
            slept += 1
        else:
            model.drain_offer(hw, state, now, half_read)
            model.drain_tick(hw, state, now, valid, program, read_ready, write_ready)
        seen = heard
        got = outputs(state, before)
        wrong = {name: (got[name], wanted[name]) for name in wanted if got[name] != wanted[name]}
        assert not wrong, f"cycle {now}: model, engine: {wrong}; inputs {inputs}"
    return state, slept


SHAPES = {
    "4x4": (4, 4),
    "8x4": (8, 4),  # two column groups
    "16x4": (16, 4),  # two record words: a block is held for the next swap's sake
    "64x4": (64, 4, 1 << 17, 4096),  # one record word
    "4x8": (4, 8),
    "8x8": (8, 8),
    "4x4, 2 lanes": (4, 4, 1 << 14, 2048, 2),
    "8x8, 1 lane": (8, 8, 1 << 14, 2048, 1),
    "64x4, 1 lane": (64, 4, 1 << 17, 4096, 1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_every_cycle(shape: str, seed: int) -> None:
    """Random instructions, gaps and refusals: all outputs are the engine's, with and without sleep."""
    params = shaped(*SHAPES[shape])
    trace = run_engine(params, random.Random(f"{shape} {seed}"), 12)
    state, _ = check(params, trace, skip=False)
    assert state.next == len(trace.program)
    asleep, slept = check(params, trace, skip=True)
    assert slept > 0
    assert {name: int(state[name]) for name in EVENTS} == {name: int(asleep[name]) for name in EVENTS}


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "small", "tall", "wide", "base"])
def test_every_cycle_of_presets(preset: str) -> None:
    params = Params(load_config(preset))
    trace = run_engine(params, random.Random(preset), 20)
    check(params, trace, skip=False)
    check(params, trace, skip=True)


def test_an_idle_drain_sleeps() -> None:
    params = shaped(4, 4)
    hw, state = hardware(params), new_record(drain.DRAIN_STATE)
    program = instructions(Opcode.DRAIN, [Instruction(Opcode.DRAIN, {"count_x": 1, "count_y": 1, "count_n": 1})])
    drain.drain_offer(hw, state, 0, -1)
    drain.drain_tick(hw, state, 0, 0, program, 1, 1)
    assert state.wake == 1 << 62


def test_plain_python_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled or not, all registers end up equal."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    spec = importlib.util.spec_from_file_location("plain_drain", drain.__file__)
    assert spec and spec.loader
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    params = shaped(8, 4)
    trace = run_engine(params, random.Random(3), 4)
    compiled, _ = check(params, trace, skip=False)
    interpreted, _ = check(params, trace, skip=False, model=plain)
    assert all(np.array_equal(compiled[name], interpreted[name]) for name in drain.DRAIN_STATE.names or ())
