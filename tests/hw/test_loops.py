"""The loop nest against nested Python loops."""

from __future__ import annotations

import gc
import itertools
import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.loops import LoopLevel, LoopNest, LoopTrack

LEVELS = [LoopLevel("n", 8), LoopLevel("k", 5), LoopLevel("y", 8), LoopLevel("x", 4)]
TRACKS = [
    LoopTrack("address", 14, {"n": 16, "k": 24, "y": 12, "x": 9}),
    LoopTrack("outer", 10, {"n": 5}),
    LoopTrack("middle", 16, {"k": 8, "x": 6}),
    LoopTrack("inner", 7, {"x": 12}),
    LoopTrack("fixed", 6, {}),
]


def _draw(rng: random.Random, largest: int) -> dict[str, Any]:
    return {
        "counts": {level.name: rng.choice((1, 1, 2, rng.randint(1, largest))) for level in LEVELS},
        "bases": {track.name: rng.randrange(1 << track.bits) for track in TRACKS},
        "strides": {
            track.name: {n: rng.randrange(-(1 << b - 1), 1 << b - 1) for n, b in track.stride_bits.items()} for track in TRACKS
        },
    }


def _expected(nest: dict[str, Any]) -> list[dict[str, int]]:
    steps = []
    counts = nest["counts"]
    for indices in itertools.product(*(range(counts[level.name]) for level in LEVELS)):
        index = dict(zip(counts, indices, strict=True))
        step = {}
        for track in TRACKS:
            moved = sum(index[n] * nest["strides"][track.name][n] for n in track.stride_bits)
            step[track.name] = (nest["bases"][track.name] + moved) % (1 << track.bits)
        for name, count in counts.items():
            step[f"first_{name}"] = int(index[name] == 0)
            step[f"last_{name}"] = int(index[name] == count - 1)
        steps.append(step)
    return steps


@pytest.mark.parametrize("busy", [1.0, 0.6])
def test_follows_nested_loops(busy: float) -> None:
    rng = random.Random(7)
    nests = [_draw(rng, 5) for _ in range(25)]
    dut = LoopNest(LEVELS, TRACKS)
    seen: list[dict[str, int]] = []
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        pending = list(nests)
        expected_steps = sum(len(_expected(nest)) for nest in nests)
        while len(seen) < expected_steps:
            active, done = ctx.get(dut.active), ctx.get(dut.done)
            advance = bool(active) and rng.random() < busy
            ctx.set(dut.advance, advance)
            if advance:
                step = {track.name: ctx.get(dut.values[track.name]) for track in TRACKS}
                for level in LEVELS:
                    step[f"first_{level.name}"] = ctx.get(dut.first[level.name])
                    step[f"last_{level.name}"] = ctx.get(dut.last[level.name])
                seen.append(step)
            load = bool(pending) and (not active or bool(advance and done))
            ctx.set(dut.load, load)
            nest = pending.pop(0) if load else _draw(rng, 5)  # inputs matter only in the cycle with load
            ctx.set(dut.counts, nest["counts"])
            ctx.set(dut.bases, nest["bases"])
            ctx.set(dut.strides, nest["strides"])
            await ctx.tick()
            cycles += 1
        ctx.set(dut.advance, 0)
        assert not ctx.get(dut.active)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    expected = [step for nest in nests for step in _expected(nest)]
    assert seen == expected
    if busy == 1.0:
        assert cycles == len(expected) + 1  # one cycle to load the first; the others load as their predecessors end


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        LoopNest([LoopLevel("x", 4), LoopLevel("x", 4)], [])
    with pytest.raises(ValueError, match="track a has strides for levels that do not exist: z"):
        LoopNest([LoopLevel("x", 4)], [LoopTrack("a", 4, {"z": 3})])
    gc.collect()  # so that the warning about the unused component comes here
