"""The vector engine, as ``systola.hw.vector`` has it: which word it reads and writes in which cycle.

Steps are made (``vector_walk``), wait in a buffer of two, and are issued; from there on nothing stalls, so what an issued step
does later is kept as the cycle in which it happens.
"""

from __future__ import annotations

from systola.hw.latencies import (
    COLUMN_COUNT_CYCLES,
    SCRATCHPAD_READ_LATENCY_CYCLES,
    SWAP_INTERVAL_CYCLES,
    TABLE_DELAY_CYCLES,
    VECTOR_LATENCY_CYCLES,
    VECTOR_OUTPUT_PLACES,
    WINDOW_LATENCY_CYCLES,
)
from systola.hw.registers import CycleClass
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype
from systola.sim.cycles.vector_parameters import (
    LOADED,
    LOADING,
    PARAMETER_FIELDS,
    parameters_begin,
    parameters_free,
    parameters_word,
)
from systola.sim.cycles.vector_walk import (
    BEGIN,
    EMIT,
    FINAL,
    PARAMETERS,
    READ,
    RELEASE,
    SWAP,
    TABLE,
    WALK_FIELDS,
    uses_parameters,
    walk_step,
    walk_take,
)  # fmt: skip

__all__ = ["VECTOR_STATE", "vector_offer", "vector_tick"]

SUM_CYCLES = SCRATCHPAD_READ_LATENCY_CYCLES + WINDOW_LATENCY_CYCLES
"""From a step's issue to the sum that it completes; a new set of records is taken then."""

CONFIG_CYCLES = SCRATCHPAD_READ_LATENCY_CYCLES
"""From the issue of an instruction's first step to the first cycle in which the next instruction may be taken."""

RING = VECTOR_OUTPUT_PLACES
RING_MASK = RING - 1
assert RING & RING_MASK == 0

IDLE, BUSY, BANK = int(CycleClass.IDLE), int(CycleClass.BUSY), int(CycleClass.BANK)
SETUP, FLUSH = int(CycleClass.SETUP), int(CycleClass.FLUSH)

VECTOR_STATE = state_dtype(
    "next",  # number of the instruction to be taken next
    "age",  # cycles, up to COLUMN_COUNT_CYCLES, that it has waited
    "take_from",  # cycle from which it may be taken
    *WALK_FIELDS,
    *PARAMETER_FIELDS,
    # Buffer: the step to be issued, and a spare one
    "out_valid", "out_flags", "out_address", "out_destination",
    "spare_valid", "spare_flags", "spare_address", "spare_destination",
    # Fetch
    "locked",  # a refused parameter word keeps the port
    "swap_from",  # cycle from which a step may swap again
    "pace_until",  # no step is issued before that cycle, because of a look-up
    "output_from",  # cycle from which a step may complete an output or swap again
    "flushing", "flushing_before",
    "free_at",  # cycle in which a block takes its records
    # Results: numbers of places reserved and of words written, ever; the place of one is its number modulo RING
    "reserved", "written",
    # Of this cycle: a step may be issued without a read; with one, and has the port
    "pads", "reads",
    # Outputs of a cycle
    "read_valid", "read_address", "write_valid", "write_address", "taken", "retire", "cycle_class",
    # Events
    "vector_reads", "vector_writes", "vector_steps",
    "wake",
    result_at=RING,  # first cycle of its write
    result_address=RING,
    result_final=RING,
)  # fmt: skip


@jit
def vector_offer(hw: Record, s: Record, now: int) -> None:  # noqa: ARG001 - every unit's interface
    """The requests of this cycle: ``read_valid``, ``read_address``, ``write_valid``, ``write_address``."""
    s.pads = s.reads = 0
    waiting = s.reserved - s.written
    if s.out_valid and now >= s.pace_until:
        flags = s.out_flags
        ready = flags & (EMIT | SWAP) == 0 or now >= s.output_from
        if ready and (flags & EMIT == 0 or waiting < RING) and (flags & SWAP == 0 or now >= s.swap_from):
            s.pads = 1 - (flags & READ)
            s.reads = flags & READ & (1 - s.locked)
    if s.reads:
        s.read_valid = 1
        s.read_address = s.out_address
    else:
        s.read_valid = 1 if s.loader == LOADING else 0
        s.read_address = s.word_address
    s.write_valid = 0
    if waiting:
        place = s.written & RING_MASK
        s.write_valid = 1 if s.result_at[place] <= now else 0
        s.write_address = s.result_address[place]


@jit
def vector_tick(
    hw: Record, s: Record, now: int, instruction_valid: int, program: Record, read_ready: int, write_ready: int
) -> None:
    """What happens in this cycle, and the edge at its end. ``instruction_valid``: instruction ``program[s.next]`` is there;
    ``read_ready``, ``write_ready``: the scratchpad accepts the request, if there is one."""
    issued = 1 if s.pads or (s.reads and read_ready) else 0
    _classify(s, now, instruction_valid, issued, read_ready, write_ready)
    s.vector_steps += issued
    if s.read_valid and read_ready:
        s.vector_reads += 1
    made = 1 if s.active and s.spare_valid == 0 and (s.first_flags & PARAMETERS == 0 or s.available) else 0
    if instruction_valid and s.age == 0:
        s.wanted = uses_parameters(program[s.next].op)
    may_take = 1 if s.wanted == 0 and now >= s.take_from else 0
    moved = _write(s, write_ready) | issued
    if s.loader == LOADING:
        moved |= _load(hw, s, read_ready)
    elif s.loader == LOADED:
        if now == s.free_at or s.flushing_before > s.flushing:
            parameters_free(hw, s)
            moved = 1
    elif s.wanted and instruction_valid:
        parameters_begin(hw, s, program[s.next])
        moved = 1
    s.flushing_before = s.flushing
    if issued:
        _issue(hw, s, now)
    elif s.flushing and now >= s.pace_until:
        s.flushing = 0
        moved = 1
    if made:
        if s.first_flags & PARAMETERS:
            s.available = 0
        walk_step(hw, s)
    _buffer(s, made, issued)
    s.taken = 0
    if instruction_valid and (s.age < COLUMN_COUNT_CYCLES or (may_take and s.active == 0)):
        _take(hw, s, program)
        moved = 1
    s.wake = now + 1 if moved | made else _wake(s, now, instruction_valid)


@jit
def _classify(s: Record, now: int, instruction_valid: int, issued: int, read_ready: int, write_ready: int) -> None:
    """What moves, else what holds it up."""
    waiting = s.reserved - s.written
    requantizing = s.out_valid and now < s.output_from and s.out_flags & (EMIT | SWAP)
    if issued or requantizing or (now < s.pace_until and s.flushing == 0):
        s.cycle_class = BUSY
    elif (s.read_valid and read_ready == 0) or (s.write_valid and write_ready == 0 and waiting == RING):
        s.cycle_class = BANK
    elif s.loader == LOADING or s.active or s.out_valid or instruction_valid:
        s.cycle_class = SETUP
    elif s.flushing or waiting:
        s.cycle_class = FLUSH
    else:
        s.cycle_class = IDLE


@jit
def _write(s: Record, write_ready: int) -> int:
    """A result leaves; returns 1 where one does."""
    s.retire = 0
    if s.write_valid == 0 or write_ready == 0:
        return 0
    s.retire = 1 if s.result_final[s.written & RING_MASK] else 0
    s.written += 1
    s.vector_writes += 1
    return 1


@jit
def _load(hw: Record, s: Record, read_ready: int) -> int:
    """A parameter word is read, unless a step has the port; once refused, the word keeps it. Returns 1 where something moves."""
    before: int = s.locked
    s.locked = 0
    if s.reads:
        return before
    if read_ready:
        parameters_word(hw, s)
        return 1
    s.locked = 1
    return 1 - before


@jit
def _buffer(s: Record, made: int, issued: int) -> None:
    """The edge of the buffer between walker and fetch."""
    if s.out_valid and issued == 0:
        if made:
            s.spare_valid = 1
            s.spare_flags, s.spare_address, s.spare_destination = s.step_flags, s.step_address, s.step_destination
    elif s.spare_valid:
        s.out_valid, s.spare_valid = 1, 0
        s.out_flags, s.out_address, s.out_destination = s.spare_flags, s.spare_address, s.spare_destination
    elif made:
        s.out_valid = 1
        s.out_flags, s.out_address, s.out_destination = s.step_flags, s.step_address, s.step_destination
    else:
        s.out_valid = 0


@jit
def _issue(hw: Record, s: Record, now: int) -> None:
    """A step is on its way: what follows from it, and when."""
    flags = s.out_flags
    s.flushing = 0
    delay = VECTOR_LATENCY_CYCLES
    if flags & TABLE:
        delay += _look_up(hw, s, now, flags)
    if flags & EMIT:
        place = s.reserved & RING_MASK
        s.result_at[place] = now + delay + hw.vector_word_cycles - 1
        s.output_from = now + hw.vector_word_cycles
        s.result_address[place] = s.out_destination
        s.result_final[place] = flags & FINAL
        s.reserved += 1
    if flags & SWAP:
        _swap(s, now, flags)


@jit
def _look_up(hw: Record, s: Record, now: int, flags: int) -> int:
    """The step's word goes through the table; returns how much longer that takes."""
    table_cycles: int = max(1, hw.lanes // hw.table_lanes)
    s.pace_until = now + table_cycles
    if flags & RELEASE:
        s.flushing = 1
        s.pace_until += hw.table_flush_cycles
    return table_cycles + TABLE_DELAY_CYCLES


@jit
def _swap(s: Record, now: int, flags: int) -> None:
    s.swap_from = now + SWAP_INTERVAL_CYCLES
    if flags & BEGIN:
        s.take_from = now + CONFIG_CYCLES
    if flags & PARAMETERS and flags & TABLE == 0:
        s.free_at = now + SUM_CYCLES


@jit
def _take(hw: Record, s: Record, program: Record) -> None:
    """The instruction that waits grows older, or is taken: the last step of the one before may be made in the same cycle."""
    if s.age < COLUMN_COUNT_CYCLES:
        s.age += 1
        return
    walk_take(hw, s, program[s.next])
    s.next += 1
    s.taken = 1
    s.age = 0
    s.take_from = NEVER


@jit
def _wake(s: Record, now: int, instruction_valid: int) -> int:
    """The next cycle in which something happens by itself."""
    wake = NEVER
    if s.pace_until > now:
        wake = min(wake, s.pace_until)
    if s.out_valid and s.swap_from > now:
        wake = min(wake, s.swap_from)
    if s.out_valid and s.output_from > now:
        wake = min(wake, s.output_from)
    if s.free_at > now:
        wake = min(wake, s.free_at)
    if instruction_valid and s.take_from > now:
        wake = min(wake, s.take_from)
    if s.reserved != s.written:
        at = s.result_at[s.written & RING_MASK]
        if at > now:
            wake = min(wake, at)
    return wake
