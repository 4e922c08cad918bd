"""The memories of an accelerator, and what yosys makes of each on ECP5: block RAM or distributed RAM."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from systola.hw.latencies import (
    DRAIN_OUTPUT_WORDS,
    FETCH_CHUNK_BEATS,
    FETCH_CHUNK_BYTES,
    FETCH_OUTSTANDING,
    RESIDUAL_WORDS,
    STORE_WORD_QUEUE_DEPTH,
    VECTOR_OUTPUT_PLACES,
)
from systola.hw.params import Params

__all__ = ["Memory", "Storage", "memories", "storage"]

DISTRIBUTED_COST = 4
BLOCK_COST = 128
"""Costs of a TRELLIS_DPR16X4 and of a DP16KD (yosys, techlibs/lattice: lutrams_trellis.txt, brams_16kd.txt)."""

BLOCK_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Width in bits and words of a DP16KD (Lattice FPGA-TN-02204, ECP5 memory usage guide)."""

OPERAND_WORDS = 16
QUEUE_WORD_BITS = 128
KEPT_REGISTERS = 16
COUNTED_CLASSES = 16
COUNT_BITS = 8
TOTALS = 256
ENGINES = 5


@dataclass(frozen=True)
class Memory:
    """``copies`` memories of ``words`` words of ``bits`` bits, written in ``groups`` equal parts, with ``reads`` read ports.

    ``at_once``: a read has its data in the same cycle, which block RAM cannot do. ``forced``: the RTL asks for block RAM.
    """

    unit: str
    bits: int
    words: int
    copies: int = 1
    groups: int = 1
    reads: int = 1
    at_once: bool = False
    forced: bool = False

    @property
    def distributed(self) -> int:
        """TRELLIS_DPR16X4 that it would take: 16 words of 4 bits, one write and one read port."""
        return self.copies * self.reads * _up(self.bits, 4) * _up(self.words, 16)

    @property
    def block(self) -> int:
        """DP16KD that it would take: one write and one read port; parts that are written alone do not share one."""
        part = self.bits // self.groups
        each = min(_up(part, width) * _up(self.words, depth) for width, depth in BLOCK_SHAPES)
        return self.copies * self.reads * self.groups * each

    @property
    def in_block(self) -> bool:
        """yosys takes what costs less (pass memory_libmap)."""
        return self.forced or (not self.at_once and BLOCK_COST * self.block <= DISTRIBUTED_COST * self.distributed)


@dataclass(frozen=True)
class Storage:
    """``block``: DP16KD of a unit; ``distributed``: its TRELLIS_DPR16X4."""

    block: int = 0
    distributed: int = 0


def storage(params: Params) -> dict[str, Storage]:
    """Block and distributed RAM by unit; units without memories are not there."""
    block: dict[str, int] = defaultdict(int)
    distributed: dict[str, int] = defaultdict(int)
    for memory in memories(params):
        if memory.in_block:
            block[memory.unit] += memory.block
        else:
            distributed[memory.unit] += memory.distributed
    return {unit: Storage(block[unit], distributed[unit]) for unit in {**block, **distributed}}


def memories(params: Params) -> list[Memory]:
    """Every memory; units as in ``resources.UNITS``."""
    p, bus = params, params.config.bus
    lanes, columns, address = 8 * p.lanes, 8 * p.columns, p.scratchpad_address_bits
    vector = p.config.vector
    place = _bits(max(1, p.bus_bytes // p.lanes))  # of a word in its beat
    reads = min(vector.table_lanes, p.lanes)
    granule = 32 - _bits(p.stream_granule_bytes)  # bits that number a stream's granules
    accumulators = p.accumulator_words if p.accumulator_copies else p.accumulator_half_words
    found = [
        Memory("array", 4 * columns, accumulators, copies=2),
        Memory("scratchpad", lanes, p.bank_words, copies=p.banks, groups=p.column_groups),
        Memory("vector", lanes, p.table_words, reads=reads, forced=True),
        Memory("vector", lanes, OPERAND_WORDS, forced=True),
        Memory("vector", 1 + address, VECTOR_OUTPUT_PLACES, forced=True),
        Memory("vector", lanes, VECTOR_OUTPUT_PLACES, forced=True),
        Memory("drain", columns, DRAIN_OUTPUT_WORDS, forced=True),
        Memory("drain", 1 + max(1, _bits(p.column_groups)) + address, DRAIN_OUTPUT_WORDS, forced=True),
        Memory("drain", columns, RESIDUAL_WORDS, forced=True),
        Memory("frontends", QUEUE_WORD_BITS, 8 * p.queue_bytes // QUEUE_WORD_BITS, copies=ENGINES, forced=True),
        Memory("fetch", ENGINES + _bits(_chunk_bytes(p) // 16), FETCH_OUTSTANDING + 2, at_once=True),
        Memory("fetch", 2 * granule, ENGINES, at_once=True),
        Memory("guard", bus.address_bits, FETCH_OUTSTANDING, at_once=True),
        Memory("guard", bus.address_bits, bus.read_outstanding, at_once=True),
        Memory("guard", bus.address_bits + 1, bus.write_outstanding, at_once=True),
        Memory("guard", 8, bus.write_outstanding, at_once=True),
        Memory("load", 17 + address + place, bus.read_outstanding, at_once=True),
        Memory("store", 16 + address + place, bus.write_outstanding, at_once=True),
        Memory("store", lanes + (place + 1 if place else 0), STORE_WORD_QUEUE_DEPTH, at_once=True),
        Memory("control", 32, KEPT_REGISTERS, at_once=True),
        Memory("control", COUNT_BITS, COUNTED_CLASSES, copies=ENGINES, reads=2, at_once=True),
        Memory("control", 32, TOTALS),
    ]
    if p.taps:
        found.append(Memory("vector", p.taps * lanes, 2 * vector.tap_depth, groups=p.taps, forced=True))
    if p.bus_bytes > 16:
        found.append(Memory("fetch", 8 * p.bus_bytes, max(2, 2 * _chunk_bytes(p) // p.bus_bytes) - 1))
    return found


def _chunk_bytes(params: Params) -> int:
    """As in ``systola.hw.dma.fetch``."""
    return max(params.stream_granule_bytes, min(FETCH_CHUNK_BYTES, FETCH_CHUNK_BEATS * params.bus_bytes, params.queue_bytes // 2))


def _bits(values: int) -> int:
    """Bits that number so many values."""
    return (values - 1).bit_length()


def _up(value: int, divisor: int) -> int:
    return -(-value // divisor)
