"""A small queue with an asynchronous read."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Queue"]


class Queue(wiring.Component):
    """Holds ``depth`` items of ``width`` bits; timing as Amaranth's SyncFIFO.

    An item taken in cycle n is on ``o``, if none is before it, in cycle n + 1.
    """

    i: Any
    o: Any

    def __init__(self, width: int, depth: int) -> None:
        self._width = width
        self._depth = depth
        super().__init__({"i": In(stream.Signature(unsigned(width))), "o": Out(stream.Signature(unsigned(width)))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The memory has a power of two of places, and the pointers are a bit longer than its address: no other counter."""
        m = Module()
        bits = ceil_log2(self._depth)
        m.submodules.memory = memory = Memory(shape=self._width, depth=1 << bits, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        entered, left = Signal(bits + 1), Signal(bits + 1)
        held = entered ^ left if self._depth == 1 << bits else (entered - left)[: bits + 1]
        take, give = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(held != self._depth),
            self.o.valid.eq(entered != left),
            take.eq(self.i.valid & self.i.ready),
            give.eq(self.o.valid & self.o.ready),
            write.addr.eq(entered[:bits]),
            write.data.eq(self.i.payload),
            write.en.eq(take),
            read.addr.eq(left[:bits]),
            self.o.payload.eq(read.data),
        ]
        with m.If(take):
            m.d.sync += entered.eq(entered + 1)
        with m.If(give):
            m.d.sync += left.eq(left + 1)
        return m
