"""From a row of words to AXI bursts, one a cycle."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.dma.ports import PAGE_BYTES, burst_layout, positions
from systola.hw.params import Params

__all__ = ["BurstSplitter"]


class BurstSplitter(wiring.Component):
    """Cuts rows into bursts: as long as possible, at most ``burst_beats`` beats, none crossing a multiple of 4096 bytes.

    ``rows``: byte ``address`` (a multiple of ``word_bytes``), ``words_minus_one`` and ``last``; a row is taken while the
    last burst of the one before is handed on. ``bursts``: the first one valid the cycle after the row was taken, one a
    cycle; the last burst of a row with ``last`` has ``last``.

    All counts inside are in beats minus one. The longest burst that may begin at a beat is ``burst_beats``, unless the beat
    lies in the last ``burst_beats`` of its page, at place ``low`` of them: then it is ``burst_beats − low``, which minus one is
    ``~low``: no subtraction. After such a burst a page begins; after one of ``burst_beats``, ``low`` is as before. So the next
    limit never waits for an addition, and the address above ``low`` grows by one with every burst. Whether a burst is the row's
    last is found out when it is made, too: others wait for that.
    """

    rows: Any
    bursts: Any

    def __init__(self, params: Params, word_bytes: int, words_bits: int, burst_beats: int) -> None:
        self._params = params
        self._word_bytes = word_bytes
        self._words_bits = words_bits
        self._chunk = min(burst_beats, PAGE_BYTES // params.bus_bytes)
        row = {"address": params.config.bus.address_bits, "words_minus_one": words_bits, "last": 1}
        super().__init__({
            "rows": In(stream.Signature(cast("Any", data.StructLayout(row)))),
            "bursts": Out(stream.Signature(cast("Any", burst_layout(params)))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """One set of registers: the beats of the row that are not yet handed on."""
        m = Module()
        beat_bits = exact_log2(self._params.bus_bytes)
        low_bits = exact_log2(self._chunk)
        beats = self._row_beats()
        valid, last, final = Signal(), Signal(), Signal()
        address = Signal(self._params.config.bus.address_bits - beat_bits)
        left = Signal(max(len(beats), low_bits + 1))
        limit, next_limit, next_left = Signal(low_bits), Signal(low_bits), Signal.like(left)
        begins = self.rows.ready & self.rows.valid
        m.d.comb += [
            self.bursts.valid.eq(valid),
            self.bursts.payload.address.eq(Cat(Const(0, beat_bits), address)),
            self.bursts.payload.length.eq(Mux(final, left, limit)),
            self.bursts.payload.last.eq(last & final),
            self.rows.ready.eq(~valid | (self.bursts.ready & final)),
        ]
        with m.If(self.rows.ready):
            m.d.sync += valid.eq(self.rows.valid)
        with m.If(~valid | final):  # what follows is a row's first burst
            begin = self.rows.payload.address[beat_bits:]
            m.d.comb += [next_left.eq(beats), next_limit.eq(self._limit(begin, page_end=0))]
            with m.If(begins):
                m.d.sync += [address.eq(begin), last.eq(self.rows.payload.last)]
        with m.Else():
            low, high = address[:low_bits], address[low_bits:]
            m.d.comb += [
                next_left.eq(left + ~_extend(limit, len(left))),
                next_limit.eq(self._limit(address, page_end=1)),
            ]
            with m.If(self.bursts.ready):
                m.d.sync += [low.eq(low & ~self._page_end(address, 0).replicate(low_bits)), high.eq(high + 1)]
        with m.If(begins | (self.bursts.ready & valid)):
            m.d.sync += [
                left.eq(next_left),
                limit.eq(next_limit),
                final.eq(~next_left[low_bits:].any() & (next_left[:low_bits] <= next_limit)),
            ]
        return m

    def _row_beats(self) -> Value:
        """Beats that the row touches, minus one."""
        row = self.rows.payload
        bus_bytes = self._params.bus_bytes
        if self._word_bytes >= bus_bytes:
            return Cat(_ones(exact_log2(self._word_bytes // bus_bytes)), row.words_minus_one)
        begin = row.address[exact_log2(self._word_bytes) : exact_log2(bus_bytes)]
        sum_ = (row.words_minus_one + begin)[: self._words_bits + 1]
        return sum_[exact_log2(positions(bus_bytes, self._word_bytes)) :]

    def _limit(self, address: Value, page_end: int) -> Value:
        """Longest burst, minus one, from beat ``address``; with ``page_end`` 1, after the longest burst from there."""
        low_bits = exact_log2(self._chunk)
        return ~(address[:low_bits] & self._page_end(address, page_end).replicate(low_bits))

    def _page_end(self, address: Value, before: int) -> Value:
        """Whether ``address`` lies in the last ``burst_beats`` of its page, or so many (0 or 1) chunks before."""
        low_bits = exact_log2(self._chunk)
        page_bits = exact_log2(PAGE_BYTES // self._params.bus_bytes)
        chunks = 1 << page_bits - low_bits
        return address[low_bits:page_bits] == chunks - 1 - before if chunks > before else Const(0, 1)


def _ones(width: int) -> Value:
    return Const((1 << width) - 1, width)


def _extend(value: Value, width: int) -> Value:
    return Cat(value, Const(0, width - len(value)))
