"""A register stage in a stream."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Skid"]


class Skid(wiring.Component):
    """Two places: ``o`` comes from a register and ``i.ready`` too; one item a cycle passes.

    An item taken in cycle n is on ``o`` in cycle n + 1 or later.
    """

    i: Any
    o: Any

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Output register; the second place is used only when the output is blocked."""
        m = Module()
        waiting = Signal()
        second: Any = Signal(self._shape)
        m.d.comb += self.i.ready.eq(~waiting)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid | waiting), waiting.eq(0)]
            with m.If(waiting):
                m.d.sync += self.o.payload.eq(second)
            with m.Elif(self.i.valid):
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & ~waiting):
            m.d.sync += [waiting.eq(1), second.eq(self.i.payload)]
        return m
