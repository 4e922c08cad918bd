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
        """The memory has a power of two of places. That there is an item, and that there is room, are registers: what waits for
        them has a whole cycle; and what they wait for, which comes late, meets a single gate."""
        m = Module()
        bits = ceil_log2(self._depth)
        m.submodules.memory = memory = Memory(shape=self._width, depth=1 << bits, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        entering, leaving = Signal(bits), Signal(bits)
        held, room = Signal(range(self._depth + 1)), Signal(init=1)
        take, give = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(room),
            take.eq(self.i.valid & self.i.ready),
            give.eq(self.o.valid & self.o.ready),
            write.addr.eq(entering),
            write.data.eq(self.i.payload),
            write.en.eq(take),
            read.addr.eq(leaving),
            self.o.payload.eq(read.data),
        ]
        with m.If(take):
            m.d.sync += entering.eq(entering + 1)
        with m.If(give):
            m.d.sync += leaving.eq(leaving + 1)
        with m.If(take & ~give):
            m.d.sync += [held.eq(held + 1), room.eq(held != self._depth - 1), self.o.valid.eq(1)]
        with m.Elif(give & ~take):
            m.d.sync += [held.eq(held - 1), room.eq(1), self.o.valid.eq(held != 1)]
        return m
