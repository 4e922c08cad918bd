"""From a vector instruction to its steps, as ``systola.hw.vector.walk`` makes them: loop nests, padding, column masks.

A step is three numbers: ``step_flags``, the word to read (``step_address``), the word of its output (``step_destination``).
"""

from __future__ import annotations

from systola.hw.isa import VectorOp
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = [
    "BEGIN", "EMIT", "FINAL", "PARAMETERS", "READ", "RELEASE", "SWAP", "TABLE", "WALK_FIELDS",
    "uses_parameters", "walk_step", "walk_take",
]  # fmt: skip

READ = 1  # its word is read
EMIT = 2  # it completes an output
BEGIN = 4  # first of an instruction
SWAP = 8  # first that uses newly loaded records, or of an instruction
PARAMETERS = 16  # first of a new set of parameters
TABLE = 32  # its word is looked up
RELEASE = 64  # the last of a table
FINAL = 128  # its output is the instruction's last

POSITION_MASK = (1 << 18) - 1
"""Columns and rows of the input tile wrap there, negative ones beyond every limit."""

PARAMETER_OPS = 1 << VectorOp.DEPTHWISE | 1 << VectorOp.SUM | 1 << VectorOp.MUL | 1 << VectorOp.TABLE
TABLE_OP = int(VectorOp.TABLE)

WALK_FIELDS = (
    "active",  # there are steps to make
    # The instruction, as taken
    "column_mode", "operand", "limit_x", "limit_y", "table", "keeps_parameters", "per_block",
    # Input nest: counts less one, the same of the steps to come, strides, places where the inner levels begin
    "y_more", "x_more", "k1_more", "k0_more", "n_left", "y_left", "x_left", "k1_left", "k0_left",
    "address_by_n", "address_by_y", "address_by_x", "address_by_k1", "address_by_k0",
    "column_by_x", "column_by_k0", "row_by_y", "row_by_k1", "row_by_k0",
    "address_n", "address_y", "address_x", "address_k1", "address",
    "column_start", "column_x", "column", "row_start", "row_y", "row_k1", "row",
    # Output nest, likewise: results and second operands
    "out_x_more", "out_n_left", "out_y_left", "out_x_left",
    "result_by_n", "result_by_y", "result_by_x", "result_n", "result_y", "result",
    "other_by_n", "other_by_y", "other_by_x", "other_n", "other_y", "other",
    # Column mask
    "mask", "mask_start", "mask_wrap", "phase", "outputs", "unbegun",
    # Next step
    "second",  # it is for the second operand
    "first_flags",  # BEGIN, SWAP, PARAMETERS
    # The step made in this cycle
    "step_flags", "step_address", "step_destination",
)  # fmt: skip


@jit
def uses_parameters(op: int) -> int:
    """1 where the operation loads records, weights or a table."""
    return PARAMETER_OPS >> op & 1


@jit
def walk_take(hw: Record, s: Record, i: Record) -> None:
    """The registers after the edge at which instruction ``i`` is taken."""
    s.active = 1
    s.column_mode, s.operand = i.column_mode, i.operand
    s.limit_x, s.limit_y = i.limit_x, i.limit_y
    s.table = TABLE if i.op == TABLE_OP else 0
    s.keeps_parameters = uses_parameters(i.op)
    s.per_block = 1 if i.param_stride_n != 0 else 0
    s.first_flags = BEGIN | SWAP | (PARAMETERS if s.keeps_parameters else 0)
    _load_inputs(s, i)
    _load_outputs(s, i)
    slots = max(hw.taps, 1)
    s.mask_start = 1 << slots - 1
    if i.column_mode:
        s.mask_start = 1 << slots - i.count_kx if i.count_kx <= slots else 0
    s.mask = s.mask_start
    s.outputs = s.unbegun = i.count_x - 1
    s.mask_wrap = i.step_x - 1
    s.phase = 0


@jit
def _load_inputs(s: Record, i: Record) -> None:
    """Column mode walks input columns where plain mode walks outputs, and kernel rows alone inside."""
    s.n_left = i.count_n - 1
    s.y_left = s.y_more = i.count_y - 1
    s.address_by_n, s.address_by_y, s.address_by_k1 = i.a_stride_n, i.a_stride_y, i.a_stride_ky
    s.row_by_y, s.row_by_k1 = i.step_y, i.dilation_y
    if i.column_mode:
        columns = ((i.count_x - 1) * i.step_x + i.count_kx) & POSITION_MASK
        s.x_more, s.k1_more, s.k0_more = columns - 1, 0, i.count_ky - 1
        s.address_by_x, s.address_by_k0 = i.a_stride_kx, i.a_stride_ky
        s.column_by_x, s.column_by_k0, s.row_by_k0 = 1, 0, i.dilation_y
    else:
        s.x_more, s.k1_more, s.k0_more = i.count_x - 1, i.count_ky - 1, i.count_kx - 1
        s.address_by_x, s.address_by_k0 = i.a_stride_x, i.a_stride_kx
        s.column_by_x, s.column_by_k0, s.row_by_k0 = i.step_x, i.dilation_x, 0
    s.x_left, s.k1_left, s.k0_left = s.x_more, s.k1_more, s.k0_more
    s.address_n = s.address_y = s.address_x = s.address_k1 = s.address = i.a_address
    s.column_start = s.column_x = s.column = i.origin_x
    s.row_start = s.row_y = s.row_k1 = s.row = i.origin_y


@jit
def _load_outputs(s: Record, i: Record) -> None:
    s.out_n_left, s.out_y_left = i.count_n - 1, i.count_y - 1
    s.out_x_left = s.out_x_more = i.count_x - 1
    s.result_by_n, s.result_by_y, s.result_by_x = i.dst_stride_n, i.dst_stride_y, i.dst_stride_x
    s.result_n = s.result_y = s.result = i.dst_address
    s.other_by_n, s.other_by_y, s.other_by_x = i.b_stride_n, i.b_stride_y, i.b_stride_x
    s.other_n = s.other_y = s.other = i.b_address


@jit
def walk_step(hw: Record, s: Record) -> None:
    """Makes the step at hand and moves on to the next, if its instruction has one."""
    word_mask = hw.scratchpad_words - 1
    flags = s.first_flags | s.table
    s.step_destination = s.result & word_mask
    if s.second:
        flags |= READ
        s.step_address = s.other & word_mask
    else:
        s.step_address = s.address & word_mask
        if s.mask and s.column & POSITION_MASK < s.limit_x and s.row & POSITION_MASK < s.limit_y:
            flags |= READ
    if s.k0_left:
        s.step_flags = flags
        s.first_flags = 0
        s.k0_left -= 1
        s.address += s.address_by_k0
        s.column += s.column_by_k0
        s.row += s.row_by_k0
    elif s.k1_left:
        s.step_flags = flags
        s.first_flags = 0
        _next_kernel_row(s)
    else:
        _end_window(hw, s, flags)


@jit
def _next_kernel_row(s: Record) -> None:
    s.k1_left -= 1
    s.k0_left = s.k0_more
    s.address_k1 += s.address_by_k1
    s.row_k1 += s.row_by_k1
    s.address, s.column, s.row = s.address_k1, s.column_x, s.row_k1


@jit
def _end_window(hw: Record, s: Record, flags: int) -> None:
    """The last step of a window, or the one for its second operand."""
    other_follows = s.operand & (1 - s.second)
    block_end = 1 if s.x_left == 0 and s.y_left == 0 else 0
    last = 1 if block_end and s.n_left == 0 else 0
    if s.table and block_end and (last or s.per_block) and other_follows == 0:
        flags |= RELEASE
    emit = s.mask >> max(hw.taps, 1) - 1 & 1 if s.column_mode else 1 - other_follows
    if emit:
        flags |= EMIT
        if s.out_x_left == 0 and s.out_y_left == 0 and s.out_n_left == 0:
            flags |= FINAL
        _next_output(s)
    s.step_flags = flags
    s.second = other_follows
    if other_follows:
        s.first_flags = 0
        return
    s.first_flags = SWAP | PARAMETERS if block_end and s.keeps_parameters and s.per_block else 0
    if s.column_mode:
        _next_mask(hw, s)
    _next_window(s)
    s.active = 1 - last


@jit
def _next_window(s: Record) -> None:
    """From the last position of a window to the first of the next; after the last it does not matter."""
    s.k0_left, s.k1_left = s.k0_more, s.k1_more
    if s.x_left:
        s.x_left -= 1
        s.address_x += s.address_by_x
        s.column_x += s.column_by_x
    else:
        s.x_left = s.x_more
        s.column_x = s.column_start
        if s.y_left:
            s.y_left -= 1
            s.address_y += s.address_by_y
            s.row_y += s.row_by_y
        else:
            s.y_left = s.y_more
            s.n_left -= 1
            s.address_n += s.address_by_n
            s.address_y = s.address_n
            s.row_y = s.row_start
        s.address_x = s.address_y
    s.address = s.address_k1 = s.address_x
    s.column = s.column_x
    s.row = s.row_k1 = s.row_y


@jit
def _next_output(s: Record) -> None:
    if s.out_x_left:
        s.out_x_left -= 1
        s.result += s.result_by_x
        s.other += s.other_by_x
        return
    s.out_x_left = s.out_x_more
    if s.out_y_left:
        s.out_y_left -= 1
        s.result_y += s.result_by_y
        s.other_y += s.other_by_y
    else:
        s.out_y_left = s.y_more
        s.out_n_left -= 1
        s.result_n += s.result_by_n
        s.other_n += s.other_by_n
        s.result_y, s.other_y = s.result_n, s.other_n
    s.result, s.other = s.result_y, s.other_y


@jit
def _next_mask(hw: Record, s: Record) -> None:
    """The partial sums that the next input column adds to."""
    if s.x_left == 0:
        s.mask, s.phase, s.unbegun = s.mask_start, 0, s.outputs
        return
    mask = s.mask << 1
    if s.phase == s.mask_wrap:
        s.phase = 0
        if s.unbegun:
            s.unbegun -= 1
            mask |= s.mask_start
    else:
        s.phase += 1
    s.mask = mask & (1 << max(hw.taps, 1)) - 1
