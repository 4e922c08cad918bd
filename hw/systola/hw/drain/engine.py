"""The drain engine, put together.

A pixel's way: the walker asks for its accumulator word (and, in the same cycle, puts its destination in a queue); the word
passes the post pipeline, which never stalls, into the output queue; from there it is written. An accumulator is read
only when the output queue has room for everything under way.

A residual is read ahead by a walker of its own, into a queue; a pixel's accumulator is read only when its residual's
read was accepted before. So the two memories' refusals never have to be matched.

The scratchpad's read port serves records before residuals: a block's pixels and the next block's records need
``pixels + words`` reads in any order, and records that come first never delay the next block.
"""

from __future__ import annotations

from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, Out, connect, flipped

from systola.hw.drain.planner import BlockPlanner
from systola.hw.drain.residual import ResidualReader
from systola.hw.interfaces import (
    ACCUMULATOR_READ_LATENCY_CYCLES,
    SCRATCHPAD_READ_LATENCY_CYCLES,
    AccumulatorReadSignature,
    EngineSignature,
    ScratchpadReadSignature,
    ScratchpadWriteSignature,
    asked_bank,
)
from systola.hw.isa import Opcode
from systola.hw.latencies import BUFFERED_FIFO_LATENCY_CYCLES, DRAIN_OUTPUT_WORDS, DRAIN_RECORD_LEAD_CYCLES, POST_LATENCY_CYCLES
from systola.hw.loops import LoopLevel, LoopNest, LoopTrack
from systola.hw.params import Params
from systola.hw.post import BlockQueue, PostPipeline, RegisteredQueue
from systola.hw.registers import CycleClass

__all__ = ["RETIRE_LATENCY_CYCLES", "START_LATENCY_CYCLES", "DrainEngine"]

START_LATENCY_CYCLES = DRAIN_RECORD_LEAD_CYCLES + 1
"""An idle engine's first accumulator read is this long, and a cycle for each record word, after it took the instruction."""

RETIRE_LATENCY_CYCLES = ACCUMULATOR_READ_LATENCY_CYCLES + POST_LATENCY_CYCLES + BUFFERED_FIFO_LATENCY_CYCLES + 1
"""From the last accumulator read of an instruction to ``retire``, if no write is refused."""


class DrainEngine(Component):
    """Requantizes accumulators into scratchpad words; a pixel of ``columns`` channels in ``drain_word_cycles`` cycles.

    Where that is one cycle, blocks of ``record_words + 4`` pixels or more follow each other without a bubble, within an
    instruction and from one to the next. With a residual, loading the next block's records takes the read port for
    ``record_words`` cycles.
    An instruction retires in the cycle after its last write was accepted.
    """

    control: Any
    acc: Any
    read: Any
    write: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "control": Out(EngineSignature(Opcode.DRAIN)),
            "acc": Out(AccumulatorReadSignature(params)),
            "read": Out(ScratchpadReadSignature(params)),
            "write": Out(ScratchpadWriteSignature(params)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Planner, residual reader and pixel walker; post pipeline; output."""
        params = self._params
        m = Module()
        m.submodules.planner = planner = BlockPlanner(params)
        m.submodules.residual = residual = ResidualReader(params)
        m.submodules.walker = walker = self._walker()
        m.submodules.post = post = PostPipeline(
            params.columns, params.lanes, params.multiplier_bits, lanes_at_once=params.drain_lanes
        )
        connect(m, flipped(self.control.instruction), planner.instruction)
        room, outstanding = self._output(m, walker, planner, post)
        self._begin_blocks(m, planner, residual, walker)
        operand = Signal()  # the block being walked has a residual
        m.d.comb += residual.needed.eq(Mux(planner.start, planner.block.operand, operand))
        m.d.sync += operand.eq(residual.needed)
        pacing = self._pace(m, walker.advance | planner.start)
        m.d.comb += [
            self.acc.valid.eq(walker.active & room & residual.available & ~pacing),
            walker.advance.eq(self.acc.valid & self.acc.ready),
            residual.use.eq(walker.advance & operand),
            residual.take.eq(post.operand_take & post.operand_used),
            residual.read_data.eq(self.read.data),
            post.swap.eq(planner.swap),
            post.config.eq(planner.config),
            post.i_sums.eq(self.acc.data),
            post.i_operand.eq(residual.operand),
        ]
        m.d.sync += post.i_valid.eq(self._delayed(m, walker.advance, ACCUMULATOR_READ_LATENCY_CYCLES - 1))
        self._share_read_port(m, planner, residual, post)
        self._classify(m, planner, walker, outstanding, room, pacing)
        return m

    def _pace(self, m: Module, begins: Value) -> Value:
        """Whether a pixel, or a block's start, was less than ``drain_word_cycles`` ago: the post pipeline is not free yet."""
        cycles = self._params.drain_word_cycles
        if cycles == 1:
            return C(0, 1)
        left, pacing = Signal(range(cycles)), Signal()
        m.d.sync += pacing.eq(begins | (left > 1))
        with m.If(begins):
            m.d.sync += left.eq(cycles - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return pacing

    def _walker(self) -> LoopNest:
        address_bits = self._params.scratchpad_address_bits
        return LoopNest(
            levels=[LoopLevel("y", 16), LoopLevel("x", 16)],
            tracks=[LoopTrack("dst", address_bits, {"y": min(24, address_bits), "x": min(16, address_bits)})],
        )

    @staticmethod
    def _delayed(m: Module, value: Value, cycles: int) -> Value:
        for _ in range(cycles):
            later = Signal.like(value, name="later")
            m.d.sync += later.eq(value)
            value = later
        return value

    def _begin_blocks(self, m: Module, planner: Any, residual: Any, walker: Any) -> None:
        """A block's residuals are walked as soon as the block is in hand, its pixels when its records are (almost) there."""
        begun = Signal()  # the residual walker has the planner's block
        fields, block = planner.fields, planner.block
        m.d.comb += [
            residual.block.eq(block),
            residual.fields.eq(fields),
            residual.load.eq(planner.valid & block.operand & ~begun & residual.free),
            planner.start.eq(
                planner.valid & planner.loaded & (begun | ~block.operand) & (~walker.active | (walker.advance & walker.done))
            ),
            walker.load.eq(planner.start),
            walker.counts.y.eq(fields.count_y),
            walker.counts.x.eq(fields.count_x),
            walker.bases.dst.eq(block.dst_address),
            walker.strides.dst.y.eq(fields.dst_stride_y),
            walker.strides.dst.x.eq(fields.dst_stride_x),
        ]
        with m.If(planner.start):
            m.d.sync += begun.eq(0)
        with m.Elif(residual.load):
            m.d.sync += begun.eq(1)
        with m.If(planner.start):
            m.d.sync += self.acc.address.eq(block.acc_address)
        with m.Elif(walker.advance):
            m.d.sync += self.acc.address.eq(self.acc.address + 1)

    def _output(self, m: Module, walker: Any, planner: Any, post: Any) -> tuple[Signal, Signal]:
        """Destinations and codes queue up and leave together. Returns whether a pixel more has room, and the pixels under way."""
        params = self._params
        group, last = Signal.like(planner.block.group), Signal()
        with m.If(planner.start):
            m.d.sync += group.eq(planner.block.group), last.eq(planner.block.last)
        destination = Cat(walker.values.dst, group, last & walker.done)
        m.submodules.destinations = destinations = RegisteredQueue(width=len(destination), depth=DRAIN_OUTPUT_WORDS)
        m.submodules.codes = codes = BlockQueue(width=8 * params.columns, depth=DRAIN_OUTPUT_WORDS)
        address_bits = params.scratchpad_address_bits
        written = Signal()
        outstanding = Signal(range(DRAIN_OUTPUT_WORDS + 1))
        room = Signal()  # registered: a cycle late, thus a pixel early; a request made stays
        m.d.sync += room.eq((outstanding < DRAIN_OUTPUT_WORDS - 1) | (room & ~walker.advance))
        m.d.comb += [
            destinations.w_en.eq(walker.advance),
            destinations.w_data.eq(destination),
            codes.w_en.eq(post.o_valid),
            codes.w_data.eq(post.o_codes),
            self.write.valid.eq(codes.r_rdy),
            self.write.address.eq(destinations.r_data[:address_bits]),
            self.write.request.eq(asked_bank(params, self.write.valid, self.write.address)),
            self.write.data.eq(codes.r_data.replicate(params.column_groups)),
            self.write.mask.eq(1),
            written.eq(self.write.valid & self.write.ready),
            codes.r_en.eq(written),
            destinations.r_en.eq(written),
        ]
        if params.column_groups > 1:
            m.d.comb += self.write.mask.eq(1 << destinations.r_data[address_bits:-1])
        m.d.sync += self.control.retire.eq(written & destinations.r_data[-1])
        with m.If(walker.advance & ~written):
            m.d.sync += outstanding.eq(outstanding + 1)
        with m.Elif(written & ~walker.advance):
            m.d.sync += outstanding.eq(outstanding - 1)
        return room, outstanding

    def _share_read_port(self, m: Module, planner: Any, residual: Any, post: Any) -> None:
        """Records first; but a residual's request that was refused stays until it is accepted."""
        refused, residual_turn = Signal(), Signal()
        record_accepted = Signal()
        m.d.sync += refused.eq(self.read.valid & ~self.read.ready & residual_turn)
        m.d.comb += [
            residual_turn.eq(residual.read_valid & (refused | ~planner.read_valid)),
            self.read.valid.eq(residual.read_valid | planner.read_valid),
            self.read.address.eq(Mux(residual_turn, residual.read_address, planner.read_address)),
            self.read.request.eq(asked_bank(self._params, self.read.valid, self.read.address)),
            residual.read_ready.eq(self.read.ready & residual_turn),
            planner.read_ready.eq(self.read.ready & ~residual_turn),
            record_accepted.eq(planner.read_valid & planner.read_ready),
            post.load.valid.eq(self._delayed(m, record_accepted, SCRATCHPAD_READ_LATENCY_CYCLES)),
            post.load.index.eq(self._delayed(m, planner.read_index, SCRATCHPAD_READ_LATENCY_CYCLES)),
            post.load.data.eq(self.read.data),
        ]

    def _classify(
        self, m: Module, planner: Any, walker: Any, outstanding: Signal, room: Signal, pacing: Value
    ) -> None:
        """BUSY: a pixel is read, or the next one waits for its turn in the post pipeline. BANK: a request that the stream waits
        for is refused. SETUP: records or the first residuals are being read."""
        refused = (self.acc.valid & ~self.acc.ready) | (self.read.valid & ~self.read.ready)
        full = ~room  # only refused writes let the pixels under way fill the queue
        with m.If(walker.advance | pacing):
            m.d.comb += self.control.cycle_class.eq(CycleClass.BUSY)
        with m.Elif(walker.active & (refused | full)):
            m.d.comb += self.control.cycle_class.eq(CycleClass.BANK)
        with m.Elif(walker.active | planner.valid):
            m.d.comb += self.control.cycle_class.eq(Mux(refused, CycleClass.BANK, CycleClass.SETUP))
        with m.Elif((outstanding != 0) | self.control.retire):
            m.d.comb += self.control.cycle_class.eq(CycleClass.FLUSH)
        with m.Else():
            m.d.comb += self.control.cycle_class.eq(CycleClass.IDLE)
