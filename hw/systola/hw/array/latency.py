"""The array engine's fixed delays, in cycles: the RTL is built from them and the cycle model reads them."""

from __future__ import annotations

from systola.hw.interfaces import ACCUMULATOR_READ_LATENCY_CYCLES, SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.params import Params

__all__ = [
    "ACCUMULATE_CYCLES",
    "ENTRY_CYCLES",
    "FIRST_WEIGHT_CYCLES",
    "TILE_READY_CYCLES",
    "TOKEN_CYCLES",
    "accumulator_read_cycles",
    "array_cycles",
    "retire_cycles",
]

FIRST_WEIGHT_CYCLES = 1
"""From the cycle in which an instruction is taken to the first request of its first weight word (if the tile before
was swapped in by then)."""

TOKEN_CYCLES = 3
"""From the cycle in which an instruction is taken to the first cycle in which its first pixel can be issued."""

TILE_READY_CYCLES = 1
"""From the acceptance of a tile's last word to the first cycle in which its pass can begin."""

ENTRY_CYCLES = SCRATCHPAD_READ_LATENCY_CYCLES
"""From a pixel's issue to the cycle in which its activations, and its swap, are at the array's entry."""

ACCUMULATE_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES + 2
"""From an accumulator read to the first cycle in which the sum written back can be read: memory, output register, sum, write."""


def array_cycles(params: Params) -> int:
    """From the entry of a pixel to the cycle in which its sums leave the array, all columns together.

    Entry register, product and partial sum of row 0, a cycle for each further row and each further segment.
    """
    return 3 + (params.rows - 1) + (params.segments - 1)


def accumulator_read_cycles(params: Params) -> int:
    """From a pixel's issue to the read of its accumulator word, so that word and sums arrive together."""
    return ENTRY_CYCLES + array_cycles(params) - ACCUMULATOR_READ_LATENCY_CYCLES


def retire_cycles(params: Params) -> int:
    """From the issue of an instruction's last pixel to ``retire``."""
    return accumulator_read_cycles(params) + ACCUMULATE_CYCLES
