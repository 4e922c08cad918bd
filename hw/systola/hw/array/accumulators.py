"""The accumulators: two halves, added to by the array and read by the drain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from systola.hw.array.accumulator_memory import AccumulatorMemory
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


class Accumulators(Component):
    """Adds each pixel's sums to its word, or replaces it.

    A pixel announced in cycle n − 1 has its word read in cycle n (unless it overwrites), its sums taken from ``sums`` in
    cycle n + 2, and the result written in cycle n + 3: it can be read in cycle n + 4. A word that is added to must have been
    announced 4 cycles before or earlier. Within an instruction the passes, at least ``weight_tile_words`` ≥ 4 cycles apart, see
    to that; an accumulating instruction must not begin with one of the last three pixels of a different shape.

    Members
    -------
    announce : In(1)
    pixel : In, which word, with ``announce``
    sums : In(columns · partial_sum_bits), of the pixel announced 3 cycles ago
    drain : In(AccumulatorReadSignature), served when the array does not read that half in that cycle
    reads : Out(2), words read in this cycle; writes : Out(1), words written
    flows : Out(1), a pixel will be on its way in the next cycle, beside the one announced now
    retire : Out(1), 5 cycles after a pixel with ``last`` was announced
    """

    announce: Signal
    pixel: Any
    sums: Signal
    drain: Any
    reads: Signal
    writes: Signal
    flows: Signal
    retire: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__({
            "announce": In(1),
            "pixel": In(accumulate_layout(params)),
            "sums": In(params.columns * params.partial_sum_bits),
            "drain": In(AccumulatorReadSignature(params)),
            "reads": Out(2),
            "writes": Out(1),
            "flows": Out(1),
            "retire": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Pixel pipeline, memory, the array's and the drain's output registers, the sum."""
        m = Module()
        m.submodules.memory = memory = AccumulatorMemory(self.params)
        stages = self._stages(m)
        reads = self._read(m, memory)
        served = Signal()
        m.d.comb += [
            served.eq(self.drain.valid & self.drain.ready),
            self.reads.eq(reads.any() + served),
            self.flows.eq(Cat(stage for stage, _ in stages[:-1]).any()),
            memory.drain_read.eq(self.drain.valid),
            memory.drain_address.eq(self.drain.address),
        ]
        word = Signal.like(memory.word, reset_less=True)
        live, pixel = stages[1]
        with m.If(live):
            m.d.sync += word.eq(memory.word)
            with m.If(pixel.overwrite):  # cleared, instead of an AND before the sum: that a register does without logic
                m.d.sync += word.eq(0)
        drained = Signal()
        m.d.sync += drained.eq(served)
        with m.If(drained):
            m.d.sync += self.drain.data.eq(memory.drain_word)
        total = Signal.like(memory.total, reset_less=True)
        with m.If(stages[2][0]):
            m.d.sync += total.eq(self._total(word))
        live, pixel = stages[3]
        m.d.comb += [
            memory.write.eq(live),
            memory.write_address.eq(pixel.acc_address),
            memory.total.eq(total),
            self.writes.eq(live),
        ]
        m.d.sync += self.retire.eq(live & pixel.last)
        return m

    def _read(self, m: Module, memory: AccumulatorMemory) -> Signal:
        """The array's read; returns which half is read, from a register of its own: the drain decides by it."""
        reads, half = Signal(2), self.pixel.acc_address[-1]
        m.d.sync += reads.eq((self.announce & ~self.pixel.overwrite) << half)
        address = Signal.like(memory.address, reset_less=True)
        m.d.sync += address.eq(self.pixel.acc_address)
        m.d.comb += [
            self.drain.ready.eq(~Mux(self.drain.address[-1], reads[1], reads[0])),
            memory.read.eq(reads.any()),
            memory.address.eq(address),
        ]
        return reads

    def _stages(self, m: Module) -> list[tuple[Signal, Any]]:
        """The pixels announced 1, 2, 3 and 4 cycles ago."""
        stages: list[tuple[Signal, Any]] = []
        live, pixel = self.announce, self.pixel
        for stage in range(4):
            next_live = Signal(name=f"live_{stage}")
            next_pixel = Signal(accumulate_layout(self.params), name=f"pixel_{stage}", reset_less=True)
            m.d.sync += [next_live.eq(live), next_pixel.eq(pixel)]
            live, pixel = next_live, next_pixel
            stages.append((live, pixel))
        return stages

    def _total(self, word: Value) -> Value:
        """Per column: the word, or the zero in its place, plus the sums."""
        totals = []
        for column in range(self.params.columns):
            old = word.word_select(column, ACCUMULATOR_BITS)
            new = self.sums.word_select(column, self.params.partial_sum_bits).as_signed()
            totals.append((old + new)[:ACCUMULATOR_BITS])
        return Cat(totals)
