"""How long instructions take, near enough to put them in order.

Figures are those of docs/explanation/machine.md; what depends on other traffic (banks, bursts) is left out. Nothing here is
reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import UNIT_BYTES, Opcode, VectorOp, instruction_units
from systola.hw.params import Params
from systola.mapper.instruction_tables import Column

__all__ = ["WAIT_CYCLES", "Durations", "Timing", "memory_latency_cycles", "word_cycles"]

WAIT_CYCLES = 2  # from an instruction's finish to the beginning of one that waits for it
_MEMORY_PATH_CYCLES = 16  # through the accelerator's own bus and scratchpad pipelines
_DRAIN_PIPELINE_CYCLES = 24
_VECTOR_PIPELINE_CYCLES = 30

Fields = Mapping[str, Column]
"""Fields of several instructions of one kind, by name."""


def memory_latency_cycles(params: Params) -> int:
    """From a load's beginning to its first word, about."""
    return params.config.dram.latency_cycles + _MEMORY_PATH_CYCLES


def word_cycles(params: Params) -> float:
    """Cycles the memory takes for a scratchpad word."""
    return params.lanes / min(params.bus_bytes, params.config.dram.bytes_per_cycle)


@dataclass(frozen=True)
class Durations:
    """Of each instruction, ``busy_cycles``: until the engine can begin its next instruction; of all, ``latency_cycles``: from
    then until all is written."""

    busy_cycles: NDArray[np.float64]
    latency_cycles: int


class Timing:
    """Durations of one accelerator's instructions."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._word_cycles, self._memory_cycles = word_cycles(params), memory_latency_cycles(params)
        byte = self._word_cycles / params.lanes
        self.fetch_cycles = {opcode: instruction_units(opcode) * UNIT_BYTES * byte for opcode in Opcode}
        """What the memory takes for an instruction."""
        self._of = {
            Opcode.LOAD: self._transfer, Opcode.STORE: self._transfer, Opcode.ARRAY: self._array, Opcode.DRAIN: self._drain,
            Opcode.VECTOR: self._vector,
        }  # fmt: skip

    def of(self, opcode: Opcode, fields: Fields) -> Durations:
        """How long instructions take once they can begin and nothing is in their way."""
        return self._of[opcode](fields)

    def _transfer(self, f: Fields) -> Durations:
        words = f["count_x"] * f["count_y"] * f["count_z"]
        return Durations(words.astype(np.float64) * self._word_cycles, self._memory_cycles)

    def _array(self, f: Fields) -> Durations:
        passes = f["count_n"] * f["count_ky"] * f["count_kx"] * f["count_kb"]
        cycles = passes * np.maximum(f["count_x"] * f["count_y"], self._params.weight_tile_words)
        return Durations(cycles.astype(np.float64), self._params.rows + self._params.segments + 6)

    def _drain(self, f: Fields) -> Durations:
        pixels = f["count_x"] * f["count_y"] * self._params.drain_word_cycles
        cycles = f["count_n"] * np.maximum(pixels, self._params.drain_record_words + 4)
        return Durations(cycles.astype(np.float64), _DRAIN_PIPELINE_CYCLES)

    def _vector(self, f: Fields) -> Durations:
        """Steps as docs/explanation/machine.md has them; blocks' parameters are loaded beside the work of the block before."""
        params, op, kernel = self._params, f["op"], f["count_kx"] * f["count_ky"]
        records = np.where((op == VectorOp.MAX) | (op == VectorOp.COPY), 0, params.vector_record_words)
        records = np.where(op == VectorOp.TABLE, params.table_words, records + np.where(op == VectorOp.DEPTHWISE, kernel, 0))
        by_column = ((f["count_x"] - 1) * f["step_x"] + f["count_kx"]) * f["count_ky"]
        row = np.where(f["column_mode"] != 0, by_column, f["count_x"] * (kernel + f["operand"]))
        looked_up = f["count_x"] * max(1, params.lanes // params.config.vector.table_lanes)
        row = np.where(op == VectorOp.TABLE, looked_up, row)
        row = np.maximum(row, f["count_x"] * params.vector_word_cycles)
        cycles = f["count_n"] * np.maximum(row * f["count_y"], records) + records
        return Durations(cycles.astype(np.float64), _VECTOR_PIPELINE_CYCLES)
