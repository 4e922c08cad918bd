"""The addresses that follow a vector instruction's outputs."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.params import Params

__all__ = ["OutputTrack"]

_LEVELS = ("n", "y", "x")


class OutputTrack(Block):
    """``value`` = base + Σ index · stride over the outputs' n, y and x, without counters: the loops are those of the inputs.

    ``last``: the input nest's flags of these levels. With its last step of an output, an input nest is at its last row, or
    column, or block, exactly if the output is: in column mode, too, where the last column is the last output's last.
    ``load`` samples ``base`` and ``strides`` (while every ``last`` is 1, as at the end of a nest and before one); ``advance``
    goes to the next output. ``value`` is a register.
    """

    def __init__(self, params: Params) -> None:
        bits = params.scratchpad_address_bits
        super().__init__({
            "load": In(1),
            "advance": In(1),
            "last": In(data.StructLayout(dict.fromkeys(_LEVELS, 1))),
            "base": In(bits),
            "strides": In(data.StructLayout(dict.fromkeys(_LEVELS, bits))),
            "value": Out(bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """One adder: where a level grows, its start plus its stride becomes the start of it and of those inside."""
        m = Module()
        last = self.last
        held = {name: Signal.like(self.base, name=f"stride_{name}", reset_less=True) for name in _LEVELS}
        start_n, start_y = (Signal.like(self.base, name=f"start_{name}", reset_less=True) for name in ("n", "y"))
        outer, second, total = Signal(), Signal(), Signal.like(self.base)
        # Of four sources, one is chosen by two bits: x and y, or n and a new instruction; the second of the two.
        m.d.comb += [
            outer.eq(last.x & last.y),
            second.eq(Mux(outer, last.n, last.x)),
            total.eq(
                Mux(outer, Mux(second, self.base, start_n), Mux(second, start_y, self.value))
                + Mux(outer, Mux(second, 0, held["n"]), Mux(second, held["y"], held["x"]))
            ),
        ]
        with m.If(self.load | self.advance):
            m.d.sync += self.value.eq(total)
        with m.If(self.load | (self.advance & last.x)):
            m.d.sync += start_y.eq(total)
        with m.If(self.load | (self.advance & outer)):
            m.d.sync += start_n.eq(total)
        with m.If(self.load):
            m.d.sync += [held[name].eq(self.strides[name]) for name in _LEVELS]
        return m
