"""What LOAD and STORE share: instructions become rows, rows become bursts and, through a queue, pieces for the data side.

The model of the RTL's RowWalker, RowFork and BurstSplitter as they are connected in both engines. A piece is offered when
``level`` is not 0; it is at ``head`` of the arrays.
"""

from __future__ import annotations

from typing import Any

from systola.sim.cycles.bursts import SPLITTER_STATE, splitter_ready, splitter_reset, splitter_tick
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, state_dtype
from systola.sim.cycles.rows import WALKER_STATE, walker_ready, walker_tick

__all__ = ["FORK_STATE", "fork_busy", "fork_moves", "fork_pop", "fork_reset", "fork_tick"]

QUEUE_PLACES = 64
"""The most rows that a queue can be built for: ``read_outstanding`` and ``write_outstanding`` have this limit."""

FORK_STATE = state_dtype(
    "depth",  # places of the queue
    "place_shift",  # log2 of the bytes of a word, and the words of a beat minus one: the position of a row's first word
    "place_mask",
    "head",  # the oldest piece
    "level",  # pieces in the queue
    walker=WALKER_STATE,
    splitter=SPLITTER_STATE,
    sp_address=QUEUE_PLACES,
    words_minus_one=QUEUE_PLACES,
    place=QUEUE_PLACES,
    last=QUEUE_PLACES,
)


@jit
def fork_reset(hw: Record, f: Record, depth: int) -> None:
    """Nothing in hand; ``depth`` is the queue's."""
    splitter_reset(hw, f.splitter, hw.lanes, hw.burst_beats)
    f.depth = depth
    f.place_shift, f.place_mask = f.splitter.word_bits, (1 << f.splitter.places_bits) - 1
    f.head = f.level = 0
    f.walker.active = f.walker.valid = f.walker.waiting = 0


@jit
def fork_busy(f: Record) -> int:
    """1 if a row has not yet been handed on to the data side."""
    return 1 if f.walker.active != 0 or f.walker.valid != 0 or f.level != 0 else 0


@jit
def fork_moves(f: Record, instruction_valid: int, request_ready: int) -> bool:
    """Whether an instruction, a row or a burst moves in this cycle."""
    w, p = f.walker, f.splitter
    if w.active:
        if w.waiting == 0:
            return True
    elif instruction_valid:
        return True
    if p.valid:
        return request_ready != 0
    return bool(w.valid != 0 and f.level != f.depth)


@jit
def fork_tick(hw: Record, f: Record, instruction_valid: int, program: Any, index: int, request_ready: int) -> int:
    """End of a cycle in which ``fork_moves``; before ``fork_pop``. Returns 1 if ``program[index]`` is taken in this cycle."""
    w, p = f.walker, f.splitter
    row_ready = 1 if f.level != f.depth and splitter_ready(p, request_ready) != 0 else 0
    row = row_ready & w.valid
    if row:
        tail = (f.head + f.level) & (f.depth - 1)
        f.sp_address[tail], f.words_minus_one[tail], f.last[tail] = w.sp_address, w.words_minus_one, w.last
        f.place[tail] = (w.address >> f.place_shift) & f.place_mask
        f.level += 1
    splitter_tick(p, request_ready, row, w.address, w.words_minus_one, w.last)
    taken = 1 if instruction_valid != 0 and walker_ready(w) != 0 else 0
    walker_tick(hw, w, taken, program, index, row_ready)
    return taken


@jit
def fork_pop(f: Record) -> None:
    """The oldest piece is taken at the end of this cycle."""
    f.head = (f.head + 1) & (f.depth - 1)
    f.level -= 1
