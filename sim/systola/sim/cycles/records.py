"""The records that the cycle model works on: hardware parameters, instructions, and the state of each unit.

A record is an element of a NumPy structured array; every number is an int64. Compiled code reads and writes fields as
attributes; so does plain Python, of a ``recarray``'s element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import HEADER, INSTRUCTIONS, Instruction, Opcode
from systola.hw.latencies import drain_leave_cycles, table_flush_cycles
from systola.hw.params import Params

__all__ = [
    "HARDWARE", "NEVER", "Record", "hardware", "instruction_dtype", "instructions", "new_record", "state_dtype", "table_records",
]  # fmt: skip

Record = Any
"""An element of a recarray."""

NEVER = 1 << 62
"""A cycle that does not come."""


def state_dtype(*names: str, **parts: int | tuple[int, int] | np.dtype[Any] | tuple[np.dtype[Any], int]) -> np.dtype[Any]:
    """A record of numbers ``names``, and of ``parts``: n for an array of n numbers, (n, m) for one of n × m, a dtype for a record
    in the record, (dtype, n) for n of them."""
    fields: list[Any] = [(name, "i8") for name in names]
    for name, part in parts.items():
        if isinstance(part, int):
            fields.append((name, "i8", (part,)))
        elif isinstance(part, tuple):
            fields.append((name, "i8", part) if isinstance(part[0], int) else (name, part[0], (part[1],)))
        else:
            fields.append((name, part))
    return np.dtype(fields)


def new_record(dtype: np.dtype[Any]) -> Record:
    """A record of zeros. In compiled code and in Python, what is written to it stays in it."""
    return np.zeros(1, dtype).view(np.recarray)[0]


def instruction_dtype(opcode: Opcode) -> np.dtype[Any]:
    """The fields of an instruction, header first."""
    return state_dtype(*(field.name for field in (*HEADER, *INSTRUCTIONS[opcode][1])))


def instructions(opcode: Opcode, program: Sequence[Instruction]) -> Any:
    """The instructions of one engine as a recarray."""
    names = [field.name for field in (*HEADER, *INSTRUCTIONS[opcode][1])]
    table = np.array([[i.fields.get(name, 0) for name in names] for i in program], np.int64).reshape(len(program), len(names))
    table[:, names.index("opcode")] = opcode
    return table_records(opcode, table)


def table_records(opcode: Opcode, table: NDArray[np.int64]) -> Any:
    """The rows of ``ProgramStep.table`` as a recarray."""
    return np.ascontiguousarray(table).reshape(-1).view(instruction_dtype(opcode)).view(np.recarray)


_FACTS = (
    "rows", "columns", "lanes", "row_groups", "column_groups", "segments", "scratchpad_words", "banks", "accumulator_words",
    "accumulator_half_words", "taps", "tap_entries", "weight_tile_words", "drain_record_words", "vector_record_words",
    "drain_word_cycles", "vector_word_cycles",
    "table_words", "bus_bytes", "stream_granule_bytes", "queue_bytes",
)  # fmt: skip

HARDWARE = state_dtype(
    *_FACTS,
    "drain_leave_cycles",
    "table_flush_cycles",
    "tap_depth",
    "table_lanes",
    "burst_beats",
    "read_outstanding",
    "write_outstanding",
    "dram_latency_cycles",
    "dram_bytes_per_cycle",
)
"""What the timing depends on; names are those of ``Params`` and ``Config``."""


def hardware(params: Params) -> Record:
    """The record of an accelerator and its memory."""
    record, config = new_record(HARDWARE), params.config
    for name in _FACTS:
        setattr(record, name, getattr(params, name))
    record.tap_depth, record.table_lanes = config.vector.tap_depth, config.vector.table_lanes
    record.drain_leave_cycles, record.table_flush_cycles = drain_leave_cycles(params), table_flush_cycles(params)
    record.burst_beats = config.bus.burst_beats
    record.read_outstanding, record.write_outstanding = config.bus.read_outstanding, config.bus.write_outstanding
    record.dram_latency_cycles, record.dram_bytes_per_cycle = config.dram.latency_cycles, config.dram.bytes_per_cycle
    return record
