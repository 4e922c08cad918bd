"""One memory for the accelerator and the serial link."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.board.ports import BurstSignature, WordSignature
from systola.hw.interfaces import Axi4ReadSignature, Axi4WriteSignature
from systola.hw.params import Params

__all__ = ["Hub"]

DECERR = 3
"""AXI's answer where nothing is at an address (ARM IHI 0022, A3.4.4)."""


class Hub(Block):
    """``axi_read`` and ``axi_write``, the accelerator's channels (ARM IHI 0022: INCR bursts of full beats), and ``words``, the
    link's accesses, one burst at a time → ``memory``. The link goes first; then reads and writes take turns where both wait.

    A burst that ends beyond ``memory_bytes`` is answered with DECERR, and does not reach the memory. The link asks for nothing there.
    """

    def __init__(self, params: Params, memory_bytes: int) -> None:
        self._params = params
        self._memory_bytes = memory_bytes
        super().__init__({
            "axi_read": In(Axi4ReadSignature(params)),
            "axi_write": In(Axi4WriteSignature(params)),
            "words": In(WordSignature(32)),
            "memory": Out(BurstSignature((memory_bytes - 1).bit_length(), params.bus_bytes)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Beats pass through, so that the memory's pace is the bus's."""
        m = Module()
        read, write, words, memory = self.axi_read, self.axi_write, self.words, self.memory
        beat_bits = (self._params.bus_bytes - 1).bit_length()
        address, length, left = Signal(self._params.config.bus.address_bits), Signal(8), Signal(8)
        is_write, is_word, wrote = Signal(), Signal(), Signal()
        lane = address[2:beat_bits] if beat_bits > 2 else None
        begin, end = Signal(self._params.config.bus.address_bits), Signal(self._params.config.bus.address_bits + 1)
        m.d.comb += [
            begin.eq(Mux(words.valid, words.address, Mux(write.aw_ready, write.aw_addr, read.ar_addr))),
            end.eq((address[beat_bits:] + length + 1) << beat_bits),
            memory.is_write.eq(is_write),
            memory.address.eq(address[beat_bits:] << beat_bits),
            memory.length.eq(length),
            memory.write_data.eq(Mux(is_word, words.write_data.replicate(self._params.bus_bytes // 4), write.w_data)),
            memory.write_strobe.eq(Mux(is_word, 0xF if lane is None else 0xF << (lane << 2), write.w_strb)),
            read.r_data.eq(memory.read.payload),
            read.r_last.eq(left == 0),
            words.read_data.eq(memory.read.payload if lane is None else memory.read.payload.word_select(lane, 32)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                chooses_write = write.aw_valid & ~(read.ar_valid & wrote)
                m.d.comb += [
                    write.aw_ready.eq(~words.valid & chooses_write),
                    read.ar_ready.eq(~words.valid & ~chooses_write),
                ]
                m.d.sync += [address.eq(begin), is_word.eq(words.valid)]
                with m.If(words.valid):
                    m.d.sync += [length.eq(0), left.eq(0), is_write.eq(words.write)]
                    m.next = "ASK"
                with m.Elif(chooses_write):
                    m.d.sync += [length.eq(write.aw_len), left.eq(write.aw_len), is_write.eq(1), wrote.eq(1)]
                    m.next = "ASK"
                with m.Elif(read.ar_valid):
                    m.d.sync += [length.eq(read.ar_len), left.eq(read.ar_len), is_write.eq(0), wrote.eq(0)]
                    m.d.sync += read.r_id.eq(read.ar_id)
                    m.next = "ASK"
            with m.State("ASK"):
                inside = end <= self._memory_bytes
                m.d.comb += memory.valid.eq(inside)
                m.d.sync += [read.r_resp.eq(Mux(inside, 0, DECERR)), write.b_resp.eq(Mux(inside, 0, DECERR))]
                with m.If(~inside | memory.ready):
                    m.next = "MOVE"
            with m.State("MOVE"):
                outside = read.r_resp != 0
                moves = Signal()
                with m.If(is_write):
                    given = Mux(is_word, 1, write.w_valid)
                    m.d.comb += [
                        memory.write_valid.eq(given & ~outside),
                        write.w_ready.eq(~is_word & (memory.write_ready | outside)),
                        moves.eq(given & (memory.write_ready | outside)),
                    ]
                with m.Else():
                    arrived = memory.read.valid | outside
                    m.d.comb += [
                        read.r_valid.eq(~is_word & arrived),
                        memory.read.ready.eq(is_word | read.r_ready),
                        moves.eq(arrived & (is_word | read.r_ready)),
                    ]
                with m.If(moves):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.comb += words.done.eq(is_word)
                        with m.If(is_write & ~is_word):
                            m.next = "RESPOND"
                        with m.Else():
                            m.next = "IDLE"
            with m.State("RESPOND"):
                m.d.comb += write.b_valid.eq(1)
                with m.If(write.b_ready):
                    m.next = "IDLE"
        return m
