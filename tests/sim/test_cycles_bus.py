"""The cycle model's bus beside the guard of the RTL with the DRAM's definition behind it: every handshake in every cycle."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.sim import Simulator
from plain_cycles import plain_module

from systola.hw.config import Config, load_config
from systola.hw.dma.axi import AxiGuard
from systola.hw.params import Params
from systola.sim.cycles import bus
from systola.sim.cycles.bus import BUS_EVENTS, BUS_STATE
from systola.sim.cycles.records import NEVER, Record, hardware, new_record

from .test_dram import DramReference

OUTPUTS = ("fetch_ready", "load_ready", "beat_to_fetch", "beat_to_load", "store_request_ready", "store_beat_ready",
           "acknowledged", "acknowledged_last", "moved", *BUS_EVENTS)  # fmt: skip


def bus_config(bus_bytes: int, latency: int, bandwidth: int, **bus: int) -> Params:
    config = load_config("tiny").model_dump()
    config["bus"] = {**config["bus"], "data_bytes": bus_bytes, **bus}
    config["dram"] = {"latency_cycles": latency, "bytes_per_cycle": bandwidth}
    return Params(Config.model_validate(config))


@dataclass
class Inputs:
    """What the users of the bus do in a cycle; requests and beats that are offered stay until they are taken."""

    fetch_valid: int = 0
    fetch_length: int = 0
    fetch_urgent: int = 0
    load_valid: int = 0
    load_length: int = 0
    fetch_beat_ready: int = 0
    load_beat_ready: int = 0
    store_valid: int = 0
    store_length: int = 0
    store_last: int = 0
    store_beat_valid: int = 0


class Users:
    """Random users. For some time each is eager, lazy or silent; sometimes they all only wait."""

    def __init__(self, params: Params, seed: int) -> None:
        self.rng = random.Random(seed)
        self.longest = params.config.bus.burst_beats
        self.inputs = Inputs()
        self.left = 0
        self.restless = 1.0  # how often an input that may change is drawn anew
        self.eager: dict[str, float] = {}

    def step(self, taken: Record) -> Inputs:
        """The inputs of the next cycle; ``taken``: the model's outputs in the last one."""
        rng, last = self.rng, self.inputs
        if self.left == 0:
            self.left = rng.choice((20, 100, 200))
            quiet = rng.random() < 0.3
            self.restless = rng.choice((0.03, 1.0))
            names = ("fetch", "load", "store", "store_beat", "fetch_beat", "load_beat", "urgent", "long")
            self.eager = {name: 0.0 if quiet else rng.choice((0.0, 0.05, 0.5, 1.0, 1.0)) for name in names}
            if quiet or rng.random() < 0.6:
                self.eager["fetch_beat"] = self.eager["load_beat"] = 1.0
        self.left -= 1
        new = Inputs(**vars(last))
        for user, ready in (("fetch", taken.fetch_ready), ("load", taken.load_ready), ("store", taken.store_request_ready)):
            if not getattr(last, f"{user}_valid") or ready:
                longest = self.longest if rng.random() < self.eager["long"] else min(2, self.longest)
                setattr(new, f"{user}_valid", int(rng.random() < self.eager[user]))
                setattr(new, f"{user}_length", rng.randrange(longest))
                new.store_last = rng.randrange(2) if user == "store" else new.store_last
        if not last.store_beat_valid or taken.store_beat_ready:
            new.store_beat_valid = int(rng.random() < self.eager["store_beat"])
        if rng.random() < self.restless:
            new.fetch_urgent = int(rng.random() < self.eager["urgent"])
            new.fetch_beat_ready = int(rng.random() < self.eager["fetch_beat"])
            new.load_beat_ready = int(rng.random() < self.eager["load_beat"])
        self.inputs = new
        return new


class Memory:
    """The DRAM's definition, and whose beats it gives."""

    def __init__(self, params: Params) -> None:
        dram = params.config.dram
        self.reference = DramReference(params.bus_bytes, dram.bytes_per_cycle, dram.latency_cycles)
        self.reference.credit = params.bus_bytes + dram.bytes_per_cycle
        self.beats: deque[tuple[int, int]] = deque()  # (id, last) of the beats owed
        self.on_bus = (0, 0)

    def drive(self, ctx: Any, guard: Any) -> None:
        """The outputs in this cycle."""
        read, write, reference = guard.read_bus, guard.write_bus, self.reference
        ctx.set(read.ar_ready, reference.arready)
        ctx.set(read.r_valid, reference.rvalid)
        ctx.set(read.r_id, self.on_bus[0])
        ctx.set(read.r_last, self.on_bus[1])
        ctx.set(write.aw_ready, reference.awready)
        ctx.set(write.w_ready, reference.wready)
        ctx.set(write.b_valid, reference.bvalid)

    def edge(self, ctx: Any, guard: Any) -> None:
        """The end of the cycle."""
        read, write, reference = guard.read_bus, guard.write_bus, self.reference
        ar = (ctx.get(read.ar_len) + 1) * (ctx.get(read.ar_valid) and reference.arready)
        aw = (ctx.get(write.aw_len) + 1) * (ctx.get(write.aw_valid) and reference.awready)
        w = bool(ctx.get(write.w_valid) and reference.wready)
        number = ctx.get(read.ar_id)
        self.beats.extend((number, int(beat == ar - 1)) for beat in range(ar))
        r_ready = bool(ctx.get(read.r_ready))
        held = reference.rvalid and not r_ready
        reference.edge(ar, aw, w, r_ready)
        if reference.rvalid and not held:
            self.on_bus = self.beats.popleft()


def drive(ctx: Any, guard: Any, inputs: Inputs) -> None:
    for port, user in ((guard.fetch, "fetch"), (guard.load, "load"), (guard.store, "store")):
        ctx.set(port.request.valid, getattr(inputs, f"{user}_valid"))
        ctx.set(port.request.payload.length, getattr(inputs, f"{user}_length"))
    ctx.set(guard.store.request.payload.last, inputs.store_last)
    ctx.set(guard.fetch_urgent, inputs.fetch_urgent)
    ctx.set(guard.fetch.beats.ready, inputs.fetch_beat_ready)
    ctx.set(guard.load.beats.ready, inputs.load_beat_ready)
    ctx.set(guard.store.beats.valid, inputs.store_beat_valid)


def model_cycle(hw: Record, s: Record, now: int, inputs: Inputs, model: Any = bus) -> None:
    i = inputs
    model.bus_offer(hw, s, now)
    model.bus_grant(hw, s, now, i.fetch_valid, i.fetch_urgent, i.load_valid)
    model.bus_tick(hw, s, now, i.fetch_valid, i.fetch_length, i.load_valid, i.load_length, i.fetch_beat_ready, i.load_beat_ready,
             i.store_valid, i.store_length, i.store_last, i.store_beat_valid)  # fmt: skip


class Sleeper:
    """A model that is only looked at when it wants to, or when its inputs change."""

    def __init__(self) -> None:
        self.state = new_record(BUS_STATE)
        self.inputs: Inputs | None = None
        self.slept = 0

    def cycle(self, hw: Record, now: int, inputs: Inputs) -> None:
        if now < self.state.wake and inputs == self.inputs:
            self.slept += 1
            return
        model_cycle(hw, self.state, now, inputs)
        self.inputs = inputs


def outputs(s: Record) -> list[int]:
    return [int(getattr(s, name)) for name in OUTPUTS]


def lockstep(params: Params, cycles: int, seed: int, first_cycle: int = 0) -> tuple[Record, int]:
    """Runs guard and DRAM beside the model. Returns the model's last state, and how many cycles the sleeper slept."""
    guard, memory, users = AxiGuard(params), Memory(params), Users(params, seed)
    hw, state, sleeper = hardware(params), new_record(BUS_STATE), Sleeper()
    counts = dict.fromkeys(BUS_EVENTS, 0)
    fetch, load, store = guard.fetch, guard.load, guard.store
    wires = (fetch.request.ready, load.request.ready, fetch.beats.valid, load.beats.valid,
             store.request.ready, store.beats.ready, store.acknowledged, store.acknowledged_last)  # fmt: skip

    async def bench(ctx: Any) -> None:
        for now in range(first_cycle, first_cycle + cycles):
            inputs = users.step(state)
            drive(ctx, guard, inputs)
            memory.drive(ctx, guard)
            expected = [ctx.get(wire) for wire in wires]
            events = {name: ctx.get(getattr(guard, name)) for name in BUS_EVENTS}
            for name in BUS_EVENTS:
                counts[name] += events[name]
            expected += [events["read_beats"] | events["write_beats"], *counts.values()]
            model_cycle(hw, state, now, inputs)
            sleeper.cycle(hw, now, inputs)
            for model in (state, sleeper.state):
                # Where it sleeps, nothing has moved.
                differing = [(n, e, g) for n, e, g in zip(OUTPUTS, expected, outputs(model), strict=True) if e != g]
                assert not differing, f"cycle {now}, (output, RTL, model): {differing}"
            memory.edge(ctx, guard)
            await ctx.tick()

    simulator = Simulator(guard)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return state, sleeper.slept


CONFIGURATIONS = [
    # bus bytes, latency, bytes a cycle, longest burst, outstanding reads and writes
    (4, 1, 64, 16, 16, 16),
    (8, 100, 12, 16, 64, 16),
    (16, 7, 4, 2, 4, 4),
    (16, 250, 128, 1, 64, 64),
    (64, 3, 127, 64, 1, 2),
]
MORE_CONFIGURATIONS = [
    (4, 30, 1, 4, 2, 1),
    (4, 4, 3, 256, 64, 64),
    (8, 1, 8, 1, 1, 64),
    (8, 2, 15, 1, 2, 1),
    (16, 7, 20, 2, 4, 4),
    (16, 20, 16, 16, 16, 16),
    (16, 400, 64, 256, 64, 64),
    (16, 1000, 24, 1, 64, 64),
    (32, 5, 7, 8, 8, 2),
    (32, 4096, 64, 1, 64, 1),
    (64, 100, 64, 16, 16, 16),
    (128, 60, 9, 2, 2, 2),
]


def check(configuration: Sequence[int], cycles: int, seed: int, least: int) -> None:
    bus_bytes, latency, bandwidth, burst, reads, writes = configuration
    params = bus_config(bus_bytes, latency, bandwidth, burst_beats=burst, read_outstanding=reads, write_outstanding=writes)
    state, slept = lockstep(params, cycles, seed + sum(configuration), first_cycle=bus_bytes)
    beats = state.fetch_beats, state.read_beats - state.fetch_beats, state.write_beats
    assert min(*beats, slept) >= least


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_equals_the_guard_and_the_memory(configuration: Sequence[int]) -> None:
    check(configuration, 2000, seed=0, least=6)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", [*CONFIGURATIONS, *MORE_CONFIGURATIONS])
def test_equals_the_guard_and_the_memory_for_long(configuration: Sequence[int]) -> None:
    check(configuration, 5000 + 2 * configuration[1], seed=1, least=3)


def alone(model: Any, cycles: int) -> Record:
    """The model's last state, without RTL."""
    params = bus_config(16, 30, 20, burst_beats=8)
    users, hw, state = Users(params, 1), hardware(params), new_record(BUS_STATE)
    for now in range(cycles):
        model_cycle(hw, state, now, users.step(state), model)
    return state


def test_plain_python_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = alone(bus, 3000)
    plain = plain_module(monkeypatch, "bus")
    assert plain.bus_tick is not bus.bus_tick
    assert compiled == alone(plain, 3000)


def test_an_idle_bus_sleeps() -> None:
    state = new_record(BUS_STATE)
    model_cycle(hardware(bus_config(16, 30, 20)), state, 0, Inputs())
    assert state.wake == NEVER
