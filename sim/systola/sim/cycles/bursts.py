"""From a row of words to AXI bursts, one a cycle: the model of the RTL's BurstSplitter.

Its user reads ``valid``, ``address``, ``length`` and ``last`` as the burst offered in this cycle, asks ``splitter_ready`` whether
the next row is taken in it, and calls ``splitter_tick`` at its end. Rows must end below the last byte of the bus's addresses.
"""

from __future__ import annotations

from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, state_dtype

__all__ = ["PAGE_BYTES", "SPLITTER_STATE", "binary_log", "splitter_ready", "splitter_reset", "splitter_tick"]

PAGE_BYTES = 4096
"""No AXI burst crosses a multiple of this (ARM IHI 0022, A3.4.1)."""

SPLITTER_STATE = state_dtype(
    "beat_bits",  # log2 of the bytes of a beat, of a word, of the beats in a word, of the words in a beat
    "word_bits",
    "beats_bits",
    "places_bits",
    "chunk",  # beats of the longest burst
    "valid",  # a burst is offered: byte address, beats minus one, last of its user's transfer
    "address",
    "length",
    "last",
    "final",  # it is the last of its row
    "left",  # beats of the row not yet handed on, minus one
    "row_last",
)


@jit
def binary_log(value: int) -> int:
    """Exponent of a power of two."""
    bits = 0
    while value >> bits > 1:
        bits += 1
    return bits


@jit
def splitter_reset(hw: Record, p: Record, word_bytes: int, burst_beats: int) -> None:
    """For words of ``word_bytes`` and bursts of at most ``burst_beats``; nothing in hand."""
    p.beat_bits, p.word_bits = binary_log(hw.bus_bytes), binary_log(word_bytes)
    p.beats_bits = max(0, p.word_bits - p.beat_bits)
    p.places_bits = max(0, p.beat_bits - p.word_bits)
    p.chunk = min(burst_beats, PAGE_BYTES // hw.bus_bytes)
    p.valid = 0


@jit
def splitter_ready(p: Record, burst_ready: int) -> int:
    """1 if a row can be taken: none is in hand, or its last burst leaves in this cycle."""
    return 1 if p.valid == 0 or (burst_ready != 0 and p.final != 0) else 0


@jit
def splitter_tick(p: Record, burst_ready: int, row_valid: int, address: int, words_minus_one: int, last: int) -> None:
    """End of a cycle; the row is taken if ``row_valid`` and ``splitter_ready`` are 1. ``address`` is its first byte's."""
    if splitter_ready(p, burst_ready):
        p.valid = row_valid
        if row_valid:
            first = (address >> p.word_bits) & ((1 << p.places_bits) - 1)
            p.left = (((words_minus_one + first + 1) << p.beats_bits) - 1) >> p.places_bits
            p.address = (address >> p.beat_bits) << p.beat_bits
            p.row_last = last
            _offer_burst(p)
    elif burst_ready:
        p.address += (p.length + 1) << p.beat_bits
        p.left -= p.length + 1
        _offer_burst(p)


@jit
def _offer_burst(p: Record) -> None:
    """The longest burst from ``address``, or what is left of the row."""
    page_left = (PAGE_BYTES - (p.address & (PAGE_BYTES - 1))) >> p.beat_bits
    limit = min(p.chunk, page_left) - 1
    if p.left <= limit:
        p.final, p.length, p.last = 1, p.left, p.row_last
    else:
        p.final, p.length, p.last = 0, limit, 0
