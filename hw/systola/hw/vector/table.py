"""Table look-up of a word's lanes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.params import Params
from systola.hw.post import BLOCK_MEMORY
from systola.hw.vector.layout import step_layout

__all__ = ["Table", "table_cycles"]


def table_cycles(params: Params) -> int:
    """Cycles that a word's look-up takes; words are at least this far apart."""
    return max(1, params.lanes // params.config.vector.table_lanes)


class Table(Block):
    """256 entries of 8 bits, ``table_lanes`` of them looked up in a cycle.

    ``write_valid``, ``write_index``, ``write_word``: word number ``index`` of the table (entry ``lanes · index + lane``; entry
    a + 128 belongs to code a). ``i_valid``, ``i_word``, ``i_step``: a word of codes; the next one comes ``table_cycles`` later
    or after that. ``o_valid``, ``o_word``, ``o_step``: its look-up, table_cycles + TABLE_DELAY_CYCLES later, for one cycle; a
    second operand comes out as it went in, in its turn.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        word_bits = 8 * params.lanes
        super().__init__({
            "write_valid": In(1),
            "write_index": In(range(params.table_words)),
            "write_word": In(word_bits),
            "i_valid": In(1),
            "i_word": In(word_bits),
            "i_step": In(step_layout(params)),
            "o_valid": Out(1),
            "o_word": Out(word_bits),
            "o_step": Out(step_layout(params)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Codes leave a shift register at the low end; a cycle later, their entries enter another at the high end."""
        m = Module()
        cycles = table_cycles(self._params)
        codes = Signal(8 * self._params.lanes)
        steps = [Signal.like(self.i_step, name=f"step_{cycle}") for cycle in range(2)]
        width = len(codes) // cycles
        # Bit k: the word has been shifted k times, or its last entries have been read.
        age = Signal(cycles + 1)
        m.d.sync += age.eq(Cat(self.i_valid, age[:-1]))
        with m.If(self.i_valid):
            m.d.sync += [codes.eq(self.i_word), steps[0].eq(self.i_step)]
        with m.Elif(age[:-1].any()):
            m.d.sync += codes.eq(codes >> width)
        looking = age[:-1].any()
        entries = self._entries(m, codes[:width], looking)
        collecting, unchanged, before = Signal(), Signal(), Signal(width)
        m.d.sync += collecting.eq(looking)
        with m.If(looking):
            m.d.sync += [unchanged.eq(steps[0].operand), before.eq(codes)]
        with m.If(collecting):
            m.d.sync += self.o_word.eq(Cat(self.o_word, Mux(unchanged, before, entries))[width:])
        with m.If(age[-2]):
            m.d.sync += steps[1].eq(steps[0])
        with m.If(age[-1]):
            m.d.sync += self.o_step.eq(steps[1])
        m.d.sync += self.o_valid.eq(age[-1])
        return m

    def _entries(self, m: Module, codes: Signal, enable: Signal) -> Signal:
        """The entries of ``codes``, a cycle later: each look-up reads a row of the table and selects a byte of it."""
        lanes, lane_bits = self._params.lanes, (self._params.lanes - 1).bit_length()
        entries = Signal(len(codes))
        m.submodules.memory = memory = Memory(shape=8 * lanes, depth=self._params.table_words, init=[], attrs=BLOCK_MEMORY)
        write = memory.write_port()
        m.d.comb += [write.addr.eq(self.write_index), write.data.eq(self.write_word), write.en.eq(self.write_valid)]
        for lookup in range(len(codes) // 8):
            read = memory.read_port()
            entry, selected = Signal(8, name=f"entry_{lookup}"), Signal(lane_bits, name=f"selected_{lookup}")
            m.d.comb += entry.eq(codes.word_select(lookup, 8) ^ 0x80)  # a + 128
            m.d.comb += [read.addr.eq(entry[lane_bits:]), read.en.eq(enable)]
            with m.If(enable):
                m.d.sync += selected.eq(entry[:lane_bits])
            m.d.comb += entries.word_select(lookup, 8).eq(read.data.word_select(selected, 8))
        return entries
