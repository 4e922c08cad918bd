"""The store engine: scratchpad → DRAM."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from systola.hw.dma.bursts import BurstSplitter
from systola.hw.dma.load import RowFork, piece_layout
from systola.hw.dma.packing import Pack, placed_word_layout
from systola.hw.dma.ports import WritePortSignature
from systola.hw.dma.queue import Queue
from systola.hw.dma.rows import RowWalker
from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES, EngineSignature, ScratchpadReadSignature, asked_bank
from systola.hw.isa import Opcode
from systola.hw.latencies import STORE_WORD_QUEUE_DEPTH
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = ["FIRST_BEAT_LATENCY_CYCLES", "StoreEngine", "WordReader"]

FIRST_BEAT_LATENCY_CYCLES = 8
"""An instruction taken in cycle n has its first beat on the engine's port in cycle n + 8, where a word fills a beat and
nothing blocks: rows 2, queue 2, scratchpad and word queue 4. Its first burst is there in cycle n + 3."""


class WordReader(wiring.Component):
    """Reads the words of rows from the scratchpad, one a cycle.

    ``pieces``: the rows; one is taken while the last word of the one before is accepted. ``read``: to the scratchpad; a word
    is asked for only if there is a place for it. ``words``: valid 4 cycles after the request was accepted, or later.
    ``active``: a row is in hand; ``in_flight``: words are asked for and not yet handed on.
    """

    pieces: Any
    read: Any
    words: Any
    active: Any
    in_flight: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "pieces": In(stream.Signature(cast("Any", piece_layout(params)))),
            "read": Out(ScratchpadReadSignature(params)),
            "words": Out(stream.Signature(cast("Any", placed_word_layout(params)))),
            "active": Out(1),
            "in_flight": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Address and counter of the row; places; the word's companions delayed as long as the word."""
        m = Module()
        layout = placed_word_layout(self._params)
        m.submodules.queue = queue = Queue(layout.size, STORE_WORD_QUEUE_DEPTH)
        used = Signal(range(STORE_WORD_QUEUE_DEPTH + 1))
        accept, free = Signal(), Signal()
        m.d.comb += [
            free.eq(used != STORE_WORD_QUEUE_DEPTH),
            self.read.valid.eq(self.active & free),
            self.read.request.eq(asked_bank(self._params, self.read.valid, self.read.address)),
            accept.eq(self.read.valid & self.read.ready),
            self.words.valid.eq(queue.o.valid),
            self.words.payload.as_value().eq(queue.o.payload),
            queue.o.ready.eq(self.words.ready),
            self.in_flight.eq(used != 0),
        ]
        m.d.sync += used.eq(used + accept - (self.words.valid & self.words.ready))
        position, final = self._walk(m, accept)
        arrived, place, end = _delay(m, SCRATCHPAD_READ_LATENCY_CYCLES, accept, position, final)
        word = data.View(layout, queue.i.payload)
        m.d.comb += [
            queue.i.valid.eq(arrived),
            word.data.eq(self.read.data),
            word.position.eq(place),
            word.final.eq(end),
        ]
        return m

    def _walk(self, m: Module, accept: Signal) -> tuple[Signal, Signal]:
        """The position in its beat of the word asked for, and whether it is the last of its row."""
        piece = self.pieces.payload
        left, final = Signal(16), Signal()
        position = Signal.like(piece.position)
        m.d.comb += self.pieces.ready.eq(~self.active | (accept & final))
        with m.If(self.pieces.ready):
            m.d.sync += self.active.eq(self.pieces.valid)
        with m.If(self.pieces.ready & self.pieces.valid):
            m.d.sync += [
                self.read.address.eq(piece.sp_address),
                left.eq(piece.words_minus_one),
                final.eq(piece.words_minus_one == 0),
                position.eq(piece.position),
            ]
        with m.Elif(accept):
            m.d.sync += [
                self.read.address.eq(self.read.address + 1),
                left.eq(left - 1),
                final.eq(left == 1),
                position.eq(position + 1),
            ]
        return position, final


def _delay(m: Module, cycles: int, strobe: Signal, *values: Signal) -> list[Signal]:
    """``strobe`` and ``values`` so many cycles later; the values are held where the strobe is 0."""
    now = [strobe, *values]
    for _ in range(cycles):
        later = [Signal.like(value) for value in now]
        m.d.sync += later[0].eq(now[0])
        with m.If(now[0]):
            m.d.sync += [b.eq(a) for a, b in zip(now[1:], later[1:], strict=True)]
        now = later
    return now


class StoreEngine(wiring.Component):
    """Runs STORE instructions.

    ``control``: to the front end. ``read``: to the scratchpad. ``bus``: bursts, made as far ahead as the guard takes them
    (``write_outstanding``) or as the queue of ``write_outstanding`` rows has room, also for following instructions; their
    beats; their acknowledgements. The words of a burst's beats wait for nothing but the scratchpad. An instruction is retired
    in the cycle in which its last burst is acknowledged. Counts of an instruction are 1 or more.
    """

    control: Any
    read: Any
    bus: Any
    dram_base: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "control": Out(EngineSignature(Opcode.STORE)),
            "read": Out(ScratchpadReadSignature(params)),
            "bus": Out(WritePortSignature(params)),
            "dram_base": In(params.config.bus.address_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Instruction → rows → bursts; rows → words → beats."""
        m = Module()
        params = self._params
        bus = params.config.bus
        m.submodules.walker = walker = RowWalker(params, Opcode.STORE)
        m.submodules.fork = fork = RowFork(params, bus.write_outstanding)
        m.submodules.splitter = splitter = BurstSplitter(params, params.lanes, 16, bus.burst_beats)
        m.submodules.reader = reader = WordReader(params)
        m.submodules.pack = pack = Pack(params)
        wiring.connect(m, wiring.flipped(self.control.instruction), walker.instruction)
        wiring.connect(m, walker.rows, fork.rows)
        wiring.connect(m, splitter.bursts, wiring.flipped(self.bus.request))
        wiring.connect(m, fork.pieces, reader.pieces)
        wiring.connect(m, reader.read, wiring.flipped(self.read))
        wiring.connect(m, reader.words, pack.words)
        wiring.connect(m, pack.beats, wiring.flipped(self.bus.beats))
        row = fork.bursts_of.payload
        m.d.comb += [
            walker.dram_base.eq(self.dram_base),
            splitter.rows.valid.eq(fork.bursts_of.valid),
            fork.bursts_of.ready.eq(splitter.rows.ready),
            splitter.rows.payload.as_value().eq(Cat(row.address, row.words_minus_one, row.last)),
            self.control.retire.eq(self.bus.acknowledged_last),
        ]
        self._classify(m, reader)
        return m

    def _classify(self, m: Module, reader: WordReader) -> None:
        """From the number of instructions in hand and what the data side does."""
        # An instruction in hand has a row in walker, splitter or queue, or a burst not acknowledged.
        in_hand = Signal(range(2 * self._params.config.bus.write_outstanding + 4))
        waits = Signal()  # some burst was requested, so there is something to wait for
        taken = self.control.instruction.valid & self.control.instruction.ready
        m.d.sync += in_hand.eq(in_hand + taken - self.control.retire)
        with m.If(self.bus.request.valid & self.bus.request.ready):
            m.d.sync += waits.eq(1)
        with m.Elif(in_hand == 0):
            m.d.sync += waits.eq(0)
        kind = self.control.cycle_class
        reads = self.read.valid & self.read.ready
        sends = self.bus.beats.valid & self.bus.beats.ready
        with m.If(reads | sends):
            m.d.comb += kind.eq(CycleClass.BUSY)
        with m.Elif(self.read.valid):
            m.d.comb += kind.eq(CycleClass.BANK)
        with m.Elif(in_hand == 0):
            m.d.comb += kind.eq(CycleClass.IDLE)
        with m.Elif(self.bus.beats.valid):
            m.d.comb += kind.eq(CycleClass.DRAM_LATENCY)
        with m.Elif(reader.in_flight):
            m.d.comb += kind.eq(CycleClass.FLUSH)
        with m.Elif(~waits):
            m.d.comb += kind.eq(CycleClass.SETUP)
        with m.Else():
            m.d.comb += kind.eq(CycleClass.DRAM_LATENCY)
