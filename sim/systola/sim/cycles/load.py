"""The load engine, cycle by cycle: the model of the RTL's LoadEngine."""

from __future__ import annotations

from typing import Any

from systola.hw.registers import CycleClass
from systola.sim.cycles.fork import FORK_STATE, fork_busy, fork_moves, fork_pop, fork_reset, fork_tick
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype
from systola.sim.cycles.unpack import (
    UNPACK_STATE,
    unpack_beat_ready,
    unpack_reset,
    unpack_row_ready,
    unpack_tick,
    unpack_word_valid,
)

__all__ = ["LOAD_STATE", "load_offer", "load_reset", "load_tick"]

IDLE, BUSY, BANK = int(CycleClass.IDLE), int(CycleClass.BUSY), int(CycleClass.BANK)
DRAM_LATENCY, SETUP = int(CycleClass.DRAM_LATENCY), int(CycleClass.SETUP)

LOAD_STATE = state_dtype(
    "next",  # the instruction to take next
    # Outputs of this cycle
    "request_valid",
    "request_address",
    "request_length",
    "write_valid",
    "write_address",
    "beat_ready",
    "taken",
    "retire",
    "cycle_class",
    "load_writes",
    "wake",
    # Registers
    "last",  # the row in hand is the last of its instruction
    "retiring",  # an instruction is retired in the next cycle
    fork=FORK_STATE,
    unpack=UNPACK_STATE,
)


@jit
def load_reset(hw: Record, s: Record) -> None:
    """Before the first cycle; the record is zero."""
    fork_reset(hw, s.fork, hw.read_outstanding)
    unpack_reset(hw, s.unpack, hw.lanes)


@jit
def load_offer(hw: Record, s: Record, now: int, beat_valid: int) -> None:  # noqa: ARG001 - every unit's interface
    """Burst and word of this cycle. ``beat_valid``: the bus offers a beat."""
    burst = s.fork.splitter
    s.request_valid, s.request_address, s.request_length = burst.valid, burst.address, burst.length
    s.write_valid = unpack_word_valid(s.unpack, beat_valid)


@jit
def load_tick(
    hw: Record,
    s: Record,
    now: int,
    instruction_valid: int,
    program: Any,
    request_ready: int,
    beat_valid: int,
    write_ready: int,
) -> None:
    """End of a cycle; ``beat_ready`` says whether a beat offered was used up. Retires the cycle after the last word."""
    f, u = s.fork, s.unpack
    accept = 1 if s.write_valid != 0 and write_ready != 0 else 0
    s.beat_ready = unpack_beat_ready(u, write_ready)
    s.cycle_class = _classify(s, beat_valid, accept)
    s.retire, s.retiring = s.retiring, 1 if accept != 0 and u.left == 0 and s.last != 0 else 0
    pop = f.level != 0 and unpack_row_ready(u, accept) != 0
    s.taken = 0
    s.wake = NEVER
    if fork_moves(f, instruction_valid, request_ready):
        s.taken = fork_tick(hw, f, instruction_valid, program, s.next, request_ready)
        s.next += s.taken
        s.wake = now + 1
    if pop or s.write_valid != 0 or (beat_valid != 0 and s.beat_ready != 0) or s.retire != 0:
        s.load_writes += accept
        _move(hw, s, beat_valid, write_ready, accept, pop)
        s.wake = now + 1


@jit
def _move(hw: Record, s: Record, beat_valid: int, write_ready: int, accept: int, pop: bool) -> None:
    """The data side's registers; ``pop``: it takes the oldest row."""
    f = s.fork
    if pop:
        unpack_tick(s.unpack, beat_valid, write_ready, 1, f.words_minus_one[f.head], f.place[f.head])
        s.write_address, s.last = f.sp_address[f.head], f.last[f.head]
        fork_pop(f)
    else:
        unpack_tick(s.unpack, beat_valid, write_ready, 0, 0, 0)
        s.write_address = (s.write_address + accept) & (hw.scratchpad_words - 1)


@jit
def _classify(s: Record, beat_valid: int, accept: int) -> int:
    """A beat that does not complete a word is BUSY too."""
    if s.write_valid != 0 and accept == 0:
        return BANK
    if s.unpack.active:
        return BUSY if beat_valid else DRAM_LATENCY
    return SETUP if fork_busy(s.fork) else IDLE
