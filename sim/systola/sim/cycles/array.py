"""The array engine: weight loader, pixel stream, and what follows of a pixel at the accumulators; without the sums.

The activation port is always served, as it is the first of every bank.
"""

from __future__ import annotations

from typing import Any

from systola.hw.latencies import accumulator_read_cycles
from systola.hw.registers import CycleClass
from systola.sim.cycles.array_pixels import PIXEL_FIELDS, load_held, pass_pixels, walk, walk_on
from systola.sim.cycles.array_sums import (
    OVERWRITES,
    READS_HALF,
    SUM_FIELDS,
    SUM_PARTS,
    accumulate,
    accumulate_cycles,
    expect_retirement,
    expect_sums,
    half_read,
)
from systola.sim.cycles.array_weights import WEIGHT_FIELDS, begin_tiles, load_beside_pass, load_words, weights_valid
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["ARRAY_STATE", "array_offer", "array_run", "array_tick"]

BUSY, WEIGHTS, SETUP = int(CycleClass.BUSY), int(CycleClass.WEIGHTS), int(CycleClass.SETUP)
FLUSH, IDLE = int(CycleClass.FLUSH), int(CycleClass.IDLE)

ARRAY_STATE = state_dtype(
    # Outputs of this cycle; more are in the parts, act_address and weights_address being registers
    "act_valid",
    "weights_valid",
    "issue",
    "taken",
    "cycle_class",
    "wake",
    # Events; more are in the parts
    "array_pixels",
    "array_padding",
    "act_reads",
    "next",
    *WEIGHT_FIELDS,
    *PIXEL_FIELDS,
    *SUM_FIELDS,
    **SUM_PARTS,
    class_cycles=16,  # cycles that array_run ran, by class
)

_read_delay = jit(accumulator_read_cycles)


@jit
def array_offer(hw: Record, s: Record, now: int) -> None:  # noqa: ARG001 - as of every unit
    """The requests of cycle ``now``, whether the pixel at hand is issued, and ``acc_half_read``: the half that is read, or −1."""
    s.issue = s.pixel_valid & ((1 - s.pixel_swap) | s.tile_ready)
    s.act_valid = s.issue & (1 - s.pixel_padding)
    s.weights_valid = weights_valid(s, s.issue & s.pixel_swap)
    s.acc_half_read = half_read(s, now)


@jit
def array_tick(
    hw: Record, s: Record, now: int, instruction_valid: int, program: Any, weights_ready: int, acc_served: int
) -> None:
    """Cycle ``now``, after its ``array_offer``, and the clock edge at its end.

    ``instruction_valid``: ``program[s.next]`` may be taken. ``weights_ready``: the weight request is accepted. ``acc_served``:
    the drain's accumulator read is accepted.
    """
    accepted = s.weights_valid & weights_ready
    loader_ready = s.tiles_left == (accepted & (s.word == hw.weight_tile_words - 1))  # 0, or the last tile ends in this cycle
    s.taken = instruction_valid & loader_ready & (1 - s.holding)
    s.cycle_class = _class(s, now)
    accumulate(s, now, acc_served)
    if accepted | s.issue:
        load_words(hw, s, accepted, s.issue & s.pixel_swap)
    moves = s.issue | accepted | s.taken | acc_served | (s.walking & (1 - s.pixel_valid)) | (s.holding & (1 - s.walking))
    if s.issue:
        _issue(hw, s, now)
    if s.walking & (1 - s.pixel_valid):
        walk(hw, s)
    if s.holding & (1 - s.walking):
        load_held(hw, s, program)
    if s.taken:
        _take(hw, s, program)
    s.wake = now + 1 if moves or now < s.flowing_until else NEVER


@jit
def _class(s: Record, now: int) -> int:
    if s.pixel_valid:
        return BUSY if s.issue else WEIGHTS
    if s.holding | s.walking:
        return SETUP
    return FLUSH if now < s.flowing_until else IDLE


@jit
def _issue(hw: Record, s: Record, now: int) -> None:
    """The pixel at hand goes."""
    s.array_pixels += 1
    s.array_padding += s.pixel_padding
    s.act_reads += s.act_valid
    expect_sums(s, now + _read_delay(hw), 1, s.pixel_kind)
    if s.pixel_last:
        expect_retirement(s)
    s.pixel_valid = 0


@jit
def _take(hw: Record, s: Record, program: Any) -> None:
    """The instruction is held for the pixel stream, and begun by the weight loader."""
    begin_tiles(hw, s, program[s.next])
    s.holding, s.held = 1, s.next
    s.next += 1


@jit
def array_run(hw: Record, s: Record, now: int, until: int, instruction_valid: int, program: Any) -> int:
    """Run from cycle ``now`` to before ``until``, or to after a cycle in which an instruction is taken or retires, or to before
    one of class IDLE. Returns the cycle after the last; the state is as if each had been offered and ticked (outputs that
    ``array_offer`` sets may be old), and ``class_cycles`` has grown by them.

    Meanwhile ``instruction_valid`` does not change, and nobody else reads the scratchpad or the accumulators.
    """
    s.taken = s.retire = 0
    start = now
    while now < until and (s.pixel_valid | s.holding | s.walking or now < s.flowing_until):
        cycles = _ahead(hw, s, now, until, instruction_valid)
        if cycles and s.holding & (1 - s.walking):
            load_held(hw, s, program)
        if cycles == 0:
            array_offer(hw, s, now)
            free = (s.weights_address ^ s.act_address) & (hw.banks - 1) != 0
            array_tick(hw, s, now, instruction_valid, program, (1 - s.act_valid) | free, 0)
            cycles = 1
        s.class_cycles[s.cycle_class] += cycles
        now += cycles
        if s.taken | s.retire:
            break
    if now > start:
        s.wake = now
    return now


@jit
def _ahead(hw: Record, s: Record, now: int, until: int, instruction_valid: int) -> int:
    """Run as many cycles as can be at once, all of one class: 0 if it takes a tick, as where one is taken or retires."""
    cycles = until - now
    if s.retiring:
        cycles = min(cycles, s.retire_cycles[s.retiring_first] - now)
    takes = instruction_valid & (1 - s.holding)  # as soon as the loader is ready
    if cycles == 0 or takes & (s.tiles_left == 0):
        return 0
    if s.pixel_valid:
        if s.pixel_swap & (1 - s.tile_ready):
            return _wait_for_weights(hw, s, now, cycles, takes)
        if s.walking:
            return _stream(hw, s, now, cycles, takes)
    if s.pixel_valid | s.holding | s.walking:
        return 0
    flushing: int = min(cycles, s.flowing_until - now)
    accumulate_cycles(s, now, flushing)
    s.cycle_class = FLUSH
    return flushing


@jit
def _wait_for_weights(hw: Record, s: Record, now: int, cycles: int, takes: int) -> int:
    """At most ``cycles`` cycles up to the one in which the tile is there; a word each, as no pixel is issued."""
    words: int = hw.weight_tile_words - s.word - (takes & (s.tiles_left == 1))
    cycles = min(cycles, words)
    load_words(hw, s, cycles, 0)
    accumulate_cycles(s, now, cycles)
    s.cycle_class = WEIGHTS
    return cycles


@jit
def _stream(hw: Record, s: Record, now: int, cycles: int, takes: int) -> int:
    """At most ``cycles`` cycles in which the pixel at hand, then those of the nest's pass are issued; up to a pass's first."""
    cycles = 1 if s.pass_begins else min(cycles, pass_pixels(s))
    if weights_valid(s, s.pixel_swap):
        cycles = load_beside_pass(hw, s, cycles, takes & (s.tiles_left == 1))
        if cycles == 0:
            return 0
    elif s.pixel_swap:
        s.tile_ready = 0
    read_cycle = now + _read_delay(hw)
    expect_sums(s, read_cycle, 1, s.pixel_kind)
    if s.pixel_last:
        expect_retirement(s)
    _expect_words(hw, s, read_cycle + 1, cycles - 1)
    accumulate_cycles(s, now, cycles)
    padding = s.pixel_padding
    padding += walk_on(hw, s, cycles)
    s.array_pixels += cycles
    s.array_padding += padding
    s.act_reads += cycles - padding
    s.cycle_class = BUSY
    return cycles


@jit
def _expect_words(hw: Record, s: Record, read_cycle: int, pixels: int) -> None:
    """As many pixels of the nest's pass are issued, whose accumulator words are read from ``read_cycle`` on."""
    word = s.acc_word
    while pixels:
        stretch = min(pixels, hw.accumulator_half_words - (word & (hw.accumulator_half_words - 1)))
        expect_sums(s, read_cycle, stretch, OVERWRITES if s.overwrite else READS_HALF + (word >= hw.accumulator_half_words))
        word = (word + stretch) & (hw.accumulator_words - 1)
        read_cycle += stretch
        pixels -= stretch
