"""Between beats of the bus and words of another width; both are powers of two."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from systola.hw.dma.ports import positions, write_beat_layout
from systola.hw.params import Params

__all__ = ["Pack", "Unpack", "placed_word_layout"]


class Unpack(wiring.Component):
    """Beats → words, row by row.

    ``rows``: ``words_minus_one``, and the ``position`` in its beat of the first word (where several fit a beat); a row is
    taken while the last word of the one before is. ``beats``: of the rows in order; each row begins with a new one.
    ``words``: without a register in between; ``final`` marks the last of a row. ``active``: a row is in hand. One beat or
    word a cycle, whichever are more.
    """

    rows: Any
    beats: Any
    words: Any
    active: Any

    def __init__(self, bus_bytes: int, word_bytes: int, words_bits: int) -> None:
        self._bus_bytes = bus_bytes
        self._word_bytes = word_bytes
        self._places = positions(bus_bytes, word_bytes)
        row = data.StructLayout({"words_minus_one": words_bits, "position": range(self._places)})
        word = data.StructLayout({"data": 8 * word_bytes, "final": 1})
        super().__init__({
            "rows": In(stream.Signature(cast("Any", row))),
            "beats": In(stream.Signature(unsigned(8 * bus_bytes))),
            "words": Out(stream.Signature(cast("Any", word))),
            "active": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Counter of a row's words; then what depends on the ratio of the widths."""
        m = Module()
        left = Signal.like(self.rows.payload.words_minus_one)
        final, accept = Signal(), Signal()
        m.d.comb += [
            accept.eq(self.words.valid & self.words.ready),
            self.rows.ready.eq(~self.active | (accept & final)),
            self.words.payload.final.eq(final),
        ]
        with m.If(self.rows.ready):
            m.d.sync += self.active.eq(self.rows.valid)
        with m.If(self.rows.ready & self.rows.valid):
            m.d.sync += [left.eq(self.rows.payload.words_minus_one), final.eq(self.rows.payload.words_minus_one == 0)]
        with m.Elif(accept):
            m.d.sync += [left.eq(left - 1), final.eq(left == 1)]
        if self._word_bytes > self._bus_bytes:
            self._join(m)
        else:
            self._select(m, accept, final)
        return m

    def _select(self, m: Module, accept: Signal, final: Signal) -> None:
        """A word is a part of a beat, or all of it."""
        end: Value = final
        word = self.beats.payload
        if self._places > 1:
            position = Signal(range(self._places))
            with m.If(self.rows.ready & self.rows.valid):
                m.d.sync += position.eq(self.rows.payload.position)
            with m.Elif(accept):
                m.d.sync += position.eq(position + 1)
            end = final | (position == self._places - 1)
            word = word.word_select(position, 8 * self._word_bytes)
        m.d.comb += [
            self.words.valid.eq(self.active & self.beats.valid),
            self.words.payload.data.eq(word),
            self.beats.ready.eq(self.active & self.words.ready & (end if self._places > 1 else 1)),
        ]

    def _join(self, m: Module) -> None:
        """Several beats make a word: all but the last are held."""
        parts = self._word_bytes // self._bus_bytes
        part = Signal(range(parts))
        held = Signal(8 * (self._word_bytes - self._bus_bytes))
        complete = Signal()
        m.d.comb += [
            complete.eq(part == parts - 1),
            self.words.valid.eq(self.active & self.beats.valid & complete),
            self.words.payload.data.eq(Cat(held, self.beats.payload)),
            self.beats.ready.eq(self.active & (~complete | self.words.ready)),
        ]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += part.eq(part + 1)
            with m.If(~complete):
                m.d.sync += held.eq(Cat(held, self.beats.payload)[-len(held) :])


def placed_word_layout(params: Params) -> data.StructLayout:
    """A word to write, its ``position`` in the beat, and ``final`` for the last of a row."""
    return data.StructLayout({"data": 8 * params.lanes, "position": range(positions(params.bus_bytes, params.lanes)), "final": 1})


class Pack(wiring.Component):
    """Words → beats with strobes.

    ``words``: a beat is complete with the word at its last position, or with a ``final`` one. ``beats``: without a register in
    between where a word fills a beat or more; from a register where several fit. One beat or word a cycle, whichever are more.
    """

    words: Any
    beats: Any

    def __init__(self, params: Params) -> None:
        self._bus_bytes = params.bus_bytes
        self._word_bytes = params.lanes
        super().__init__({
            "words": In(stream.Signature(cast("Any", placed_word_layout(params)))),
            "beats": Out(stream.Signature(cast("Any", write_beat_layout(params)))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """What depends on the ratio of the widths."""
        m = Module()
        if self._word_bytes < self._bus_bytes:
            self._collect(m)
        else:
            self._cut(m)
        return m

    def _cut(self, m: Module) -> None:
        """A word makes one or more whole beats."""
        parts = self._word_bytes // self._bus_bytes
        part = Signal(range(parts))
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += part.eq(part + 1)
        m.d.comb += [
            self.beats.valid.eq(self.words.valid),
            self.beats.payload.data.eq(self.words.payload.data.word_select(part, 8 * self._bus_bytes)),
            self.beats.payload.strobe.eq(-1),
            self.words.ready.eq(self.beats.ready & (part == parts - 1)),
        ]

    def _collect(self, m: Module) -> None:
        """Each word is written to its place of the beat register; its strobes say which places are filled."""
        places = self._bus_bytes // self._word_bytes
        filled = Signal(places)
        word, beat = self.words.payload, self.beats.payload
        m.d.comb += [
            self.words.ready.eq(~self.beats.valid | self.beats.ready),
            beat.strobe.eq(Cat(filled[place].replicate(self._word_bytes) for place in range(places))),
        ]
        with m.If(self.words.ready):
            m.d.sync += self.beats.valid.eq(self.words.valid & (word.final | (word.position == places - 1)))
            # A beat that leaves takes its strobes with it, whether a word follows or not.
            keep = filled & (~self.beats.valid).replicate(places)
            m.d.sync += filled.eq(keep | (self.words.valid << word.position))
            with m.If(self.words.valid), m.Switch(word.position):
                for place in range(places):
                    with m.Case(place):
                        m.d.sync += beat.data.word_select(place, 8 * self._word_bytes).eq(word.data)
