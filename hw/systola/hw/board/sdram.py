"""A controller for single-data-rate SDRAM.

Written from JEDEC's standard for SDR SDRAM (JESD21-C, 3.11.5) and what the data sheets of 256 Mbit parts have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import ceil

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, Signature

from systola.hw.block import Block
from systola.hw.board.ports import BurstSignature
from systola.hw.errors import ConfigError

__all__ = ["CAS_LATENCY_CYCLES", "Command", "SdramController", "SdramPart", "SdramSignature"]

CAS_LATENCY_CYCLES = 2
CAPTURE_CYCLES = CAS_LATENCY_CYCLES + 1
"""From the controller's cycle with READ to that in which the word is in the register at the pins: one register on the way out;
the memory's clock is a quarter of a period late."""

MODE = CAS_LATENCY_CYCLES << 4
"""The mode register: bursts of one word, sequential."""

ONES = -1
ALL_BANKS = 1 << 10
"""Address bit 10 of PRECHARGE."""

FIRST_REFRESHES = 8
QUEUED_BEATS = 16


class Command(IntEnum):
    """WE, CAS and RAS as they are on the pins, active low: bits 0, 1, 2."""

    LOAD_MODE = 0b000
    REFRESH = 0b001
    PRECHARGE = 0b010
    ACTIVATE = 0b011
    WRITE = 0b100
    READ = 0b101
    NOP = 0b111


@dataclass(frozen=True)
class SdramPart:
    """A memory's geometry, and its times in nanoseconds: the longest of the parts that a board may have."""

    data_bits: int
    row_bits: int
    column_bits: int
    bank_bits: int = 2
    power_up: float = 200_000.0
    row_to_column: float = 20.0  # tRCD
    precharge: float = 20.0  # tRP
    row_active: float = 45.0  # tRAS
    refresh: float = 70.0  # tRFC
    write_recovery: float = 15.0  # tWR, less a cycle
    between_refreshes: float = 7_812.0  # tREFI
    mode_cycles: int = 2  # tMRD
    most_hz: float = 60e6  # beyond it a word that is read no longer meets the register at the pins

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole memory."""
        return (self.data_bits // 8) << (self.row_bits + self.column_bits + self.bank_bits)

    def check_clock(self, clock_hz: float) -> None:
        """Raise ConfigError for a clock that the part cannot have here."""
        if clock_hz > self.most_hz:
            raise ConfigError(
                f"the board's memory is driven with {self.most_hz / 1e6:g} MHz at most, not {clock_hz / 1e6:g}: give a lower "
                "clock with --clock"
            )

    def cycles(self, nanoseconds: float, clock_hz: float) -> int:
        """Clock cycles that last as long or longer, at least one."""
        return max(1, ceil(nanoseconds * clock_hz / 1e9 - 1e-9))


class SdramSignature(Signature):
    """What leads to and from the registers at the memory's pins; seen from the controller. ``command``: RAS, CAS, WE.
    ``drive``: the data pins are outputs from the next cycle on."""

    def __init__(self, part: SdramPart) -> None:
        super().__init__({
            "command": Out(3, init=Command.NOP), "clock_enable": Out(1), "bank": Out(part.bank_bits),
            "address": Out(part.row_bits), "mask": Out(part.data_bits // 8), "write_data": Out(part.data_bits),
            "drive": Out(1), "read_data": In(part.data_bits),
        })  # fmt: skip


class SdramController(Block):
    """``bursts`` → ``pins``. A row is opened for a burst and closed after it; a refresh that is due goes first, in the middle
    of a burst too. Words are read and written one by one, one a cycle while a row is open."""

    def __init__(self, part: SdramPart, data_bytes: int, clock_hz: float) -> None:
        self._part = part
        self._clock_hz = clock_hz
        self._beat_words = 8 * data_bytes // part.data_bits
        self._data_bytes = data_bytes
        super().__init__({
            "bursts": In(BurstSignature((part.size_bytes - 1).bit_length(), data_bytes)),
            "pins": Out(SdramSignature(part)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Start, then: idle, activate, move, precharge; or refresh."""
        m = Module()
        state = _SdramState(m, self._part, self._clock_hz, self)
        with m.FSM():
            state.start(m)
            state.idle(m)
            state.move(m)
        return m


class _SdramState:
    """Counters that more than one state looks at, and what the pins get."""

    def __init__(self, m: Module, part: SdramPart, clock_hz: float, controller: SdramController) -> None:
        self.part, self.clock_hz = part, clock_hz
        self.pins, self.bursts = controller.pins, controller.bursts
        self.beat_words, self.data_bytes = controller._beat_words, controller._data_bytes
        self.start_cycles = part.cycles(part.power_up, clock_hz)
        word_bits = part.row_bits + part.bank_bits + part.column_bits
        self.timer = Signal(range(max(self.start_cycles, 1 << 8)))  # cycles until the next command may be given
        self.row_timer, self.write_timer = Signal(8), Signal(8)  # until the row may be closed
        self.word = Signal(word_bits)  # the next one
        self.left = Signal(range(256 * self.beat_words + 1))
        self.part_of_beat = Signal(range(self.beat_words))
        self.is_write = Signal()
        self.refreshes = Signal(range(FIRST_REFRESHES), init=FIRST_REFRESHES - 1)
        self.column, self.bank, self.row = (
            self.word[: part.column_bits],
            self.word[part.column_bits : part.column_bits + part.bank_bits],
            self.word[part.column_bits + part.bank_bits :],
        )
        m.d.comb += self.pins.command.eq(Command.NOP)
        m.d.sync += self.pins.clock_enable.eq(1)
        for timer in (self.timer, self.row_timer, self.write_timer):
            with m.If(timer != 0):
                m.d.sync += timer.eq(timer - 1)
        self.due = self._refresh_clock(m)
        self._reads(m)

    def cycles(self, nanoseconds: float) -> int:
        """Of this clock."""
        return self.part.cycles(nanoseconds, self.clock_hz)

    def _refresh_clock(self, m: Module) -> Signal:
        """1 from when a refresh is due until it is done; a period is shorter than what it may be by the longest wait of one."""
        period = int(self.part.between_refreshes * self.clock_hz / 1e9) - 16
        clock, due = Signal(range(period)), Signal()
        self.refreshed = Signal()
        with m.If(clock == 0):
            m.d.sync += [clock.eq(period - 1), due.eq(1)]
        with m.Else():
            m.d.sync += clock.eq(clock - 1)
            with m.If(self.refreshed):
                m.d.sync += due.eq(0)
        return due

    def _reads(self, m: Module) -> None:
        """Words that come back are joined to beats and queued; a beat is begun only where there is room for it."""
        m.submodules.queue = queue = SyncFIFO(width=8 * self.data_bytes, depth=QUEUED_BEATS)
        self.reads, self.flying = Signal(), Signal(CAPTURE_CYCLES)
        held, arrived = Signal(range(QUEUED_BEATS + 1)), Signal(range(self.beat_words))
        self.room = Signal()
        rest = Signal(8 * self.data_bytes)
        beat = Cat(rest[self.part.data_bits :], self.pins.read_data) if self.beat_words > 1 else self.pins.read_data
        begins = self.reads & (self.part_of_beat == 0)
        leaves = self.bursts.read.valid & self.bursts.read.ready
        m.d.sync += [self.flying.eq(Cat(self.reads, self.flying[:-1])), held.eq(held + begins - leaves)]
        m.d.comb += [
            self.room.eq((held != QUEUED_BEATS) | (self.part_of_beat != 0)),
            queue.w_data.eq(beat),
            self.bursts.read.payload.eq(queue.r_data),
            self.bursts.read.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.bursts.read.ready),
        ]
        with m.If(self.flying[-1]):
            m.d.sync += rest.eq(beat)
            m.d.comb += queue.w_en.eq(arrived == self.beat_words - 1)
            m.d.sync += arrived.eq(Mux(queue.w_en, 0, arrived + 1))

    def _command(self, m: Module, command: Command, cycles: int) -> None:
        """Give a command; ``cycles`` until the next."""
        m.d.comb += self.pins.command.eq(command)
        m.d.sync += self.timer.eq(cycles - 1)

    def _precharge(self, m: Module) -> None:
        self._command(m, Command.PRECHARGE, self.cycles(self.part.precharge))
        m.d.comb += self.pins.address.eq(ALL_BANKS)

    def start(self, m: Module) -> None:
        """What the memory wants after power-up; the data mask is on meanwhile."""
        with m.State("POWER_UP"):
            m.d.comb += self.pins.mask.eq(ONES)
            m.d.sync += self.timer.eq(self.start_cycles - 1)
            m.next = "PRECHARGE_ALL"
        with m.State("PRECHARGE_ALL"):
            m.d.comb += self.pins.mask.eq(ONES)
            with m.If(self.timer == 0):
                self._precharge(m)
                m.next = "FIRST_REFRESHES"
        with m.State("FIRST_REFRESHES"), m.If(self.timer == 0):
            self._command(m, Command.REFRESH, self.cycles(self.part.refresh))
            m.d.sync += self.refreshes.eq(self.refreshes - 1)
            with m.If(self.refreshes == 0):
                m.next = "MODE"
        with m.State("MODE"), m.If(self.timer == 0):
            self._command(m, Command.LOAD_MODE, self.part.mode_cycles)
            m.d.comb += self.pins.address.eq(MODE)
            m.next = "IDLE"

    def idle(self, m: Module) -> None:
        """All rows are closed. A burst is held until its words have moved."""
        bytes_bits = (self.part.data_bits // 8).bit_length() - 1
        with m.State("IDLE"):
            m.d.comb += self.bursts.ready.eq(self.left == 0)
            with m.If(self.bursts.valid & self.bursts.ready):
                m.d.sync += [
                    self.word.eq(self.bursts.address >> bytes_bits),
                    self.left.eq((self.bursts.length + 1) * self.beat_words),
                    self.is_write.eq(self.bursts.is_write),
                ]
            with m.If(self.timer == 0):
                with m.If(self.due):
                    self._command(m, Command.REFRESH, self.cycles(self.part.refresh))
                    m.d.comb += self.refreshed.eq(1)
                with m.Elif((self.left != 0) & ~(self.is_write & self.flying.any())):
                    self._command(m, Command.ACTIVATE, self.cycles(self.part.row_to_column))
                    m.d.comb += [self.pins.address.eq(self.row), self.pins.bank.eq(self.bank)]
                    m.d.comb += self.pins.drive.eq(self.is_write)
                    m.d.sync += self.row_timer.eq(self.cycles(self.part.row_active) - 1)
                    m.next = "MOVE"

    def move(self, m: Module) -> None:
        """A row is open: a word a cycle, to the end of burst or row, or until a refresh is due."""
        bursts, pins = self.bursts, self.pins
        ends = Signal()  # of the row
        with m.State("MOVE"):
            able = Signal()
            strobes = bursts.write_strobe.word_select(self.part_of_beat, self.part.data_bits // 8)
            m.d.comb += [
                able.eq((self.timer == 0) & Mux(self.is_write, bursts.write_valid, self.room) & (self.left != 0) & ~ends),
                pins.drive.eq(self.is_write),
                pins.bank.eq(self.bank),
                pins.address.eq(self.column),
                pins.write_data.eq(bursts.write_data.word_select(self.part_of_beat, self.part.data_bits)),
                self.reads.eq(able & ~self.is_write & ~self.due),
            ]
            leaves = (self.left == 0) | ends | self.due
            may_leave = (self.timer == 0) & (self.row_timer == 0) & (self.write_timer == 0)
            with m.If(leaves & may_leave):
                self._precharge(m)
                m.d.sync += ends.eq(0)
                m.next = "IDLE"
            with m.Elif(able & ~leaves):
                with m.If(self.is_write):
                    m.d.comb += [pins.command.eq(Command.WRITE), pins.mask.eq(~strobes)]
                    m.d.comb += bursts.write_ready.eq(self.part_of_beat == self.beat_words - 1)
                    m.d.sync += self.write_timer.eq(self.cycles(self.part.write_recovery))
                with m.Else():
                    m.d.comb += pins.command.eq(Command.READ)
                m.d.sync += [
                    self.word.eq(self.word + 1),
                    self.left.eq(self.left - 1),
                    self.part_of_beat.eq(Mux(self.part_of_beat == self.beat_words - 1, 0, self.part_of_beat + 1)),
                    ends.eq(self.column.all()),
                ]
