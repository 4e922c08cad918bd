"""Instruction fetch, cycle by cycle: the model of the RTL's Fetch. The planner of the chunks is in ``chunks``.

Chunks → bursts by a splitter; beats → words by an unpacker, with the queue of who asked for them.
"""

from __future__ import annotations

from systola.hw.isa import ENGINES
from systola.hw.latencies import FETCH_OUTSTANDING
from systola.sim.cycles.bursts import SPLITTER_STATE, splitter_ready, splitter_reset, splitter_tick
from systola.sim.cycles.chunks import PLANNER_STATE, planner_offers, planner_reset, planner_start, planner_tick
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype
from systola.sim.cycles.unpack import (
    UNPACK_STATE,
    unpack_beat_ready,
    unpack_reset,
    unpack_row_ready,
    unpack_tick,
    unpack_word_valid,
)

__all__ = ["FETCH_STATE", "fetch_offer", "fetch_reset", "fetch_tick"]

WORD_BYTES = 16

FLIGHTS = FETCH_OUTSTANDING + 2
"""Chunks that were asked for and not yet begun to arrive, at most."""

RING = 16
"""Places for them: a power of two."""

FETCH_STATE = state_dtype(
    # Outputs of this cycle
    "request_valid",
    "request_length",
    "urgent",
    "puts",  # a bit for each engine: its queue gets a word
    "beat_ready",
    "wake",
    # Registers
    "flights_begun",  # chunks asked for so far
    "flights_ended",  # of these, chunks whose words are or were in hand
    "word_engine",  # whose the chunk in hand is
    "buffer_places",  # of beats, beside the output register; 0: no buffer
    "buffer_level",  # of these places
    "buffer_out",  # the output register holds a beat
    # Set before the first cycle: where each engine's stream begins, and how long it is
    stream_address=len(ENGINES),
    stream_bytes=len(ENGINES),
    flight_engine=RING,
    flight_words=RING,
    planner=PLANNER_STATE,
    splitter=SPLITTER_STATE,
    unpack=UNPACK_STATE,
)
"""``stream_address`` is the bus address of the first byte; only where its pages of 4096 bytes end matters."""


@jit
def fetch_reset(hw: Record, s: Record) -> None:
    """Before the first cycle; but for ``stream_address`` and ``stream_bytes``, the record is zero."""
    planner_reset(hw, s.planner)
    chunk_beats = s.planner.chunk_words * WORD_BYTES // hw.bus_bytes
    splitter_reset(hw, s.splitter, WORD_BYTES, max(1, min(hw.burst_beats, chunk_beats)))
    unpack_reset(hw, s.unpack, WORD_BYTES)
    s.buffer_places = max(2, 2 * chunk_beats) - 1 if hw.bus_bytes > WORD_BYTES else 0


@jit
def fetch_offer(hw: Record, s: Record, now: int, beat_valid: int) -> None:  # noqa: ARG001 - every unit's interface
    """``request_valid``, ``request_length`` (beats minus one) and ``urgent``: of the burst it asks for. ``puts``: whose word this
    cycle has. ``beat_ready``: whether a beat is taken. ``beat_valid``: the bus offers one.
    """
    u = s.unpack
    s.request_valid, s.request_length = s.splitter.valid, s.splitter.length
    s.urgent = int(s.planner.pressing != 0)
    if s.buffer_places:
        s.puts = unpack_word_valid(u, s.buffer_out) << s.word_engine
        s.beat_ready = int(s.buffer_level != s.buffer_places)
    else:
        s.puts = unpack_word_valid(u, beat_valid) << s.word_engine
        s.beat_ready = unpack_beat_ready(u, 1)


@jit
def fetch_tick(hw: Record, s: Record, now: int, start: int, freed: int, request_ready: int, beat_valid: int) -> None:  # noqa: ARG001
    """The end of cycle ``now``. ``start``: 1 in one cycle, the first; ``freed``: a bit for each engine, a word has left its
    queue; ``request_ready``, ``beat_valid``: the bus takes a request, offers a beat.
    """
    request = s.splitter.valid & request_ready
    if now < s.wake and not (start or freed or beat_valid or request):
        return  # nothing moved in the last cycle, and nothing has come since
    flights = s.flights_begun - s.flights_ended
    offered = int(planner_offers(s.planner) != 0 and flights != FLIGHTS)
    taken = offered & splitter_ready(s.splitter, request_ready)
    moved = start | freed | s.puts | taken | request
    if taken | request:
        chunk = s.planner
        splitter_tick(s.splitter, request_ready, offered, chunk.chunk_address, chunk.words - 1, 0)
    if taken:
        place = s.flights_begun & (RING - 1)
        s.flight_engine[place], s.flight_words[place] = s.planner.engine, s.planner.words
        s.flights_begun += 1
    moved |= planner_tick(s.planner, freed, taken)
    if start:
        planner_start(s.planner, s.stream_address, s.stream_bytes)
    if flights or s.unpack.active or s.buffer_places:
        moved |= _take_words(s, int(flights != 0), beat_valid)
    s.wake = now + 1 if moved else NEVER


@jit
def _take_words(s: Record, flight: int, beat_valid: int) -> int:
    """A beat goes to the buffer, if there is one, and to the unpacker; this takes the next chunk. 1 if anything moved."""
    u = s.unpack
    ready = unpack_beat_ready(u, 1)
    valid = s.buffer_out if s.buffer_places else beat_valid
    next_chunk = flight & unpack_row_ready(u, int(s.puts != 0))
    place = s.flights_ended & (RING - 1)
    unpack_tick(u, valid, 1, flight, s.flight_words[place] - 1, 0)
    if next_chunk:
        s.word_engine = s.flight_engine[place]
        s.flights_ended += 1
    moved = next_chunk | (valid & ready)
    if s.buffer_places:
        moved |= _buffer(s, beat_valid & s.beat_ready, ready)
    return moved


@jit
def _buffer(s: Record, write: int, read: int) -> int:
    """A ``SyncFIFOBuffered``: places, then an output register. 1 if a beat moved."""
    fill = int(s.buffer_level != 0 and (s.buffer_out == 0 or read != 0))
    s.buffer_level += write - fill
    s.buffer_out = int(fill != 0 or (s.buffer_out != 0 and read == 0))
    return write | fill
