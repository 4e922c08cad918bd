"""The board's end of the serial link: requests of ``protocol``, executed and answered."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.board.ports import WordSignature
from systola.hw.board.protocol import (
    BLOCK_BYTES,
    CRC_BYTES,
    HEADER_BYTES,
    MAGIC,
    MOST_WORDS,
    QUIET_SECONDS,
    VERSION,
    WORD_BYTES,
    Info,
    Operation,
    Outcome,
    carries_words,
)
from systola.hw.registers import ADDRESS_BITS

__all__ = ["Link"]


class Link(Block):
    """``received`` → accesses to ``registers`` and ``memory`` → ``sent``. ``working``: a request is being received, done or
    answered.

    ``memory_bytes``: a multiple of BLOCK_BYTES; addresses from there on are answered with OUTSIDE.
    """

    def __init__(self, memory_bytes: int, clock_hz: int) -> None:
        self._memory_bytes = memory_bytes
        self._clock_hz = clock_hz
        super().__init__({
            "received": In(stream.Signature(unsigned(8))),
            "sent": Out(stream.Signature(unsigned(8))),
            "registers": Out(WordSignature(ADDRESS_BITS)),
            "memory": Out(WordSignature(32)),
            "working": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A request is received as a whole, its words into ``buffer``, before the first access."""
        m = Module()
        parts = _LinkParts(m, self)
        with m.FSM() as fsm:
            m.d.comb += self.working.eq(~fsm.ongoing("HEADER") | parts.begun)
            parts.receive(m)
            parts.decide(m)
            parts.execute(m)
            parts.answer(m)
        return m


class _LinkParts:
    """What the states share."""

    def __init__(self, m: Module, link: Link) -> None:
        self.link = link
        self.header = Signal(8 * HEADER_BYTES)
        self.count = Signal(range(4 * MOST_WORDS))  # bytes of what is being received or sent
        self.word = Signal(range(MOST_WORDS))
        self.shift = Signal(32)
        self.outcome = Signal(8)
        self.begun = Signal()  # a byte of a request was received
        self.operation, self.last, self.address = self.header[:8], self.header[8:16], self.header[16:]
        self.at = Signal(32)  # the word that is accessed
        self.of_block = Signal(range(MOST_WORDS))
        crc = CRC32_ETHERNET
        m.submodules.check = self.check = crc(data_width=8).create()
        m.submodules.seal = self.seal = crc(data_width=8).create()
        m.submodules.digest = self.digest = crc(data_width=32).create()
        m.submodules.buffer = buffer = Memory(shape=32, depth=MOST_WORDS, init=[])
        self.write, self.read = buffer.write_port(), buffer.read_port()
        m.d.comb += [
            self.check.data.eq(link.received.payload),
            self.check.valid.eq(link.received.valid & link.received.ready),
            self.seal.data.eq(link.sent.payload),
            self.digest.data.eq(link.memory.read_data),
            self.write.addr.eq(self.word),
            self.write.data.eq(Cat(self.shift[8:], link.received.payload)),
            self.read.addr.eq(self.word),
        ]
        self._quiet(m)

    def is_any(self, *operations: Operation) -> Signal:
        """The request is one of these."""
        return Cat(self.operation == operation for operation in operations).any()

    def _quiet(self, m: Module) -> None:
        cycles = round(QUIET_SECONDS * self.link._clock_hz)
        self.timer = Signal(range(cycles + 1))
        self.expired = Signal()
        m.d.comb += self.expired.eq(self.timer == cycles)
        with m.If(self.link.received.valid):
            m.d.sync += self.timer.eq(0)
        with m.Elif(~self.expired):
            m.d.sync += self.timer.eq(self.timer + 1)

    def _restart(self, m: Module) -> None:
        """Wait for a new request."""
        m.d.comb += self.check.start.eq(1)
        m.d.sync += [self.count.eq(0), self.word.eq(0), self.begun.eq(0)]
        m.next = "HEADER"

    def receive(self, m: Module) -> None:
        """Header, words, CRC."""
        received = self.link.received
        with m.State("HEADER"):
            m.d.comb += received.ready.eq(1)
            with m.If(received.valid):
                m.d.sync += [self.header.eq(Cat(self.header[8:], received.payload)), self.count.eq(self.count + 1)]
                m.d.sync += self.begun.eq(1)
                with m.If(self.count == HEADER_BYTES - 1):
                    m.d.sync += self.count.eq(0)
                    m.next = "WORDS_OR_CHECK"
            with m.Elif(self.begun & self.expired):
                self._restart(m)
        with m.State("WORDS_OR_CHECK"):
            with m.If(self.is_any(*(operation for operation in Operation if carries_words(operation)))):
                m.next = "WORDS"
            with m.Else():
                m.next = "CHECK"
        with m.State("WORDS"):
            m.d.comb += received.ready.eq(1)
            with m.If(received.valid):
                m.d.sync += [self.shift.eq(self.write.data), self.count.eq(self.count + 1)]
                with m.If(self.count[:2] == WORD_BYTES - 1):
                    m.d.comb += self.write.en.eq(1)
                    m.d.sync += self.word.eq(self.word + 1)
                    with m.If(self.word == self.last):
                        m.d.sync += self.count.eq(0)
                        m.next = "CHECK"
            with m.Elif(self.expired):
                self._restart(m)
        with m.State("CHECK"):
            m.d.comb += received.ready.eq(1)
            with m.If(received.valid):
                m.d.sync += self.count.eq(self.count + 1)
                with m.If(self.count == CRC_BYTES - 1):
                    m.next = "DECIDE"
            with m.Elif(self.expired):
                self._restart(m)

    def decide(self, m: Module) -> None:
        """What comes of the request."""
        span = Signal(range(MOST_WORDS * BLOCK_BYTES + 1))
        of_memory = self.is_any(Operation.READ_MEMORY, Operation.WRITE_MEMORY, Operation.DIGEST)
        end = Signal(33)
        m.d.comb += [
            span.eq(Mux(self.operation == Operation.DIGEST, (self.last + 1) * BLOCK_BYTES, (self.last + 1) * WORD_BYTES)),
            end.eq(self.address + span),
        ]
        others = Mux(self.operation == Operation.INFO, WORD_BYTES * len(Info), 1 << ADDRESS_BITS)
        limit = Mux(of_memory, self._memory_bytes, others)
        with m.State("DECIDE"):
            m.d.comb += self.seal.start.eq(1)
            m.d.sync += [self.word.eq(0), self.at.eq(self.address), self.outcome.eq(Outcome.DONE)]
            with m.If(~self.check.match_detected):
                m.d.sync += self.outcome.eq(Outcome.DAMAGED)
            with m.Elif(~self.is_any(*Operation)):
                m.d.sync += self.outcome.eq(Outcome.UNKNOWN)
            with m.Elif((end > limit) | self.address[:2].any()):
                m.d.sync += self.outcome.eq(Outcome.OUTSIDE)
            m.next = "OUTCOME"

    @property
    def _memory_bytes(self) -> int:
        return self.link._memory_bytes

    def execute(self, m: Module) -> None:
        """One word after the other, those of reads sent as they come."""
        registers, memory = self.link.registers, self.link.memory
        writes, done, data = Signal(), Signal(), Signal(32)
        m.d.comb += [
            writes.eq(self.is_any(Operation.WRITE_REGISTERS, Operation.WRITE_MEMORY)),
            registers.address.eq(self.at), memory.address.eq(self.at),
            registers.write.eq(writes), memory.write.eq(writes),
            registers.write_data.eq(self.read.data), memory.write_data.eq(self.read.data),
        ]  # fmt: skip
        with m.State("FETCH"):  # the buffer's word, for a write
            m.d.sync += self.of_block.eq(0)
            m.d.comb += self.digest.start.eq(1)
            m.next = "ACCESS"
        with m.State("ACCESS"):
            of_registers = self.is_any(Operation.READ_REGISTERS, Operation.WRITE_REGISTERS)
            info = self.operation == Operation.INFO
            m.d.comb += [
                registers.valid.eq(of_registers),
                memory.valid.eq(~of_registers & ~info),
                done.eq(info | Mux(of_registers, registers.done, memory.done)),
                data.eq(Mux(info, self._info(), Mux(of_registers, registers.read_data, memory.read_data))),
            ]
            with m.If(done):
                m.d.sync += [self.at.eq(self.at + WORD_BYTES), self.shift.eq(data), self.count.eq(0)]
                with m.If(self.operation == Operation.DIGEST):
                    m.d.comb += self.digest.valid.eq(1)
                    m.d.sync += self.of_block.eq(self.of_block + 1)
                    with m.If(self.of_block == MOST_WORDS - 1):
                        m.next = "DIGESTED"
                with m.Elif(writes):
                    self._next_word(m)
                with m.Else():
                    m.next = "WORD"
        with m.State("DIGESTED"):
            m.d.sync += self.shift.eq(self.digest.crc)
            m.next = "WORD"

    def _info(self) -> Array:
        words = {Info.MAGIC: MAGIC, Info.VERSION: VERSION, Info.MEMORY_BYTES: self._memory_bytes,
                 Info.CLOCK_HZ: self.link._clock_hz}  # fmt: skip
        return Array(Const(words[info], 32) for info in Info)[self.at[2:4]]

    def _next_word(self, m: Module) -> None:
        m.d.sync += self.word.eq(self.word + 1)
        with m.If(self.word == self.last):
            m.next = "SEAL"
        with m.Else():
            m.next = "FETCH"

    def answer(self, m: Module) -> None:
        """Outcome, words, CRC."""
        sent = self.link.sent
        with m.State("OUTCOME"):
            m.d.comb += [sent.valid.eq(1), sent.payload.eq(self.outcome), self.seal.valid.eq(sent.ready)]
            with m.If(sent.ready):
                with m.If(self.outcome == Outcome.DONE):
                    m.next = "FETCH"
                with m.Else():
                    m.next = "SEAL"
        with m.State("WORD"):
            m.d.comb += [sent.valid.eq(1), sent.payload.eq(self.shift[:8]), self.seal.valid.eq(sent.ready)]
            with m.If(sent.ready):
                m.d.sync += [self.shift.eq(self.shift >> 8), self.count.eq(self.count + 1)]
                with m.If(self.count == WORD_BYTES - 1):
                    self._next_word(m)
        with m.State("SEAL"):
            m.d.sync += [self.shift.eq(self.seal.crc), self.count.eq(0)]
            m.next = "CRC"
        with m.State("CRC"):
            m.d.comb += [sent.valid.eq(1), sent.payload.eq(self.shift[:8])]
            with m.If(sent.ready):
                m.d.sync += [self.shift.eq(self.shift >> 8), self.count.eq(self.count + 1)]
                with m.If(self.count == CRC_BYTES - 1):
                    self._restart(m)
