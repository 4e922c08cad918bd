"""Which part of which instruction stream is read next: the model of the RTL's ChunkPlanner.

It is asked by ``planner_offers`` whether a chunk is on offer: ``words`` from bus address ``chunk_address`` on for ``engine``.
"""

from __future__ import annotations

from typing import Any

from systola.hw.isa import ENGINES, UNIT_BYTES, Engine, Opcode, instruction_units
from systola.hw.latencies import FETCH_CHUNK_BEATS, FETCH_CHUNK_BYTES
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, state_dtype

__all__ = ["PLANNER_STATE", "planner_offers", "planner_reset", "planner_start", "planner_tick"]

WORD_BYTES = 16
COUNT = len(ENGINES)
ALL = (1 << COUNT) - 1
LOAD = int(Engine.LOAD)
LOAD_WORDS = instruction_units(Opcode.LOAD) * UNIT_BYTES // WORD_BYTES
CHOOSE, SIZE, HAND, SETTLE = range(4)

PLANNER_STATE = state_dtype(
    "chunk_words",  # of the longest chunk
    "granule_words",
    "queue_words",
    "step",  # CHOOSE … SETTLE
    "engine",  # whose chunk it is, or was last
    "words",  # of the chunk
    "chunk_address",
    "load_words",  # that have left load's queue, until it has begun
    "begun",  # load has its first instruction
    # A bit for each engine
    "more",  # its stream is not all asked for
    "fresh",  # nothing of it is
    "room",  # its queue has room for a chunk
    "low",  # its queue has less than a chunk
    "pressing",
    "wanting",
    # For each engine: what is next, how many words are left, how many are in its queue or asked for
    address=COUNT,
    left=COUNT,
    used=COUNT,
)


@jit
def planner_reset(hw: Record, p: Record) -> None:
    """Before the first cycle; the record is zero."""
    chunk_bytes = max(hw.stream_granule_bytes, min(FETCH_CHUNK_BYTES, FETCH_CHUNK_BEATS * hw.bus_bytes, hw.queue_bytes // 2))
    p.chunk_words = chunk_bytes // WORD_BYTES
    p.granule_words = hw.stream_granule_bytes // WORD_BYTES
    p.queue_words = hw.queue_bytes // WORD_BYTES
    p.engine = COUNT - 1
    p.fresh = p.room = p.low = ALL


@jit
def planner_offers(p: Record) -> int:
    """1 in a cycle with a chunk on offer."""
    return int(p.step == HAND)


@jit
def planner_tick(p: Record, freed: int, taken: int) -> int:
    """The end of a cycle. ``taken``: the chunk is; ``freed``: a bit for each engine, a word has left its queue. 1 if anything
    changed.
    """
    pressing = p.more & p.room & p.low
    wanting = pressing
    if pressing == 0 and p.begun != 0:
        wanting = p.more & p.room
    moved = int(pressing != p.pressing or wanting != p.wanting)
    moved |= _step(p, taken)
    if taken:
        _count_used(p, p.engine, p.words)
    if freed:
        for engine in range(COUNT):
            if freed >> engine & 1:
                _count_used(p, engine, -1)
        if freed >> LOAD & 1 and p.begun == 0:
            p.begun = int(p.load_words == LOAD_WORDS)
            p.load_words += 1
    p.pressing, p.wanting = pressing, wanting
    return moved


@jit
def planner_start(p: Record, addresses: Any, sizes: Any) -> None:
    """After the tick of the first cycle: the streams of ``sizes`` bytes at ``addresses`` begin."""
    p.more = 0
    for engine in range(COUNT):
        p.address[engine] = addresses[engine]
        p.left[engine] = sizes[engine] // WORD_BYTES
        p.more |= int(sizes[engine] != 0) << engine
    p.wanting = p.more
    p.begun = int(sizes[LOAD] == 0)


@jit
def _step(p: Record, taken: int) -> int:
    """Choose a stream; find the chunk's size; hand it over; let the counts settle. 1 if it went on."""
    if p.step == CHOOSE:
        if p.wanting == 0:
            return 0
        p.engine = (p.engine + 1) % COUNT
        while p.wanting >> p.engine & 1 == 0:
            p.engine = (p.engine + 1) % COUNT
        p.step = SIZE
    elif p.step == SIZE:
        fresh = p.fresh >> p.engine & 1
        p.words = p.granule_words if fresh else min(p.left[p.engine], p.chunk_words)
        p.chunk_address = p.address[p.engine]
        p.step = HAND
    elif p.step == HAND:
        if taken == 0:
            return 0
        engine = p.engine
        p.address[engine] += p.words * WORD_BYTES
        p.left[engine] -= p.words
        p.fresh &= ~(1 << engine)
        if p.left[engine] == 0:
            p.more &= ~(1 << engine)
        p.step = SETTLE
    else:
        p.step = CHOOSE
    return 1


@jit
def _count_used(p: Record, engine: int, words: int) -> None:
    """Words asked for, or those that left the queue."""
    used = p.used[engine] + words
    p.used[engine] = used
    mine = 1 << engine
    p.room = p.room | mine if used <= p.queue_words - p.chunk_words else p.room & ~mine
    p.low = p.low | mine if used < p.chunk_words else p.low & ~mine
