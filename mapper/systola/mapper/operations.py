"""One instruction in the making: its fields, what it reads and what it writes.

Regions are sets of words, exact to the word, so that the dependencies found from them are neither missed nor imagined.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine, Opcode

__all__ = ["Region", "Space", "Work", "planes"]

Index = NDArray[np.int64]


class Space(Enum):
    """The memories whose words tie instructions together. (Accumulators tie the instructions of a group.)"""

    SCRATCHPAD = "scratchpad"
    DRAM = "DRAM"


@dataclass(frozen=True)
class Region:
    """Words of a memory: a slice where they are consecutive."""

    space: Space
    words: Index | slice


@dataclass
class Work:
    """An instruction without its waits.

    ``group``: instructions that share accumulators, first to last: those of the array that make a tile's sums, and the drains
    that take them. Their ``acc_address`` counts from the half that the group is given later.
    """

    opcode: Opcode
    tag: int
    fields: dict[str, int]
    reads: list[Region] = field(default_factory=list)
    writes: list[Region] = field(default_factory=list)
    group: int | None = None

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return ENGINES[self.opcode - 1]


def planes(space: Space, start: int, *axes: tuple[int, int]) -> Region:
    """Words on a grid: ``axes`` are (count, stride) pairs, outermost first."""
    if any(count == 0 for count, _ in axes):
        return Region(space, slice(0, 0))
    length = 1
    scattered: list[tuple[int, int]] = []
    for count, stride in reversed(axes):
        if count == 1:
            continue
        if stride == length and not scattered:
            length *= count
        else:
            scattered.append((count, stride))
    if not scattered:
        return Region(space, slice(start, start + length))
    words = np.arange(start, start + length, dtype=np.int64)
    for count, stride in scattered:
        words = (np.arange(count, dtype=np.int64)[:, None] * stride + words).reshape(-1)
    return Region(space, words)
