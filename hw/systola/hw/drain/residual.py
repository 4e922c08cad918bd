"""Reads the residual (second operand) of each pixel ahead of its accumulator."""

from __future__ import annotations

from typing import Any, cast

from amaranth import C, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from systola.hw.drain.planner import block_layout
from systola.hw.interfaces import ACCUMULATOR_READ_LATENCY_CYCLES, SCRATCHPAD_READ_LATENCY_CYCLES, instruction_layout
from systola.hw.isa import Opcode
from systola.hw.latencies import BUFFERED_FIFO_LATENCY_CYCLES, RESIDUAL_WORDS, STAGE_A_LATENCY_CYCLES
from systola.hw.loops import LoopLevel, LoopNest, LoopTrack
from systola.hw.params import Params
from systola.hw.post import RegisteredQueue

__all__ = ["ResidualReader"]

# From a residual's acceptance: it is at the queue's register before stage B can take it.
assert (
    SCRATCHPAD_READ_LATENCY_CYCLES + BUFFERED_FIFO_LATENCY_CYCLES + 1
    <= 1 + ACCUMULATOR_READ_LATENCY_CYCLES + STAGE_A_LATENCY_CYCLES
)


class ResidualReader(Component):
    """Walks a block's residuals, a read a cycle, and holds what was read until stage B takes it.

    ``load`` (only where ``free``): walk ``block`` of the instruction ``fields`` from the next cycle on.
    ``read_valid``/``read_ready``/``read_address``: requests; ``read_data``: the word,
    SCRATCHPAD_READ_LATENCY_CYCLES after acceptance.
    ``available``: a residual was accepted for which no pixel was read, or ``needed`` was 0 in the cycle before; ``use``: a pixel
    that has a residual was read.
    ``take``: ``operand`` (the residual's column group, ``columns`` bytes) was used; the next follows in the next cycle.
    """

    load: Signal
    free: Signal
    block: Any
    fields: Any
    read_valid: Signal
    read_ready: Signal
    read_address: Signal
    read_data: Signal
    needed: Signal
    available: Signal
    use: Signal
    take: Signal
    operand: Signal

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "load": In(1),
            "free": Out(1),
            "block": In(cast("Any", block_layout(params))),
            "fields": In(cast("Any", instruction_layout(Opcode.DRAIN))),
            "read_valid": Out(1),
            "read_ready": In(1),
            "read_address": Out(params.scratchpad_address_bits),
            "read_data": In(8 * params.lanes),
            "needed": In(1),
            "available": Out(1),
            "use": In(1),
            "take": In(1),
            "operand": Out(8 * params.columns),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Walker, arrival, queue, and the two counts."""
        m = Module()
        address_bits = self._params.scratchpad_address_bits
        m.submodules.walker = walker = LoopNest(
            levels=[LoopLevel("y", 16), LoopLevel("x", 16)],
            tracks=[LoopTrack("address", address_bits, {"y": min(24, address_bits), "x": 2})],
        )
        m.submodules.queue = queue = RegisteredQueue(width=8 * self._params.columns, depth=RESIDUAL_WORDS)
        accepted = Signal()
        group = Signal.like(self.block.group)
        with m.If(self.load):
            m.d.sync += group.eq(self.block.group)
        m.d.comb += [
            accepted.eq(self.read_valid & self.read_ready),
            self.free.eq(~walker.active | (accepted & walker.done)),
            self.read_address.eq(walker.values.address),
            walker.load.eq(self.load),
            walker.advance.eq(accepted),
            walker.counts.y.eq(self.fields.count_y),
            walker.counts.x.eq(self.fields.count_x),
            walker.bases.address.eq(self.block.b_address),
            walker.strides.address.y.eq(self.fields.b_stride_y),
            walker.strides.address.x.eq(1),
            queue.r_en.eq(self.take),
            self.operand.eq(queue.r_data),
        ]
        self._store(m, queue, accepted, group)
        ahead = self._count(m, "ahead", accepted, self.use)
        held = self._count(m, "held", accepted, self.take)
        room = Signal()  # registered: a cycle late, thus a word early; a request made stays
        m.d.sync += [
            self.available.eq(~self.needed | accepted | (ahead > 1) | ((ahead == 1) & ~self.use)),
            room.eq((held < RESIDUAL_WORDS - 1) | (room & ~accepted)),
        ]
        m.d.comb += self.read_valid.eq(walker.active & room)
        return m

    def _store(self, m: Module, queue: Any, accepted: Signal, group: Signal) -> None:
        """The column group of each word that arrives goes to the queue."""
        arrives, selects = accepted, group
        for cycle in range(1, SCRATCHPAD_READ_LATENCY_CYCLES + 1):
            arrived, selected = Signal(name=f"arrives_{cycle}"), Signal.like(group, name=f"group_{cycle}")
            m.d.sync += arrived.eq(arrives), selected.eq(selects)
            arrives, selects = arrived, selected
        select = selects if self._params.column_groups > 1 else C(0, 1)
        m.d.comb += [
            queue.w_en.eq(arrives),
            queue.w_data.eq(self.read_data.word_select(select, 8 * self._params.columns)),
        ]

    @staticmethod
    def _count(m: Module, name: str, more: Signal, fewer: Signal) -> Signal:
        count = Signal(range(RESIDUAL_WORDS + 1), name=name)
        with m.If(more & ~fewer):
            m.d.sync += count.eq(count + 1)
        with m.Elif(fewer & ~more):
            m.d.sync += count.eq(count - 1)
        return count
