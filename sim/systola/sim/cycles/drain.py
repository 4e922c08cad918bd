"""The drain engine: blocks, records, residuals, pixels and writes, as ``systola.hw.drain`` has them.

A pixel under way is a time: the cycle in which its codes can be written, a fixed delay after its accumulator was read. So
is a residual's: the cycle in which stage B takes it. The pipeline between has nothing to do.
"""

from __future__ import annotations

from typing import Any

from systola.hw.latencies import (
    ACCUMULATOR_READ_LATENCY_CYCLES,
    BUFFERED_FIFO_LATENCY_CYCLES,
    DRAIN_OUTPUT_WORDS,
    DRAIN_RECORD_LEAD_CYCLES,
    POST_LATENCY_CYCLES,
    RESIDUAL_WORDS,
    STAGE_A_LATENCY_CYCLES,
)
from systola.hw.registers import CycleClass
from systola.sim.cycles.jit import jit, jit_inlined
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["DRAIN_STATE", "drain_offer", "drain_tick"]

IDLE, BUSY, BANK = int(CycleClass.IDLE), int(CycleClass.BUSY), int(CycleClass.BANK)
SETUP, FLUSH = int(CycleClass.SETUP), int(CycleClass.FLUSH)

WRITE_DELAY_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES + POST_LATENCY_CYCLES + BUFFERED_FIFO_LATENCY_CYCLES
"""From a pixel's accumulator read to its first request to write, if no other is before it and it is requantized in one cycle."""

TAKE_DELAY_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES + STAGE_A_LATENCY_CYCLES
"""From a pixel's accumulator read to the cycle in which stage B takes its residual."""

OUTPUT_MASK = DRAIN_OUTPUT_WORDS - 1
RESIDUAL_MASK = RESIDUAL_WORDS - 1
assert DRAIN_OUTPUT_WORDS & OUTPUT_MASK == 0
assert RESIDUAL_WORDS & RESIDUAL_MASK == 0

DRAIN_STATE = state_dtype(
    "next",  # number of the instruction to come
    # The instruction in hand
    "count_x",
    "count_y",
    "dst_stride_x",
    "dst_stride_y",
    "dst_stride_n",
    "acc_stride_n",
    "b_stride_y",
    "b_stride_n",
    # Its next block, and the block's records
    "present",
    "ready",  # an instruction may be taken in this cycle
    "started",  # it lingers until its swap
    "leave_at",
    "loaded_at",  # the first cycle in which its records are near enough to start
    "records_left",
    "record_address",
    "block_acc_address",
    "block_dst_address",
    "block_b_address",
    "block_group",
    "block_operand",
    "blocks_left",  # of the instruction, this one included
    "begun",  # its residuals are being walked
    # The pixels of the block that is drained
    "active",
    "operand",
    "last_block",
    "x_left",
    "y_left",
    "row_x_left",
    "stride_x",
    "stride_y",
    "row_address",
    "address",
    "acc_word",
    "pace_until",  # the next pixel may be read in that cycle
    # The residuals' walk
    "residual_active",
    "residual_x_left",
    "residual_y_left",
    "residual_row_x_left",
    "residual_stride_y",
    "residual_row_address",
    "residual_address",
    "residual_room",
    "residual_refused",
    "ahead",  # residuals read, for which no pixel was
    "held",  # residuals read and not taken
    "takes",
    "first_take",
    # Pixels under way
    "room",
    "outstanding",
    "first",
    "retiring",
    # Outputs of a cycle
    "acc_valid",
    "acc_address",
    "acc_served",
    "read_valid",
    "read_address",
    "residual_turn",  # the read is a residual's
    "write_valid",
    "write_address",
    "taken",
    "retire",
    "cycle_class",
    "wake",
    # Events
    "drain_reads",
    "drain_writes",
    "acc_reads",
    take_at=RESIDUAL_WORDS,
    write_at=DRAIN_OUTPUT_WORDS,
    destination=DRAIN_OUTPUT_WORDS,  # twice the word's address, and 1 for an instruction's last
)
"""All zero after reset."""


@jit
def drain_offer(hw: Record, s: Record, now: int, acc_half_read: int) -> None:
    """The requests of this cycle. ``acc_half_read``: the accumulator half that the array reads in this cycle, −1 for none.

    ``acc_served``: the accumulator read is accepted.
    """
    s.acc_valid = s.active & s.room & ((s.ahead > 0) | (1 - s.operand)) & (s.pace_until <= now)
    s.acc_address = s.acc_word
    half = 1 if s.acc_word >= hw.accumulator_half_words else 0
    s.acc_served = s.acc_valid & (half != acc_half_read)
    s.read_valid = 0
    s.residual_turn = 0
    if s.residual_active | s.records_left:
        residual = s.residual_active & s.residual_room
        records = 1 if s.records_left > 0 else 0
        s.residual_turn = residual & (s.residual_refused | (1 - records))
        s.read_valid = residual | records
        address = s.residual_address if s.residual_turn else s.record_address
        s.read_address = address & (hw.scratchpad_words - 1)
    first = s.first & OUTPUT_MASK
    s.write_valid = 0
    if s.outstanding and s.write_at[first] <= now:
        s.write_valid = 1
        s.write_address = s.destination[first] >> 1


@jit
def drain_tick(
    hw: Record, s: Record, now: int, instruction_valid: int, program: Any, read_ready: int, write_ready: int
) -> None:
    """The rest of the cycle and the edge at its end, after ``drain_offer``. ``read_ready``, ``write_ready``: a request of
    this cycle is accepted. Sets ``taken``, ``retire`` and ``cycle_class`` of this cycle, and ``wake``."""
    _move(hw, s, now, read_ready, write_ready)
    s.taken = s.ready & instruction_valid
    if s.taken:
        _take(hw, s, now, program[s.next])


@jit_inlined
def _move(hw: Record, s: Record, now: int, read_ready: int, write_ready: int) -> None:
    """All but the instruction that may be taken."""
    advance = s.acc_served
    accepted = s.read_valid & read_ready
    written = s.write_valid & write_ready
    residual_read = accepted & s.residual_turn
    waiting = s.present & (1 - s.started)
    quiet = (s.acc_valid | s.read_valid | s.write_valid | s.retiring | waiting) == 0
    s.cycle_class = _class(s, advance | (now < s.pace_until), (s.acc_valid - advance) | (s.read_valid - accepted), waiting)
    s.retire = s.retiring
    start = 0
    load = 0
    if waiting:
        start = (s.begun | (1 - s.block_operand)) & (s.loaded_at <= now) & ((1 - s.active) | advance & _ends(s.x_left, s.y_left))
        load = s.block_operand & (1 - s.begun)
        load &= (1 - s.residual_active) | residual_read & _ends(s.residual_x_left, s.residual_y_left)
    s.room = (s.outstanding < DRAIN_OUTPUT_WORDS - 1) | s.room & (1 - advance)
    _write(s, written)
    if advance:
        _pixel(hw, s, now)
    if s.read_valid:
        _read(s, now, accepted, residual_read)
    if s.residual_active | load:
        _residual(s, now, residual_read)
    if start:
        _start(hw, s, now)
    elif load:
        _load(s)
    s.ready = 1 - s.present
    s.wake = now + 1
    if s.started:
        _leave(hw, s, now)
    if quiet and (s.active | s.residual_active | s.records_left) == 0:
        s.wake = s.leave_at if s.started else NEVER
        if s.outstanding:
            s.wake = min(s.wake, s.write_at[s.first])
        if s.pace_until > now:
            s.wake = min(s.wake, s.pace_until)


@jit_inlined
def _class(s: Record, busy: int, refused: int, waiting: int) -> int:
    if busy:
        return BUSY
    if s.active | waiting:
        return BANK if refused | s.active & (1 - s.room) else SETUP
    return FLUSH if s.outstanding | s.retiring else IDLE


@jit
def _ends(x_left: int, y_left: int) -> int:
    return 1 if x_left + y_left == 0 else 0


@jit_inlined
def _write(s: Record, written: int) -> None:
    """The oldest pixel is written, and the instruction ends if it was its last."""
    s.retiring = 0
    if written:
        s.drain_writes += 1
        s.retiring = s.destination[s.first] & 1
        s.first = (s.first + 1) & OUTPUT_MASK
        s.outstanding -= 1


@jit_inlined
def _pixel(hw: Record, s: Record, now: int) -> None:
    """A pixel's accumulator is read: it is under way, and the walk goes on."""
    s.acc_reads += 1
    place = (s.first + s.outstanding) & OUTPUT_MASK
    s.write_at[place] = now + WRITE_DELAY_CYCLES + hw.drain_word_cycles - 1
    s.pace_until = now + hw.drain_word_cycles
    s.destination[place] = (s.address & (hw.scratchpad_words - 1)) << 1
    s.outstanding += 1
    if s.operand:
        s.ahead -= 1
        s.take_at[(s.first_take + s.takes) & RESIDUAL_MASK] = now + TAKE_DELAY_CYCLES
        s.takes += 1
    s.acc_word = (s.acc_word + 1) & (2 * hw.accumulator_half_words - 1)
    if s.x_left:
        s.x_left -= 1
        s.address += s.stride_x
    elif s.y_left:
        s.y_left -= 1
        s.x_left = s.row_x_left
        s.row_address += s.stride_y
        s.address = s.row_address
    else:
        s.active = 0
        s.destination[place] |= s.last_block


@jit_inlined
def _read(s: Record, now: int, accepted: int, residual: int) -> None:
    """A word of records was requested, or a residual, and perhaps accepted."""
    s.drain_reads += accepted
    s.residual_refused = s.residual_turn & (1 - accepted)
    if accepted & (1 - residual):
        s.record_address += 1
        s.records_left -= 1
        if s.records_left == 0:
            s.loaded_at = now + DRAIN_RECORD_LEAD_CYCLES


@jit_inlined
def _residual(s: Record, now: int, read: int) -> None:
    """The count of residuals held, those taken before this cycle apart; the walk goes on where one was read.

    While nothing is walked the count is not needed, and nothing is read: then takes are only noted.
    """
    while s.takes and s.take_at[s.first_take] < now:
        s.held -= 1
        s.takes -= 1
        s.first_take = (s.first_take + 1) & RESIDUAL_MASK
    s.residual_room = (s.held < RESIDUAL_WORDS - 1) | s.residual_room & (1 - read)
    if read:
        s.held += 1
        s.ahead += 1
        if s.residual_x_left:
            s.residual_x_left -= 1
            s.residual_address += 1
        elif s.residual_y_left:
            s.residual_y_left -= 1
            s.residual_x_left = s.residual_row_x_left
            s.residual_row_address += s.residual_stride_y
            s.residual_address = s.residual_row_address
        else:
            s.residual_active = 0


@jit
def _load(s: Record) -> None:
    """The residuals of the block in hand are walked from the next cycle on."""
    s.begun = 1
    s.residual_active = 1
    s.residual_x_left = s.residual_row_x_left = s.count_x - 1
    s.residual_y_left = s.count_y - 1
    s.residual_stride_y = s.b_stride_y
    s.residual_address = s.residual_row_address = s.block_b_address


@jit
def _start(hw: Record, s: Record, now: int) -> None:
    """The pixels of the block in hand are walked from the next cycle on; it leaves when it was swapped in, or a little later."""
    s.started = 1
    s.leave_at = now + hw.drain_leave_cycles
    s.pace_until = now + hw.drain_word_cycles
    s.begun = 0
    s.active = 1
    s.operand = s.block_operand
    s.last_block = 1 if s.blocks_left == 1 else 0
    s.x_left = s.row_x_left = s.count_x - 1
    s.y_left = s.count_y - 1
    s.stride_x = s.dst_stride_x
    s.stride_y = s.dst_stride_y
    s.address = s.row_address = s.block_dst_address
    s.acc_word = s.block_acc_address & (2 * hw.accumulator_half_words - 1)


@jit
def _leave(hw: Record, s: Record, now: int) -> None:
    """The block that has started leaves in time: the next of its instruction is in hand, or an instruction may be taken."""
    if now < s.leave_at:
        return
    s.started = 0
    s.blocks_left -= 1
    if s.blocks_left == 0:
        s.present = 0
        s.ready = 1
        return
    s.block_acc_address += s.acc_stride_n
    s.block_group += 1
    if s.block_group == hw.column_groups:
        s.block_group = 0
        s.block_dst_address += s.dst_stride_n
        s.block_b_address += s.b_stride_n
    _fetch(hw, s)


@jit
def _take(hw: Record, s: Record, now: int, instruction: Record) -> None:
    """The first block of an instruction is in hand."""
    s.next += 1
    s.present = 1
    s.blocks_left = instruction.count_n
    s.count_x, s.count_y = instruction.count_x, instruction.count_y
    s.dst_stride_x, s.dst_stride_y, s.dst_stride_n = instruction.dst_stride_x, instruction.dst_stride_y, instruction.dst_stride_n
    s.acc_stride_n, s.b_stride_y, s.b_stride_n = instruction.acc_stride_n, instruction.b_stride_y, instruction.b_stride_n
    s.block_acc_address = instruction.acc_address
    s.block_dst_address = instruction.dst_address
    s.block_b_address = instruction.b_address
    s.block_group = instruction.group
    s.block_operand = instruction.stage_b & instruction.operand
    s.record_address = instruction.param_address
    _fetch(hw, s)
    s.wake = now + 1


@jit
def _fetch(hw: Record, s: Record) -> None:
    """The records of the block in hand are read from the next cycle on."""
    s.records_left = hw.drain_record_words
    s.loaded_at = NEVER
