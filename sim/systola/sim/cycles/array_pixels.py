"""The pixel stream of the array engine: ``systola.hw.array.pixels`` and its loop nest, as far as timing sees them.

The nest stands at a pixel; the register *at hand* holds the one before it in order, which is the next to be issued. Numbers that
the nest carries are kept for each level that others return to, as the RTL's tracks do.
"""

from __future__ import annotations

from typing import Any

from systola.sim.cycles.array_sums import OVERWRITES, READS_HALF
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = ["PIXEL_FIELDS", "POSITION_MASK", "load_held", "pass_pixels", "walk", "walk_on"]

POSITION_MASK = (1 << 18) - 1
"""Positions are 18 bits wide, as POSITION_BITS of the RTL; a negative one is beyond every limit."""

PIXEL_FIELDS = (
    # The held instruction
    "holding",
    "held",  # its index
    # The pixel at hand
    "pixel_valid",
    "act_address",
    "pixel_padding",
    "pixel_swap",
    "pixel_kind",
    "pixel_last",
    # The nest: 1 while it walks, and where it stands
    "walking",
    "passes_left",  # after the one that it is in
    "kx_left",
    "ky_left",
    "kb_left",
    "y_left",
    "x_left",
    "pass_begins",  # at the first pixel of a pass
    "overwrite",  # in the first pass of a block of output channels, unless it accumulates
    "group",
    "offset",
    "acc_word",
    "acc_block",
    "address",
    "address_y",
    "address_kx",
    "address_ky",
    "iy",
    "iy_ky",
    "ix",
    "ix_kx",
    # The walked instruction
    "x_last",
    "y_last",
    "kb_last",
    "kx_last",
    "ky_last",
    "act_base",
    "stride_x",
    "stride_y",
    "stride_kx",
    "stride_ky",
    "stride_kb",
    "origin_y",
    "origin_x",
    "step_y",
    "step_x",
    "dilation_y",
    "dilation_x",
    "limit_y",
    "limit_x",
    "accumulate",
)


@jit
def _load_nest(hw: Record, s: Record, fields: Record) -> None:
    """The nest stands at the first pixel of the instruction ``fields`` from the next cycle on."""
    s.x_last, s.y_last, s.kb_last = fields.count_x - 1, fields.count_y - 1, fields.count_kb - 1
    s.kx_last, s.ky_last = fields.count_kx - 1, fields.count_ky - 1
    s.act_base = fields.act_address & (hw.scratchpad_words - 1)
    s.stride_x, s.stride_y = fields.stride_x, fields.stride_y
    s.stride_kx, s.stride_ky, s.stride_kb = fields.stride_kx, fields.stride_ky, fields.stride_kb
    s.origin_y, s.origin_x = fields.origin_y & POSITION_MASK, fields.origin_x & POSITION_MASK
    s.step_y, s.step_x = fields.step_y, fields.step_x
    s.dilation_y, s.dilation_x = fields.dilation_y, fields.dilation_x
    s.limit_y, s.limit_x, s.accumulate = fields.limit_y, fields.limit_x, fields.accumulate
    s.acc_word = s.acc_block = fields.acc_address & (hw.accumulator_words - 1)
    s.passes_left = fields.count_n * fields.count_ky * fields.count_kx * fields.count_kb - 1
    s.kb_left, s.kx_left, s.ky_left = s.kb_last, s.kx_last, s.ky_last
    s.overwrite = 1 - s.accumulate
    s.offset = s.group = 0
    s.walking = 1
    _begin_block(s)
    _begin_pass(s)


@jit
def _begin_block(s: Record) -> None:
    """Back to the first kernel position, for a block of output channels."""
    s.address_ky = s.address_kx = s.act_base
    s.iy_ky, s.ix_kx = s.origin_y, s.origin_x


@jit
def _begin_pass(s: Record) -> None:
    """To the first pixel of a pass."""
    s.x_left, s.y_left = s.x_last, s.y_last
    s.address = s.address_y = s.address_kx
    s.iy, s.ix = s.iy_ky, s.ix_kx
    s.pass_begins = 1


@jit
def _next_kernel_position(hw: Record, s: Record) -> None:
    """After the last block of input channels of a kernel position."""
    words = hw.scratchpad_words - 1
    if s.kx_left:
        s.kx_left -= 1
        s.address_kx = (s.address_kx + s.stride_kx) & words
        s.ix_kx = (s.ix_kx + s.dilation_x) & POSITION_MASK
        return
    s.kx_left = s.kx_last
    s.ix_kx = s.origin_x
    if s.ky_left:
        s.ky_left -= 1
        s.address_kx = s.address_ky = (s.address_ky + s.stride_ky) & words
        s.iy_ky = (s.iy_ky + s.dilation_y) & POSITION_MASK
        return
    s.ky_left = s.ky_last
    s.overwrite = 1 - s.accumulate
    s.acc_block = s.acc_word
    _begin_block(s)


@jit
def _next_pass(hw: Record, s: Record) -> None:
    """From the last pixel of a pass; ``acc_word`` is already one further."""
    s.passes_left -= 1
    s.overwrite = 0
    if s.kb_left:
        s.kb_left -= 1
        s.group += 1
        if s.group == hw.row_groups:
            s.group = 0
            s.offset = (s.offset + s.stride_kb) & (hw.scratchpad_words - 1)
    else:
        s.kb_left = s.kb_last
        s.group = s.offset = 0
        _next_kernel_position(hw, s)
    s.acc_word = s.acc_block
    _begin_pass(s)


@jit
def _step_row(hw: Record, s: Record) -> None:
    """From the last pixel of a row to the next pixel, or to the nest's end; ``acc_word`` is already one further."""
    if s.y_left:
        s.y_left -= 1
        s.x_left = s.x_last
        s.address = s.address_y = (s.address_y + s.stride_y) & (hw.scratchpad_words - 1)
        s.iy = (s.iy + s.step_y) & POSITION_MASK
        s.ix = s.ix_kx
    elif s.passes_left:
        _next_pass(hw, s)
    else:
        s.walking = 0


@jit
def _take_pixel(hw: Record, s: Record) -> None:
    """The pixel that the nest stands at is the one at hand from the next cycle on."""
    half = s.acc_word >= hw.accumulator_half_words
    s.act_address = (s.address + s.offset) & (hw.scratchpad_words - 1)
    s.pixel_padding = (s.iy >= s.limit_y) | (s.ix >= s.limit_x)
    s.pixel_swap = s.pass_begins
    s.pixel_kind = OVERWRITES if s.overwrite else READS_HALF + half
    s.pixel_last = (s.x_left == 0) & (s.y_left == 0) & (s.passes_left == 0)
    s.pixel_valid = 1


@jit
def _step_nest(hw: Record, s: Record) -> None:
    """To the next pixel, or to the nest's end."""
    s.pass_begins = 0
    s.acc_word = (s.acc_word + 1) & (hw.accumulator_words - 1)
    if s.x_left:
        s.x_left -= 1
        s.address = (s.address + s.stride_x) & (hw.scratchpad_words - 1)
        s.ix = (s.ix + s.step_x) & POSITION_MASK
    else:
        _step_row(hw, s)


@jit
def walk(hw: Record, s: Record) -> None:
    """The pixel that the walking nest stands at is at hand from the next cycle on; the nest goes on."""
    _take_pixel(hw, s)
    _step_nest(hw, s)


@jit
def load_held(hw: Record, s: Record, program: Any) -> None:
    """The nest begins the held instruction."""
    _load_nest(hw, s, program[s.held])
    s.holding = 0


@jit
def pass_pixels(s: Record) -> int:
    """Pixels of the pass from the nest's on."""
    pixels: int = s.y_left * (s.x_last + 1) + s.x_left + 1
    return pixels


@jit
def _paddings(s: Record, ix: int, pixels: int) -> int:
    """How many of as many columns from ``ix`` on, ``step_x`` apart, are beyond the limit."""
    last = ix + (pixels - 1) * s.step_x
    if ix < s.limit_x and last < s.limit_x:
        return 0
    padding = 0
    for _ in range(pixels):
        padding += ix >= s.limit_x
        ix = (ix + s.step_x) & POSITION_MASK
    return padding


@jit
def walk_on(hw: Record, s: Record, pixels: int) -> int:
    """``walk`` for ``pixels`` cycles, within a pass. Returns how many of the first ``pixels`` − 1 pixels are padding: those that
    are issued, one in each cycle after the first.
    """
    steps, padding, row = pixels - 1, 0, -1
    if steps:
        s.pass_begins = 0
    s.acc_word = (s.acc_word + steps) & (hw.accumulator_words - 1)
    while steps > s.x_left:
        width = s.x_left + 1
        if s.iy >= s.limit_y:
            padding += width
        elif s.x_left != s.x_last:
            padding += _paddings(s, s.ix, width)
        else:
            row = _paddings(s, s.ix, width) if row < 0 else row  # that of every whole row of a pass
            padding += row
        steps -= width
        _step_row(hw, s)
    if s.iy >= s.limit_y:
        padding += steps
    elif steps:
        padding += _paddings(s, s.ix, steps)
    s.x_left -= steps
    s.address = (s.address + steps * s.stride_x) & (hw.scratchpad_words - 1)
    s.ix = (s.ix + steps * s.step_x) & POSITION_MASK
    walk(hw, s)
    return padding
