"""Pixels on their way to the accumulators, and what the accumulators do; without the sums.

An issued pixel's accumulator read is a fixed time ahead: it waits in a ring, a place for each cycle, as the cycle of its read
and what it does to its word.
"""

from __future__ import annotations

from systola.hw.latencies import ACCUMULATE_CYCLES
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = [
    "OVERWRITES",
    "READS_HALF",
    "SUM_FIELDS",
    "SUM_PARTS",
    "accumulate",
    "expect_sum",
    "expect_sums",
    "half_read",
    "pass_cycles",
]

OVERWRITES, READS_HALF = 1, 2
"""What a pixel does to its accumulator word: it overwrites it, or reads half h first: READS_HALF + h."""

KIND_BITS = 2
KIND_MASK = (1 << KIND_BITS) - 1

ASKED_PLACES = 256
"""Cycles that the ring covers: more than from a pixel's issue to the write of its sum, at most 130 + 4."""

RETIRING_PLACES = 64
"""More instructions than can be between their last pixel's issue and their end: last pixels are 4 cycles apart or more."""

WRITE_CYCLES = ACCUMULATE_CYCLES - 1
"""From an accumulator read to the write of the sum."""

SUM_FIELDS = (
    "acc_half_read",
    "retire",
    "acc_reads",
    "acc_writes",
    "flowing_until",  # the first cycle without a pixel on its way; in it an instruction retires, if the pixel was its last
    "retiring",  # instructions whose last pixel is on its way
    "retiring_first",  # place of the oldest
)
SUM_PARTS = {
    "asked": ASKED_PLACES,  # place (cycle mod places): cycle of an accumulator read << KIND_BITS | kind
    "retire_cycles": RETIRING_PLACES,
}


@jit
def _asked(s: Record, cycle: int) -> int:
    """What the pixel whose accumulator word is read in ``cycle`` does; 0: there is none."""
    asked: int = s.asked[cycle & (ASKED_PLACES - 1)]
    return asked & KIND_MASK if asked >> KIND_BITS == cycle else 0


@jit
def half_read(s: Record, now: int) -> int:
    """The accumulator half that the array reads in this cycle, or −1."""
    kind = _asked(s, now)
    return kind - READS_HALF if kind >= READS_HALF else -1


@jit
def accumulate(s: Record, now: int, acc_served: int) -> None:
    """Accumulator reads and writes of this cycle, and the end of an instruction."""
    s.acc_reads += (s.acc_half_read >= 0) + acc_served
    s.acc_writes += _asked(s, now - WRITE_CYCLES) != 0
    s.retire = (s.retiring > 0) & (s.retire_cycles[s.retiring_first] == now)
    if s.retire:
        s.retiring_first = (s.retiring_first + 1) & (RETIRING_PLACES - 1)
        s.retiring -= 1


@jit
def expect_sum(s: Record, read_cycle: int, kind: int, last: int) -> None:
    """A pixel is issued whose accumulator word is read in ``read_cycle``; ``last``: of its instruction."""
    s.asked[read_cycle & (ASKED_PLACES - 1)] = read_cycle << KIND_BITS | kind
    s.flowing_until = read_cycle + ACCUMULATE_CYCLES
    if last:
        s.retire_cycles[(s.retiring_first + s.retiring) & (RETIRING_PLACES - 1)] = s.flowing_until
        s.retiring += 1


@jit
def pass_cycles(s: Record, now: int, cycles: int) -> None:
    """Accumulator reads and writes of ``cycles`` cycles from ``now`` on, in which no instruction ends and no pixel is issued."""
    reads = writes = 0
    for cycle in range(now, now + cycles):
        reads += _asked(s, cycle) >= READS_HALF
        writes += _asked(s, cycle - WRITE_CYCLES) != 0
    s.acc_reads += reads
    s.acc_writes += writes


@jit
def expect_sums(hw: Record, s: Record, now: int, cycles: int, delay: int) -> None:
    """As ``pass_cycles``, but in each cycle a pixel is issued, whose accumulator word is read ``delay`` cycles later: the one at
    hand, then those whose words go on from ``acc_word``.
    """
    asked, overwrite, kind = s.asked, s.overwrite, s.pixel_kind
    word, words, half_words = s.acc_word, hw.accumulator_words - 1, hw.accumulator_half_words
    reads = writes = 0
    for cycle in range(now, now + cycles):
        read = asked[cycle & (ASKED_PLACES - 1)]
        written = asked[(cycle - WRITE_CYCLES) & (ASKED_PLACES - 1)]
        reads += (read >> KIND_BITS == cycle) & ((read & KIND_MASK) >= READS_HALF)
        writes += (written >> KIND_BITS == cycle - WRITE_CYCLES) & ((written & KIND_MASK) != 0)
        asked[(cycle + delay) & (ASKED_PLACES - 1)] = (cycle + delay) << KIND_BITS | kind
        kind = OVERWRITES if overwrite else READS_HALF + (word >= half_words)
        word = (word + 1) & words
    s.acc_reads += reads
    s.acc_writes += writes
    s.flowing_until = now + cycles - 1 + delay + ACCUMULATE_CYCLES
