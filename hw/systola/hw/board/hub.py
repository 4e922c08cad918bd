"""One memory for the accelerator and the serial link."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
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

    A burst that ends beyond ``memory_bytes`` is answered with DECERR, and does not reach the memory. The link asks for nothing
    there.
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
        burst = _Burst(self._params.config.bus.address_bits, self._params.bus_bytes)
        self._connect(m, burst)
        with m.FSM():
            self._choose(m, burst)
            self._move(m, burst)
            with m.State("RESPOND"):
                m.d.comb += self.axi_write.b_valid.eq(1)
                with m.If(self.axi_write.b_ready):
                    m.next = "IDLE"
        return m

    def _connect(self, m: Module, burst: _Burst) -> None:
        """What needs no state. A word of the link is in one lane of a beat."""
        read, write, words, memory = self.axi_read, self.axi_write, self.words, self.memory
        lane, lanes = burst.address[2 : burst.beat_bits], self._params.bus_bytes // 4
        m.d.comb += [
            memory.is_write.eq(burst.is_write),
            memory.address.eq(burst.beat << burst.beat_bits),
            memory.length.eq(burst.length),
            memory.write_data.eq(Mux(burst.is_word, words.write_data.replicate(lanes), write.w_data)),
            memory.write_strobe.eq(Mux(burst.is_word, 0xF << (lane << 2), write.w_strb)),
            read.r_data.eq(memory.read.payload),
            read.r_last.eq(burst.left == 0),
            words.read_data.eq(memory.read.payload.word_select(lane, 32)),
        ]

    def _choose(self, m: Module, burst: _Burst) -> None:
        """Take a burst, and ask the memory for it if the memory has it."""
        read, write, words = self.axi_read, self.axi_write, self.words
        wrote = Signal()  # the last burst of the accelerator was a write
        with m.State("IDLE"):
            chooses_write = write.aw_valid & ~(read.ar_valid & wrote)
            m.d.comb += [write.aw_ready.eq(~words.valid & chooses_write), read.ar_ready.eq(~words.valid & ~chooses_write)]
            with m.If(words.valid):
                burst.begin(m, words.address, 0, words.write, is_word=1)
            with m.Elif(chooses_write):
                burst.begin(m, write.aw_addr, write.aw_len, 1)
                m.d.sync += wrote.eq(1)
            with m.Elif(read.ar_valid):
                burst.begin(m, read.ar_addr, read.ar_len, 0)
                m.d.sync += [wrote.eq(0), read.r_id.eq(read.ar_id)]
        with m.State("ASK"):
            inside = (burst.beat + burst.length + 1) << burst.beat_bits <= self._memory_bytes
            m.d.comb += self.memory.valid.eq(inside)
            m.d.sync += [read.r_resp.eq(Mux(inside, 0, DECERR)), write.b_resp.eq(Mux(inside, 0, DECERR))]
            with m.If(~inside | self.memory.ready):
                m.next = "MOVE"

    def _move(self, m: Module, burst: _Burst) -> None:
        """Beat by beat, between the memory and who asked. What is outside the memory reads as anything, and is not written."""
        read, write, words, memory = self.axi_read, self.axi_write, self.words, self.memory
        moves = Signal()
        with m.State("MOVE"):
            outside = read.r_resp != 0
            with m.If(burst.is_write):
                given = burst.is_word | write.w_valid
                taken = memory.write_ready | outside
                m.d.comb += [
                    memory.write_valid.eq(given & ~outside),
                    write.w_ready.eq(~burst.is_word & taken),
                    moves.eq(given & taken),
                ]
            with m.Else():
                given = memory.read.valid | outside
                taken = burst.is_word | read.r_ready
                m.d.comb += [
                    read.r_valid.eq(~burst.is_word & given),
                    memory.read.ready.eq(taken),
                    moves.eq(given & taken),
                ]
            with m.If(moves):
                m.d.sync += burst.left.eq(burst.left - 1)
            with m.If(moves & (burst.left == 0)):
                m.d.comb += words.done.eq(burst.is_word)
                with m.If(burst.is_write & ~burst.is_word):
                    m.next = "RESPOND"
                with m.Else():
                    m.next = "IDLE"


class _Burst:
    """The burst at hand: ``beat``, its first, of the memory's beats; ``length`` + 1 beats, of which ``left`` + 1 are left."""

    def __init__(self, address_bits: int, data_bytes: int) -> None:
        self.beat_bits = (data_bytes - 1).bit_length()
        self.address = Signal(address_bits)
        self.beat = self.address[self.beat_bits :]
        self.length, self.left = Signal(8), Signal(8)
        self.is_write, self.is_word = Signal(), Signal()

    def begin(self, m: Module, address: Value, length: Value | int, is_write: Value | int, *, is_word: int = 0) -> None:
        """Keep it, and ask the memory next."""
        m.d.sync += [self.address.eq(address), self.length.eq(length), self.left.eq(length)]
        m.d.sync += [self.is_write.eq(is_write), self.is_word.eq(is_word)]
        m.next = "ASK"
