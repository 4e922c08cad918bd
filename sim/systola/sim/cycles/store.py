"""The store engine, cycle by cycle: the model of the RTL's StoreEngine with its WordReader and Pack."""

from __future__ import annotations

from typing import Any

from systola.hw.latencies import SCRATCHPAD_READ_LATENCY_CYCLES, STORE_WORD_QUEUE_DEPTH
from systola.hw.registers import CycleClass
from systola.sim.cycles.fork import FORK_STATE, fork_moves, fork_pop, fork_reset, fork_tick
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import NEVER, Record, state_dtype

__all__ = ["STORE_STATE", "store_offer", "store_reset", "store_tick"]

IDLE, BUSY, BANK = int(CycleClass.IDLE), int(CycleClass.BUSY), int(CycleClass.BANK)
DRAM_LATENCY, SETUP, FLUSH = int(CycleClass.DRAM_LATENCY), int(CycleClass.SETUP), int(CycleClass.FLUSH)

WORD_LATENCY_CYCLES = SCRATCHPAD_READ_LATENCY_CYCLES + 1
"""A word asked for in cycle n leaves the word queue in cycle n + 4 or later."""

STORE_STATE = state_dtype(
    "next",  # the instruction to take next
    # Outputs of this cycle
    "request_valid",
    "request_address",
    "request_length",
    "request_last",
    "read_valid",
    "read_address",
    "beat_valid",
    "taken",
    "retire",
    "cycle_class",
    "store_reads",
    "wake",
    # Constants
    "last_part",  # beats of a word, minus one; words of a beat, minus one: one of them is 0
    "last_place",
    "collects",  # several words make a beat
    # Row in hand
    "active",
    "left",  # its words not yet asked for, minus one
    "place",  # of the next word in its beat
    # Words asked for and not yet packed
    "used",
    "oldest",
    "word_valid",  # the oldest is there, in this cycle
    # Packing
    "part",  # beats sent of the word in hand
    "beat_full",  # the beat register is complete
    # For the cycle class
    "in_hand",  # instructions
    "waits",  # a burst was requested
    arrival=STORE_WORD_QUEUE_DEPTH,  # cycle in which the word can be packed
    completes=STORE_WORD_QUEUE_DEPTH,  # it completes its beat
    fork=FORK_STATE,
)


@jit
def store_reset(hw: Record, s: Record) -> None:
    """Before the first cycle; the record is zero."""
    fork_reset(hw, s.fork, hw.write_outstanding)
    s.last_part = max(1, hw.lanes // hw.bus_bytes) - 1
    s.last_place = max(1, hw.bus_bytes // hw.lanes) - 1
    s.collects = 1 if hw.lanes < hw.bus_bytes else 0


@jit
def store_offer(hw: Record, s: Record, now: int) -> None:  # noqa: ARG001 - every unit's interface
    """Burst, scratchpad request and beat of this cycle."""
    burst = s.fork.splitter
    s.request_valid, s.request_address = burst.valid, burst.address
    s.request_length, s.request_last = burst.length, burst.last
    s.read_valid = 1 if s.active != 0 and s.used != STORE_WORD_QUEUE_DEPTH else 0
    s.word_valid = 1 if s.used != 0 and s.arrival[s.oldest] <= now else 0
    s.beat_valid = s.beat_full if s.collects else s.word_valid


@jit
def store_tick(
    hw: Record,
    s: Record,
    now: int,
    instruction_valid: int,
    program: Any,
    request_ready: int,
    read_ready: int,
    beat_ready: int,
    acknowledged_last: int,
) -> None:
    """End of a cycle. Retires in the cycle in which an instruction's last burst is acknowledged."""
    f = s.fork
    accept = 1 if s.read_valid != 0 and read_ready != 0 else 0
    sends = 1 if s.beat_valid != 0 and beat_ready != 0 else 0
    s.cycle_class = _classify(s, accept | sends)
    s.retire = 1 if acknowledged_last else 0
    pop = f.level != 0 and (s.active == 0 or (accept != 0 and s.left == 0))
    _watch(s, request_ready)
    s.taken = 0
    moves = s.read_valid != 0 or pop or s.retire != 0
    if fork_moves(f, instruction_valid, request_ready):
        s.taken = fork_tick(hw, f, instruction_valid, program, s.next, request_ready)
        s.next += s.taken
        moves = True
    s.in_hand += s.taken - s.retire
    packs = 0
    if s.used != 0 or s.beat_valid != 0:
        packs = _pack(s, sends)
    if accept:
        _ask(s, now, packs)
    if pop:
        _begin_row(s)
    elif accept:
        _next_word(hw, s)
    s.used += accept - packs
    s.store_reads += accept
    s.wake = now + 1 if moves or sends != 0 or packs != 0 else _arrival(s, now)


@jit
def _classify(s: Record, moves: int) -> int:
    """From the number of instructions in hand and what the data side does; ``moves``: a word or a beat."""
    if moves:
        return BUSY
    if s.read_valid:
        return BANK
    if s.in_hand == 0:
        return IDLE
    if s.beat_valid:
        return DRAM_LATENCY
    if s.used:
        return FLUSH
    return DRAM_LATENCY if s.waits else SETUP


@jit
def _pack(s: Record, sends: int) -> int:
    """Beat register or parts of a word; returns 1 if the oldest word is used up."""
    if s.collects == 0:
        if sends == 0:
            return 0
        used_up = 1 if s.part == s.last_part else 0
        s.part = (s.part + 1) & s.last_part
    elif s.beat_full != 0 and sends == 0:
        return 0
    else:
        used_up = s.word_valid
        s.beat_full = used_up & s.completes[s.oldest]
    if used_up:
        s.oldest = (s.oldest + 1) & (STORE_WORD_QUEUE_DEPTH - 1)
    return used_up


@jit
def _ask(s: Record, now: int, packs: int) -> None:
    """The word asked for in this cycle takes the place behind the others; ``oldest`` has moved on where one was packed."""
    newest = (s.oldest + s.used - packs) & (STORE_WORD_QUEUE_DEPTH - 1)
    s.arrival[newest] = now + WORD_LATENCY_CYCLES
    s.completes[newest] = 1 if s.left == 0 or s.place == s.last_place else 0


@jit
def _begin_row(s: Record) -> None:
    """The first word of the oldest row in the queue."""
    f = s.fork
    s.active, s.left, s.place = 1, f.words_minus_one[f.head], f.place[f.head]
    s.read_address = f.sp_address[f.head]
    fork_pop(f)


@jit
def _next_word(hw: Record, s: Record) -> None:
    """The next word of the row, or none."""
    s.active = 1 if s.left != 0 else 0
    s.read_address = (s.read_address + 1) & (hw.scratchpad_words - 1)
    s.left -= 1
    s.place = (s.place + 1) & s.last_place


@jit
def _watch(s: Record, request_ready: int) -> None:
    """Whether there is an answer of the memory to wait for; it changes only when a burst leaves or after the last retired."""
    if s.request_valid != 0 and request_ready != 0:
        s.waits = 1
    elif s.in_hand == 0:
        s.waits = 0


@jit
def _arrival(s: Record, now: int) -> int:
    """The cycle in which the oldest word comes, if it is on its way and nothing else moves."""
    return s.arrival[s.oldest] if s.used != 0 and s.arrival[s.oldest] > now else NEVER
