"""The queues around the post pipeline, in block memory."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

__all__ = ["BLOCK_MEMORY", "BlockQueue", "RegisteredQueue"]

BLOCK_MEMORY = {"ram_style": "block", "no_rw_check": 1}
"""Attributes of a memory that synthesis is to make of block memory, however small: logic is what runs out first. Only for one
of which no word is read in the cycle in which it is written: block memory then needs no logic to read what was there before."""


class _Queue(Component):
    """The ports of both queues."""

    w_en: Signal
    w_data: Signal
    r_en: Signal
    r_rdy: Signal
    r_data: Signal

    def __init__(self, *, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        super().__init__({"w_en": In(1), "w_data": In(width), "r_en": In(1), "r_rdy": Out(1), "r_data": Out(width)})


class BlockQueue(_Queue):
    """Up to ``depth`` words (the user keeps count: there is no signal for full) in block memory, read a cycle ahead.

    ``w_en``, ``w_data``: a word goes in. ``r_rdy``, ``r_data``: the oldest one, which ``r_en`` removes. A word that enters an
    empty queue in cycle n is seen in cycle n + BUFFERED_FIFO_LATENCY_CYCLES. ``r_data`` comes from the memory, late in its cycle.
    """

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A ring. Equal indices are an empty one, never a full one: a word more is always at the memory's output."""
        m = Module()
        index_bits = max(1, (self._depth - 1).bit_length())
        m.submodules.storage = storage = Memory(shape=self._width, depth=1 << index_bits, init=[], attrs=BLOCK_MEMORY)
        write, read = storage.write_port(), storage.read_port()
        produce, consume = Signal(index_bits), Signal(index_bits)
        m.d.comb += [
            write.en.eq(self.w_en),
            write.addr.eq(produce),
            write.data.eq(self.w_data),
            read.en.eq((produce != consume) & (~self.r_rdy | self.r_en)),
            read.addr.eq(consume),
            self.r_data.eq(read.data),
        ]
        m.d.sync += self.r_rdy.eq(read.en | (self.r_rdy & ~self.r_en))
        with m.If(self.w_en):
            m.d.sync += produce.eq(produce + 1)
        with m.If(read.en):
            m.d.sync += consume.eq(consume + 1)
        return m


class RegisteredQueue(_Queue):
    """A BlockQueue for words that decide something: a register holds ``r_data``, early in its cycle.

    A word that enters an empty queue in cycle n is seen in cycle n + BUFFERED_FIFO_LATENCY_CYCLES + 1. For places that are
    reserved long before they are used that is soon enough.
    """

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The register takes the next word when it is empty or read."""
        m = Module()
        m.submodules.queue = queue = BlockQueue(width=self._width, depth=self._depth)
        m.d.comb += [queue.w_en.eq(self.w_en), queue.w_data.eq(self.w_data), queue.r_en.eq(~self.r_rdy | self.r_en)]
        with m.If(queue.r_en):
            m.d.sync += [self.r_rdy.eq(queue.r_rdy), self.r_data.eq(queue.r_data)]
        return m
