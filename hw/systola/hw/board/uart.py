"""A serial line: 8 data bits, lowest first, no parity, one stop bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.errors import ConfigError

__all__ = ["UartReceiver", "UartTransmitter", "bit_cycles"]

MOST_ERROR = 0.02
"""Of a bit's length: over a byte's ten bits less than a quarter of a bit, which leaves as much to the other side."""


def bit_cycles(clock_hz: float, baud: int) -> int:
    """Clock cycles of one bit. Raises ConfigError where whole cycles are too far from its length."""
    cycles = round(clock_hz / baud)
    if not cycles or abs(cycles * baud / clock_hz - 1) > MOST_ERROR:
        raise ConfigError(f"a clock of {clock_hz / 1e6:g} MHz cannot be divided to {baud} baud: give a higher one")
    return cycles


class UartReceiver(Block):
    """``line``, as it comes from the pin → ``valid`` for one cycle with each byte in ``data``. A byte without its stop bit is
    none."""

    def __init__(self, cycles: int) -> None:
        self._cycles = cycles
        super().__init__({"line": In(1, init=1), "valid": Out(1), "data": Out(8)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Each bit is taken in its middle, counted from the edge that begins the start bit."""
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        timer, bits, left = Signal(range(2 * self._cycles)), Signal(8), Signal(range(10))
        m.d.comb += self.data.eq(bits)
        with m.If(left == 0), m.If(~line):
            m.d.sync += [left.eq(9), timer.eq(self._cycles + self._cycles // 2 - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self._cycles - 1), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.comb += self.valid.eq(line)
            with m.Else():
                m.d.sync += bits.eq(Cat(bits[1:], line))
        return m


class UartTransmitter(Block):
    """``bytes`` → ``line``, which is 1 where nothing is sent."""

    def __init__(self, cycles: int) -> None:
        self._cycles = cycles
        super().__init__({"bytes": In(stream.Signature(unsigned(8))), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A shift register that fills with stop bits."""
        m = Module()
        timer, bits, left = Signal(range(self._cycles)), Signal(10, init=0x3FF), Signal(range(11))
        m.d.comb += [self.line.eq(bits[0]), self.bytes.ready.eq(left == 0)]
        with m.If(left == 0), m.If(self.bytes.valid):
            m.d.sync += [bits.eq(Cat(0, self.bytes.payload, 1)), left.eq(10), timer.eq(self._cycles - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self._cycles - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], 1))]
        return m
