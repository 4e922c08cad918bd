"""The load engine: DRAM → scratchpad."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.dma.bursts import BurstSplitter
from systola.hw.dma.packing import Unpack
from systola.hw.dma.ports import ReadPortSignature, positions, row_layout
from systola.hw.dma.queue import Queue
from systola.hw.dma.rows import RowWalker
from systola.hw.interfaces import EngineSignature, ScratchpadWriteSignature, asked_bank
from systola.hw.isa import Opcode
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = ["REQUEST_LATENCY_CYCLES", "LoadEngine", "RowFork", "piece_layout"]

REQUEST_LATENCY_CYCLES = 3
"""An instruction taken in cycle n has its first burst on the engine's request port in cycle n + 3."""


def piece_layout(params: Params) -> data.StructLayout:
    """A row as the data side needs it; ``position`` is that of its first word in its beat."""
    return data.StructLayout({
        "sp_address": params.scratchpad_address_bits,
        "words_minus_one": 16,
        "position": range(positions(params.bus_bytes, params.lanes)),
        "last": 1,
    })


class RowFork(wiring.Component):
    """Hands each row to the burst maker, and through a queue of ``depth`` to the data side, which works on it later.

    ``pieces``: from the cycle after the row was taken.
    """

    rows: Any
    bursts_of: Any
    pieces: Any

    def __init__(self, params: Params, depth: int) -> None:
        self._params = params
        self._depth = depth
        super().__init__({
            "rows": In(stream.Signature(cast("Any", row_layout(params)))),
            "bursts_of": Out(stream.Signature(cast("Any", row_layout(params)))),
            "pieces": Out(stream.Signature(cast("Any", piece_layout(params)))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Both sides take the row in the same cycle."""
        m = Module()
        layout = piece_layout(self._params)
        m.submodules.queue = queue = Queue(layout.size, self._depth)
        row = self.rows.payload
        word, beat = exact_log2(self._params.lanes), exact_log2(self._params.bus_bytes)
        piece = data.View(layout, queue.i.payload)
        m.d.comb += [
            self.bursts_of.payload.eq(row),
            self.bursts_of.valid.eq(self.rows.valid & queue.i.ready),
            self.rows.ready.eq(self.bursts_of.ready & queue.i.ready),
            queue.i.valid.eq(self.rows.valid & self.bursts_of.ready),
            piece.sp_address.eq(row.sp_address),
            piece.words_minus_one.eq(row.words_minus_one),
            piece.position.eq(row.address[word:beat] if beat > word else 0),
            piece.last.eq(row.last),
            self.pieces.payload.as_value().eq(queue.o.payload),
            self.pieces.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.pieces.ready),
        ]
        return m


class LoadEngine(wiring.Component):
    """Runs LOAD instructions.

    ``control``: to the front end. ``read``: bursts, made as far ahead as the guard takes them (``read_outstanding``) or as the
    queue of ``read_outstanding`` rows has room, also for following instructions; their beats. ``write``: a word in the
    cycle in which its (last) beat is offered. ``dram_base``: constant while a program runs. An instruction is retired in the
    cycle after its last word was accepted. Counts of an instruction are 1 or more.
    """

    control: Any
    read: Any
    write: Any
    dram_base: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "control": Out(EngineSignature(Opcode.LOAD)),
            "read": Out(ReadPortSignature(params)),
            "write": Out(ScratchpadWriteSignature(params)),
            "dram_base": In(params.config.bus.address_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Instruction → rows → bursts; rows and beats → words."""
        m = Module()
        params = self._params
        bus = params.config.bus
        m.submodules.walker = walker = RowWalker(params, Opcode.LOAD)
        m.submodules.fork = fork = RowFork(params, bus.read_outstanding)
        m.submodules.splitter = splitter = BurstSplitter(params, params.lanes, 16, bus.burst_beats)
        m.submodules.unpack = unpack = Unpack(params.bus_bytes, params.lanes, 16)
        wiring.connect(m, wiring.flipped(self.control.instruction), walker.instruction)
        wiring.connect(m, walker.rows, fork.rows)
        wiring.connect(m, splitter.bursts, wiring.flipped(self.read.request))
        wiring.connect(m, wiring.flipped(self.read.beats), unpack.beats)
        row = fork.bursts_of.payload
        m.d.comb += [
            walker.dram_base.eq(self.dram_base),
            splitter.rows.valid.eq(fork.bursts_of.valid),
            fork.bursts_of.ready.eq(splitter.rows.ready),
            splitter.rows.payload.as_value().eq(Cat(row.address, row.words_minus_one, row.last)),
        ]
        self._write(m, fork, unpack)
        self._classify(m, walker.busy | fork.pieces.valid, unpack)
        return m

    def _write(self, m: Module, fork: RowFork, unpack: Unpack) -> None:
        """Words go out as they come; the address and the end of the instruction follow."""
        address, last, accept = Signal(self._params.scratchpad_address_bits), Signal(), Signal()
        piece = fork.pieces.payload
        m.d.comb += [
            unpack.rows.valid.eq(fork.pieces.valid),
            fork.pieces.ready.eq(unpack.rows.ready),
            unpack.rows.payload.words_minus_one.eq(piece.words_minus_one),
            unpack.rows.payload.position.eq(piece.position),
            self.write.valid.eq(unpack.words.valid),
            self.write.address.eq(address),
            self.write.request.eq(asked_bank(self._params, self.write.valid, address)),
            self.write.data.eq(unpack.words.payload.data),
            self.write.mask.eq(Const(-1, self._params.column_groups)),
            unpack.words.ready.eq(self.write.ready),
            accept.eq(self.write.valid & self.write.ready),
        ]
        with m.If(fork.pieces.valid & fork.pieces.ready):
            m.d.sync += [address.eq(piece.sp_address), last.eq(piece.last)]
        with m.Elif(accept):
            m.d.sync += address.eq(address + 1)
        m.d.sync += self.control.retire.eq(accept & unpack.words.payload.final & last)

    def _classify(self, m: Module, starting: Any, unpack: Unpack) -> None:
        """A beat that does not complete a word is BUSY too."""
        kind = self.control.cycle_class
        with m.If(self.write.valid & ~self.write.ready):
            m.d.comb += kind.eq(CycleClass.BANK)
        with m.Elif(unpack.beats.valid & unpack.active):
            m.d.comb += kind.eq(CycleClass.BUSY)
        with m.Elif(unpack.active):
            m.d.comb += kind.eq(CycleClass.DRAM_LATENCY)
        with m.Elif(starting):
            m.d.comb += kind.eq(CycleClass.SETUP)
        with m.Else():
            m.d.comb += kind.eq(CycleClass.IDLE)
