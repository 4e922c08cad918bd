"""Words that are worked on a part at a time: taken apart, and put together again."""

from __future__ import annotations

from amaranth import Array, Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

__all__ = ["Joiner", "Splitter"]


class Splitter(Component):
    """A word in, its ``parts`` out, lowest first, a part a cycle.

    ``i_valid``, ``i_word``: a word of ``parts * part_bits`` bits; the next one comes ``parts`` cycles later, or after that.
    ``o_valid``, ``o_part``, ``o_index``: its parts, the first in the same cycle.
    """

    i_valid: Signal
    i_word: Signal
    o_valid: Signal
    o_part: Signal
    o_index: Signal

    def __init__(self, parts: int, part_bits: int) -> None:
        self._parts, self._part_bits = parts, part_bits
        super().__init__({
            "i_valid": In(1),
            "i_word": In(parts * part_bits),
            "o_valid": Out(1),
            "o_part": Out(part_bits),
            "o_index": Out(range(parts)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The parts that follow wait; the index alone chooses, and is 0 whenever a word may come in."""
        m = Module()
        waiting = [Signal(self._part_bits, name=f"part_{index}", reset_less=True) for index in range(1, self._parts)]
        with m.If(self.i_valid):
            m.d.sync += [self.o_index.eq(1), Cat(*waiting).eq(self.i_word[self._part_bits :])]
        with m.Elif(self.o_index != 0):
            m.d.sync += self.o_index.eq(self.o_index + 1)  # after the last: 0
        m.d.comb += [
            self.o_valid.eq(self.i_valid | (self.o_index != 0)),
            self.o_part.eq(Array([self.i_word[: self._part_bits], *waiting])[self.o_index]),
        ]
        return m


class Joiner(Component):
    """``parts`` parts in, a word out.

    ``i_valid``, ``i_part``: the parts, lowest first; those of a word in consecutive cycles.
    ``o_valid``, ``o_word``: the word, in the cycle of its last part.
    """

    i_valid: Signal
    i_part: Signal
    o_valid: Signal
    o_word: Signal

    def __init__(self, parts: int, part_bits: int) -> None:
        self._parts, self._part_bits = parts, part_bits
        super().__init__({
            "i_valid": In(1),
            "i_part": In(part_bits),
            "o_valid": Out(1),
            "o_word": Out(parts * part_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The parts before the last wait in a shift register."""
        m = Module()
        index = Signal(range(self._parts))
        before = Signal((self._parts - 1) * self._part_bits, reset_less=True)
        with m.If(self.i_valid):
            m.d.sync += [index.eq(index + 1), before.eq(Cat(before, self.i_part)[self._part_bits :])]
        m.d.comb += [
            self.o_valid.eq(self.i_valid & (index == self._parts - 1)),
            self.o_word.eq(Cat(before, self.i_part)),
        ]
        return m
