"""One instruction in the making: its fields, what it reads and what it writes.

Regions are index arrays of words, exact to the word, so that the hazards found from them are neither missed nor imagined.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import Opcode

__all__ = ["Region", "Space", "Work", "block", "planes"]

Index = NDArray[np.int64]


class Space(Enum):
    """The memories that instructions share."""

    SCRATCHPAD = "scratchpad"
    ACCUMULATORS = "accumulators"
    DRAM = "DRAM"


@dataclass(frozen=True)
class Region:
    """Words of a memory."""

    space: Space
    words: Index


@dataclass
class Work:
    """An instruction without its waits."""

    opcode: Opcode
    tag: int
    fields: dict[str, int]
    reads: list[Region] = field(default_factory=list)
    writes: list[Region] = field(default_factory=list)


def block(space: Space, start: int, count: int) -> Region:
    """``count`` consecutive words."""
    return Region(space, np.arange(start, start + count, dtype=np.int64))


def planes(space: Space, start: int, *axes: tuple[int, int]) -> Region:
    """Words on a grid: ``axes`` are (count, stride) pairs, outermost first."""
    words = np.array([start], dtype=np.int64)
    for count, stride in axes:
        words = (words[:, None] + np.arange(count, dtype=np.int64) * stride).reshape(-1)
    return Region(space, words)
