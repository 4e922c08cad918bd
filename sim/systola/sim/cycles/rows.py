"""From LOAD and STORE instructions to their rows, one a cycle: the model of the RTL's RowWalker and its Skid.

The row offered in a cycle is ``valid``, ``address`` (bytes of DRAM), ``sp_address``, ``words_minus_one`` and ``last`` of the
instruction. The DRAM base is 0.
"""

from __future__ import annotations

from typing import Any

from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record, state_dtype

__all__ = ["WALKER_STATE", "walker_ready", "walker_tick"]

DRAM_MASK = (1 << 32) - 1
"""DRAM offsets are taken modulo 2**32."""

WALKER_STATE = state_dtype(
    # The row offered
    "valid",
    "address",
    "sp_address",
    "words_minus_one",
    "last",
    # The row behind it, where it was blocked
    "waiting",
    "waiting_address",
    "waiting_sp_address",
    "waiting_words_minus_one",
    "waiting_last",
    # The loop nest: the next row, the first of its plane, what is left
    "active",
    "dram",
    "dram_plane",
    "dram_stride_y",
    "dram_stride_z",
    "sp",
    "sp_plane",
    "sp_stride_y",
    "sp_stride_z",
    "count_y",
    "left_y",
    "left_z",
    "words",
)


@jit
def walker_ready(w: Record) -> int:
    """1 if an instruction can be taken: none is in hand, or its last row goes to the register stage in this cycle."""
    return 1 if w.active == 0 or (w.left_y == 0 and w.left_z == 0 and w.waiting == 0) else 0


@jit
def walker_tick(hw: Record, w: Record, take: int, program: Any, index: int, row_ready: int) -> None:
    """End of a cycle. ``take``: ``program[index]`` is taken (then ``walker_ready`` is 1); ``row_ready``: the row leaves."""
    step = w.active != 0 and w.waiting == 0
    _pass_row(w, step, row_ready)
    if take:
        _begin(hw, w, program[index])
    elif step:
        _next_row(hw, w)


@jit
def _pass_row(w: Record, step: bool, row_ready: int) -> None:
    """The register stage, two places deep."""
    if w.valid == 0 or row_ready != 0:
        if w.waiting:
            w.valid, w.waiting = 1, 0
            w.address, w.sp_address = w.waiting_address, w.waiting_sp_address
            w.words_minus_one, w.last = w.waiting_words_minus_one, w.waiting_last
        elif step:
            w.valid = 1
            w.address, w.sp_address, w.words_minus_one = w.dram, w.sp, w.words
            w.last = 1 if w.left_y == 0 and w.left_z == 0 else 0
        else:
            w.valid = 0
    elif step:
        w.waiting = 1
        w.waiting_address, w.waiting_sp_address, w.waiting_words_minus_one = w.dram, w.sp, w.words
        w.waiting_last = 1 if w.left_y == 0 and w.left_z == 0 else 0


@jit
def _begin(hw: Record, w: Record, i: Record) -> None:
    """The first row of an instruction."""
    w.active = 1
    w.count_y = w.left_y = i.count_y - 1
    w.left_z = i.count_z - 1
    w.words = i.count_x - 1
    w.dram = w.dram_plane = i.dram_address
    w.sp = w.sp_plane = i.sp_address & (hw.scratchpad_words - 1)
    w.dram_stride_y, w.dram_stride_z = i.dram_stride_y, i.dram_stride_z
    w.sp_stride_y, w.sp_stride_z = i.sp_stride_y, i.sp_stride_z


@jit
def _next_row(hw: Record, w: Record) -> None:
    """The next row of the plane, the first of the next plane, or none."""
    if w.left_y:
        w.left_y -= 1
        w.dram = (w.dram + w.dram_stride_y) & DRAM_MASK
        w.sp = (w.sp + w.sp_stride_y) & (hw.scratchpad_words - 1)
    elif w.left_z:
        w.left_z -= 1
        w.left_y = w.count_y
        w.dram = w.dram_plane = (w.dram_plane + w.dram_stride_z) & DRAM_MASK
        w.sp = w.sp_plane = (w.sp_plane + w.sp_stride_z) & (hw.scratchpad_words - 1)
    else:
        w.active = 0
