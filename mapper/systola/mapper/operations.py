"""One instruction in the making: its fields, what it reads and what it writes.

Regions are sets of words, exact to the word, so that the dependencies found from them are neither missed nor imagined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from systola.hw.isa import ENGINES, Engine, Opcode

__all__ = ["Region", "Space", "Template", "Work", "consecutive"]


class Space(IntEnum):
    """The memories whose words tie instructions together. (Accumulators tie the instructions of a group.)"""

    SCRATCHPAD = 0
    DRAM = 1


class Region(NamedTuple):
    """Words of a memory on a grid: ``start`` and three pairs of count and stride, outermost first. None if a count is 0."""

    space: int
    start: int
    count_z: int
    stride_z: int
    count_y: int
    stride_y: int
    count_x: int
    stride_x: int


def consecutive(space: Space, start: int, count: int) -> Region:
    """``count`` words, one after the other."""
    return Region(space, start, 1, 0, 1, 0, count, 1)


@dataclass(frozen=True, eq=False)
class Template:
    """What a layer's instructions of one kind share: ``fixed`` fields. ``varying``: names of those that each has by itself; the
    rest are zero."""

    opcode: Opcode
    tag: int
    fixed: Mapping[str, int] = field(default_factory=dict)
    varying: tuple[str, ...] = ()

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return ENGINES[self.opcode - 1]


class Work(NamedTuple):
    """An instruction without its waits; ``values``: of its template's varying fields.

    ``group``: instructions that share accumulators, first to last: those of the array that make a tile's sums, and the drains
    that take them; −1: none. Their ``acc_address`` counts from the half that the group is given later.
    """

    template: Template
    values: tuple[int, ...]
    reads: tuple[Region, ...]
    writes: tuple[Region, ...]
    group: int = -1
