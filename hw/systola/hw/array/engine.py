"""The array engine: convolutions and matrix products, one pixel a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from systola.hw.array.accumulators import Accumulators, accumulate_layout
from systola.hw.array.pixels import PixelStream
from systola.hw.array.systolic import SystolicArray
from systola.hw.array.weights import WeightLoader
from systola.hw.interfaces import AccumulatorReadSignature, EngineSignature, ScratchpadReadSignature, asked_bank
from systola.hw.isa import Opcode
from systola.hw.latencies import ARRAY_ENTRY_CYCLES, accumulator_read_cycles
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = ["ArrayEngine"]


class ArrayEngine(Component):
    """Weight loader, pixel stream, systolic array and accumulators. Its delays are in ``systola.hw.latencies``.

    Members
    -------
    control : Out(EngineSignature)
    act, weights : Out(ScratchpadReadSignature)
    acc_read : In(AccumulatorReadSignature), the drain's
    events : Out, in this cycle: ``pixels`` a pixel is issued; ``padding`` it is padding; ``acc_reads`` accumulator words
        read, by array and drain; ``acc_writes`` accumulator words written

    ``weights.valid`` depends on ``act.ready`` in the same cycle, and ``control.instruction.ready`` on ``weights.ready``;
    ``act.valid`` depends on registers alone, so a scratchpad that serves ``act`` before ``weights`` closes no loop.
    """

    control: Any
    act: Any
    weights: Any
    acc_read: Any
    events: Any

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__({
            "control": Out(EngineSignature(Opcode.ARRAY)),
            "act": Out(ScratchpadReadSignature(params)),
            "weights": Out(ScratchpadReadSignature(params)),
            "acc_read": In(AccumulatorReadSignature(params)),
            "events": Out(data.StructLayout({"pixels": 1, "padding": 1, "acc_reads": 2, "acc_writes": 1})),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """An instruction enters loader and stream together; pixels flow from the stream to the accumulators."""
        m = Module()
        m.submodules.loader = loader = WeightLoader(self.params)
        m.submodules.pixels = pixels = PixelStream(self.params)
        m.submodules.systolic = systolic = SystolicArray(self.params)
        m.submodules.accumulators = accumulators = Accumulators(self.params)
        connect(m, loader.weights, flipped(self.weights))
        connect(m, flipped(self.acc_read), accumulators.drain)
        self._dispatch(m, loader, pixels)
        begins = ~pixels.pixel.swap | loader.tile_ready
        m.d.comb += [
            self.act.valid.eq(pixels.valid & begins & ~pixels.pixel.padding),
            self.act.address.eq(pixels.address),
            self.act.request.eq(asked_bank(self.params, self.act.valid, pixels.address)),
            pixels.issue.eq(pixels.valid & begins & (pixels.pixel.padding | self.act.ready)),
            loader.swap.eq(pixels.issue & pixels.pixel.swap),
            loader.lone.eq(pixels.lone),
            loader.final.eq(pixels.final),
            loader.next_final.eq(pixels.next_final),
            systolic.weights.eq(self.weights.data),
            systolic.select.eq(loader.select),
            accumulators.sums.eq(systolic.sums),
        ]
        self._enter(m, pixels, systolic)
        flowing = self._accumulate(m, pixels, accumulators)
        m.d.comb += [
            self.control.retire.eq(accumulators.retire),
            self.control.cycle_class.eq(self._class(pixels, begins, flowing)),
            self.events.pixels.eq(pixels.issue),
            self.events.padding.eq(pixels.issue & pixels.pixel.padding),
            self.events.acc_reads.eq(accumulators.reads),
            self.events.acc_writes.eq(accumulators.writes),
        ]
        return m

    def _dispatch(self, m: Module, loader: WeightLoader, pixels: PixelStream) -> None:
        """An instruction is taken when loader and stream can both take it."""
        instruction = self.control.instruction
        m.d.comb += [
            instruction.ready.eq(loader.instruction.ready & pixels.instruction.ready),
            loader.instruction.valid.eq(instruction.valid & pixels.instruction.ready),
            pixels.instruction.valid.eq(instruction.valid & loader.instruction.ready),
            loader.instruction.payload.eq(instruction.payload),
            pixels.instruction.payload.eq(instruction.payload),
        ]

    def _enter(self, m: Module, pixels: PixelStream, systolic: SystolicArray) -> None:
        """An issued pixel meets its activations, of its row group, at the array's entry; padding replaces them."""
        pixel = pixels.pixel
        issued, swap, padding, group, pad_value = (
            _delayed(m, value, ARRAY_ENTRY_CYCLES, name)
            for value, name in (
                (pixels.issue, "issued"),
                (pixels.issue & pixel.swap, "swap"),
                (pixel.padding, "padding"),
                (pixel.group, "group"),
                (pixel.pad_value, "pad_value"),
            )
        )
        rows = self.params.rows
        activations = self.act.data.word_select(group, 8 * rows) if self.params.row_groups > 1 else self.act.data
        m.d.comb += [
            systolic.enter.eq(issued),
            systolic.swap.eq(swap),
            systolic.activations.eq(Mux(padding, pad_value.replicate(rows), activations)),
        ]

    def _accumulate(self, m: Module, pixels: PixelStream, accumulators: Accumulators) -> Value:
        """What becomes of a pixel's sums waits as long as the pixel flows; returns whether a pixel is on its way."""
        layout = accumulate_layout(self.params)
        cycles = accumulator_read_cycles(self.params) - 1
        announced, flowing = Signal(cycles), Signal()
        m.d.sync += [
            announced.eq(Cat(pixels.issue, announced)),
            flowing.eq(pixels.issue | announced.any() | accumulators.flows),
        ]
        wanted = Cat(pixels.pixel[name] for name in layout.members)
        m.d.comb += [
            accumulators.announce.eq(announced[-1]),
            accumulators.pixel.eq(_delayed(m, wanted, cycles, "wanted")),
        ]
        return flowing

    def _class(self, pixels: PixelStream, begins: Value, flowing: Value) -> Value:
        at_hand = Mux(pixels.issue, CycleClass.BUSY, Mux(begins, CycleClass.BANK, CycleClass.WEIGHTS))
        otherwise = Mux(pixels.waiting, CycleClass.SETUP, Mux(flowing, CycleClass.FLUSH, CycleClass.IDLE))
        return Mux(pixels.valid, at_hand, otherwise)


def _delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """A value after ``cycles`` cycles, in one wide shift register."""
    width = len(value)
    line = Signal(width * cycles, name=f"{name}_line")
    m.d.sync += line.eq(Cat(value, line))
    return line[-width:]
