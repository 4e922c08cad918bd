"""The accumulators: two halves, added to by the array and read by the drain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from systola.hw.interfaces import AccumulatorReadSignature
from systola.hw.numerics import ACCUMULATOR_BITS
from systola.hw.params import Params

__all__ = ["Accumulators", "accumulate_layout"]


def accumulate_layout(params: Params) -> data.StructLayout:
    """What the array asks of the accumulators for a pixel."""
    return data.StructLayout({
        "acc_address": params.accumulator_address_bits,
        "overwrite": 1,
        "last": 1,
    })


_ATTRIBUTES = {"no_rw_check": 1}
"""No word is read in the cycle in which it is written: block memory then needs no logic to read what was there before."""


class Accumulators(Component):
    """Adds each pixel's sums to its word, or replaces it.

    A pixel asked for in cycle n has its word read in cycle n (unless it overwrites), its sums taken from ``sums`` in
    cycle n + 2, and the result written in cycle n + 3: it can be read in cycle n + 4. A word that is added to must have been
    asked for 4 cycles before or earlier. Within an instruction the passes, at least ``weight_tile_words`` ≥ 4 cycles apart, see
    to that; an accumulating instruction must not begin with one of the last three pixels of a different shape.

    Members
    -------
    ask : In(1)
    pixel : In, which word, with ``ask``
    sums : In(columns · partial_sum_bits), of the pixel asked for 2 cycles ago
    drain : In(AccumulatorReadSignature), served when the array does not read that half in that cycle
    reads : Out(2), words read in this cycle; writes : Out(1), words written
    busy : Out(1), a pixel is on its way
    retire : Out(1), 4 cycles after a pixel with ``last``
    """

    ask: Signal
    pixel: Any
    sums: Signal
    drain: Any
    reads: Signal
    writes: Signal
    busy: Signal
    retire: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__({
            "ask": In(1),
            "pixel": In(accumulate_layout(params)),
            "sums": In(params.columns * params.partial_sum_bits),
            "drain": In(AccumulatorReadSignature(params)),
            "reads": Out(2),
            "writes": Out(1),
            "busy": Out(1),
            "retire": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Pixel pipeline, the two halves, the array's and the drain's output registers, the sum."""
        m = Module()
        stages = self._stages(m)
        words, total = self._halves(m, stages)
        array_reads = self.ask & ~self.pixel.overwrite
        half, drain_half = self.pixel.acc_address[-1], self.drain.address[-1]
        served = self.drain.valid & self.drain.ready
        m.d.comb += [
            self.drain.ready.eq(~(array_reads & (half == drain_half))),
            self.reads.eq(array_reads + served),
        ]
        array_word = Signal.like(words[0], name="array_word", reset_less=True)
        live, pixel = stages[0]
        with m.If(live):
            m.d.sync += array_word.eq(Mux(pixel.acc_address[-1], words[1], words[0]))
            with m.If(pixel.overwrite):  # cleared, instead of an AND before the sum: that a register does without logic
                m.d.sync += array_word.eq(0)
        drained, drained_half = Signal(), Signal()
        m.d.sync += drained.eq(served)
        with m.If(served):
            m.d.sync += drained_half.eq(drain_half)
        with m.If(drained):
            m.d.sync += self.drain.data.eq(Mux(drained_half, words[1], words[0]))
        with m.If(stages[1][0]):
            m.d.sync += total.eq(self._total(array_word))
        m.d.comb += self.busy.eq(self.ask | Cat(stage for stage, _ in stages).any())
        live, pixel = stages[2]
        m.d.comb += self.writes.eq(live)
        m.d.sync += self.retire.eq(live & pixel.last)
        return m

    def _stages(self, m: Module) -> list[tuple[Signal, Any]]:
        """The pixels asked for 1, 2 and 3 cycles ago."""
        stages: list[tuple[Signal, Any]] = []
        live, pixel = self.ask, self.pixel
        for stage in range(1, 4):
            next_live = Signal(name=f"live_{stage}")
            next_pixel = Signal(accumulate_layout(self.params), name=f"pixel_{stage}", reset_less=True)
            m.d.sync += [next_live.eq(live), next_pixel.eq(pixel)]
            live, pixel = next_live, next_pixel
            stages.append((live, pixel))
        return stages

    def _halves(self, m: Module, stages: list[tuple[Signal, Any]]) -> tuple[list[Value], Signal]:
        """Both memories; the array's address wins on the read port of the half it reads. Their words, and what is written."""
        bits = ACCUMULATOR_BITS * self.params.columns
        total = Signal(bits, reset_less=True)
        live, written = stages[2]
        words: list[Value] = []
        for half in range(2):
            memory = Memory(shape=bits, depth=self.params.accumulator_half_words, init=[], attrs=_ATTRIBUTES)
            m.submodules[f"half_{half}"] = memory
            read, write = memory.read_port(), memory.write_port()
            by_array = self.ask & ~self.pixel.overwrite & (self.pixel.acc_address[-1] == half)
            by_drain = self.drain.valid & (self.drain.address[-1] == half)
            m.d.comb += [
                read.en.eq(by_array | by_drain),
                read.addr.eq(Mux(by_array, self.pixel.acc_address[:-1], self.drain.address[:-1])),
                write.en.eq(live & (written.acc_address[-1] == half)),
                write.addr.eq(written.acc_address[:-1]),
                write.data.eq(total),
            ]
            words.append(read.data)
        return words, total

    def _total(self, word: Value) -> Value:
        """Per column: the word, or the zero in its place, plus the sums."""
        totals = []
        for column in range(self.params.columns):
            old = word.word_select(column, ACCUMULATOR_BITS)
            new = self.sums.word_select(column, self.params.partial_sum_bits).as_signed()
            totals.append((old + new)[:ACCUMULATOR_BITS])
        return Cat(totals)
