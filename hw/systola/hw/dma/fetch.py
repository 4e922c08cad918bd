"""Instruction fetch: reads the program and hands each instruction to its engine's queue."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.dma.bursts import BurstSplitter
from systola.hw.dma.packing import Unpack
from systola.hw.dma.ports import ReadPortSignature
from systola.hw.dma.slices import Skid
from systola.hw.interfaces import instruction_layout
from systola.hw.isa import ENGINES, UNIT_BYTES, Opcode, instruction_units
from systola.hw.params import Params

__all__ = ["BUFFER_BYTES", "BURST_BYTES", "WORD_BYTES", "Dispatch", "Fetch"]

WORD_BYTES = 16
"""Instructions travel to the queues in words of this size, lowest first: UNIT_BYTES / 16 of them a unit."""

BUFFER_BYTES = 1024
"""Bytes read ahead: with a memory latency of 100 cycles, a 64-byte instruction every 8 cycles."""

BURST_BYTES = 256
"""Longest burst, unless ``burst_beats`` is less: short, so that a load never waits long behind it."""

_WORDS_BITS = 28
_WORDS_PER_UNIT = UNIT_BYTES // WORD_BYTES


def _destinations() -> dict[str, Any]:
    return {
        "queues": Out(stream.Signature(unsigned(8 * WORD_BYTES))).array(len(ENGINES)),
        "end_valid": Out(1),
        "end": Out(instruction_layout(Opcode.END)),
        "illegal": Out(1),
        "illegal_offset": Out(32),
    }


class Dispatch(wiring.Component):
    """Sends the words of each instruction to the queue that its opcode names.

    ``words``: the program, in order. ``queues``: one per engine; a word leaves a cycle after it was taken, or when the queue
    has room. ``end_valid``: END was reached; ``end`` holds it; nothing more is taken. ``illegal``: 1 for one cycle when a unit
    begins with an opcode that does not exist, or the program's ``final`` word was not that of an END; ``illegal_offset``: the
    byte offset of that unit, or of the program's end; nothing more is taken.
    """

    words: Any
    final: Any
    queues: Any
    end_valid: Any
    end: Any
    illegal: Any
    illegal_offset: Any

    def __init__(self) -> None:
        super().__init__({"words": In(stream.Signature(unsigned(8 * WORD_BYTES))), "final": In(1), **_destinations()})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A register for the word with its destination, one bit per engine; zero: none."""
        m = Module()
        word = Signal(8 * WORD_BYTES)
        target = Signal(len(ENGINES))  # where the instruction goes
        waiting = Signal(len(ENGINES))  # where the word in the register still has to go
        left = Signal(range(3 * _WORDS_PER_UNIT))  # words of the instruction to come
        offset = Signal(_WORDS_BITS)
        halted, take = Signal(), Signal()
        sent = Signal()
        for engine, queue in enumerate(self.queues):
            m.d.comb += [queue.payload.eq(word), queue.valid.eq(waiting[engine])]
        m.d.comb += [
            sent.eq((waiting & Cat(*(queue.ready for queue in self.queues))).any()),
            self.words.ready.eq(~halted & (~waiting.any() | sent)),
            take.eq(self.words.valid & self.words.ready),
        ]
        m.d.sync += self.illegal.eq(0)
        with m.If(sent):
            m.d.sync += waiting.eq(0)
        with m.If(take):
            m.d.sync += [word.eq(self.words.payload), offset.eq(offset + 1), left.eq(left - 1), waiting.eq(target)]
            with m.If(self.final):
                m.d.sync += [halted.eq(1), self.illegal.eq(1), self.illegal_offset[exact_log2(WORD_BYTES) :].eq(offset + 1)]
            with m.If(left == 0):
                self._begin(m, target, waiting, left, halted, offset)
        return m

    def _begin(self, m: Module, target: Signal, waiting: Signal, left: Signal, halted: Signal, offset: Signal) -> None:
        """What the first word of an instruction says."""
        with m.Switch(self.words.payload[:4]):
            for opcode in Opcode:
                with m.Case(opcode):
                    if opcode is Opcode.END:
                        m.d.sync += [halted.eq(1), waiting.eq(0), self.illegal.eq(0), self.end_valid.eq(1)]
                        m.d.sync += self.end.as_value().eq(self.words.payload)
                    else:
                        bit = 1 << opcode - 1
                        m.d.sync += [target.eq(bit), waiting.eq(bit)]
                        m.d.sync += left.eq(instruction_units(opcode) * _WORDS_PER_UNIT - 1)
            with m.Default():
                m.d.sync += [halted.eq(1), waiting.eq(0), self.illegal.eq(1)]
                m.d.sync += self.illegal_offset[exact_log2(WORD_BYTES) :].eq(offset)


class Fetch(wiring.Component):
    """Reads the program once after ``start``, ahead as far as its buffer has room, never past its end.

    ``program_address`` (byte offset from ``dram_base``) and ``program_bytes``: multiples of 64, constant from ``start`` on.
    ``start``: one cycle, only after reset and with nothing in flight. ``read``: to the guard; its beats are always taken. The
    rest is as in ``Dispatch``; a program of no bytes is illegal at offset 0. After END some bursts may still be in flight (the
    padding).
    """

    program_address: Any
    program_bytes: Any
    dram_base: Any
    start: Any
    read: Any
    queues: Any
    end_valid: Any
    end: Any
    illegal: Any
    illegal_offset: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "program_address": In(32),
            "program_bytes": In(32),
            "dram_base": In(params.config.bus.address_bits),
            "start": In(1),
            "read": Out(ReadPortSignature(params)),
            **_destinations(),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The program is one row of words: bursts → buffer → words → queues."""
        m = Module()
        bus_bytes = self._params.bus_bytes
        burst_beats = max(1, min(self._params.config.bus.burst_beats, BURST_BYTES // bus_bytes))
        m.submodules.splitter = splitter = BurstSplitter(self._params, WORD_BYTES, _WORDS_BITS, burst_beats)
        m.submodules.unpack = unpack = Unpack(bus_bytes, WORD_BYTES, _WORDS_BITS)
        # A memory's output comes late in the cycle: it is registered before anything is decoded.
        m.submodules.stage = stage = Skid(unpack.words.payload.shape())
        m.submodules.dispatch = dispatch = Dispatch()
        wiring.connect(m, unpack.words, stage.i)
        self._start(m, splitter, unpack)
        self._buffer(m, splitter, unpack, burst_beats)
        illegal = Signal()  # an empty program
        m.d.sync += illegal.eq(self.start & (self.program_bytes == 0))
        m.d.comb += [
            dispatch.words.valid.eq(stage.o.valid),
            dispatch.words.payload.eq(stage.o.payload.data),
            dispatch.final.eq(stage.o.payload.final),
            stage.o.ready.eq(dispatch.words.ready),
            self.end_valid.eq(dispatch.end_valid),
            self.end.eq(dispatch.end),
            self.illegal.eq(dispatch.illegal | illegal),
            self.illegal_offset.eq(dispatch.illegal_offset),
        ]
        for inner, outer in zip(dispatch.queues, self.queues, strict=True):
            wiring.connect(m, inner, wiring.flipped(outer))
        return m

    def _start(self, m: Module, splitter: BurstSplitter, unpack: Unpack) -> None:
        """The row, given once to each side."""
        word, beat = exact_log2(WORD_BYTES), exact_log2(self._params.bus_bytes)
        row = splitter.rows.payload
        with m.If(splitter.rows.ready):
            m.d.sync += splitter.rows.valid.eq(0)
        with m.If(unpack.rows.ready):
            m.d.sync += unpack.rows.valid.eq(0)
        with m.If(self.start & (self.program_bytes != 0)):
            m.d.sync += [
                splitter.rows.valid.eq(1),
                unpack.rows.valid.eq(1),
                row.address.eq(self.dram_base + self.program_address),
                row.words_minus_one.eq(self.program_bytes[word:] - 1),
            ]
        m.d.comb += [
            unpack.rows.payload.words_minus_one.eq(row.words_minus_one),
            unpack.rows.payload.position.eq(row.address[word:beat] if beat > word else 0),
        ]

    def _buffer(self, m: Module, splitter: BurstSplitter, unpack: Unpack, burst_beats: int) -> None:
        """A burst is requested only if there is room for the longest one."""
        depth = max(2 * burst_beats, BUFFER_BYTES // self._params.bus_bytes)
        m.submodules.buffer = buffer = SyncFIFOBuffered(width=8 * self._params.bus_bytes, depth=depth)
        used = Signal(range(depth + 1))  # beats requested and not yet unpacked
        request, burst = self.read.request, splitter.bursts
        requested, freed = Signal(), Signal()
        # A cycle late, hence a request every second cycle: this way no user of the bus waits for the comparison.
        room = Signal()
        m.d.sync += room.eq((used <= depth - burst_beats) & ~requested)
        m.d.comb += [
            request.payload.eq(burst.payload),
            request.valid.eq(burst.valid & room),
            burst.ready.eq(request.ready & room),
            requested.eq(request.valid & request.ready),
            freed.eq(buffer.r_rdy & buffer.r_en),
            buffer.w_data.eq(self.read.beats.payload),
            buffer.w_en.eq(self.read.beats.valid),
            self.read.beats.ready.eq(1),
            unpack.beats.payload.eq(buffer.r_data),
            unpack.beats.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(unpack.beats.ready),
        ]
        m.d.sync += used.eq(used + Mux(requested, request.payload.length + 1, 0) - freed)

