"""Which instructions must come before which: found from the words that each reads and writes.

The program comes in an order that means what the network means. An instruction depends on the last writers of what it reads,
and on the last writers and the readers since then of what it writes. Any order of the instructions that keeps these
dependencies means the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import MappingError
from systola.hw.isa import ENGINES, Opcode
from systola.mapper.edges import Edges, add_edge, no_edges
from systola.mapper.instruction_tables import Column, Table
from systola.mapper.jit import jit, jit_borrowing
from systola.mapper.operations import Space
from systola.mapper.program import Program

__all__ = ["dependencies"]

Numbers = NDArray[np.int32]
"""By word or cell: the number of an instruction or cell."""


def dependencies(program: Program, sizes: Mapping[Space, int]) -> Edges:
    """The dependencies of every instruction. ``sizes``: words of each memory.

    Raises MappingError for a region outside its memory (a defect of the mapper).
    """
    _check_regions(program, sizes)
    rows = _rows(program.regions, np.array([0, sizes[Space.SCRATCHPAD]]))
    cells, count = _cells(rows, sum(sizes.values()))
    memories = _Memories(np.zeros(count, np.int32), np.zeros(count, np.uint8), np.zeros((len(ENGINES), count), np.int32))
    return _find_edges(rows, program.engines, cells, memories)


def _rows(regions: Table, first_word: Column) -> Table:
    """Regions as rows of consecutive words, which are as long as they can be: instruction, written, first word, three pairs of
    count and stride, outermost first, and the words of a row. ``first_word``: of each memory, among the words of all."""
    index, written, space, start, count_z, stride_z, count_y, stride_y, count_x, stride_x = regions.T
    dense = stride_x == 1
    joined = dense & (stride_y == count_x)
    words = np.where(joined, count_x * count_y, np.where(dense, count_x, 1))
    count_y, count_x = np.where(joined, 1, count_y), np.where(dense, np.minimum(words, 1), count_x)
    first = first_word[space] + start
    return np.column_stack([index, written, first, count_z, stride_z, count_y, stride_y, count_x, stride_x, words])


def _cells(rows: Table, words: int) -> tuple[Numbers, int]:
    """Words that no row begins or ends between are read and written together: they are one cell. By word: the number of the cell
    that begins there (undefined where none does). Then, how many there are."""
    borders = np.zeros(words + 1, np.bool_)
    _mark_borders(rows, borders)
    begins = np.flatnonzero(borders)
    cells = np.empty(words + 1, np.int32)
    cells[begins] = np.arange(len(begins), dtype=np.int32)
    return cells, len(begins)


@jit_borrowing
def _mark_borders(rows: Table, borders: NDArray[np.bool_]) -> None:
    """Where rows begin and end."""
    for row in range(len(rows)):
        _, _, start, count_z, stride_z, count_y, stride_y, count_x, stride_x, words = rows[row]
        for z in range(count_z):
            for y in range(count_y):
                for x in range(count_x):
                    first = start + z * stride_z + y * stride_y + x * stride_x
                    borders[first], borders[first + words] = True, True


def _check_regions(program: Program, sizes: Mapping[Space, int]) -> None:
    regions = program.regions
    reach = (regions[:, 4::2] - 1) * regions[:, 5::2]
    low = regions[:, 3] + np.minimum(reach, 0).sum(1)
    high = regions[:, 3] + np.maximum(reach, 0).sum(1)
    size = np.array([sizes[Space.SCRATCHPAD], sizes[Space.DRAM]])[regions[:, 2]]
    wrong = np.flatnonzero(((low < 0) | (high >= size)) & (regions[:, 4::2] > 0).all(1))
    if wrong.size:
        region = wrong[0]
        opcode = Opcode(program.engines[regions[region, 0]] + 1)
        raise MappingError(
            f"internal: a {opcode.name} instruction reaches words {low[region]} … {high[region]} of the "
            f"{Space(regions[region, 2]).name}'s {size[region]}"
        )


class _Memories(NamedTuple):
    """Per cell of all memories: the number of its last writer; a bit for each engine that has read it since; by engine, the
    number of the last reader. Numbers count from 1, 0 is none. Readers of the same engine keep their order: so the last stands
    for all.
    """

    writer: Numbers
    read_by: NDArray[np.uint8]
    readers: NDArray[np.int32]


@jit
def _find_edges(rows: Table, engines: Column, cells: Numbers, memories: _Memories) -> Edges:
    """An instruction's edges are found cell by cell and noted once; ``found`` are their numbers, those that must have finished as
    they are, and the others negative."""
    edges = no_edges(len(engines))
    noted, found = np.zeros(len(engines) + 1, np.int64), np.empty(2 * len(engines), np.int64)
    for row in range(len(rows)):
        size = _touch(rows[row], engines, cells, memories, noted, found)
        for number in found[:size]:
            edges = add_edge(edges, rows[row, 0], abs(number) - 1, 1 if number > 0 else 0)
    return edges


@jit_borrowing
def _touch(row: Column, engines: Column, cells: Numbers, memories: _Memories, noted: Column, found: Column) -> int:
    """Words are read or written; how many edges were ``found``."""
    index, written, start, count_z, stride_z, count_y, stride_y, count_x, stride_x, words = row
    size = 0
    for z in range(count_z):
        for y in range(count_y):
            for x in range(count_x):
                first = start + z * stride_z + y * stride_y + x * stride_x
                touched = range(cells[first], cells[first + words])
                if written:
                    size = _write(touched, index + 1, memories, engines, noted, found, size)
                else:
                    size = _read(touched, index + 1, memories, engines, noted, found, size)
    return size


@jit_borrowing
def _read(cells: range, me: int, memories: _Memories, engines: Column, noted: Column, found: Column, size: int) -> int:
    """Cells are read: after what wrote them. An engine may read early, so its own writers are waited for as well."""
    engine = engines[me - 1]
    writer, read_by, readers, bit = memories.writer, memories.read_by, memories.readers[engine], 1 << engine
    for cell in cells:
        before, reader = writer[cell], readers[cell]
        if before and before != me and noted[before] < 2 * me + 1:
            noted[before], found[size] = 2 * me + 1, before
            size += 1
        if read_by[cell] & bit and reader != me and noted[reader] < 2 * me:
            noted[reader], found[size] = 2 * me, -reader
            size += 1
        readers[cell] = me
        read_by[cell] |= bit
    return size


@jit_borrowing
def _write(cells: range, me: int, memories: _Memories, engines: Column, noted: Column, found: Column, size: int) -> int:
    """Cells are written: after what wrote them and what has read them since; only issued after them if they are of the same
    engine."""
    engine = engines[me - 1]
    writer, read_by, readers = memories
    for cell in cells:
        before = writer[cell]
        if before and before != me and noted[before] < 2 * me + 1:
            finished = engines[before - 1] != engine
            if noted[before] < 2 * me + finished:
                noted[before], found[size] = 2 * me + finished, before if finished else -before
                size += 1
        bits, other = read_by[cell], 0
        while bits:
            reader, finished = readers[other, cell], other != engine
            if bits & 1 and reader != me and noted[reader] < 2 * me + finished:
                noted[reader], found[size] = 2 * me + finished, reader if finished else -reader
                size += 1
            bits >>= 1
            other += 1
        writer[cell], read_by[cell] = me, 0
    return size
