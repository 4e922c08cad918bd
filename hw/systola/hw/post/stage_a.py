"""Stage A: int32 sums to int8 codes, ``numerics.requantize`` lane by lane."""

from __future__ import annotations

from typing import Any, cast

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from systola.hw.latencies import STAGE_A_LATENCY_CYCLES
from systola.hw.numerics import INT8_HIGH, INT8_LOW
from systola.hw.post.records import RecordLoadSignature, RecordSet
from systola.hw.post.tail import COARSE_CHOICES, build_tail, copy_limits, delays

__all__ = ["RECORD_HOLD_CYCLES", "StageA", "stage_a_layout"]

RECORD_HOLD_CYCLES = 4
"""Records may be loaded again this many cycles after the swap that takes them: until then they are still being copied."""

_LOW_BITS = 16  # a 32-bit sum is multiplied in halves: two 18 × 18 multipliers

stage_a_layout = data.StructLayout({"stage_a": 1, "zero_a": signed(8), "low_a": signed(8), "high_a": signed(8)})


class StageA(Component):
    """Per-lane requantization; a word a cycle, ``STAGE_A_LATENCY_CYCLES``, no stall.

    ``i_valid``/``i_sums``/``i_meta``: a word of ``lanes`` int32 sums (lane 0 lowest) and bits that travel with it.
    ``o_valid``/``o_codes``/``o_meta``: its int8 codes, STAGE_A_LATENCY_CYCLES later; codes and meta hold still between words.
    ``load``: words of records, into a set that takes effect at the next swap; not in the swap's cycle nor the
    RECORD_HOLD_CYCLES − 1 after it.
    ``swap``: words after this cycle use the records loaded and ``config`` as it is in this cycle; swaps are at least
    SWAP_INTERVAL_CYCLES apart. ``o_swap`` is the same for a stage that follows.
    Where ``config.stage_a`` is 0, sums must be int8 codes, and pass unchanged (the records do not matter and are kept).
    """

    load: Any
    swap: Signal
    config: Any
    i_valid: Signal
    i_sums: Signal
    i_meta: Signal
    o_swap: Signal
    o_valid: Signal
    o_codes: Signal
    o_meta: Signal

    def __init__(self, lanes: int, word_bytes: int, multiplier_bits: int, meta_bits: int = 0) -> None:
        self._lanes, self._word_bytes, self._multiplier_bits = lanes, word_bytes, multiplier_bits
        super().__init__({
            "load": In(RecordLoadSignature(lanes, word_bytes)),
            "swap": In(1),
            "config": In(cast("Any", stage_a_layout)),
            "i_valid": In(1),
            "i_sums": In(32 * lanes),
            "i_meta": In(meta_bits),
            "o_swap": Out(1),
            "o_valid": Out(1),
            "o_codes": Out(8 * lanes),
            "o_meta": Out(meta_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Valid and swap travel; each lane follows them."""
        m = Module()
        m.submodules.loaded = loaded = RecordSet(self._lanes, self._word_bytes, self._multiplier_bits)
        connect(m, flipped(self.load), loaded.load)
        valid = delays(m, self.i_valid, STAGE_A_LATENCY_CYCLES)
        swap = delays(m, self.swap, STAGE_A_LATENCY_CYCLES)
        meta = self.i_meta
        for cycle in range(STAGE_A_LATENCY_CYCLES):
            before, meta = meta, Signal.like(self.i_meta, name=f"meta_{cycle + 1}", reset_less=True)
            with m.If(valid[cycle]):
                m.d.sync += meta.eq(before)
        held: Any = Signal(stage_a_layout, reset_less=True)
        with m.If(swap[0]):
            m.d.sync += held.eq(self.config)
            with m.If(~self.config.stage_a):
                m.d.sync += held.zero_a.eq(0), held.low_a.eq(INT8_LOW), held.high_a.eq(INT8_HIGH)
        limits = copy_limits(m, swap[5:], held.zero_a, held.low_a, held.high_a)
        products, shifts = [], []
        for lane in range(self._lanes):
            records = loaded.records[lane]
            products.append(self._product(m, valid, swap, held, lane, records))
            shifts.append(self._shift(m, swap, held, lane, records))
        codes = build_tail(m, valid[3:], products, shifts, limits)
        m.d.comb += [
            self.o_swap.eq(swap[-1]),
            self.o_valid.eq(valid[-1]),
            self.o_meta.eq(meta),
            *(self.o_codes.word_select(lane, 8).eq(code) for lane, code in enumerate(codes)),
        ]
        return m

    def _product(self, m: Module, valid: list[Signal], swap: list[Signal], held: Any, lane: int, record: Any) -> Signal:
        """``(sum + bias) · multiplier`` in three steps; codes that pass are multiplied by one."""
        bits = self._multiplier_bits
        bias = Signal(signed(32), name=f"bias_{lane}", reset_less=True)
        multiplier = Signal(bits, name=f"multiplier_{lane}", reset_less=True)
        biased = Signal(signed(32), name=f"biased_{lane}", reset_less=True)
        part_low = Signal(_LOW_BITS + bits, name=f"part_low_{lane}", reset_less=True)
        part_high = Signal(signed(32 - _LOW_BITS + bits), name=f"part_high_{lane}", reset_less=True)
        product = Signal(signed(32 + bits), name=f"product_{lane}", reset_less=True)
        with m.If(swap[0]):
            m.d.sync += bias.eq(Mux(self.config.stage_a, record.bias, 0))
        with m.If(swap[1]):
            m.d.sync += multiplier.eq(Mux(held.stage_a, record.multiplier, 1))
        with m.If(valid[0]):
            m.d.sync += biased.eq(self.i_sums.word_select(lane, 32).as_signed() + bias)
        with m.If(valid[1]):
            m.d.sync += part_low.eq(biased[:_LOW_BITS] * multiplier), part_high.eq(biased[_LOW_BITS:].as_signed() * multiplier)
        with m.If(valid[2]):
            m.d.sync += product.eq((part_high << _LOW_BITS) + part_low)
        return product

    @staticmethod
    def _shift(m: Module, swap: list[Signal], held: Any, lane: int, record: Any) -> tuple[Signal, Signal]:
        coarse = Signal(COARSE_CHOICES, name=f"shift_coarse_{lane}", reset_less=True)
        fine = Signal(4, name=f"shift_fine_{lane}", reset_less=True)
        with m.If(swap[3]):
            m.d.sync += coarse.eq(Mux(held.stage_a, 1 << record.shift[4:], 1))
        with m.If(swap[4]):
            m.d.sync += fine.eq(Mux(held.stage_a, record.shift[:4], 0))
        return coarse, fine
