"""The memory of the accumulators: a read port for the array, one for the drain, and the array's write port."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from systola.hw.numerics import ACCUMULATOR_BITS
from systola.hw.params import Params

__all__ = ["AccumulatorMemory"]

_ATTRIBUTES = {"no_rw_check": 1}
"""No word is read in the cycle in which it is written: block memory then needs no logic to read what was there before."""


class AccumulatorMemory(Component):
    """``accumulator_words`` words of ``columns`` int32, the highest address bit being the half.

    Array and drain never read the same half in a cycle, so that two memories would do, one a half, with a choice of the word for
    each reader. Where all words fit the depth of a block memory, each reader has a copy of both halves instead: as many blocks,
    and no logic for the choice.

    Members
    -------
    read, address, word : the array's: ``word`` is that of ``address`` a cycle after ``read``
    drain_read, drain_address, drain_word : the drain's; ignored where the array reads that half in the same cycle
    write, write_address, total : In, a word written at the end of this cycle; none that is read in it
    """

    read: Signal
    address: Signal
    word: Signal
    drain_read: Signal
    drain_address: Signal
    drain_word: Signal
    write: Signal
    write_address: Signal
    total: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        bits, address_bits = ACCUMULATOR_BITS * params.columns, params.accumulator_address_bits
        super().__init__({
            "read": In(1),
            "address": In(address_bits),
            "word": Out(bits),
            "drain_read": In(1),
            "drain_address": In(address_bits),
            "drain_word": Out(bits),
            "write": In(1),
            "write_address": In(address_bits),
            "total": In(bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Copies where they cost nothing, else halves."""
        m = Module()
        if self.params.accumulator_copies:
            self._copies(m)
        else:
            self._halves(m)
        return m

    def _copies(self, m: Module) -> None:
        """Both copies are written alike."""
        words = self.params.accumulator_words
        m.d.comb += [
            self.word.eq(self._memory(m, "copy_array", words, self.read, self.address, self.write)),
            self.drain_word.eq(self._memory(m, "copy_drain", words, self.drain_read, self.drain_address, self.write)),
        ]

    def _halves(self, m: Module) -> None:
        """The array's address wins on the read port of the half it reads."""
        words: list[Value] = []
        for half in range(2):
            by_array = self.read & (self.address[-1] == half)
            by_drain = self.drain_read & (self.drain_address[-1] == half)
            address = Mux(by_array, self.address[:-1], self.drain_address[:-1])
            write = self.write & (self.write_address[-1] == half)
            depth = self.params.accumulator_half_words
            words.append(self._memory(m, f"half_{half}", depth, by_array | by_drain, address, write))
        for word, address in ((self.word, self.address), (self.drain_word, self.drain_address)):
            half_read = Signal()
            m.d.sync += half_read.eq(address[-1])
            m.d.comb += word.eq(Mux(half_read, words[1], words[0]))

    def _memory(self, m: Module, name: str, depth: int, read: Value, address: Value, write: Value) -> Value:
        """One of the two memories, and the word that it reads."""
        memory = Memory(shape=len(self.total), depth=depth, init=[], attrs=_ATTRIBUTES)
        m.submodules[name] = memory
        read_port, write_port = memory.read_port(), memory.write_port()
        m.d.comb += [
            read_port.en.eq(read),
            read_port.addr.eq(address),
            write_port.en.eq(write),
            write_port.addr.eq(self.write_address),
            write_port.data.eq(self.total),
        ]
        return read_port.data
