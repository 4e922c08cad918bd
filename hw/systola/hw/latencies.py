"""Fixed delays of the hardware, in cycles: the RTL is built from them and the cycle model counts with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from systola.hw.params import Params

__all__ = [
    "ACCUMULATE_CYCLES",
    "ACCUMULATOR_READ_LATENCY_CYCLES",
    "ARRAY_ENTRY_CYCLES",
    "ARRAY_FIRST_SUM_CYCLES",
    "BUFFERED_FIFO_LATENCY_CYCLES",
    "COLUMN_COUNT_CYCLES",
    "DRAIN_OUTPUT_WORDS",
    "DRAIN_RECORD_LEAD_CYCLES",
    "DRAIN_SWAP_DELAY_CYCLES",
    "FETCH_CHUNK_BEATS",
    "FETCH_CHUNK_BYTES",
    "FETCH_OUTSTANDING",
    "POST_LATENCY_CYCLES",
    "RESIDUAL_WORDS",
    "SCRATCHPAD_READ_LATENCY_CYCLES",
    "STAGE_A_LATENCY_CYCLES",
    "STAGE_B_LATENCY_CYCLES",
    "STORE_WORD_QUEUE_DEPTH",
    "SWAP_INTERVAL_CYCLES",
    "TABLE_DELAY_CYCLES",
    "TAIL_CYCLES",
    "VECTOR_LATENCY_CYCLES",
    "VECTOR_OUTPUT_PLACES",
    "WINDOW_LATENCY_CYCLES",
    "accumulator_read_cycles",
    "drain_leave_cycles",
    "drain_swap_delay_cycles",
    "table_flush_cycles",
]

SCRATCHPAD_READ_LATENCY_CYCLES = 3
"""A read accepted in cycle n has its word in cycle n + 3: bank, bank output register, client output register."""

ACCUMULATOR_READ_LATENCY_CYCLES = 2
"""A read accepted in cycle n has its word in cycle n + 2: memory, output register."""

STORE_WORD_QUEUE_DEPTH = 8
"""Words that the store engine has asked for and not yet packed. A read accepted in cycle n frees its place for the request of
cycle n + 5 when nothing blocks: 5 places would do for a word a cycle."""

FETCH_OUTSTANDING = 10
"""Bursts of instructions in flight, beside the ``read_outstanding`` of the load engine: two of each stream."""

FETCH_CHUNK_BEATS = 16
FETCH_CHUNK_BYTES = 256
"""What fetch asks for at a time, at most: short, so that a load never waits long behind it."""

BUFFERED_FIFO_LATENCY_CYCLES = 2
"""A word written to an empty ``SyncFIFOBuffered`` in cycle n can be read in cycle n + 2: memory, output register."""

TAIL_CYCLES = 4
"""Post-processing, both stages: registers from the product to the code."""

STAGE_A_LATENCY_CYCLES = 3 + TAIL_CYCLES
"""Cycles from a sum to its code: biased sum, two partial products, product, tail."""

STAGE_B_LATENCY_CYCLES = 3 + TAIL_CYCLES
"""Cycles from a code to the result: differences, products, total, tail."""

POST_LATENCY_CYCLES = STAGE_A_LATENCY_CYCLES + STAGE_B_LATENCY_CYCLES
"""Cycles from a word of sums to its result, where all its lanes are worked on at once; else from its last lanes on."""

SWAP_INTERVAL_CYCLES = 7
"""Swaps are at least this far apart: a swap has then left the stage before the next one overwrites what it copies."""

DRAIN_SWAP_DELAY_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES
"""From a block's start to its swap, where a pixel is requantized in one cycle: the previous block's last pixel may be read in the
cycle of the start, and enters stage A in that of the swap; the block's own first pixel follows it."""


def drain_swap_delay_cycles(params: Params) -> int:
    """The same where a pixel takes ``drain_word_cycles``: its last lanes enter stage A in the cycle of the swap."""
    return DRAIN_SWAP_DELAY_CYCLES + params.drain_word_cycles - 1


def drain_leave_cycles(params: Params) -> int:
    """From a block's start until the next may be in hand: blocks follow each other no faster than swaps may. Records take time
    to load, but very few words not enough."""
    swap_delay_cycles = drain_swap_delay_cycles(params)
    fastest_cycles = params.drain_record_words + DRAIN_RECORD_LEAD_CYCLES + swap_delay_cycles
    return swap_delay_cycles + max(0, SWAP_INTERVAL_CYCLES - fastest_cycles)


DRAIN_RECORD_LEAD_CYCLES = 2
"""A block may start this long after the last word of its records was accepted: the word (SCRATCHPAD_READ_LATENCY_CYCLES
after it was) is then in the cycle before the swap."""
assert DRAIN_RECORD_LEAD_CYCLES + DRAIN_SWAP_DELAY_CYCLES == SCRATCHPAD_READ_LATENCY_CYCLES + 1

DRAIN_OUTPUT_WORDS = 32
"""Pixels of the drain between accumulator read and accepted write."""
assert DRAIN_OUTPUT_WORDS > ACCUMULATOR_READ_LATENCY_CYCLES + POST_LATENCY_CYCLES + BUFFERED_FIFO_LATENCY_CYCLES

RESIDUAL_WORDS = 16
"""Residuals of the drain on their way or held: a pixel's is taken 9 cycles after its accumulator was read, and was itself read a
cycle before that at least."""

ARRAY_ENTRY_CYCLES = SCRATCHPAD_READ_LATENCY_CYCLES
"""From a pixel's issue to the cycle in which its activations, and its swap, are at the array's entry."""

ARRAY_FIRST_SUM_CYCLES = 3
"""From a pixel's entry to the sum of row 0 of segment 0: entry register, product, partial sum. Each further row takes a
cycle, and each further segment; all columns leave together."""

ACCUMULATE_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES + 2
"""From an accumulator read to the first cycle in which the sum written back can be read: memory, output register, sum, write."""


def accumulator_read_cycles(params: Params) -> int:
    """From a pixel's issue to the read of its accumulator word, so that word and sums arrive together."""
    array_cycles = ARRAY_FIRST_SUM_CYCLES + (params.rows - 1) + (params.segments - 1)
    return ARRAY_ENTRY_CYCLES + array_cycles - ACCUMULATOR_READ_LATENCY_CYCLES


COLUMN_COUNT_CYCLES = 3
"""Cycles that a vector instruction waits at least: its number of input columns is a subtraction, a product and an addition."""

WINDOW_LATENCY_CYCLES = 4
"""Cycles from a step's word to the sum that it completes: word, factors, product, sum."""

TABLE_DELAY_CYCLES = 2
"""Cycles from a word to its look-up, beyond those of the look-up itself: codes, collected entries."""


def table_flush_cycles(params: Params) -> int:
    """Cycles, beyond its look-up, that nothing follows the last step of a table: what follows takes no look-up, and must neither
    overtake it nor swap too soon after it, nor before it is requantized."""
    return TABLE_DELAY_CYCLES + max(SWAP_INTERVAL_CYCLES, params.vector_word_cycles)


VECTOR_OUTPUT_PLACES = 32
"""Results between the issue of their last step and their write: more than the cycles of that way, so that refused writes
alone make the engine wait."""

VECTOR_LATENCY_CYCLES = (
    SCRATCHPAD_READ_LATENCY_CYCLES + WINDOW_LATENCY_CYCLES + POST_LATENCY_CYCLES + BUFFERED_FIFO_LATENCY_CYCLES
)
"""Cycles from the issue of an output's last step to its write (a table: its look-up and TABLE_DELAY_CYCLES more), where a word is
requantized in one cycle."""
