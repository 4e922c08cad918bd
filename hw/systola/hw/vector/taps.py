"""The store of depthwise weights."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.params import Params
from systola.hw.post import BLOCK_MEMORY
from systola.hw.vector.layout import slots, tap_address_bits, tap_column_bits

__all__ = ["TapStore"]


class TapStore(Block):
    """Two sets of ``tap_depth`` rows; a row holds ``taps`` words of ``lanes`` int8 weights.

    A word written (``write_valid``) in cycle n is seen by rows read in cycle n + 1 or later. The row read (``read_valid``) in
    cycle n is at ``weights`` in cycle n + 1, tap 0 lowest, and stays until the next; ``column`` of cycle n + 1 selects the
    word that the last tap gets, which in plain mode does all the work.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        word_bits = 8 * params.lanes
        super().__init__({
            "write_valid": In(1),
            "write_row": In(tap_address_bits(params)),
            "write_column": In(tap_column_bits(params)),
            "write_word": In(word_bits),
            "read_valid": In(1),
            "read_row": In(tap_address_bits(params)),
            "column": In(tap_column_bits(params)),
            "weights": Out(word_bits * slots(params)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A memory written a word at a time."""
        m = Module()
        taps, word_bits = slots(self._params), 8 * self._params.lanes
        rows = 2 * self._params.config.vector.tap_depth
        m.submodules.memory = memory = Memory(shape=taps * word_bits, depth=rows, init=[], attrs=BLOCK_MEMORY)
        write, read = memory.write_port(granularity=word_bits), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write_row),
            write.data.eq(self.write_word.replicate(taps)),
            write.en.eq(Mux(self.write_valid, 1 << self.write_column, 0)),
            read.addr.eq(self.read_row),
            read.en.eq(self.read_valid),
        ]
        last = Signal(word_bits)
        with m.Switch(self.column):
            for column in range(taps):
                with m.Case(column):
                    m.d.comb += last.eq(read.data.word_select(column, word_bits))
        m.d.comb += self.weights.eq(read.data)
        m.d.comb += self.weights.word_select(taps - 1, word_bits).eq(last)
        return m
