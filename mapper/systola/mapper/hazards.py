"""Which instructions must come before which: found from the words that each reads and writes.

The program comes in an order that means what the network means. An instruction depends on the last writers of what it reads,
and on the last writers and the readers since then of what it writes. Any order of the instructions that keeps these
dependencies means the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import MappingError
from systola.hw.isa import ENGINES, Engine
from systola.mapper.operations import Region, Space, Work

__all__ = ["Dependencies", "dependencies"]


@dataclass
class Dependencies:
    """Of one instruction, by index in the program: what must have finished before it begins (``after``), and what of the same
    engine must be issued before it (``behind``; engines work in order, so nothing needs to be waited for)."""

    after: set[int] = field(default_factory=set)
    behind: set[int] = field(default_factory=set)


class _Memory:
    """Per word the number of its last writer, and per engine of the last reader since; numbers count from 1, 0 is none."""

    def __init__(self, space: Space, words: int) -> None:
        self.space = space
        self.writer = np.zeros(words, dtype=np.int32)
        self.readers = np.zeros((len(ENGINES), words), dtype=np.int32)

    def checked(self, work: Work, region: Region) -> Region:
        """The region, which must lie inside. Raises MappingError if it does not (a defect of the mapper)."""
        words = region.words
        low, high = (words.start, words.stop - 1) if isinstance(words, slice) else (int(words.min()), int(words.max()))
        if low < 0 or high >= self.writer.size:
            raise MappingError(
                f"internal: a {work.opcode.name} instruction reaches words {low} … {high} of the {self.space.value}'s "
                f"{self.writer.size}"
            )
        return region


def dependencies(program: Sequence[Work], sizes: Mapping[Space, int]) -> list[Dependencies]:
    """The dependencies of every instruction. ``sizes``: words of each memory.

    Raises MappingError for a region outside its memory (a defect of the mapper).
    """
    memories = {space: _Memory(space, words) for space, words in sizes.items()}
    engines = [work.engine for work in program]
    found = []
    for index, work in enumerate(program):
        mine = Dependencies()
        for region in work.reads:
            _read(memories[region.space], work, region, mine)
        for region in work.writes:
            _write(memories[region.space], work, region, engines, mine)
        for region in work.reads:
            memories[region.space].readers[work.engine, region.words] = index + 1
        for region in work.writes:
            memory = memories[region.space]
            memory.writer[region.words] = index + 1
            memory.readers[:, region.words] = 0
        mine.behind -= mine.after
        found.append(mine)
    return found


def _read(memory: _Memory, work: Work, region: Region, mine: Dependencies) -> None:
    """What wrote the words; an engine may read early, so that its own writers are waited for as well.

    Readers of the same engine keep their order: so the last reader stands for all.
    """
    words = memory.checked(work, region).words
    mine.after |= _distinct(memory.writer[words])
    mine.behind |= _distinct(memory.readers[work.engine, words])


def _write(memory: _Memory, work: Work, region: Region, engines: list[Engine], mine: Dependencies) -> None:
    words = memory.checked(work, region).words
    for index in _distinct(memory.writer[words]):
        (mine.behind if engines[index] == work.engine else mine.after).add(index)
    readers = memory.readers[:, words]
    for engine in np.flatnonzero(readers.any(axis=1)).tolist():
        (mine.behind if engine == work.engine else mine.after).update(_distinct(readers[engine]))


def _distinct(numbers: NDArray[np.int32]) -> set[int]:
    """The indices that the numbers stand for."""
    if numbers.size > 16:
        changes = numbers[1:][numbers[1:] != numbers[:-1]]
        return {number - 1 for number in (int(numbers[0]), *changes.tolist()) if number}
    return {number - 1 for number in numbers.tolist() if number}
