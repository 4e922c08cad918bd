"""Pixels on their way to the accumulators, and what the accumulators do; without the sums.

An issued pixel's accumulator read is a fixed time ahead. Pixels of consecutive cycles that do the same are one *stretch*: the
cycle of its first read, the cycle after its last, and what they do. Stretches wait in a ring, until their sums are written.
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
    "accumulate_cycles",
    "expect_retirement",
    "expect_sums",
    "half_read",
]

OVERWRITES, READS_HALF = 1, 2
"""What a pixel does to its accumulator word: it overwrites it, or reads half h first: READS_HALF + h."""

STRETCH_PLACES = 256
"""More cycles, and so stretches, than from a pixel's issue to the write of its sum: at most 130 + 4."""

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
    # Stretches, numbered from 0
    "stretches",  # so far
    "reading",  # the first whose reads are not over
    "writing",  # the first whose writes are not over
    "retiring",  # instructions whose last pixel is on its way
    "retiring_first",  # place of the oldest
)
SUM_PARTS = {
    "read_from": STRETCH_PLACES,
    "read_until": STRETCH_PLACES,
    "kind": STRETCH_PLACES,
    "retire_cycles": RETIRING_PLACES,
}


@jit
def half_read(s: Record, now: int) -> int:
    """The accumulator half that the array reads in this cycle, or −1."""
    place = s.reading & (STRETCH_PLACES - 1)
    if s.reading == s.stretches or now < s.read_from[place] or s.kind[place] == OVERWRITES:
        return -1
    half: int = s.kind[place] - READS_HALF
    return half


@jit
def accumulate(s: Record, now: int, acc_served: int) -> None:
    """Accumulator reads and writes of this cycle, and the end of an instruction."""
    s.acc_reads += (s.acc_half_read >= 0) + acc_served
    if s.reading != s.stretches and s.read_until[s.reading & (STRETCH_PLACES - 1)] == now + 1:
        s.reading += 1
    place = s.writing & (STRETCH_PLACES - 1)
    if s.writing != s.stretches and s.read_from[place] <= now - WRITE_CYCLES:
        s.acc_writes += 1
        s.writing += s.read_until[place] == now - WRITE_CYCLES + 1
    s.retire = 0
    if s.retiring and s.retire_cycles[s.retiring_first] == now:
        s.retire = 1
        s.retiring_first = (s.retiring_first + 1) & (RETIRING_PLACES - 1)
        s.retiring -= 1


@jit
def expect_sums(s: Record, read_cycle: int, pixels: int, kind: int) -> None:
    """As many pixels are issued, whose accumulator words are read in as many cycles from ``read_cycle`` on."""
    last = (s.stretches - 1) & (STRETCH_PLACES - 1)
    s.flowing_until = read_cycle + pixels - 1 + ACCUMULATE_CYCLES
    if s.read_until[last] == read_cycle and s.kind[last] == kind:
        s.read_until[last] = read_cycle + pixels
        return
    place = s.stretches & (STRETCH_PLACES - 1)
    s.read_from[place], s.read_until[place], s.kind[place] = read_cycle, read_cycle + pixels, kind
    s.stretches += 1


@jit
def expect_retirement(s: Record) -> None:
    """The last pixel issued was its instruction's last."""
    s.retire_cycles[(s.retiring_first + s.retiring) & (RETIRING_PLACES - 1)] = s.flowing_until
    s.retiring += 1


@jit
def accumulate_cycles(s: Record, now: int, cycles: int) -> None:
    """``accumulate`` of ``cycles`` cycles from ``now`` on, in which no instruction ends and the drain reads nothing."""
    end = now + cycles
    while s.reading != s.stretches:
        place = s.reading & (STRETCH_PLACES - 1)
        until = min(s.read_until[place], end)
        if s.kind[place] != OVERWRITES:
            s.acc_reads += max(0, until - max(s.read_from[place], now))
        if s.read_until[place] > end:
            break
        s.reading += 1
    now, end = now - WRITE_CYCLES, end - WRITE_CYCLES
    while s.writing != s.stretches:
        place = s.writing & (STRETCH_PLACES - 1)
        until = min(s.read_until[place], end)
        s.acc_writes += max(0, until - max(s.read_from[place], now))
        if s.read_until[place] > end:
            break
        s.writing += 1
