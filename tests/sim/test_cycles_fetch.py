"""The cycle model's instruction fetch beside the RTL's: every handshake in every cycle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import pytest
from amaranth.sim import Simulator
from plain_cycles import plain_module

from systola.hw.config import Config, load_config
from systola.hw.dma.fetch import Fetch
from systola.hw.isa import ENGINES
from systola.hw.params import Params
from systola.sim.cycles import fetch
from systola.sim.cycles.fetch import FETCH_STATE
from systola.sim.cycles.records import NEVER, Record, hardware, new_record

OUTPUTS = ("request_valid", "request_length", "urgent", "puts", "beat_ready")
WORD_BYTES = 16


def fetch_config(bus_bytes: int, units: int, burst_beats: int) -> Params:
    config = load_config("tiny").model_dump()
    config["bus"] = {**config["bus"], "data_bytes": bus_bytes, "burst_beats": burst_beats}
    config["queue"] = {"units": units}
    return Params(Config.model_validate(config))


@dataclass
class Inputs:
    """What bus and queues do in a cycle."""

    start: int = 0
    freed: int = 0
    request_ready: int = 0
    beat_valid: int = 0


class World:
    """Bus and queues, as far as fetch sees them: only beats that are owed come, only words that are there leave."""

    def __init__(self, params: Params, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        granule = params.stream_granule_bytes
        self.sizes = [granule * rng.choice((0, 1, 2, rng.randint(3, 60), rng.randint(30, 200))) for _ in ENGINES]
        self.addresses = [granule * rng.randrange(4096) for _ in ENGINES]
        self.queued = [0] * len(ENGINES)
        self.words = 0
        self.owed = 0
        self.left = 0
        self.eager: dict[str, float] = {}
        self.patience = [0.0] * len(ENGINES)
        self.restless = 1.0
        self.inputs = Inputs()

    def begin(self, record: Record) -> Record:
        for e in ENGINES:
            record.stream_address[e], record.stream_bytes[e] = self.addresses[e], self.sizes[e]
        return record

    def step(self, now: int, start: int, last: Record) -> Inputs:
        """The inputs of cycle ``now``; ``last``: the model's outputs in the one before."""
        rng = self.rng
        before = self.inputs
        if before.beat_valid and last.beat_ready:
            self.owed -= 1
        if before.request_ready and last.request_valid:
            self.owed += last.request_length + 1
        if self.left == 0:
            self.left = rng.choice((20, 100, 200))
            self.eager = {name: rng.choice((0.0, 0.2, 0.7, 1.0, 1.0)) for name in ("request", "beat")}
            self.patience = [rng.choice((0.0, 0.05, 0.3, 1.0)) for _ in ENGINES]
            if rng.random() < 0.3:
                self.patience = [0.0] * len(ENGINES)
            self.restless = rng.choice((0.05, 1.0))
        self.left -= 1
        new = Inputs(int(now == start), 0, before.request_ready)
        for e in ENGINES:
            if self.queued[e] and rng.random() < self.patience[e]:
                new.freed |= 1 << e
                self.queued[e] -= 1
            self.queued[e] += int(last.puts) >> e & 1
        self.words += int(last.puts).bit_count()
        if rng.random() < self.restless:
            new.request_ready = int(rng.random() < self.eager["request"])
        held = before.beat_valid and not last.beat_ready
        new.beat_valid = int(held or (self.owed > 0 and rng.random() < self.eager["beat"]))
        self.inputs = new
        return new


def model_cycle(hw: Record, s: Record, now: int, inputs: Inputs, model: Any = fetch) -> None:
    model.fetch_offer(hw, s, now, inputs.beat_valid)
    model.fetch_tick(hw, s, now, *astuple(inputs))


class Sleeper:
    """A model that is only looked at when it wants to, or when its inputs change."""

    def __init__(self, hw: Record, state: Record) -> None:
        self.hw, self.state = hw, state
        self.inputs: Inputs | None = None
        self.slept = 0

    def cycle(self, now: int, inputs: Inputs) -> None:
        if now < self.state.wake and inputs == self.inputs:
            self.slept += 1
            assert not self.state.puts
            return
        model_cycle(self.hw, self.state, now, inputs)
        self.inputs = inputs


def drive(ctx: Any, dut: Fetch, inputs: Inputs) -> None:
    ctx.set(dut.start, inputs.start)
    ctx.set(dut.freed, inputs.freed)
    ctx.set(dut.read.request.ready, inputs.request_ready)
    ctx.set(dut.read.beats.valid, inputs.beat_valid)


def lockstep(params: Params, cycles: int, seed: int) -> tuple[int, int]:
    """Runs the RTL beside the model. Returns how many words came, and how many cycles the sleeper slept."""
    dut, world, hw = Fetch(params), World(params, seed), hardware(params)
    models = [world.begin(new_record(FETCH_STATE)) for _ in range(2)]
    for model in models:
        fetch.fetch_reset(hw, model)
    state, sleeper = models[0], Sleeper(hw, models[1])

    async def bench(ctx: Any) -> None:
        for e in ENGINES:
            ctx.set(dut.stream_addresses[e], world.addresses[e])
            ctx.set(dut.stream_bytes[e], world.sizes[e])
        for now in range(cycles):
            inputs = world.step(now, seed % 3, state)
            drive(ctx, dut, inputs)
            request = dut.read.request
            valid = ctx.get(request.valid)
            expected = [
                valid,
                ctx.get(request.payload.length),
                ctx.get(dut.urgent),
                ctx.get(dut.put),
                ctx.get(dut.read.beats.ready),
            ]
            model_cycle(hw, state, now, inputs)
            sleeper.cycle(now, inputs)
            for model in models:
                got = [int(getattr(model, name)) for name in OUTPUTS]
                if not valid:
                    expected[1] = got[1]  # of no meaning
                differing = [(n, e, g) for n, e, g in zip(OUTPUTS, expected, got, strict=True) if e != g]
                assert not differing, f"cycle {now}, (output, RTL, model): {differing}"
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return world.words, sleeper.slept


def check(configuration: Sequence[int], cycles: int, seeds: int) -> None:
    params = fetch_config(*configuration)
    words, slept = zip(*(lockstep(params, cycles, seed + sum(configuration)) for seed in range(seeds)), strict=True)
    assert sum(words) > 100
    assert sum(slept) > 100


CONFIGURATIONS = [(4, 16, 16), (8, 4, 2), (16, 32, 16), (32, 16, 16), (128, 4, 1)]
MORE_CONFIGURATIONS = [(4, 4, 1), (4, 64, 256), (8, 16, 16), (16, 4, 4), (16, 256, 1), (32, 64, 2), (64, 64, 2), (64, 16, 256),
                       (128, 16, 16)]  # fmt: skip


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_equals_the_fetch_unit(configuration: Sequence[int]) -> None:
    """Bus bytes, units of a queue, beats of the longest burst."""
    check(configuration, 1000, seeds=2)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", [*CONFIGURATIONS, *MORE_CONFIGURATIONS])
def test_equals_the_fetch_unit_for_long(configuration: Sequence[int]) -> None:
    check(configuration, 2500, seeds=2)


def alone(model: Any, cycles: int) -> Record:
    """The model's last state, without RTL."""
    params = fetch_config(8, 16, 16)
    world, hw = World(params, 1), hardware(params)
    state = world.begin(new_record(FETCH_STATE))
    model.fetch_reset(hw, state)
    for now in range(cycles):
        model_cycle(hw, state, now, world.step(now, 0, state), model)
    return state


def test_plain_python_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = alone(fetch, 2000)
    plain = plain_module(monkeypatch, "fetch")
    assert plain.fetch_tick is not fetch.fetch_tick
    assert compiled == alone(plain, 2000)


def test_sleeps_after_the_end_of_all_streams() -> None:
    params = fetch_config(16, 32, 16)
    hw, state = hardware(params), new_record(FETCH_STATE)
    fetch.fetch_reset(hw, state)
    for now in range(5):
        model_cycle(hw, state, now, Inputs(start=int(now == 1), request_ready=1))
    assert state.wake == NEVER
