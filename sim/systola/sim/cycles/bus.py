"""The guard before the AXI4 bus and the DRAM behind it, together: requests, beats, responses.

A cycle is ``bus_offer``, then ``bus_grant`` once the users' requests are known, then ``bus_tick``. There are no errors and no
abort here: a program that runs as it should has none.
"""

from __future__ import annotations

from systola.hw.latencies import FETCH_OUTSTANDING
from systola.sim.cycles.dram import DEPTH, DRAM_COUNTS, DRAM_RINGS, LAST, LOAD, RING, dram_edge, dram_wake
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["BUS_EVENTS", "BUS_STATE", "bus_grant", "bus_offer", "bus_tick"]

BUS_EVENTS = ("read_beats", "fetch_beats", "read_bursts", "write_beats", "write_bursts")
"""Counted in the cycle after the handshake."""

_READ_BEAT, _FETCH_BEAT, _READ_BURST, _WRITE_BEAT, _WRITE_BURST = 1, 2, 4, 8, 16

BUS_STATE = state_dtype(
    # Outputs.
    "beat_to_load",
    "beat_to_fetch",
    "fetch_ready",
    "load_ready",
    "store_request_ready",
    "store_beat_ready",
    "acknowledged",
    "acknowledged_last",
    "moved",  # a data beat, as the counters see it
    "wake",
    *BUS_EVENTS,
    # The guard.
    "events",  # bits: what is counted in this cycle
    "reads_requested",  # read bursts taken so far; the last one is still on AR if it is not in ``reads_held``
    "fetch_in_flight",  # bursts
    "load_in_flight",
    "user_beat",  # the register that is offered to the users
    "spare_beat",  # the place behind it
    "writes_requested",
    "writes_sent",  # write bursts whose last beat was put on W
    "writes_ended",  # write bursts whose response was looked at
    "sent_beats",  # of the burst that is sent
    "write_offered",  # a beat is on W
    "arrived",  # a response is looked at
    *DRAM_COUNTS,
    write_last=RING,  # is the burst its user's last one
    **DRAM_RINGS,
)


@jit
def bus_offer(hw: Record, s: Record, now: int) -> None:  # noqa: ARG001 - as all units' offers
    """What follows from registers.

    ``beat_to_load``, ``beat_to_fetch``: whom a read beat is offered to. ``store_request_ready``, ``store_beat_ready``;
    ``acknowledged``, ``acknowledged_last``: a write burst was answered.
    """
    s.beat_to_load = int(s.user_beat & LOAD != 0)
    s.beat_to_fetch = int(s.user_beat != 0 and s.user_beat & LOAD == 0)
    free = s.writes_requested == s.writes_held or s.writes_held - s.writes_answered < DEPTH
    s.store_request_ready = int(free and s.writes_requested - s.writes_ended < hw.write_outstanding)
    s.store_beat_ready = int(s.writes_sent != s.writes_requested and (s.write_offered == 0 or s.write_buffer == 0))
    s.acknowledged = s.arrived
    s.acknowledged_last = s.arrived & s.write_last[s.writes_ended & (RING - 1)]


@jit
def bus_grant(hw: Record, s: Record, now: int, fetch_valid: int, fetch_urgent: int, load_valid: int) -> None:  # noqa: ARG001
    """``fetch_ready``, ``load_ready``: of the read requests. Load goes first, but not before an urgent fetch."""
    free = s.reads_requested == s.reads_held or s.reads_held - s.reads_served < DEPTH
    fetch = free and s.fetch_in_flight < FETCH_OUTSTANDING
    s.fetch_ready = int(fetch and (fetch_urgent != 0 or load_valid == 0))
    s.load_ready = int(free and s.load_in_flight < hw.read_outstanding and not (fetch and fetch_urgent != 0 and fetch_valid != 0))


@jit
def bus_tick(
    hw: Record,
    s: Record,
    now: int,
    fetch_valid: int,
    fetch_length: int,
    load_valid: int,
    load_length: int,
    fetch_beat_ready: int,
    load_beat_ready: int,
    store_valid: int,
    store_length: int,
    store_last: int,
    store_beat_valid: int,
) -> None:
    """The end of cycle ``now``. ``length``: of the burst requested, in beats minus one; ``store_last``: is it the user's last.

    ``moved``: READ_BEATS or WRITE_BEATS counts one in this cycle.
    """
    events = s.events
    if events:
        _count(s, events)
    s.moved = int(events & (_READ_BEAT | _WRITE_BEAT) != 0)
    s.events = 0
    moved = events
    in_memory = 0
    if s.fetch_in_flight | s.load_in_flight:
        moved |= _move_reads(hw, s, now, fetch_beat_ready, load_beat_ready)
        in_memory = 1
    if s.writes_requested != s.writes_ended:
        moved |= _move_writes(s, store_beat_valid)
        in_memory = 1
    if in_memory:
        moved |= dram_edge(hw, s, now)
    if fetch_valid & s.fetch_ready:
        _request_read(s, fetch_length << 1)
        s.fetch_in_flight += 1
        moved = 1
    elif load_valid & s.load_ready:
        _request_read(s, load_length << 1 | 1)
        s.load_in_flight += 1
        moved = 1
    if store_valid & s.store_request_ready:
        place = s.writes_requested & (RING - 1)
        s.write_length[place], s.write_last[place] = store_length, store_last
        s.writes_requested += 1
        moved = 1
    if moved:
        s.wake = now + 1
    elif in_memory:
        s.wake = dram_wake(hw, s, now)
    else:
        s.wake = NEVER


@jit
def _count(s: Record, events: int) -> None:
    s.read_beats += events & 1
    s.fetch_beats += events >> 1 & 1
    s.read_bursts += events >> 2 & 1
    s.write_beats += events >> 3 & 1
    s.write_bursts += events >> 4 & 1


@jit
def _request_read(s: Record, burst: int) -> None:
    s.read_burst[s.reads_requested & (RING - 1)] = burst
    s.reads_requested += 1


@jit
def _move_reads(hw: Record, s: Record, now: int, fetch_beat_ready: int, load_beat_ready: int) -> int:
    """AR is taken; a beat goes from R to the user by way of two places. 1 if anything moved."""
    events = 0
    if s.reads_requested != s.reads_held and s.reads_held - s.reads_served < DEPTH:
        s.read_due[s.reads_held & (RING - 1)] = now + hw.dram_latency_cycles - 1
        s.reads_held += 1
        events = _READ_BURST
    beat, arriving, spare = s.user_beat, s.bus_beat, s.spare_beat
    if beat:
        to_load = beat & LOAD
        if load_beat_ready if to_load else fetch_beat_ready:
            events |= _READ_BEAT if to_load else _READ_BEAT | _FETCH_BEAT
            if beat & LAST:
                s.load_in_flight -= int(to_load != 0)
                s.fetch_in_flight -= int(to_load == 0)
            beat = 0
    s.events |= events
    moved: int = events
    if spare:
        if beat == 0:
            beat, s.spare_beat = spare, 0
    else:
        if beat == 0:
            beat = arriving
        else:
            s.spare_beat = arriving
        s.bus_beat = 0
        moved |= arriving
    s.user_beat = beat
    return moved


@jit
def _move_writes(s: Record, store_beat_valid: int) -> int:
    """AW and W are taken, a beat is put on W, a response is taken and looked at. 1 if anything moved."""
    events = 0
    if s.writes_requested != s.writes_held and s.writes_held - s.writes_answered < DEPTH:
        s.writes_held += 1
        events = _WRITE_BURST
    if s.write_offered and s.write_buffer == 0:
        s.write_offered = 0
        s.write_buffer = 1
        events |= _WRITE_BEAT
    moved: int = events | s.arrived | s.response
    s.events |= events
    if store_beat_valid & s.store_beat_ready:
        s.write_offered = 1
        if s.sent_beats == s.write_length[s.writes_sent & (RING - 1)]:
            s.sent_beats = 0
            s.writes_sent += 1
        else:
            s.sent_beats += 1
        moved = 1
    s.writes_ended += s.arrived
    s.arrived, s.response = s.response, 0
    return moved
