"""Instructions of one engine as a table: a row for each, a column for each field, header first, in the ISA's order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import HEADER, INSTRUCTIONS, Instruction, Opcode

__all__ = ["Column", "Table", "column_numbers", "columns_by_name", "instructions_of"]

Column = NDArray[np.int64]
Table = NDArray[np.int64]


@cache
def column_numbers(opcode: Opcode) -> Mapping[str, int]:
    """The column of each field."""
    return {item.name: number for number, item in enumerate((*HEADER, *INSTRUCTIONS[opcode][1]))}


def columns_by_name(opcode: Opcode, table: Table) -> dict[str, Column]:
    """The columns of a table."""
    return {name: table[:, number] for name, number in column_numbers(opcode).items()}


def instructions_of(opcode: Opcode, table: Table) -> list[Instruction]:
    """The rows as instructions, without fields that are zero."""
    names = list(column_numbers(opcode))[1:]
    return [
        Instruction(opcode, {name: value for name, value in zip(names, row, strict=True) if value})
        for row in table[:, 1:].tolist()
    ]  # fmt: skip
