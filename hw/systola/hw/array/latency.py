"""The array engine's delays that follow from its blocks' own; ``systola.hw.latencies`` has those that it is built from."""

from __future__ import annotations

from systola.hw.latencies import ACCUMULATE_CYCLES, accumulator_read_cycles
from systola.hw.params import Params

__all__ = ["FIRST_WEIGHT_CYCLES", "TILE_READY_CYCLES", "TOKEN_CYCLES", "retire_cycles"]

FIRST_WEIGHT_CYCLES = 1
"""From the cycle in which an instruction is taken to the first request of its first weight word (if the tile before
was swapped in by then)."""

TOKEN_CYCLES = 3
"""From the cycle in which an instruction is taken to the first cycle in which its first pixel can be issued."""

TILE_READY_CYCLES = 1
"""From the acceptance of a tile's last word to the first cycle in which its pass can begin."""


def retire_cycles(params: Params) -> int:
    """From the issue of an instruction's last pixel to ``retire``."""
    return accumulator_read_cycles(params) + ACCUMULATE_CYCLES
