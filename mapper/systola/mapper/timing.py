"""How long instructions take, near enough to put them in order.

Figures are those of docs/explanation/machine.md; what depends on other traffic (banks, bursts) is left out. Nothing here is
reported.
"""

from __future__ import annotations

from dataclasses import dataclass

from systola.hw.isa import UNIT_BYTES, Opcode, VectorOp, instruction_units
from systola.hw.params import Params
from systola.mapper.operations import Work

__all__ = ["Duration", "Timing"]

WAIT_CYCLES = 2  # from an instruction's finish to the beginning of one that waits for it
_MEMORY_PATH_CYCLES = 16  # through the accelerator's own bus and scratchpad pipelines
_DRAIN_PIPELINE_CYCLES = 24
_VECTOR_PIPELINE_CYCLES = 30


@dataclass(frozen=True)
class Duration:
    """``busy_cycles``: until the engine can begin its next instruction; ``latency_cycles``: from then until all is written."""

    busy_cycles: float
    latency_cycles: int


class Timing:
    """Durations of one accelerator's instructions."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._word_cycles = params.lanes / min(params.bus_bytes, params.config.dram.bytes_per_cycle)
        self._memory_cycles = params.config.dram.latency_cycles + _MEMORY_PATH_CYCLES
        byte = self._word_cycles / params.lanes
        self.fetch_cycles = {opcode: instruction_units(opcode) * UNIT_BYTES * byte for opcode in Opcode}
        """What the memory takes for an instruction."""
        self._of = {
            Opcode.LOAD: self._transfer, Opcode.STORE: self._transfer, Opcode.ARRAY: self._array, Opcode.DRAIN: self._drain,
            Opcode.VECTOR: self._vector,
        }  # fmt: skip

    def of(self, work: Work) -> Duration:
        """How long an instruction takes once it can begin and nothing is in its way."""
        return self._of[work.opcode](work.fields)

    def _transfer(self, f: dict[str, int]) -> Duration:
        return Duration(f["count_x"] * f["count_y"] * f["count_z"] * self._word_cycles, self._memory_cycles)

    def _array(self, f: dict[str, int]) -> Duration:
        passes = f["count_n"] * f["count_ky"] * f["count_kx"] * f["count_kb"]
        pixels = f["count_x"] * f["count_y"]
        return Duration(passes * max(pixels, self._params.weight_tile_words), self._params.rows + self._params.segments + 6)

    def _drain(self, f: dict[str, int]) -> Duration:
        pixels = f["count_x"] * f["count_y"]
        return Duration(f["count_n"] * max(pixels, self._params.drain_record_words + 4), _DRAIN_PIPELINE_CYCLES)

    def _vector(self, f: dict[str, int]) -> Duration:
        """Steps as docs/explanation/machine.md has them; blocks' parameters are loaded beside the work of the block before."""
        params, kernel = self._params, f["count_kx"] * f["count_ky"]
        records = 0 if f["op"] in (VectorOp.MAX, VectorOp.COPY) else params.vector_record_words
        if f["op"] == VectorOp.DEPTHWISE:
            records += kernel
        if f["op"] == VectorOp.TABLE:
            row, records = f["count_x"] * max(1, params.lanes // params.config.vector.table_lanes), params.table_words
        elif f["column_mode"]:
            row = ((f["count_x"] - 1) * f["step_x"] + f["count_kx"]) * f["count_ky"]
        else:
            row = f["count_x"] * (kernel + f.get("operand", 0))
        return Duration(f["count_n"] * max(row * f["count_y"], records) + records, _VECTOR_PIPELINE_CYCLES)
