"""The front end of an engine: instruction queue, decoder, semaphores, and the class of its idle cycles."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import EngineSignature, cycle_class_shape, instruction_layout
from systola.hw.isa import ENGINES, UNIT_BYTES, Opcode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = ["WORD_BITS", "Decoder", "Frontend", "Timeline", "WaitCheck", "counts_layout", "header_layout"]

WORD_BITS = 128
"""Width of an instruction queue: instructions travel as words of 16 bytes, lowest first."""

COUNT_BITS = 16

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
    """Assembles instructions of one opcode from words, and holds each until its waits are over.

    ``words``: the words of an instruction, lowest first; taken while the next instruction is incomplete. ``instruction``: valid
    when it is whole and its waits, compared from the cycle after the first word on, are over. ``blocked``: as WaitCheck.
    """

    def __init__(self, opcode: Opcode) -> None:
        self._opcode = opcode
        super().__init__({
            "words": In(stream.Signature(unsigned(WORD_BITS))),
            "counts": In(counts_layout),
            "instruction": Out(stream.Signature(cast("Any", instruction_layout(opcode)))),
            "blocked": Out(len(ENGINES)),
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
            self.instruction.valid.eq(whole & waits.free),
            waits.present.eq(header),
            waits.header.as_value().eq(register),
            waits.counts.eq(self.counts),
            self.blocked.eq(waits.blocked),
        ]
        return m

    def _store_word(self, m: Module, register: Signal, index: Signal, words: int) -> None:
        """Writes the slice of the assembly register that the word belongs to; bits past the layout are not kept."""
        with m.Switch(index):
            for word in range(words):
                low = word * WORD_BITS
                with m.Case(word):
                    m.d.sync += register[low : low + WORD_BITS].eq(self.words.payload)


class Frontend(Block):
    """Queue, decoder and semaphores of one engine.

    ``words``: the engine's instructions, as words of WORD_BITS; refused when the queue is full. ``engine``: the engine's
    signature, seen from the front end. ``cycle_class``: the engine's class, or where it is IDLE what its next instruction
    waits for (the first in the order of ``Engine``).
    """

    def __init__(self, params: Params, opcode: Opcode) -> None:
        self._params = params
        self._opcode = opcode
        super().__init__({
            "words": In(stream.Signature(unsigned(WORD_BITS))),
            "counts": In(counts_layout),
            "engine": In(EngineSignature(opcode)),
            "cycle_class": Out(cycle_class_shape),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Queue → decoder → engine."""
        m = Module()
        depth = self._params.config.queue.units * UNIT_BYTES * 8 // WORD_BITS
        # One more than the memory holds: the queue's output register.
        m.submodules.queue = queue = SyncFIFOBuffered(width=WORD_BITS, depth=depth + 1)
        m.submodules.decoder = decoder = Decoder(self._opcode)
        m.d.comb += [
            queue.w_data.eq(self.words.payload),
            queue.w_en.eq(self.words.valid),
            self.words.ready.eq(queue.w_rdy),
            decoder.words.payload.eq(queue.r_data),
            decoder.words.valid.eq(queue.r_rdy),
            queue.r_en.eq(decoder.words.ready),
            decoder.counts.eq(self.counts),
        ]
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
