"""Everything that follows from a ``Config``, derived once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from systola.hw.config import Config
from systola.hw.isa import ISA_VERSION, RECORD_BYTES, UNIT_BYTES

__all__ = ["Params", "partial_sum_bits"]


BLOCK_RAM_WORDS = 512
"""Words of a block RAM at its widest, with one read and one write port (ECP5 and 7-series alike)."""


def _log2(value: int) -> int:
    return value.bit_length() - 1


def partial_sum_bits(rows: int) -> int:
    """Bits of a sum of ``rows`` products of int8: rows · (−128)·(−128) must fit."""
    return 16 + _log2(rows)


@dataclass(frozen=True)
class Params:
    """Derived numbers of one accelerator.

    ``lanes`` is the number of bytes in a scratchpad word: ``max(rows, columns)``. A word holds one pixel of
    ``lanes`` channels. Where the array is narrower on a side, a word has several *row groups* (read by the array one at
    a time) or *column groups* (written by the drain one at a time).
    """

    config: Config

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return self.config.array.rows

    @property
    def columns(self) -> int:
        """Columns of the array."""
        return self.config.array.columns

    @cached_property
    def lanes(self) -> int:
        """Bytes (channels) of a scratchpad word."""
        return max(self.rows, self.columns)

    @cached_property
    def row_groups(self) -> int:
        """Groups of ``rows`` lanes in a word."""
        return self.lanes // self.rows

    @cached_property
    def column_groups(self) -> int:
        """Groups of ``columns`` lanes in a word."""
        return self.lanes // self.columns

    @cached_property
    def segments(self) -> int:
        """Segments of columns, each one pipeline register after its neighbour."""
        return max(1, self.columns // self.config.array.segment_columns)

    @cached_property
    def scratchpad_words(self) -> int:
        """Words of the scratchpad."""
        return self.config.memory.scratchpad_bytes // self.lanes

    @property
    def banks(self) -> int:
        """Banks of the scratchpad; word w is in bank w mod banks."""
        return self.config.memory.scratchpad_banks

    @cached_property
    def bank_words(self) -> int:
        """Words of one bank."""
        return self.scratchpad_words // self.banks

    @cached_property
    def scratchpad_address_bits(self) -> int:
        """Bits of a scratchpad word address."""
        return _log2(self.scratchpad_words)

    @cached_property
    def accumulator_words(self) -> int:
        """Pixels of the accumulators, both halves together; each of ``columns`` int32."""
        return self.config.memory.accumulator_bytes // (4 * self.columns)

    @cached_property
    def accumulator_copies(self) -> bool:
        """The array and the drain each read a copy of all accumulators, instead of both reading two halves: of a memory as small
        as a block RAM at its widest, a copy takes no more of them than a half does."""
        return self.accumulator_words <= BLOCK_RAM_WORDS

    @cached_property
    def accumulator_half_words(self) -> int:
        """Pixels of one half."""
        return self.accumulator_words // 2

    @cached_property
    def accumulator_address_bits(self) -> int:
        """Bits of an accumulator address; the highest selects the half."""
        return _log2(self.accumulator_words)

    @cached_property
    def partial_sum_bits(self) -> int:
        """Bits of a sum that leaves the array."""
        return partial_sum_bits(self.rows)

    @property
    def multiplier_bits(self) -> int:
        """Bits of an unsigned requantization multiplier."""
        return self.config.requantize.multiplier_bits

    @cached_property
    def drain_lanes(self) -> int:
        """Lanes that the drain requantizes at once."""
        return min(self.columns, self.config.requantize.lanes)

    @cached_property
    def drain_word_cycles(self) -> int:
        """Cycles in which the drain requantizes a pixel of ``columns`` channels."""
        return self.columns // self.drain_lanes

    @cached_property
    def vector_lanes(self) -> int:
        """Lanes that the vector engine requantizes at once."""
        return min(self.lanes, self.config.requantize.lanes)

    @cached_property
    def vector_word_cycles(self) -> int:
        """Cycles in which the vector engine requantizes a word."""
        return self.lanes // self.vector_lanes

    @property
    def taps(self) -> int:
        """Multiply-adds per lane and cycle in the vector engine."""
        return self.config.vector.depthwise_taps

    @property
    def taps_in_logic(self) -> bool:
        """The taps' products are made by look-up tables, not by multiplier blocks."""
        return self.config.vector.multipliers == "logic"

    @cached_property
    def tap_entries(self) -> int:
        """Depthwise weights per lane that the vector engine holds."""
        return self.taps * self.config.vector.tap_depth

    @cached_property
    def weight_tile_words(self) -> int:
        """Scratchpad words of one rows × columns weight tile; also the cycles to load it."""
        return self.rows * self.columns // self.lanes

    @cached_property
    def drain_record_words(self) -> int:
        """Words of the requantization records of one block of ``columns`` channels; they begin at a word."""
        return -(-self.columns * RECORD_BYTES // self.lanes)

    @cached_property
    def vector_record_words(self) -> int:
        """Words of the requantization records of one block of ``lanes`` channels."""
        return RECORD_BYTES

    @cached_property
    def table_words(self) -> int:
        """Words of a 256-entry table."""
        return 256 // self.lanes

    @property
    def bus_bytes(self) -> int:
        """Bytes of one beat."""
        return self.config.bus.data_bytes

    @cached_property
    def alignment_bytes(self) -> int:
        """Alignment of tensors and programs in DRAM: a word, a beat and an instruction unit all divide it."""
        return max(64, self.lanes, self.bus_bytes)

    @cached_property
    def stream_granule_bytes(self) -> int:
        """Instruction streams begin at a multiple of this in DRAM, and are multiples of it long."""
        return max(64, self.bus_bytes)

    @property
    def queue_bytes(self) -> int:
        """Bytes of instructions that each engine's queue holds."""
        return self.config.queue.units * UNIT_BYTES

    @cached_property
    def macs_per_cycle(self) -> int:
        """Peak multiply-accumulates per cycle of the array."""
        return self.rows * self.columns

    @cached_property
    def fingerprint(self) -> int:
        """32 bits that name what an image depends on: all but names, clock, DRAM model and technology."""
        hardware = self.config.model_dump(exclude={"name", "clock", "dram", "technology"})
        text = json.dumps([ISA_VERSION, hardware], sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
