"""Takes drain instructions apart into blocks of ``columns`` channels and fetches each block's records ahead of its use."""

from __future__ import annotations

from typing import Any, cast

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Opcode
from systola.hw.latencies import drain_leave_cycles, drain_swap_delay_cycles
from systola.hw.params import Params
from systola.hw.post import connect_post_config, post_config_layout, record_words

__all__ = ["BlockPlanner", "block_layout"]


def block_layout(params: Params) -> data.StructLayout:
    """What the engine needs of a block besides the instruction's own fields."""
    address_bits = params.scratchpad_address_bits
    return data.StructLayout({
        "acc_address": params.accumulator_address_bits,  # accumulator word of the block's first pixel
        "dst_address": address_bits,  # word of its first output
        "b_address": address_bits,  # word of its first residual
        "group": range(max(2, params.column_groups)),
        "operand": 1,  # it has a residual
        "last": 1,
    })


class BlockPlanner(Component):
    """The next block, and its records.

    ``instruction``: taken when the last block of the one before has started.
    ``valid``, ``block``, ``fields``: the next block and the instruction it belongs to.
    ``loaded``: the block's records will be there in time if ``start`` is 1 in this cycle. ``start`` (only where ``valid`` and
    ``loaded``): the block begins to stream in the next cycle; ``valid`` falls, until the block after it is in hand.
    ``swap``, ``config``: to the post pipeline, ``drain_swap_delay_cycles`` after the start.
    ``read_valid``/``read_ready``/``read_address``: requests for record words; ``read_index``: which word of the block.
    """

    instruction: Any
    valid: Signal
    block: Any
    fields: Any
    loaded: Signal
    start: Signal
    swap: Signal
    config: Any
    read_valid: Signal
    read_ready: Signal
    read_address: Signal
    read_index: Signal

    def __init__(self, params: Params) -> None:
        self._params = params
        self._record_words = record_words(params.columns, params.lanes)
        layout = cast("Any", instruction_layout(Opcode.DRAIN))
        super().__init__({
            "instruction": In(stream.Signature(layout)),
            "valid": Out(1),
            "block": Out(cast("Any", block_layout(params))),
            "fields": Out(layout),
            "loaded": Out(1),
            "start": In(1),
            "swap": Out(1),
            "config": Out(cast("Any", post_config_layout)),
            "read_valid": Out(1),
            "read_ready": In(1),
            "read_address": Out(params.scratchpad_address_bits),
            "read_index": Out(range(max(2, self._record_words))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A block is in hand, starts, lingers until its swap, and is followed by the next."""
        m = Module()
        present = Signal()  # fields and block hold a block that has not started, or started a moment ago
        starts = [self.start]
        for cycle in range(1, drain_leave_cycles(self._params) + 1):
            starts.append(Signal(name=f"start_{cycle}"))
            m.d.sync += starts[-1].eq(starts[-2])
        leaving, ends = starts[-1], Signal()  # the block leaves; it was the instruction's last
        m.d.sync += ends.eq(starts[-2] & self.block.last)
        started = Signal()
        with m.If(self.start):
            m.d.sync += started.eq(1)
        with m.Elif(leaving):
            m.d.sync += started.eq(0)
        m.d.comb += [
            self.valid.eq(present & ~started),
            self.swap.eq(starts[drain_swap_delay_cycles(self._params)]),
            self.instruction.ready.eq(~present | ends),
            *connect_post_config(self.config, self.fields, 1),
        ]
        with m.If(self.instruction.ready):  # whether or not one is offered: ``valid`` need not enable so many registers
            m.d.sync += present.eq(self.instruction.valid)
            self._take(m)
        with m.Elif(leaving):
            self._next_block(m)
        self._fetch(m, self.instruction.valid & self.instruction.ready, leaving & ~self.block.last)
        return m

    def _take(self, m: Module) -> None:
        """The first block of the offered instruction."""
        offered = self.instruction.payload
        m.d.sync += [
            self.fields.eq(offered),
            self.block.acc_address.eq(offered.acc_address),
            self.block.dst_address.eq(offered.dst_address),
            self.block.b_address.eq(offered.b_address),
            self.block.group.eq(offered.group),
            self.block.operand.eq(offered.stage_b & offered.operand),
            self.block.last.eq(offered.count_n == 1),
        ]

    def _next_block(self, m: Module) -> None:
        """The following block of the same instruction: the next column group, or the first of the next block of lanes."""
        remaining = self.fields.count_n
        m.d.sync += [
            remaining.eq(remaining - 1),
            self.block.acc_address.eq(self.block.acc_address + self.fields.acc_stride_n),
            self.block.last.eq(remaining == 2),
        ]
        wraps: Value = self.block.group == self._params.column_groups - 1
        with m.If(wraps):
            m.d.sync += [
                self.block.group.eq(0),
                self.block.dst_address.eq(self.block.dst_address + self.fields.dst_stride_n),
                self.block.b_address.eq(self.block.b_address + self.fields.b_stride_n),
            ]
        with m.Else():
            m.d.sync += self.block.group.eq(self.block.group + 1)

    def _fetch(self, m: Module, taken: Value, follows: Value) -> None:
        """Requests the records of a block once it is in hand; blocks' records follow each other in memory."""
        accepted = self.read_valid & self.read_ready
        last = self.read_index == self._record_words - 1
        requested = Signal()  # all words of the block were accepted
        with m.If(accepted):
            m.d.sync += [
                self.read_address.eq(self.read_address + 1),
                self.read_index.eq(Mux(last, 0, self.read_index + 1)),
                self.read_valid.eq(~last),
                requested.eq(last),
            ]
        with m.If(requested):
            m.d.sync += self.loaded.eq(1)
        with m.If(self.start):
            m.d.sync += requested.eq(0), self.loaded.eq(0)
        with m.If(self.instruction.ready):
            m.d.sync += self.read_address.eq(self.instruction.payload.param_address)
        with m.If(taken | follows):
            m.d.sync += self.read_valid.eq(1)
