"""Stage A: int32 sums to int8 codes, ``numerics.requantize`` lane by lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from amaranth import Array, Module, Mux, Signal, Value, signed
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

_LAST_RECORD_CYCLE = 4
"""From a word's entry to the last use of its records."""

stage_a_layout = data.StructLayout({"stage_a": 1, "zero_a": signed(8), "low_a": signed(8), "high_a": signed(8)})


class StageA(Component):
    """Per-lane requantization; a word a cycle, ``STAGE_A_LATENCY_CYCLES``, no stall.

    ``i_valid``/``i_sums``/``i_meta``: a word of ``lanes`` int32 sums (lane 0 lowest) and bits that travel with it. There are
    ``groups`` sets of records of ``lanes`` channels each, which follow each other; the word is of the channels of ``i_group``.
    ``o_valid``/``o_codes``/``o_meta``: its int8 codes, STAGE_A_LATENCY_CYCLES later; codes and meta hold still between words.
    ``load``: words of records, into a set that takes effect at the next swap; not in the swap's cycle nor the
    RECORD_HOLD_CYCLES − 1 after it.
    ``swap``: words after this cycle use the records loaded and ``config`` as it is in this cycle; swaps are at least
    SWAP_INTERVAL_CYCLES apart. ``o_swap`` is the same for a stage that follows.
    Where ``config.stage_a`` is 0, sums must be int8 codes + 128, and pass as codes (the records do not matter and are kept).
    """

    load: Any
    swap: Signal
    config: Any
    i_valid: Signal
    i_sums: Signal
    i_group: Signal
    i_meta: Signal
    o_swap: Signal
    o_valid: Signal
    o_codes: Signal
    o_meta: Signal

    def __init__(self, lanes: int, word_bytes: int, multiplier_bits: int, meta_bits: int = 0, groups: int = 1) -> None:
        self._lanes, self._word_bytes, self._multiplier_bits, self._groups = lanes, word_bytes, multiplier_bits, groups
        super().__init__({
            "load": In(RecordLoadSignature(groups * lanes, word_bytes)),
            "swap": In(1),
            "config": In(cast("Any", stage_a_layout)),
            "i_valid": In(1),
            "i_sums": In(32 * lanes),
            "i_group": In(range(groups)),
            "i_meta": In(meta_bits),
            "o_swap": Out(1),
            "o_valid": Out(1),
            "o_codes": Out(8 * lanes),
            "o_meta": Out(meta_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Valid and swap travel; each lane follows them."""
        m = Module()
        m.submodules.loaded = loaded = RecordSet(self._groups * self._lanes, self._word_bytes, self._multiplier_bits)
        connect(m, flipped(self.load), loaded.load)
        valid = delays(m, self.i_valid, STAGE_A_LATENCY_CYCLES)
        swap = delays(m, self.swap, STAGE_A_LATENCY_CYCLES)
        group = delays(m, self.i_group, _LAST_RECORD_CYCLE)
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
            records = [loaded.records[lane + self._lanes * number] for number in range(self._groups)]
            products.append(self._product(m, valid, swap, held, lane, records, group))
            shifts.append(self._shift(m, swap, held, lane, records, group))
        codes = build_tail(m, valid[3:], products, shifts, limits)
        m.d.comb += [
            self.o_swap.eq(swap[-1]),
            self.o_valid.eq(valid[-1]),
            self.o_meta.eq(meta),
            *(self.o_codes.word_select(lane, 8).eq(code) for lane, code in enumerate(codes)),
        ]
        return m

    def _product(
        self, m: Module, valid: list[Signal], swap: list[Signal], held: Any, lane: int, records: Sequence[Any],
        group: Sequence[Signal],
    ) -> Signal:  # fmt: skip
        """``(sum + bias) · multiplier`` in three steps; what passes is multiplied by one."""
        bits = self._multiplier_bits
        biases = [Mux(self.config.stage_a, record.bias, INT8_LOW) for record in records]
        bias = _copies(m, swap[0], biases, signed(32), group[0], f"bias_{lane}")
        factors = [Mux(held.stage_a, record.multiplier, 1) for record in records]
        multiplier = _copies(m, swap[1], factors, bits, group[1], f"multiplier_{lane}")
        biased = Signal(signed(32), name=f"biased_{lane}", reset_less=True)
        part_low = Signal(_LOW_BITS + bits, name=f"part_low_{lane}", reset_less=True)
        part_high = Signal(signed(32 - _LOW_BITS + bits), name=f"part_high_{lane}", reset_less=True)
        product = Signal(signed(32 + bits), name=f"product_{lane}", reset_less=True)
        with m.If(valid[0]):
            m.d.sync += biased.eq(self.i_sums.word_select(lane, 32).as_signed() + bias)
        with m.If(valid[1]):
            m.d.sync += part_low.eq(biased[:_LOW_BITS] * multiplier), part_high.eq(biased[_LOW_BITS:].as_signed() * multiplier)
        with m.If(valid[2]):
            m.d.sync += product.eq((part_high << _LOW_BITS) + part_low)
        return product

    @staticmethod
    def _shift(
        m: Module, swap: list[Signal], held: Any, lane: int, records: Sequence[Any], group: Sequence[Signal]
    ) -> tuple[Value, Value]:
        coarse = [Mux(held.stage_a, 1 << record.shift[4:], 1) for record in records]
        fine = [Mux(held.stage_a, record.shift[:4], 0) for record in records]
        return (
            _copies(m, swap[3], coarse, COARSE_CHOICES, group[3], f"shift_coarse_{lane}"),
            _copies(m, swap[4], fine, 4, group[_LAST_RECORD_CYCLE], f"shift_fine_{lane}"),
        )


def _copies(m: Module, swap: Signal, values: Sequence[Value], shape: Any, group: Signal, name: str) -> Value:
    """Registers of the groups' ``values``, copied at the swap; that of ``group``."""
    registers = []
    for number, value in enumerate(values):
        registers.append(Signal(shape, name=name if len(values) == 1 else f"{name}_{number}", reset_less=True))
        with m.If(swap):
            m.d.sync += registers[-1].eq(value)
    return Value.cast(Array(registers)[group]) if len(registers) > 1 else registers[0]
