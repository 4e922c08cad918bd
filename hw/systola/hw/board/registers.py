"""The accelerator's registers for the serial link, and its state for lamps."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.board.ports import WordSignature
from systola.hw.interfaces import AxiLiteSignature
from systola.hw.registers import ADDRESS_BITS, REGISTERS

__all__ = ["RegisterPort"]

_STATUS = next(register.address for register in REGISTERS if register.name == "STATUS")
LOOK_CYCLES = 1 << 16
"""Between looks at STATUS while nobody asks for registers."""


class RegisterPort(Block):
    """``words`` → ``bus``, AXI4-Lite (ARM IHI 0022), one access at a time; ``status``: STATUS as it was LOOK_CYCLES ago or less,
    while nothing is asked."""

    def __init__(self, look_cycles: int = LOOK_CYCLES) -> None:
        self._look_cycles = look_cycles
        super().__init__({
            "words": In(WordSignature(ADDRESS_BITS)),
            "bus": In(AxiLiteSignature()),
            "status": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Valid stays until ready, on both channels of a write."""
        m = Module()
        words, bus = self.words, self.bus
        wait = Signal(range(self._look_cycles), init=self._look_cycles - 1)
        looking = Signal()
        m.d.comb += [bus.w_strb.eq(0xF), bus.b_ready.eq(1), bus.r_ready.eq(1), words.read_data.eq(bus.r_data)]
        for valid, ready in ((bus.aw_valid, bus.aw_ready), (bus.w_valid, bus.w_ready), (bus.ar_valid, bus.ar_ready)):
            with m.If(ready):
                m.d.sync += valid.eq(0)
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(words.valid & words.write):
                    m.d.sync += [bus.aw_addr.eq(words.address), bus.w_data.eq(words.write_data)]
                    m.d.sync += [bus.aw_valid.eq(1), bus.w_valid.eq(1)]
                    m.next = "WRITE"
                with m.Elif(words.valid | (wait == 0)):
                    m.d.sync += [bus.ar_valid.eq(1), looking.eq(~words.valid), wait.eq(self._look_cycles - 1)]
                    with m.If(words.valid):
                        m.d.sync += bus.ar_addr.eq(words.address)
                    with m.Else():
                        m.d.sync += bus.ar_addr.eq(_STATUS)
                    m.next = "READ"
            with m.State("WRITE"), m.If(bus.b_valid):
                m.d.comb += words.done.eq(1)
                m.next = "IDLE"
            with m.State("READ"), m.If(bus.r_valid):
                m.d.comb += words.done.eq(~looking)
                with m.If(looking):
                    m.d.sync += self.status.eq(bus.r_data)
                m.next = "IDLE"
        return m
