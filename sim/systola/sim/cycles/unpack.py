"""From beats of the bus to words of another width, row by row: the model of the RTL's Unpack.

In a cycle its user first asks for ``unpack_word_valid``, then with it and the sink's answer for ``unpack_beat_ready`` and
``unpack_row_ready``, and calls ``unpack_tick`` at the end.
"""

from __future__ import annotations

from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, state_dtype

__all__ = ["UNPACK_STATE", "unpack_beat_ready", "unpack_reset", "unpack_row_ready", "unpack_tick", "unpack_word_valid"]

UNPACK_STATE = state_dtype(
    "last_part",  # beats of a word, minus one; words of a beat, minus one: one of them is 0
    "last_place",
    "active",  # a row is in hand
    "left",  # its words not yet handed on, minus one
    "part",  # beats held of the word in hand
    "place",  # of the next word in its beat
)


@jit
def unpack_reset(hw: Record, u: Record, word_bytes: int) -> None:
    """For words of ``word_bytes``; nothing in hand."""
    u.last_part = max(1, word_bytes // hw.bus_bytes) - 1
    u.last_place = max(1, hw.bus_bytes // word_bytes) - 1
    u.active = u.left = u.part = u.place = 0


@jit
def unpack_word_valid(u: Record, beat_valid: int) -> int:
    """1 if a word is offered, in the cycle in which its (last) beat is."""
    return 1 if u.active != 0 and beat_valid != 0 and u.part == u.last_part else 0


@jit
def unpack_beat_ready(u: Record, word_ready: int) -> int:
    """1 if a beat offered in this cycle is used up: it is held as a part, or its last word of this row is accepted."""
    if u.active == 0:
        return 0
    if u.part != u.last_part:
        return 1
    return 1 if word_ready != 0 and (u.place == u.last_place or u.left == 0) else 0


@jit
def unpack_row_ready(u: Record, accept: int) -> int:
    """1 if a row can be taken: none is in hand, or its last word leaves. ``accept``: a word is offered and accepted."""
    return 1 if u.active == 0 or (accept != 0 and u.left == 0) else 0


@jit
def unpack_tick(u: Record, beat_valid: int, word_ready: int, row_valid: int, words_minus_one: int, place: int) -> None:
    """End of a cycle; the row is taken if ``row_valid`` and ``unpack_row_ready`` are 1. ``place``: that of its first word."""
    accept = unpack_word_valid(u, beat_valid) & word_ready
    if u.last_part and beat_valid and unpack_beat_ready(u, word_ready):
        u.part = (u.part + 1) & u.last_part
    if unpack_row_ready(u, accept):
        u.active = row_valid
        if row_valid:
            u.left, u.place = words_minus_one, place
    elif accept:
        u.left -= 1
        u.place = (u.place + 1) & u.last_place
