"""Fetches the records, weights and tables of blocks ahead of use."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Opcode, VectorOp
from systola.hw.loops import LoopLevel, LoopNest
from systola.hw.params import Params
from systola.hw.vector.layout import ParameterKind, parameter_layout, slots, tap_address_bits, tap_column_bits, uses_parameters

__all__ = ["ParameterLoader"]

_held_layout = data.StructLayout({
    "column_mode": 1, "weighted": 1, "table": 1, "per_block": 1, "stride": 16, "count_kx": 8, "count_ky": 8, "blocks": 16,
})  # fmt: skip


class State(enum.Enum, shape=2):
    """What the loader does."""

    IDLE = 0  # no instruction
    WORDS = 1  # reads records or a table
    WEIGHTS = 2  # reads weights
    LOADED = 3  # a set is loaded; until a block has taken it (a table: until it is no longer used)


class ParameterLoader(Block):
    """Reads one set of parameters after the other, each while the block before is worked on.

    ``valid``, ``instruction``: the instruction that the step walker takes next, until ``taken``. ``seen``: this loader no longer
    needs it. ``requests``, ``address``: words to read, in order. ``available``: a set is loaded and no block has begun to use it.
    ``consumed``: a block's first step is made. ``free``: the next set may be loaded: the block's first step has passed the
    point where it takes its records (a table: its last look-up is over).
    ``loading``: the words of a set are being read.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "valid": In(1),
            "instruction": In(cast("Any", instruction_layout(Opcode.VECTOR))),
            "taken": In(1),
            "seen": Out(1),
            "requests": Out(stream.Signature(cast("Any", parameter_layout(params)))),
            "address": Out(params.scratchpad_address_bits),
            "available": Out(1),
            "consumed": In(1),
            "free": In(1),
            "loading": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """State, word counter, kernel counters, addresses."""
        m = Module()
        i = self.instruction
        held: Any = Signal(_held_layout)
        state, captured = Signal(State), Signal()
        m.submodules.kernel = kernel = LoopNest([LoopLevel("y", 8), LoopLevel("x", 8)], [])
        begin, again, word, words_done, set_done = Signal(), Signal(), Signal(), Signal(), Signal()
        last_word = Signal()
        m.d.comb += [
            self.loading.eq((state == State.WORDS) | (state == State.WEIGHTS)),
            self.requests.valid.eq(self.loading),
            word.eq(self.requests.valid & self.requests.ready),
            words_done.eq(word & (state == State.WORDS) & last_word),
            set_done.eq((words_done & ~held.weighted) | (word & (state == State.WEIGHTS) & kernel.done)),
            begin.eq((state == State.IDLE) & self.valid & uses_parameters(i) & ~captured),
            again.eq((state == State.LOADED) & self.free & held.per_block & (held.blocks != 0)),
            self.seen.eq(captured | ~uses_parameters(i)),
            kernel.counts.y.eq(held.count_ky),
            kernel.counts.x.eq(held.count_kx),
            kernel.load.eq(words_done & held.weighted),
            kernel.advance.eq(word & (state == State.WEIGHTS)),
        ]
        with m.If(begin | again):
            m.d.sync += state.eq(State.WORDS)
        with m.Elif(words_done | set_done):
            m.d.sync += state.eq(Mux(set_done, State.LOADED, State.WEIGHTS))
        with m.Elif((state == State.LOADED) & self.free):
            m.d.sync += state.eq(State.IDLE)
        with m.If(set_done):
            m.d.sync += self.available.eq(1)
        with m.Elif(self.consumed):
            m.d.sync += self.available.eq(0)
        with m.If(self.taken):
            m.d.sync += captured.eq(0)
        with m.Elif(begin):
            m.d.sync += captured.eq(1)
        self._hold(m, held, begin, again)
        self._advance(m, held, begin, again, word)
        self._place(m, held, state == State.WEIGHTS, word, words_done, last_word, set_done)
        return m

    def _hold(self, m: Module, held: Any, begin: Signal, again: Signal) -> None:
        """Keeps what the loader needs of the instruction: it may still load when the walker takes the next."""
        i = self.instruction
        with m.If(begin):
            m.d.sync += [
                held.column_mode.eq(i.column_mode),
                held.weighted.eq(i.op == VectorOp.DEPTHWISE),
                held.table.eq(i.op == VectorOp.TABLE),
                held.per_block.eq(i.param_stride_n != 0),
                held.stride.eq(i.param_stride_n),
                held.count_kx.eq(i.count_kx),
                held.count_ky.eq(i.count_ky),
                held.blocks.eq(i.count_n - 1),
            ]
        with m.Elif(again):
            m.d.sync += held.blocks.eq(held.blocks - 1)

    def _advance(self, m: Module, held: Any, begin: Signal, again: Signal, word: Signal) -> None:
        """The address of the next word, and of the first word of this set."""
        first, following = Signal.like(self.address), Signal.like(self.address)
        m.d.comb += following.eq(first + held.stride)
        with m.If(begin):
            m.d.sync += [self.address.eq(self.instruction.param_address), first.eq(self.instruction.param_address)]
        with m.Elif(again):
            m.d.sync += [self.address.eq(following), first.eq(following)]
        with m.Elif(word):
            m.d.sync += self.address.eq(self.address + 1)

    def _place(
        self,
        m: Module,
        held: Any,
        weights: Value,
        word: Signal,
        words_done: Signal,
        last_word: Signal,
        set_done: Signal,
    ) -> None:
        """Where a word goes: its index, or its row and column in the tap store."""
        p, request = self._params, self.requests.payload
        index, set_index = Signal.like(request.index), Signal()
        row, column = Signal(tap_address_bits(p) - 1), Signal(tap_column_bits(p))
        last_column = slots(p) - 1
        m.d.comb += [
            request.kind.eq(Mux(weights, ParameterKind.WEIGHT, Mux(held.table, ParameterKind.TABLE, ParameterKind.RECORD))),
            request.index.eq(index),
            request.row.eq(Cat(row, set_index)),
            request.column.eq(column),
        ]
        # Whether a word is the last one is known before the read port answers. The first never is.
        with m.If(word & ~weights):
            m.d.sync += last_word.eq(index + 2 == Mux(held.table, p.table_words, p.vector_record_words))
        # In column mode a kernel row's weights end in the last column, where outputs are completed.
        start = Mux(held.column_mode, slots(p) - held.count_kx, 0)
        with m.If(words_done):
            m.d.sync += [index.eq(0), row.eq(0), column.eq(start)]
        with m.Elif(word & weights):
            m.d.sync += column.eq(Mux(column == last_column, start, column + 1))
            with m.If(column == last_column):
                m.d.sync += row.eq(row + 1)
        with m.Elif(word):
            m.d.sync += index.eq(index + 1)
        with m.If(set_done):
            m.d.sync += set_index.eq(~set_index)
