"""The array engine: weight loader, pixel stream, and what follows of a pixel at the accumulators; without the sums.

An issued pixel's accumulator read is a fixed time ahead: it waits in a ring, a place for each cycle, as the cycle of its read
and what it does to its word. The activation port is always served.
"""

from __future__ import annotations

from typing import Any

from systola.hw.latencies import ACCUMULATE_CYCLES, accumulator_read_cycles
from systola.hw.registers import CycleClass
from systola.sim.cycles.array_pixels import PIXEL_FIELDS, READS_HALF, load_nest, step_nest, take_pixel
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["ARRAY_STATE", "ASKED_PLACES", "KIND_BITS", "array_offer", "array_tick", "read_delay"]

BUSY, WEIGHTS, SETUP = int(CycleClass.BUSY), int(CycleClass.WEIGHTS), int(CycleClass.SETUP)
FLUSH, IDLE = int(CycleClass.FLUSH), int(CycleClass.IDLE)

ASKED_PLACES = 256
"""Cycles that the ring covers: more than from a pixel's issue to the write of its sum, at most 130 + 4."""

RETIRING_PLACES = 64
"""More instructions than can be between their last pixel's issue and their end: last pixels are 4 cycles apart or more."""

KIND_BITS = 2
KIND_MASK = (1 << KIND_BITS) - 1

WRITE_CYCLES = ACCUMULATE_CYCLES - 1
"""From an accumulator read to the write of the sum."""

ARRAY_STATE = state_dtype(
    # Outputs of this cycle, beside act_address and weights_address, which are registers
    "act_valid",
    "weights_valid",
    "acc_half_read",
    "issue",
    "taken",
    "retire",
    "cycle_class",
    "wake",
    # Events
    "array_pixels",
    "array_padding",
    "weight_reads",
    "act_reads",
    "acc_reads",
    "acc_writes",
    "next",
    # Weight loader
    "tiles_left",  # to request, the one in progress too
    "word",  # of the tile in progress
    "weights_address",
    "tile_ready",
    *PIXEL_FIELDS,
    # Pixels on their way
    "flowing_until",  # the first cycle with none, as the class sees it; its retirement, if it was an instruction's last
    "retiring",  # instructions whose last pixel is on its way
    "retiring_first",  # place of the oldest
    asked=ASKED_PLACES,  # place (cycle mod places): cycle of an accumulator read << KIND_BITS | kind
    retire_cycles=RETIRING_PLACES,
    class_cycles=16,  # cycles that array_run ran, by class
)

read_delay = jit(accumulator_read_cycles)


@jit
def array_offer(hw: Record, s: Record, now: int) -> None:  # noqa: ARG001 - as of every unit
    """The requests of cycle ``now``, whether the pixel at hand is issued, and ``acc_half_read``: the half that is read, or −1."""
    begins = (s.pixel_swap == 0) | s.tile_ready
    s.issue = s.pixel_valid & begins
    s.act_valid = s.issue & (1 - s.pixel_padding)
    s.weights_valid = (s.tiles_left > 0) & ((1 - s.tile_ready) | (s.issue & s.pixel_swap))
    asked = s.asked[now & (ASKED_PLACES - 1)]
    reads = (asked >> KIND_BITS == now) & ((asked & KIND_MASK) >= READS_HALF)
    s.acc_half_read = (asked & KIND_MASK) - READS_HALF if reads else -1


@jit
def array_tick(
    hw: Record, s: Record, now: int, instruction_valid: int, program: Any, weights_ready: int, acc_served: int
) -> None:
    """Cycle ``now``, after its ``array_offer``, and the clock edge at its end.

    ``instruction_valid``: ``program[s.next]`` may be taken. ``weights_ready``: the weight request is accepted. ``acc_served``:
    the drain's accumulator read is accepted.
    """
    accepted = s.weights_valid & weights_ready
    tile_ends = accepted & (s.word == hw.weight_tile_words - 1)
    loader_ready = s.tiles_left == tile_ends  # none left, or the last one ends in this cycle
    walks = s.walking & ((1 - s.pixel_valid) | s.issue)
    s.taken = instruction_valid & loader_ready & (1 - s.holding)
    s.cycle_class = _class(s, now)
    s.array_pixels += s.issue
    s.array_padding += s.issue & s.pixel_padding
    s.act_reads += s.act_valid
    s.weight_reads += accepted
    _accumulate(s, now, acc_served)
    if s.issue:
        _send(s, now + read_delay(hw))
    _load_weights(hw, s, accepted, tile_ends)
    moves = _walk(hw, s, walks, program)
    if s.taken:
        _take(hw, s, program[s.next])
    moves = moves | s.issue | accepted | s.taken | acc_served | (now < s.flowing_until)
    s.wake = now + 1 if moves else NEVER


@jit
def _class(s: Record, now: int) -> int:
    if s.pixel_valid:
        return BUSY if s.issue else WEIGHTS
    if s.holding | s.walking:
        return SETUP
    return FLUSH if now < s.flowing_until else IDLE


@jit
def _accumulate(s: Record, now: int, acc_served: int) -> None:
    """Accumulator reads and writes of this cycle, and the end of an instruction."""
    s.acc_reads += (s.acc_half_read >= 0) + acc_served
    asked = s.asked[(now - WRITE_CYCLES) & (ASKED_PLACES - 1)]
    s.acc_writes += (asked >> KIND_BITS == now - WRITE_CYCLES) & ((asked & KIND_MASK) != 0)
    s.retire = (s.retiring > 0) & (s.retire_cycles[s.retiring_first] == now)
    if s.retire:
        s.retiring_first = (s.retiring_first + 1) & (RETIRING_PLACES - 1)
        s.retiring -= 1


@jit
def _send(s: Record, read_cycle: int) -> None:
    """The pixel at hand is issued: its accumulator word is read in cycle ``read_cycle``."""
    s.asked[read_cycle & (ASKED_PLACES - 1)] = read_cycle << KIND_BITS | s.pixel_kind
    s.flowing_until = read_cycle + ACCUMULATE_CYCLES
    if s.pixel_last:
        s.retire_cycles[(s.retiring_first + s.retiring) & (RETIRING_PLACES - 1)] = s.flowing_until
        s.retiring += 1


@jit
def _load_weights(hw: Record, s: Record, accepted: int, tile_ends: int) -> None:
    if accepted:
        s.weights_address = (s.weights_address + 1) & (hw.scratchpad_words - 1)
        s.word = 0 if tile_ends else s.word + 1
    if tile_ends:
        s.tile_ready = 1
        s.tiles_left -= 1
    elif s.issue & s.pixel_swap:
        s.tile_ready = 0


@jit
def _walk(hw: Record, s: Record, walks: int, program: Any) -> int:
    """Nest and pixel at hand; returns whether the nest moved."""
    if walks:
        take_pixel(hw, s)
        step_nest(hw, s)
    elif s.issue:
        s.pixel_valid = 0
    loads = s.holding & (1 - s.walking)
    if loads:
        load_nest(hw, s, program[s.held])
        s.holding = 0
    moved: int = walks | loads
    return moved


@jit
def _take(hw: Record, s: Record, fields: Record) -> None:
    """The instruction is held; its first weight word is requested from the next cycle on."""
    s.holding, s.held = 1, s.next
    s.next += 1
    s.tiles_left = fields.count_n * fields.count_ky * fields.count_kx * fields.count_kb
    s.weights_address = fields.weight_address & (hw.scratchpad_words - 1)
