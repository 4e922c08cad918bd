"""The vector engine's records, weights and tables, as ``systola.hw.vector.parameters`` fetches them.

Words of a set follow each other without a gap, so that what they are does not matter, only how many there are.
"""

from __future__ import annotations

from systola.hw.isa import VectorOp
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = ["LOADED", "LOADER_IDLE", "LOADING", "PARAMETER_FIELDS", "parameters_begin", "parameters_free", "parameters_word"]

LOADER_IDLE, LOADING, LOADED = 0, 1, 2
"""``loader``: no instruction; reads words; has a set, until a block has taken it (a table: until it is no longer used)."""

DEPTHWISE_OP, TABLE_OP = int(VectorOp.DEPTHWISE), int(VectorOp.TABLE)

PARAMETER_FIELDS = (
    "loader",
    "wanted",  # the instruction that waits has parameters, and the loader has not begun with them
    "available",  # a set is loaded and no block has begun to use it
    "set_words",
    "words_left",
    "blocks_left",
    "set_stride",
    "set_address",
    "word_address",
)


@jit
def parameters_begin(hw: Record, s: Record, i: Record) -> None:
    """The first set of instruction ``i``, which waits."""
    s.wanted = 0
    s.set_words = hw.table_words if i.op == TABLE_OP else hw.vector_record_words
    if i.op == DEPTHWISE_OP:
        s.set_words += i.count_ky * i.count_kx
    s.blocks_left = i.count_n - 1
    s.set_stride = i.param_stride_n
    _begin_set(hw, s, i.param_address)


@jit
def parameters_word(hw: Record, s: Record) -> None:
    """A word is accepted."""
    s.words_left -= 1
    s.word_address = (s.word_address + 1) & (hw.scratchpad_words - 1)
    if s.words_left == 0:
        s.loader = LOADED
        s.available = 1


@jit
def parameters_free(hw: Record, s: Record) -> None:
    """The set that is loaded may be overwritten: the next block's follows, if the instruction has one of its own for it."""
    s.loader = LOADER_IDLE
    if s.blocks_left and s.set_stride:
        s.blocks_left -= 1
        _begin_set(hw, s, s.set_address + s.set_stride)


@jit
def _begin_set(hw: Record, s: Record, address: int) -> None:
    s.loader = LOADING
    s.words_left = s.set_words
    s.set_address = s.word_address = address & (hw.scratchpad_words - 1)
