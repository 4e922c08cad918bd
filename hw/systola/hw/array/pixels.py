"""The pixel stream: walks an instruction's loops and issues a pixel a cycle."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Opcode
from systola.hw.loops import LoopLevel, LoopNest, LoopTrack
from systola.hw.params import Params

__all__ = ["POSITION_BITS", "PixelStream", "pixel_layout"]

POSITION_BITS = 18
"""Bits of a signed input position: origin, limit, kernel and dilation at their largest stay within it."""

_LEVELS = [LoopLevel(n, b) for n, b in (("n", 16), ("ky", 8), ("kx", 8), ("kb", 16), ("y", 16), ("x", 16))]

_PASSES = ("n", "ky", "kx", "kb")
"""The loops whose steps are passes, each with a weight tile."""


def pixel_layout(params: Params) -> data.StructLayout:
    """What travels with a pixel: where its activations come from, and what becomes of its sums."""
    return data.StructLayout({
        "padding": 1,
        "group": max(1, (params.row_groups - 1).bit_length()),
        "pad_value": 8,
        "swap": 1,
        "acc_address": params.accumulator_address_bits,
        "overwrite": 1,
        "last": 1,
    })


class PixelStream(Component):
    """Issues the pixels of an instruction in order, then those of the next, without a bubble.

    Members
    -------
    instruction : In(stream), one is held while the one before is walked
    pixel : Out, the pixel at hand; valid with ``valid``
    address : Out, scratchpad word of its activations, unless it is padding
    valid : Out(1)
    issue : In(1), the pixel is issued in this cycle; only with ``valid``
    waiting : Out(1), an instruction is held or walked, though no pixel is at hand
    lone : Out(1), the instruction that is held has one pass; valid in the cycle after it was taken
    final : Out(1), the pixel at hand is of the last pass of its instruction
    next_final : Out(1), the pass that follows it in its instruction, if one does, is the last
    """

    instruction: Any
    pixel: Any
    address: Signal
    valid: Signal
    issue: Signal
    waiting: Signal
    lone: Signal
    final: Signal
    next_final: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(Opcode.ARRAY)))),
            "pixel": Out(pixel_layout(params)),
            "address": Out(params.scratchpad_address_bits),
            "valid": Out(1),
            "issue": In(1),
            "waiting": Out(1),
            "lone": Out(1),
            "final": Out(1),
            "next_final": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Held instruction, nest, and the register of the pixel at hand."""
        m = Module()
        m.submodules.nest = nest = self._nest()
        held: Any = Signal(instruction_layout(Opcode.ARRAY), reset_less=True)
        holding = Signal()
        walked: Any = Signal(self._walked_layout(), reset_less=True)  # fields of the instruction that the nest walks
        m.d.comb += [
            self.instruction.ready.eq(~holding),
            nest.advance.eq(nest.active & (~self.valid | self.issue)),
            nest.load.eq(holding & (~nest.active | (nest.advance & nest.done))),
            self.waiting.eq(~self.valid & (holding | nest.active)),
            self.lone.eq(Cat(held[f"count_{name}"] == 1 for name in _PASSES).all()),
        ]
        self._start(m, nest, held)
        with m.If(~holding):  # whether or not it is offered: ``valid`` comes late, to enable so many registers
            m.d.sync += [held.eq(self.instruction.payload), holding.eq(self.instruction.valid)]
        with m.Elif(nest.load):
            m.d.sync += holding.eq(0)
        with m.If(nest.load):
            m.d.sync += [walked[name].eq(held[name]) for name in walked.shape().members]
        offset, group = self._channel_block(m, nest, walked)
        acc_address = self._acc_address(m, nest, held)
        final, next_final = self._finals(nest)
        with m.If(nest.advance):
            m.d.sync += [
                self.valid.eq(1),
                self.address.eq(nest.values.address + offset),
                self.pixel.padding.eq(~self._inside(nest, walked)),
                self.pixel.group.eq(group),
                self.pixel.pad_value.eq(walked.pad_value),
                self.pixel.swap.eq(nest.first.y & nest.first.x),
                self.pixel.acc_address.eq(acc_address),
                self.pixel.overwrite.eq(nest.first.ky & nest.first.kx & nest.first.kb & ~walked.accumulate),
                self.pixel.last.eq(nest.done),
                self.final.eq(final),
                self.next_final.eq(next_final),
            ]
        with m.Elif(self.issue):
            m.d.sync += self.valid.eq(0)
        return m

    def _nest(self) -> LoopNest:
        address = {"ky": 24, "kx": 24, "y": 24, "x": 16}
        return LoopNest(
            _LEVELS,
            [
                LoopTrack("address", self.params.scratchpad_address_bits, address),
                LoopTrack("iy", POSITION_BITS, {"ky": 9, "y": 9}),
                LoopTrack("ix", POSITION_BITS, {"kx": 9, "x": 9}),
            ],
        )

    def _start(self, m: Module, nest: LoopNest, fields: Any) -> None:
        """The nest's counts, bases and strides from the held instruction."""
        m.d.comb += [nest.counts[level.name].eq(fields[f"count_{level.name}"]) for level in _LEVELS]
        m.d.comb += [nest.strides.address[name].eq(fields[f"stride_{name}"]) for name in ("ky", "kx", "y", "x")]
        m.d.comb += [
            nest.bases.address.eq(fields.act_address),
            nest.bases.iy.eq(fields.origin_y),
            nest.bases.ix.eq(fields.origin_x),
            nest.strides.iy.y.eq(fields.step_y),
            nest.strides.iy.ky.eq(fields.dilation_y),
            nest.strides.ix.x.eq(fields.step_x),
            nest.strides.ix.kx.eq(fields.dilation_x),
        ]

    def _finals(self, nest: LoopNest) -> tuple[Value, Value]:
        """Whether the loops of passes are at their last, and whether they will be after their next step: then one loop grows to
        its last, those around it stay at theirs, and those within begin again at their only one."""
        last: Value = Const(1, 1)
        next_last: Value = Const(0, 1)
        for name in _PASSES:
            next_last = (next_last & nest.single[name]) | (last & nest.near[name])
            last = last & nest.last[name]
        return last, next_last

    def _walked_layout(self) -> data.StructLayout:
        fields = instruction_layout(Opcode.ARRAY)
        names = ("stride_kb", "limit_y", "limit_x", "pad_value", "accumulate")
        return data.StructLayout({name: fields.members[name] for name in names})

    def _inside(self, nest: LoopNest, walked: Any) -> Value:
        """The position is in the tile: as an unsigned number, a negative one is beyond every limit."""
        return (nest.values.iy < walked.limit_y) & (nest.values.ix < walked.limit_x)

    def _channel_block(self, m: Module, nest: LoopNest, walked: Any) -> tuple[Value, Value]:
        """Address offset and row group of the block of input channels: the offset grows after the word's last group."""
        offset = Signal(self.params.scratchpad_address_bits)
        groups = self.params.row_groups
        group = Signal(range(groups)) if groups > 1 else Const(0, 1)
        last_group = group == groups - 1
        with m.If(nest.load):
            m.d.sync += offset.eq(0)
            if groups > 1:
                m.d.sync += group.eq(0)
        with m.Elif(nest.advance & nest.last.y & nest.last.x):
            if groups > 1:
                m.d.sync += group.eq(group + 1)
            with m.If(nest.last.kb):
                m.d.sync += offset.eq(0)
                if groups > 1:
                    m.d.sync += group.eq(0)
            with m.Elif(last_group):
                m.d.sync += offset.eq(offset + walked.stride_kb)
        return offset, group

    def _acc_address(self, m: Module, nest: LoopNest, held: Any) -> Value:
        """Counts pixels; each pass of a block of output channels starts again at the block's first."""
        address = Signal(self.params.accumulator_address_bits, name="acc_address")
        block = Signal.like(address, name="acc_block")
        pass_ends = nest.last.y & nest.last.x
        block_ends = Cat(pass_ends, nest.last.kb, nest.last.kx, nest.last.ky).all()
        with m.If(nest.load):
            m.d.sync += [address.eq(held.acc_address), block.eq(held.acc_address)]
        with m.Elif(nest.advance):
            m.d.sync += address.eq(address + 1)
            with m.If(block_ends):
                m.d.sync += block.eq(address + 1)
            with m.Elif(pass_ends):
                m.d.sync += address.eq(block)
        return address
