"""A program in the making as columns: what the passes over thousands of instructions work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from systola.hw.isa import ENGINES, Engine, Opcode
from systola.mapper.instruction_tables import Column, Table, column_numbers
from systola.mapper.operations import Template, Work

__all__ = ["Program", "make_program"]


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions in an order that means what the network means.

    By instruction: ``engines``; ``groups``: accumulator group, −1: none; ``rows``: its place among its engine's. ``tables``: of
    each engine, a row for each of its instructions, fields in the ISA's order, waits being zero.
    ``regions``: rows of instruction, 1 if written (0: read), and the eight numbers of a Region; in the order of instructions, of
    each those read first.
    """

    engines: Column
    groups: Column
    rows: Column
    tables: Mapping[Engine, Table]
    regions: Table

    def __len__(self) -> int:
        return len(self.engines)


def make_program(works: Sequence[Work]) -> Program:
    """The columns of ``works``."""
    engines = np.array([work.template.opcode for work in works], np.int64) - 1
    rows = np.empty_like(engines)
    tables = {}
    for engine in ENGINES:
        mine = np.flatnonzero(engines == engine)
        rows[mine] = np.arange(len(mine))
        if len(mine):
            tables[engine] = _table(engine, [works[index] for index in mine.tolist()])
    return Program(engines, np.array([work.group for work in works], np.int64), rows, tables, _regions(works))


def _table(engine: Engine, works: Sequence[Work]) -> Table:
    """An engine's instructions, template by template."""
    opcode = Opcode(engine + 1)
    numbers = column_numbers(opcode)
    table = np.zeros((len(works), len(numbers)), np.int64)
    users: dict[Template, tuple[list[int], list[tuple[int, ...]]]] = {}
    for row, work in enumerate(works):
        rows, values = users.get(work.template) or users.setdefault(work.template, ([], []))
        rows.append(row)
        values.append(work.values)
    for template, (rows, values) in users.items():
        fields = {"tag": template.tag, **template.fixed}
        part = np.zeros((len(rows), len(numbers)), np.int64)
        part[:, [numbers[name] for name in fields]] = list(fields.values())
        part[:, [numbers[name] for name in template.varying]] = values
        table[rows] = part
    table[:, numbers["opcode"]] = opcode
    return table


def _regions(works: Sequence[Work]) -> Table:
    regions = [region for work in works for part in (work.reads, work.writes) for region in part]
    numbers = np.fromiter(chain.from_iterable(regions), np.int64, 8 * len(regions)).reshape(-1, 8)
    reads, writes = (np.array([len(part) for part in parts]) for parts in zip(*((w.reads, w.writes) for w in works), strict=True))
    written = np.repeat(np.tile([0, 1], len(works)), np.stack([reads, writes], 1).reshape(-1))
    return np.column_stack([np.repeat(np.arange(len(works)), reads + writes), written, numbers])
