"""The front end of an engine: instruction queue, decoder, semaphores, and the class of its idle cycles; the end of a program."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, cast

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.block import Block
from systola.hw.dma.axi import NO_ENGINE
from systola.hw.interfaces import EngineSignature, cycle_class_shape, instruction_layout
from systola.hw.isa import ENGINES, UNIT_BYTES, Opcode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = [
    "WORD_BITS",
    "Decoder",
    "Frontend",
    "ProgramEnd",
    "Timeline",
    "WaitCheck",
    "WordQueue",
    "counts_layout",
    "header_layout",
]

WORD_BITS = 128
"""Width of an instruction queue: instructions travel as words of 16 bytes, lowest first."""

COUNT_BITS = 16
OFFSET_BITS = 32 - exact_log2(UNIT_BYTES)
"""Bits of the number of a unit in its stream."""

counts_layout = data.ArrayLayout(unsigned(COUNT_BITS), len(ENGINES))
"""The instructions that each engine has finished, modulo 2**16."""

header_layout = instruction_layout(Opcode.END)
"""What every instruction begins with."""


class Timeline(Block):
    """The timeline semaphores: ``counts`` of the instructions each engine has finished.

    ``retire`` bit e: engine e finished one; it is counted in the next cycle. ``clear`` sets all to zero.
    """

    def __init__(self) -> None:
        super().__init__({
            "clear": In(1),
            "retire": In(len(ENGINES)),
            "counts": Out(counts_layout),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A counter for each engine."""
        m = Module()
        for engine in ENGINES:
            count = self.counts[engine]
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            with m.Elif(self.retire[engine]):
                m.d.sync += count.eq(count + 1)
        return m


class WaitCheck(Block):
    """Compares an instruction's waits with the engines' counts.

    ``present``: ``header`` is valid, and stays until it is done with; then ``present`` is 0 for a cycle or more. ``blocked``: bit
    e: it waits for engine e, in this cycle. ``free``: in the cycle before, it waited for none. So an instruction is free two
    cycles after the ``retire`` of what it waits for.
    """

    def __init__(self) -> None:
        super().__init__({
            "present": In(1),
            "header": In(header_layout),
            "counts": In(counts_layout),
            "blocked": Out(len(ENGINES)),
            "free": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A wait holds while (count − threshold) mod 2**16 is 2**15 or more: its highest bit."""
        m = Module()
        for engine in ENGINES:
            difference = Signal(COUNT_BITS, name=f"{engine.name.lower()}_difference")
            m.d.comb += [
                difference.eq(self.counts[engine] - self.header[f"wait_{engine.name.lower()}"]),
                self.blocked[engine].eq(self.present & self.header.wait_enable[engine] & difference[-1]),
            ]
        m.d.sync += self.free.eq(self.present & ~self.blocked.any())
        return m


class Decoder(Block):
    """Assembles instructions of one opcode from a stream of ``stream_bytes``, and holds each until its waits are over.

    ``words``: lowest first; taken while the next instruction is incomplete. ``instruction``: valid when it is whole and its
    waits, compared from the cycle after the first word on, are over. ``blocked``: as WaitCheck, 0 for END.

    ``ended``: the instruction is END and its waits are over. ``empty``: the stream has no bytes; known two cycles after reset.
    ``illegal``: 1 for a cycle or more if the instruction is another engine's or does not exist, or the stream ended without END;
    ``offset`` is then the place of that unit, or of the stream's end, in units. An illegal instruction is never valid.
    """

    def __init__(self, opcode: Opcode) -> None:
        self._opcode = opcode
        super().__init__({
            "words": In(stream.Signature(unsigned(WORD_BITS))),
            "counts": In(counts_layout),
            "stream_bytes": In(32),
            "instruction": Out(stream.Signature(cast("Any", instruction_layout(opcode)))),
            "blocked": Out(len(ENGINES)),
            "ended": Out(1),
            "empty": Out(1),
            "illegal": Out(1),
            "offset": Out(OFFSET_BITS),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Word counter, assembly register, comparison."""
        m = Module()
        words = instruction_units(self._opcode) * UNIT_BYTES * 8 // WORD_BITS
        register = Signal(instruction_layout(self._opcode).size)
        index, whole, header = Signal(range(words)), Signal(), Signal()
        with m.If(self.words.valid & self.words.ready):
            self._store_word(m, register, index, words)
            m.d.sync += [
                index.eq(Mux(index == words - 1, 0, index + 1)),
                header.eq(1),
                whole.eq(index == words - 1),
            ]
        with m.If(self.instruction.valid & self.instruction.ready):
            m.d.sync += [whole.eq(0), header.eq(0)]
        m.submodules.waits = waits = WaitCheck()
        m.d.comb += [
            self.words.ready.eq(~whole),
            self.instruction.payload.as_value().eq(register),
            waits.present.eq(header),
            waits.header.as_value().eq(register),
            waits.counts.eq(self.counts),
        ]
        first = Signal()
        m.d.sync += first.eq(self.words.valid & self.words.ready & (index == 0))
        proper = self._check(m, waits, first)
        m.d.comb += self.instruction.valid.eq(whole & proper & waits.free)
        return m

    def _check(self, m: Module, waits: Any, first: Signal) -> Signal:
        """What the first word says, and whether there should be another one. Returns: it is an instruction of this engine.

        Words are counted. In the cycle in which the first word of an instruction is looked at, the count is odd, one more than
        those before it; at the stream's end it is even: so the unit's number is the count without its lowest bit.
        """
        taken = Signal(OFFSET_BITS + 1)
        proper, ending, spent = Signal(), Signal(), Signal()
        own, end = waits.header.opcode == self._opcode, waits.header.opcode == Opcode.END
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += taken.eq(taken + 1)
        m.d.sync += [
            proper.eq(waits.present & own),
            ending.eq(waits.present & end),
            spent.eq(taken == self.stream_bytes[exact_log2(WORD_BITS // 8) :]),
            self.empty.eq(self.stream_bytes == 0),
        ]
        m.d.comb += [
            self.blocked.eq(Mux(ending, 0, waits.blocked)),
            self.ended.eq(ending & waits.free),
            self.illegal.eq((first & ~own & ~end) | (spent & ~ending & ~self.empty)),
            self.offset.eq(taken[1:]),
        ]
        return proper

    def _store_word(self, m: Module, register: Signal, index: Signal, words: int) -> None:
        """Writes the slice of the assembly register that the word belongs to; bits past the layout are not kept."""
        with m.Switch(index):
            for word in range(words):
                low = word * WORD_BITS
                with m.Case(word):
                    m.d.sync += register[low : low + WORD_BITS].eq(self.words.payload)


class WordQueue(Block):
    """A queue of ``depth`` words, a power of two, and one more in the output register; timing as Amaranth's SyncFIFOBuffered.

    ``put``: ``word`` enters; there must be room. A word that enters an empty queue in cycle n is on ``words`` in cycle
    n + BUFFERED_FIFO_LATENCY_CYCLES.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        super().__init__({
            "word": In(WORD_BITS),
            "put": In(1),
            "words": Out(stream.Signature(unsigned(WORD_BITS))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Block RAM, whose output is the output register; the memory is empty where the pointers, a bit longer, are the same."""
        m = Module()
        memory = Memory(shape=WORD_BITS, depth=self._depth, init=[], attrs={"ram_style": "block", "no_rw_check": 1})
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        entered, left = Signal(range(2 * self._depth)), Signal(range(2 * self._depth))
        take = Signal()
        m.d.comb += [
            take.eq((entered != left) & (~self.words.valid | self.words.ready)),
            write.addr.eq(entered),
            write.data.eq(self.word),
            write.en.eq(self.put),
            read.addr.eq(left),
            read.en.eq(take),
            self.words.payload.eq(read.data),
        ]
        m.d.sync += [entered.eq(entered + self.put), left.eq(left + take)]
        with m.If(take | self.words.ready):
            m.d.sync += self.words.valid.eq(take)
        return m


class Frontend(Block):
    """Queue, decoder and semaphores of one engine.

    ``word``: with ``put``, the next word of the engine's stream; the queue must have room for it: it holds ``queue.units``.
    ``freed``: 1 for each word that leaves it. ``engine``: the engine's signature, seen from the front end. ``cycle_class``: the
    engine's class, or where it is IDLE what its next instruction waits for (the first in the order of ``Engine``). The rest is as
    in Decoder.
    """

    def __init__(self, params: Params, opcode: Opcode) -> None:
        self._params = params
        self._opcode = opcode
        super().__init__({
            "word": In(WORD_BITS),
            "put": In(1),
            "freed": Out(1),
            "stream_bytes": In(32),
            "counts": In(counts_layout),
            "engine": In(EngineSignature(opcode)),
            "cycle_class": Out(cycle_class_shape),
            "ended": Out(1),
            "empty": Out(1),
            "illegal": Out(1),
            "offset": Out(OFFSET_BITS),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Queue → decoder → engine."""
        m = Module()
        depth = self._params.queue_bytes * 8 // WORD_BITS
        m.submodules.queue = queue = WordQueue(depth)
        m.submodules.decoder = decoder = Decoder(self._opcode)
        m.d.comb += [
            queue.word.eq(self.word),
            queue.put.eq(self.put),
            self.freed.eq(queue.words.valid & queue.words.ready),
            decoder.counts.eq(self.counts),
            decoder.stream_bytes.eq(self.stream_bytes),
            self.ended.eq(decoder.ended),
            self.empty.eq(decoder.empty),
            self.illegal.eq(decoder.illegal),
            self.offset.eq(decoder.offset),
        ]
        wiring.connect(m, queue.words, decoder.words)
        wiring.connect(m, decoder.instruction, wiring.flipped(self.engine.instruction))
        self._classify(m, decoder.blocked)
        return m

    def _classify(self, m: Module, blocked: Signal) -> None:
        """The engine's own class where it has one."""
        m.d.comb += self.cycle_class.eq(self.engine.cycle_class)
        with m.If(self.engine.cycle_class == CycleClass.IDLE), m.Switch(blocked):
            for engine in ENGINES:
                lowest = "-" * (len(ENGINES) - 1 - engine) + "1" + "0" * engine
                with m.Case(lowest):
                    m.d.comb += self.cycle_class.eq(CycleClass.WAIT_LOAD + engine)


class ProgramEnd(Block):
    """Whether the program has ended, well or badly; from what every front end says of its stream.

    ``end``: every stream is empty or ended, and one is not empty. ``fault``: 1 for a cycle or more, the cycle after a stream was
    illegal, or if all are empty. With it, ``fault_engine``: the first such engine, NO_ENGINE if all are empty; and its
    ``fault_offset`` in bytes.
    """

    def __init__(self) -> None:
        super().__init__({
            "ended": In(len(ENGINES)),
            "empty": In(len(ENGINES)),
            "illegal": In(len(ENGINES)),
            "offsets": In(data.ArrayLayout(OFFSET_BITS, len(ENGINES))),
            "end": Out(1),
            "fault": Out(1),
            "fault_engine": Out(3),
            "fault_offset": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The first in the order of ``Engine``: one at most, so that what each would say is joined by OR, a cycle later."""
        m = Module()
        nothing = self.empty.all()
        m.d.comb += self.end.eq((self.ended | self.empty).all() & ~nothing)
        none, offsets = Signal(), Signal.like(self.offsets, reset_less=True)
        first = Signal(len(ENGINES))
        taken: Value = nothing
        for engine in ENGINES:
            m.d.sync += first[engine].eq(self.illegal[engine] & ~taken)
            taken = taken | self.illegal[engine]
        m.d.sync += [none.eq(nothing), self.fault.eq(taken), offsets.eq(self.offsets)]
        engines = [none.replicate(3) & NO_ENGINE, *(first[engine].replicate(3) & engine for engine in ENGINES)]
        offset = reduce(or_, (first[engine].replicate(OFFSET_BITS) & offsets[engine] for engine in ENGINES))
        m.d.comb += [
            self.fault_engine.eq(reduce(or_, engines)),
            self.fault_offset.eq(Cat(Const(0, exact_log2(UNIT_BYTES)), offset)),
        ]
        return m
