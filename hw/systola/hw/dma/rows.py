"""From a transfer instruction to its rows, one a cycle."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from systola.hw.dma.ports import row_layout
from systola.hw.dma.slices import Skid
from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Opcode
from systola.hw.loops import LoopLevel, LoopNest, LoopTrack
from systola.hw.params import Params

__all__ = ["RowWalker"]


class RowWalker(wiring.Component):
    """Walks planes and rows of LOAD or STORE instructions.

    ``instruction``: taken while the last row of the one before is handed on, so rows follow each other without a gap.
    ``rows``: the rows, the first of them valid 2 cycles after the instruction was taken. DRAM offsets are taken modulo
    2**32, then ``dram_base`` is added. ``busy``: rows of a taken instruction have not been handed on yet.
    """

    instruction: Any
    dram_base: Any
    rows: Any
    busy: Any

    def __init__(self, params: Params, opcode: Opcode) -> None:
        self._params = params
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(opcode)))),
            "dram_base": In(params.config.bus.address_bits),
            "rows": Out(stream.Signature(cast("Any", row_layout(params)))),
            "busy": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Loop nest over offsets, then a stage in which the base is added."""
        m = Module()
        m.submodules.stage = stage = Skid(row_layout(self._params))
        m.submodules.nest = nest = LoopNest(
            [LoopLevel("z", 16), LoopLevel("y", 16)],
            [
                LoopTrack("dram", 32, {"z": 32, "y": 32}),
                LoopTrack("sp", self._params.scratchpad_address_bits, {"z": 24, "y": 24}),
            ],
        )
        words = Signal(16)
        self._start(m, nest, words)
        wiring.connect(m, stage.o, wiring.flipped(self.rows))
        row = stage.i.payload
        m.d.comb += [
            stage.i.valid.eq(nest.active),
            nest.advance.eq(nest.active & stage.i.ready),
            self.instruction.ready.eq(~nest.active | (nest.done & stage.i.ready)),
            self.busy.eq(nest.active | self.rows.valid),
            row.address.eq(self.dram_base + nest.values.dram),
            row.sp_address.eq(nest.values.sp),
            row.words_minus_one.eq(words),
            row.last.eq(nest.done),
        ]
        return m

    def _start(self, m: Module, nest: LoopNest, words: Signal) -> None:
        """Hands the fields of the next instruction to the nest."""
        fields = self.instruction.payload
        m.d.comb += [
            nest.load.eq(self.instruction.valid & self.instruction.ready),
            nest.counts.z.eq(fields.count_z),
            nest.counts.y.eq(fields.count_y),
            nest.bases.dram.eq(fields.dram_address),
            nest.bases.sp.eq(fields.sp_address),
            nest.strides.dram.z.eq(fields.dram_stride_z),
            nest.strides.dram.y.eq(fields.dram_stride_y),
            nest.strides.sp.z.eq(fields.sp_stride_z),
            nest.strides.sp.y.eq(fields.sp_stride_y),
        ]
        with m.If(nest.load):
            m.d.sync += words.eq(fields.count_x - 1)
