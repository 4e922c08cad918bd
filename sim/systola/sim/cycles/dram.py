"""The simulated DRAM of docs/reference/dram.md, without stalls: when beats and responses come, not what they hold.

Bursts are numbered from 0 in each direction, and a burst's place in the rings is its number modulo ``RING``; what state a burst
is in follows from a few counts of bursts. All of it is zero at the start of a program.
"""

from __future__ import annotations

from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record

__all__ = ["DEPTH", "DRAM_COUNTS", "DRAM_RINGS", "LAST", "LOAD", "RING", "dram_edge", "dram_wake"]

DEPTH = 64
"""Bursts held in each direction."""

RING = 128
"""Places for bursts between their request and their end: more than there ever are."""

LAST, LOAD = 2, 4
"""Bits of a read beat beside bit 0, which is always 1: a burst's last one; load's, not fetch's. A place without beat is 0."""

DRAM_COUNTS = (
    "debt",  # bytes that the credit lacks of its limit, after the edge that ended ``debt_cycle``
    "debt_cycle",
    "write_first",  # who wins the next contest
    "reads_held",  # read bursts taken so far; those from ``reads_served`` on are in the memory
    "reads_served",  # read bursts whose last beat was granted
    "read_beat",  # beats granted of the oldest
    "bus_beat",  # on R
    "writes_held",
    "writes_served",
    "write_beat",
    "writes_answered",  # write bursts whose response was put on the bus
    "write_buffer",  # 1: holds a beat
    "response",  # on B
)

DRAM_RINGS = {"read_burst": RING, "read_due": RING, "write_length": RING, "answer_due": RING}
"""``read_burst``: beats minus one, times two, plus 1 for load; ``write_length``: beats minus one. ``due``: the first cycle at
whose end the first beat may be granted, or the response be put on the bus."""


@jit
def dram_edge(hw: Record, s: Record, now: int) -> int:
    """The end of cycle ``now``, after what was handed over was taken: beats are granted, responses given. 1 if any was."""
    moved = _grant(hw, s, now)
    if s.writes_served != s.writes_answered and s.answer_due[s.writes_answered & (RING - 1)] <= now:
        s.writes_answered += 1
        s.response = 1
        moved = 1
    return moved


@jit
def _grant(hw: Record, s: Record, now: int) -> int:
    """Reads and writes share the credit. In terms of ``debt``, a credit of a beat is a debt of ``bytes_per_cycle``."""
    read = s.bus_beat == 0 and s.reads_held != s.reads_served and s.read_due[s.reads_served & (RING - 1)] <= now
    write = s.write_buffer != 0 and s.writes_held != s.writes_served
    if not (read or write):
        return 0
    cost, rate = hw.bus_bytes, hw.dram_bytes_per_cycle
    debt = max(0, s.debt - rate * (now - s.debt_cycle))
    if debt > rate:
        return 0
    if read and write and debt + cost > rate:  # not enough for both
        read, write = s.write_first == 0, s.write_first != 0
        s.write_first ^= 1
    if read:
        _grant_read(s)
        debt += cost
    if write:
        _grant_write(hw, s, now)
        debt += cost
    s.debt = debt
    s.debt_cycle = now
    return 1


@jit
def _grant_read(s: Record) -> None:
    burst = s.read_burst[s.reads_served & (RING - 1)]
    beat = 1 | (burst & 1) * LOAD
    if s.read_beat == burst >> 1:
        beat |= LAST
        s.read_beat = 0
        s.reads_served += 1
    else:
        s.read_beat += 1
    s.bus_beat = beat


@jit
def _grant_write(hw: Record, s: Record, now: int) -> None:
    place = s.writes_served & (RING - 1)
    s.write_buffer = 0
    if s.write_beat == s.write_length[place]:
        s.write_beat = 0
        s.answer_due[place] = now + hw.dram_latency_cycles - 1
        s.writes_served += 1
    else:
        s.write_beat += 1


@jit
def dram_wake(hw: Record, s: Record, now: int) -> int:
    """The next cycle at whose end ``dram_edge`` moves something, if in cycle ``now`` nothing did and nothing is handed over."""
    wake = NEVER
    if s.bus_beat == 0 and s.reads_held != s.reads_served:
        wake = s.read_due[s.reads_served & (RING - 1)]
    if s.write_buffer != 0 and s.writes_held != s.writes_served:
        wake = now + 1
    rate = hw.dram_bytes_per_cycle
    if wake != NEVER and s.debt > rate:
        wake = max(wake, s.debt_cycle + (s.debt - 1) // rate)  # = ceil((debt − rate) / rate)
    if s.writes_served != s.writes_answered:
        wake = min(wake, s.answer_due[s.writes_answered & (RING - 1)])
    return max(wake, now + 1)
