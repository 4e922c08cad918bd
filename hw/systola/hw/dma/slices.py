"""A register stage in a stream."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisteredSkid", "Skid"]


class _Slice(wiring.Component):
    """The ports of both slices."""

    i: Any
    o: Any

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})


class Skid(_Slice):
    """Two places: ``o.valid`` and ``i.ready`` come from registers, ``o.payload`` from one of two; one item a cycle passes.

    An item taken in cycle n is on ``o`` in cycle n + 1 or later.
    """

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The places are filled and emptied in turn: ``o.ready``, which may come late, moves no payload, only two flags."""
        m = Module()
        one, two = self.o.valid, Signal()
        enter, leave = Signal(), Signal()
        places: Any = [Signal(self._shape, name=f"place_{index}", reset_less=True) for index in range(2)]
        take, give = self.i.valid & ~two, one & self.o.ready
        m.d.comb += [self.i.ready.eq(~two), self.o.payload.eq(Mux(leave, places[1], places[0]))]
        for index, place in enumerate(places):
            with m.If(~two & (enter == index)):
                m.d.sync += place.eq(self.i.payload)
        with m.If(take):
            m.d.sync += enter.eq(~enter)
        with m.If(give):
            m.d.sync += leave.eq(~leave)
        with m.If(take & ~give):
            m.d.sync += [one.eq(1), two.eq(one)]
        with m.Elif(give & ~take):
            m.d.sync += [one.eq(two), two.eq(0)]
        return m


class RegisteredSkid(_Slice):
    """As Skid, with ``o.payload`` from a register: for what is narrow and decided upon at once."""

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
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & ~waiting):
            m.d.sync += [waiting.eq(1), second.eq(self.i.payload)]
        return m
