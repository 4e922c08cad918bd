"""The vector engine's records, weights and tables, as ``systola.hw.vector.parameters`` fetches them.

Words of a set follow each other without a gap, so that what they are does not matter, only how many there are.
"""

from __future__ import annotations

from systola.hw.isa import VectorOp
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record
from systola.sim.cycles.vector_walk import uses_parameters

__all__ = ["LOADED", "LOADER_IDLE", "LOADING", "PARAMETER_FIELDS", "parameters_tick"]

LOADER_IDLE, LOADING, LOADED = 0, 1, 2
"""``loader``: no instruction; reads words; has a set, until a block has taken it (a table: until it is no longer used)."""

DEPTHWISE_OP, TABLE_OP = int(VectorOp.DEPTHWISE), int(VectorOp.TABLE)

PARAMETER_FIELDS = (
    "loader",
    "captured",  # the instruction that waits is known
    "available",  # a set is loaded and no block has begun to use it
    "set_words",
    "words_left",
    "blocks_left",
    "set_stride",
    "set_address",
    "word_address",
)


@jit
def parameters_tick(
    hw: Record, s: Record, word: int, free: int, consumed: int, instruction_valid: int, taken: int, program: Record
) -> int:
    """The edge at a cycle's end. ``word``: one is accepted; ``free``: the next set may be loaded; ``consumed``: a block's first
    step is made; ``taken``: the walker takes the instruction. Returns 1 where an instruction's first set is begun."""
    begins = 0
    if consumed:
        s.available = 0
    if s.loader == LOADING:
        if word:
            s.words_left -= 1
            s.word_address = (s.word_address + 1) & (hw.scratchpad_words - 1)
            if s.words_left == 0:
                s.loader = LOADED
                s.available = 1
    elif s.loader == LOADED:
        if free:
            s.loader = LOADER_IDLE
            if s.blocks_left and s.set_stride:
                s.blocks_left -= 1
                _begin_set(hw, s, s.set_address + s.set_stride)
    elif instruction_valid and s.captured == 0 and uses_parameters(program[s.next].op):
        begins = 1
        _begin_instruction(hw, s, program[s.next])
    if taken:
        s.captured = 0
    elif begins:
        s.captured = 1
    return begins


@jit
def _begin_instruction(hw: Record, s: Record, i: Record) -> None:
    s.set_words = hw.table_words if i.op == TABLE_OP else hw.vector_record_words
    if i.op == DEPTHWISE_OP:
        s.set_words += i.count_ky * i.count_kx
    s.blocks_left = i.count_n - 1
    s.set_stride = i.param_stride_n
    _begin_set(hw, s, i.param_address)


@jit
def _begin_set(hw: Record, s: Record, address: int) -> None:
    s.loader = LOADING
    s.words_left = s.set_words
    s.set_address = s.word_address = address & (hw.scratchpad_words - 1)
