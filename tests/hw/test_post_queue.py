"""The queues around the post pipeline: order, latency, full speed, and as many words as they are made for."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.latencies import BUFFERED_FIFO_LATENCY_CYCLES
from systola.hw.post import BlockQueue, RegisteredQueue

LATENCY_CYCLES = {BlockQueue: BUFFERED_FIFO_LATENCY_CYCLES, RegisteredQueue: BUFFERED_FIFO_LATENCY_CYCLES + 1}
WIDTH = 12


def run(queue: Any, writes: list[bool], reads: list[bool], depth: int) -> tuple[list[int], int]:
    """Runs a cycle for each of ``writes`` and ``reads``, a write only where there is room; checks the words that come out and
    that a word is ready as early as it may be. Returns how many words were inside after each cycle, and how many came out."""
    latency_cycles = LATENCY_CYCLES[type(queue)]
    inside: deque[tuple[int, int]] = deque()  # cycle of entry, word
    levels: list[int] = []
    taken, popped_at = 0, -1

    async def bench(ctx: Any) -> None:
        nonlocal taken, popped_at
        rng = random.Random(1)
        for cycle, (write, read) in enumerate(zip(writes, reads, strict=True)):
            ready = bool(inside) and cycle >= max(inside[0][0] + latency_cycles, popped_at + 1)
            assert ctx.get(queue.r_rdy) == ready, cycle
            if ready:
                assert ctx.get(queue.r_data) == inside[0][1]
            enters = write and len(inside) < depth
            word = rng.getrandbits(WIDTH)
            ctx.set(queue.w_en, enters)
            ctx.set(queue.w_data, word)
            ctx.set(queue.r_en, read)
            if ready and read:
                inside.popleft()
                taken, popped_at = taken + 1, cycle
            if enters:
                inside.append((cycle, word))
            levels.append(len(inside))
            await ctx.tick()

    simulator = Simulator(queue)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return levels, taken


@pytest.mark.parametrize("kind", LATENCY_CYCLES)
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_words_in_order(kind: type, depth: int) -> None:
    rng = random.Random(depth)
    cycles = 400
    for writing, reading in ((0.3, 0.7), (0.9, 0.9), (0.9, 0.2)):
        writes, reads = ([rng.random() < rate for _ in range(cycles)] for rate in (writing, reading))
        levels, taken = run(kind(width=WIDTH, depth=depth), writes, reads, depth)
        assert taken > cycles * min(writing, reading) / 5
        if writing > reading:
            assert max(levels) == depth


@pytest.mark.parametrize("kind", LATENCY_CYCLES)
def test_filled_and_emptied_at_a_word_a_cycle(kind: type) -> None:
    depth = 8
    writes, reads = [True] * (4 * depth) + [False] * (2 * depth), [False] * (2 * depth) + [True] * (4 * depth)
    levels, taken = run(kind(width=WIDTH, depth=depth), writes, reads, depth)
    assert levels[depth - 1] == levels[2 * depth - 1] == depth
    assert taken == depth + 2 * depth - 1  # what was held, then a word a cycle, for each write from the one after the first read
    assert levels[-1] == 0
