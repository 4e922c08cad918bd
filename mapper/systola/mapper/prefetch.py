"""Constants loaded ahead: weights and records of a layer while the layers before it compute.

Instructions reach the engines in program order, so a load that stands behind a whole layer waits for that layer to be handed out.
Loads of constants depend on nothing but room, so they are moved up: to where their words were last used, but no further than the
beginning of the layer LOOKAHEAD layers before.
"""

from __future__ import annotations

import numpy as np

from systola.hw.isa import Opcode
from systola.mapper.operations import Space, Work

__all__ = ["load_constants_early"]

LOOKAHEAD = 2


def load_constants_early(program: list[Work], scratchpad_words: int) -> list[Work]:
    """The program in another order with the same meaning."""
    touched = np.full(scratchpad_words, -1, dtype=np.int64)
    starts: list[int] = []
    keys = []
    for index, work in enumerate(program):
        if not starts or work.tag != program[index - 1].tag:
            starts.append(index)
        position = index
        if work.opcode is Opcode.LOAD and not work.reads:
            free = max(int(touched[region.words].max()) for region in work.writes) + 1
            position = max(free, starts[max(0, len(starts) - 1 - LOOKAHEAD)])
        keys.append((position, position == index, index))
        for region in (*work.reads, *work.writes):
            if region.space is Space.SCRATCHPAD:
                touched[region.words] = index
    return [program[index] for _, _, index in sorted(keys)]
