"""The vector engine: what is not a matrix product, on scratchpad words."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Out, connect, flipped

from systola.hw.block import Block
from systola.hw.interfaces import EngineSignature, ScratchpadReadSignature, ScratchpadWriteSignature
from systola.hw.isa import Opcode
from systola.hw.latencies import BUFFERED_FIFO_LATENCY_CYCLES, STAGE_A_LATENCY_CYCLES, WINDOW_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.post import PostPipeline, RegisteredQueue
from systola.hw.registers import CycleClass
from systola.hw.vector.fetch import Fetch, RequestBuffer
from systola.hw.vector.layout import ParameterKind, config_layout
from systola.hw.vector.output import OutputQueue
from systola.hw.vector.parameters import ParameterLoader
from systola.hw.vector.table import Table
from systola.hw.vector.taps import TapStore
from systola.hw.vector.walk import StepWalker
from systola.hw.vector.window import Window

__all__ = ["VectorEngine"]

_OPERANDS = 16
"""Second operands between their read and stage B: never more than a few, nor later than a queue lets them through."""
assert WINDOW_LATENCY_CYCLES + STAGE_A_LATENCY_CYCLES > BUFFERED_FIFO_LATENCY_CYCLES + 2


class VectorEngine(Block):
    """Runs VECTOR instructions.

    ``control``: instructions, retirement and cycle class. ``read``: operands, records, weights, tables. ``write``: results.
    ``events``: ``steps`` is 1 in a cycle in which a step is issued.

    A step is issued every cycle: window positions and second operands that are read, padding, and in column mode columns that
    no output covers (these two are not read). Records, weights and tables are read in cycles that steps leave the read port, up
    to one set ahead, also of the next instruction; a table waits until the one before it is no longer used. A table step
    takes ``table_cycles``. Where an instruction, or a block with records of its own, is shorter than SWAP_INTERVAL_CYCLES, the
    next one's first step waits for that.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "control": Out(EngineSignature(Opcode.VECTOR)),
            "read": Out(ScratchpadReadSignature(params)),
            "write": Out(ScratchpadWriteSignature(params)),
            "events": Out(data.StructLayout({"steps": 1})),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Walker and loader → fetch → window → stages A and B → output."""
        m = Module()
        p = self._params
        m.submodules.walker = walker = StepWalker(p)
        m.submodules.buffer = buffer = RequestBuffer(p)
        m.submodules.loader = loader = ParameterLoader(p)
        m.submodules.fetch = fetch = Fetch(p)
        m.submodules.table = table = Table(p)
        m.submodules.window = window = Window(p)
        m.submodules.operands = operands = RegisteredQueue(width=8 * p.lanes, depth=_OPERANDS)
        m.submodules.post = post = PostPipeline(p.lanes, p.lanes, p.multiplier_bits, lanes_at_once=p.vector_lanes)
        m.submodules.output = output = OutputQueue(p)
        connect(m, flipped(self.control.instruction), walker.instruction)
        connect(m, walker.requests, buffer.i)
        connect(m, buffer.o, fetch.requests)
        connect(m, loader.requests, fetch.parameters)
        connect(m, fetch.read, flipped(self.read))
        connect(m, output.write, flipped(self.write))
        config = self._configure(m, walker, fetch)
        self._load_parameters(m, walker, loader, fetch, window, table, post)
        self._feed_window(m, fetch, table, window, config)
        m.d.comb += [
            operands.w_en.eq(window.operand_valid),
            operands.w_data.eq(window.operand),
            operands.r_en.eq(post.operand_take & post.operand_used),
            post.i_operand.eq(operands.r_data),
            post.swap.eq(window.swap),
            post.config.eq(config.post),
            post.i_valid.eq(window.o_valid),
            post.i_sums.eq(window.o_sums),
            output.reserve.eq(fetch.issued_emit),
            output.destination.eq(buffer.o.payload.destination),
            output.final.eq(buffer.o.payload.final),
            fetch.room.eq(output.room),
            output.valid.eq(post.o_valid),
            output.word.eq(post.o_codes),
            self.control.retire.eq(output.retire),
            self.events.steps.eq(fetch.issued),
        ]
        self._classify(m, walker, buffer, loader, fetch, output)
        return m

    @staticmethod
    def _configure(m: Module, walker: StepWalker, fetch: Fetch) -> Any:
        """The walker's configuration, handed on with the step that begins an instruction.

        The padding code is needed with the step's word, the rest a cycle later; between two instructions' first steps are
        more cycles than from a step's word to the swap, so that the rest is still there when it is swapped in.
        """
        early: Any = Signal(config_layout)
        config: Any = Signal(config_layout)
        m.d.comb += walker.config_taken.eq(fetch.early_begin)
        with m.If(fetch.early_begin):
            m.d.sync += early.eq(walker.config)
        with m.If(fetch.step_valid & fetch.step.begin):
            m.d.sync += config.eq(early)
        m.d.comb += fetch.pad_value.eq(early.pad_value)
        return config

    @staticmethod
    def _load_parameters(
        m: Module, walker: StepWalker, loader: ParameterLoader, fetch: Fetch, window: Window, table: Table, post: PostPipeline
    ) -> None:
        """The loader's handshakes, and its words to where they belong."""
        word = fetch.parameter
        flushing_before = Signal()
        m.d.sync += flushing_before.eq(fetch.flushing)
        m.d.comb += [
            loader.valid.eq(walker.instruction.valid),
            loader.instruction.eq(walker.instruction.payload),
            loader.taken.eq(walker.instruction.ready),
            walker.seen.eq(loader.seen),
            walker.available.eq(loader.available),
            loader.consumed.eq(walker.consumed),
            loader.free.eq(window.parameters_taken | (flushing_before & ~fetch.flushing)),
            fetch.address.eq(loader.address),
            post.load.valid.eq(fetch.parameter_valid & (word.kind == ParameterKind.RECORD)),
            post.load.index.eq(word.index),
            post.load.data.eq(fetch.read.data),
            table.write_valid.eq(fetch.parameter_valid & (word.kind == ParameterKind.TABLE)),
            table.write_index.eq(word.index),
            table.write_word.eq(fetch.read.data),
        ]

    def _feed_window(self, m: Module, fetch: Fetch, table: Table, window: Window, config: Any) -> None:
        """Steps to the window, those of a table after their look-up; weights beside them."""
        word = fetch.parameter
        m.d.comb += [
            table.i_valid.eq(fetch.step_valid & fetch.step.table),
            table.i_step.eq(fetch.step),
            table.i_word.eq(fetch.word),
            window.i_valid.eq(table.o_valid | (fetch.step_valid & ~fetch.step.table)),
            window.i_step.eq(Mux(table.o_valid, table.o_step, fetch.step)),
            window.i_word.eq(Mux(table.o_valid, table.o_word, fetch.word)),
            window.zero_in.eq(config.zero_in),
            window.zero_factor.eq(config.zero_factor),
        ]
        if self._params.taps:
            m.submodules.taps = taps = TapStore(self._params)
            m.d.comb += [
                taps.write_valid.eq(fetch.parameter_valid & (word.kind == ParameterKind.WEIGHT)),
                taps.write_row.eq(word.row),
                taps.write_column.eq(word.column),
                taps.write_word.eq(fetch.read.data),
                taps.read_valid.eq(fetch.step_valid & fetch.step.weighted),
                taps.read_row.eq(fetch.step.row),
                taps.column.eq(window.column),
                window.weights.eq(taps.weights),
            ]

    def _classify(
        self, m: Module, walker: StepWalker, buffer: RequestBuffer, loader: ParameterLoader, fetch: Fetch, output: OutputQueue
    ) -> None:
        """The cycle's class: what moves, else what holds it up."""
        cycle_class = self.control.cycle_class
        with m.If(fetch.issued | (fetch.pacing & ~fetch.flushing) | fetch.requantizing):
            m.d.comb += cycle_class.eq(CycleClass.BUSY)
        with m.Elif(fetch.refused | (self.write.valid & ~self.write.ready & ~output.room)):
            m.d.comb += cycle_class.eq(CycleClass.BANK)
        with m.Elif(loader.loading | walker.active | buffer.o.valid | self.control.instruction.valid):
            m.d.comb += cycle_class.eq(CycleClass.SETUP)
        with m.Elif(fetch.flushing | ~output.empty):
            m.d.comb += cycle_class.eq(CycleClass.FLUSH)

