"""The front end of an engine: queue, decoder and waits, as ``systola.hw.frontend`` has them.

An instruction is known by its number alone; of its words only their count matters. The last row of ``headers`` is END's.
"""

from __future__ import annotations

from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["FRONTEND_STATE", "HEADER_COLUMNS", "frontend_offer", "frontend_tick"]

HEADER_COLUMNS = 6
"""Of ``headers``: the enable bits, then the count that is waited for of each engine."""

ENGINE_COUNT = 5
HALF_RANGE = 1 << 15
COUNT_MASK = (1 << 16) - 1

FRONTEND_STATE = state_dtype(
    "words",  # of an instruction
    "instructions",  # END apart
    "has_stream",
    "inner_level",  # words in the queue's memory; its output register is ``readable``
    "readable",
    "index",  # of the word to come
    "whole",
    "header",  # the first word is there
    "proper",
    "ending",
    "free",
    "next",  # number of the instruction in hand
    "arrives",  # in: a word comes in this cycle
    # Outputs of a cycle
    "freed",
    "valid",
    "blocked",  # bits: the engines that are waited for
    "blocked_engine",  # the first of them, −1 for none; as the class of an idle cycle has it
    "ended",
    "wake",
)
"""``words``, ``instructions`` and ``has_stream`` are set before a run; everything else begins at zero."""


@jit
def frontend_offer(s: Record, headers: Record, counts: Record) -> None:
    """The outputs of this cycle. ``counts``: of instructions that each engine has finished, in this cycle."""
    s.freed = s.readable & (1 - s.whole)
    s.valid = s.whole & s.proper & s.free
    s.ended = s.ending & s.free
    s.blocked = 0
    s.blocked_engine = -1
    if s.header:
        enable = headers[s.next, 0]
        for engine in range(ENGINE_COUNT - 1, -1, -1):
            if enable >> engine & 1 and (counts[engine] - headers[s.next, 1 + engine]) & COUNT_MASK >= HALF_RANGE:
                s.blocked |= 1 << engine
                s.blocked_engine = engine
    if s.ending:
        s.blocked_engine = -1


@jit
def frontend_tick(s: Record, now: int, taken: int) -> None:
    """The edge at the end of the cycle. ``taken``: the engine took the instruction in this cycle. Sets ``wake``: but for
    ``arrives``, ``taken`` and ``counts``, nothing happens before."""
    free = s.header & (s.blocked == 0)
    proper = s.header & (s.next < s.instructions)
    ending = s.header & (s.next == s.instructions)
    moves = s.freed | s.arrives | taken | (free != s.free) | (proper != s.proper) | (ending != s.ending)
    s.free, s.proper, s.ending = free, proper, ending
    refill = 0
    if s.inner_level and (s.readable == 0 or s.freed):
        refill = 1
    if s.freed:
        s.header = 1
        s.index += 1
        if s.index == s.words:
            s.index = 0
            s.whole = 1
    elif taken:
        s.whole = 0
        s.header = 0
        s.next += 1
    if refill:
        s.readable = 1
    elif s.freed:
        s.readable = 0
    s.inner_level += s.arrives - refill
    s.wake = now + 1 if moves | refill else NEVER
