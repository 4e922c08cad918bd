"""How often each instruction uses memories and multipliers, from its fields alone.

The formulas are those of ``docs/explanation/machine.md``; summed over a program they equal the accelerator's event counters: no
count depends on timing. They split an inference's counts over its layers, and stand in for the counters where a backend has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import UNIT_BYTES, Instruction, Opcode, VectorOp, instruction_units
from systola.hw.params import Params
from systola.hw.registers import Event
from systola.mapper.image import Image, ProgramStep

__all__ = ["Arithmetic", "LayerActions", "instruction_actions", "layer_actions"]

Int64 = NDArray[np.int64]
BURST_BOUNDARY_BYTES = 4096
REQUANTIZED = (VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MUL)


class Arithmetic(StrEnum):
    """Operations that no counter counts, one lane each."""

    DRAIN_STAGE_A = "drain: requantize"
    DRAIN_STAGE_B = "drain: second scale"
    VECTOR_MULTIPLY = "vector: multiply"
    VECTOR_ADD = "vector: add"
    VECTOR_COMPARE = "vector: compare"
    VECTOR_LOOKUP = "vector: table look-up"
    VECTOR_STAGE_A = "vector: requantize"
    VECTOR_STAGE_B = "vector: second scale"


Key = Event | Arithmetic


@dataclass
class LayerActions:
    """Counts by layer: ``counts[key][tag]``; ``read_bytes``/``write_bytes``: what loads and stores move, in bytes."""

    layers: int
    counts: dict[Key, Int64] = field(default_factory=dict)
    read_bytes: Int64 = field(init=False)
    write_bytes: Int64 = field(init=False)

    def __post_init__(self) -> None:
        self.read_bytes = np.zeros(self.layers, dtype=np.int64)
        self.write_bytes = np.zeros(self.layers, dtype=np.int64)

    def add(self, tag: int, actions: Mapping[Key, int]) -> None:
        """Count for a layer."""
        for key, count in actions.items():
            self.counts.setdefault(key, np.zeros(self.layers, dtype=np.int64))[tag] += count

    def of(self, key: Key) -> Int64:
        """Counts of one key, by layer."""
        return self.counts.get(key, np.zeros(self.layers, dtype=np.int64))


def layer_actions(image: Image, params: Params) -> LayerActions:
    """The counts of an inference, by layer."""
    result = LayerActions(len(image.layers))
    for step in image.steps:
        if not isinstance(step, ProgramStep):
            continue
        for instruction in step.instructions:
            tag = instruction["tag"]
            result.add(tag, instruction_actions(instruction, params))
            if instruction.opcode in (Opcode.LOAD, Opcode.STORE):
                moved = result.read_bytes if instruction.opcode is Opcode.LOAD else result.write_bytes
                moved[tag] += _words(instruction) * params.lanes
        _fetch(step, params, result)
    return result


def _fetch(step: ProgramStep, params: Params, result: LayerActions) -> None:
    """Instruction beats; one that two instructions share is the later one's; END and padding belong to the stream's last."""
    for engine, stream in step.streams.items():
        position = beats = tag = 0
        for instruction in step.of_engine(engine):
            position += instruction_units(instruction.opcode) * UNIT_BYTES
            new = position // params.bus_bytes - beats
            tag = instruction["tag"]
            result.add(tag, {Event.FETCH_BEATS: new, Event.READ_BEATS: new})
            beats += new
        rest = stream.bytes // params.bus_bytes - beats
        result.add(tag, {Event.FETCH_BEATS: rest, Event.READ_BEATS: rest})


def instruction_actions(instruction: Instruction, params: Params) -> dict[Key, int]:
    """What one instruction does; instruction fetch is not in it."""
    count = _COUNTERS.get(instruction.opcode)
    return {} if count is None else count(instruction, params)


def _words(i: Instruction) -> int:
    return i["count_x"] * i["count_y"] * i["count_z"]


def _load(i: Instruction, params: Params) -> dict[Key, int]:
    return {Event.LOAD_WRITES: _words(i), Event.READ_BEATS: _beats(i, params)}


def _store(i: Instruction, params: Params) -> dict[Key, int]:
    return {Event.STORE_READS: _words(i), Event.WRITE_BEATS: _beats(i, params)}


def _beats(i: Instruction, params: Params) -> int:
    """Beats of a transfer: each row begins in a beat of its own."""
    y = np.arange(i["count_y"], dtype=np.int64)[None, :] * i["dram_stride_y"]
    z = np.arange(i["count_z"], dtype=np.int64)[:, None] * i["dram_stride_z"]
    first = i["dram_address"] + y + z
    last = first + i["count_x"] * params.lanes - 1
    return int((last // params.bus_bytes - first // params.bus_bytes + 1).sum())


@lru_cache(maxsize=1 << 16)
def _inside(origin: int, outputs: int, step: int, kernel: int, dilation: int, limit: int) -> int:
    """Pairs (output, kernel position) along one axis whose input position is in 0 … limit − 1."""
    positions = origin + np.arange(outputs)[:, None] * step + np.arange(kernel)[None, :] * dilation
    return int(((positions >= 0) & (positions < limit)).sum())


def _window_reads(i: Instruction) -> int:
    """Window positions that are no padding, for one plane."""
    rows = _inside(i["origin_y"], i["count_y"], i["step_y"], i["count_ky"], i["dilation_y"], i["limit_y"])
    return rows * _inside(i["origin_x"], i["count_x"], i["step_x"], i["count_kx"], i["dilation_x"], i["limit_x"])


def _array(i: Instruction, params: Params) -> dict[Key, int]:
    outputs = i["count_n"] * i["count_y"] * i["count_x"]
    blocks = i["count_n"] * i["count_kb"]
    passes = blocks * i["count_ky"] * i["count_kx"]
    pixels = passes * i["count_y"] * i["count_x"]
    reads = blocks * _window_reads(i)
    return {
        Event.ARRAY_PIXELS: pixels,
        Event.ARRAY_PADDING: pixels - reads,
        Event.ACT_READS: reads,
        Event.WEIGHT_READS: passes * params.weight_tile_words,
        Event.ACC_READS: pixels if i["accumulate"] else pixels - outputs,
        Event.ACC_WRITES: pixels,
    }


def _drain(i: Instruction, params: Params) -> dict[Key, int]:
    outputs = i["count_n"] * i["count_y"] * i["count_x"]
    lanes = outputs * params.columns
    return {
        Event.ACC_READS: outputs,
        Event.DRAIN_READS: i["count_n"] * params.drain_record_words + outputs * i["operand"],
        Event.DRAIN_WRITES: outputs,
        Arithmetic.DRAIN_STAGE_A: lanes,
        Arithmetic.DRAIN_STAGE_B: lanes * i["stage_b"] * (1 + i["operand"]),
    }


def _vector(i: Instruction, params: Params) -> dict[Key, int]:
    op, outputs = VectorOp(i["op"]), i["count_n"] * i["count_y"] * i["count_x"]
    steps, reads, width = _vector_walk(i)
    lanes, work = outputs * params.lanes, steps * width * params.lanes
    operand = outputs * i["operand"]
    return {
        Event.VECTOR_STEPS: steps + operand,
        Event.VECTOR_READS: reads + operand + _vector_constants(i, op, params),
        Event.VECTOR_WRITES: outputs,
        Arithmetic.VECTOR_MULTIPLY: work if op in (VectorOp.DEPTHWISE, VectorOp.MUL) else 0,
        Arithmetic.VECTOR_ADD: work if op in (VectorOp.DEPTHWISE, VectorOp.SUM) else 0,
        Arithmetic.VECTOR_COMPARE: work if op is VectorOp.MAX else 0,
        Arithmetic.VECTOR_LOOKUP: lanes if op is VectorOp.TABLE else 0,
        Arithmetic.VECTOR_STAGE_A: lanes if op in REQUANTIZED else 0,
        Arithmetic.VECTOR_STAGE_B: lanes * i["stage_b"] * (1 + i["operand"]),
    }


def _vector_walk(i: Instruction) -> tuple[int, int, int]:
    """(steps, scratchpad reads of a, window columns that a step serves)."""
    if not i["column_mode"]:
        steps = i["count_n"] * i["count_y"] * i["count_x"] * i["count_ky"] * i["count_kx"]
        return steps, i["count_n"] * _window_reads(i), 1
    columns = (i["count_x"] - 1) * i["step_x"] + i["count_kx"]
    rows = _inside(i["origin_y"], i["count_y"], i["step_y"], i["count_ky"], i["dilation_y"], i["limit_y"])
    reads = i["count_n"] * rows * _inside(i["origin_x"], columns, 1, 1, 1, i["limit_x"])
    return i["count_n"] * i["count_y"] * i["count_ky"] * columns, reads, i["count_kx"]


def _vector_constants(i: Instruction, op: VectorOp, params: Params) -> int:
    """Words of records, weights and tables that an instruction loads."""
    sets = i["count_n"] if i["param_stride_n"] else 1
    if op is VectorOp.TABLE:
        return sets * params.table_words
    if op not in REQUANTIZED:
        return 0
    return sets * (params.vector_record_words + (i["count_ky"] * i["count_kx"] if op is VectorOp.DEPTHWISE else 0))


_COUNTERS: Mapping[Opcode, Callable[[Instruction, Params], dict[Key, int]]] = {
    Opcode.LOAD: _load,
    Opcode.STORE: _store,
    Opcode.ARRAY: _array,
    Opcode.DRAIN: _drain,
    Opcode.VECTOR: _vector,
}

