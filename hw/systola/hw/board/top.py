"""A board's top module: the accelerator, as the module that it is in Verilog, and all that is around it."""

from __future__ import annotations

from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Cat, ClockSignal, Elaboratable, Instance, IOPort, Module, ResetSignal, Signal
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, connect

from systola.hw.board.boards import Board
from systola.hw.board.hub import Hub
from systola.hw.board.link import Link
from systola.hw.board.pads import add_clock, add_sdram_pads
from systola.hw.board.pll import Pll, choose_pll
from systola.hw.board.protocol import BAUD, RECEIVE_BYTES
from systola.hw.board.registers import RegisterPort
from systola.hw.board.sdram import SdramController
from systola.hw.board.uart import UartReceiver, UartTransmitter, bit_cycles
from systola.hw.emit import TOP_MODULE
from systola.hw.params import Params
from systola.hw.registers import Status

__all__ = ["ACCELERATOR", "BOARD_MODULE", "BoardTop", "board_pll", "emit_board"]

BOARD_MODULE = "systola_board"
ACCELERATOR = "accelerator"
"""Name of its instance."""

HEARTBEAT_BITS = 25


class BoardTop(Elaboratable):
    """The top module; its ports are those of ``board.ports``, in ``ports`` by name.

    ``reset`` resets all but memory contents while 1. ``lamps``: 0 blinks, 1 to 3 are STATUS's BUSY, DONE and FAULT, 4 is on while
    the link has a request; the others stay off. ``keep_running`` stays 1. ``baud``: of the serial line."""

    def __init__(self, params: Params, board: Board, pll: Pll, *, baud: int = BAUD) -> None:
        self._params = params
        self._board = board
        self._pll = pll
        self._bit_cycles = bit_cycles(pll.clock_hz, baud)
        self._sdram = SdramController(board.sdram, params.bus_bytes, pll.clock_hz)
        self.ports: dict[str, Any] = {}
        for pins in board.pins():
            width = len(pins.sites)
            is_bidirectional = pins.port == "sdram_data"
            self.ports[pins.port] = (
                IOPort(width, name=pins.port) if is_bidirectional else Signal(width, name=pins.port, init=0)
            )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """One clock for everything."""
        m = Module()
        ports, board = self.ports, self._board
        locked = add_clock(m, ports["clock"], self._pll)
        m.submodules.reset = ResetSynchronizer(~locked | ports["reset"], domain="sync")
        m.submodules.sdram = sdram = self._sdram
        m.submodules.hub = hub = Hub(self._params, board.sdram.size_bytes)
        m.submodules.registers = registers = RegisterPort()
        m.submodules.link = link = Link(board.sdram.size_bytes, round(self._pll.clock_hz))
        connect(m, hub.memory, sdram.bursts)
        connect(m, link.memory, hub.words)
        connect(m, link.registers, registers.words)
        add_sdram_pads(m, board.sdram, sdram.pins, ports)
        self._connect_line(m, link)
        m.submodules[ACCELERATOR] = _accelerator(hub, registers)
        beat = Signal(HEARTBEAT_BITS)
        status = [registers.status & int(flag) != 0 for flag in (Status.BUSY, Status.DONE, Status.FAULT)]
        m.d.sync += [beat.eq(beat + 1), ports["lamps"].eq(Cat(beat[-1], *status, link.working))]
        m.d.comb += ports["keep_running"].eq(1)
        return m

    def _connect_line(self, m: Module, link: Link) -> None:
        m.submodules.receiver = receiver = UartReceiver(self._bit_cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(self._bit_cycles)
        m.submodules.received = queue = SyncFIFOBuffered(width=8, depth=RECEIVE_BYTES)
        m.d.comb += [
            receiver.line.eq(self.ports["receive"]),
            self.ports["transmit"].eq(transmitter.line),
            queue.w_data.eq(receiver.data),
            queue.w_en.eq(receiver.valid),
        ]
        connect(m, queue.r_stream, link.received)
        connect(m, link.sent, transmitter.bytes)


def _accelerator(hub: Hub, registers: RegisterPort) -> Instance:
    """The module that ``emit_verilog`` writes, with its ports."""
    connections: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for prefix, channel in (("m_axi", hub.axi_read), ("m_axi", hub.axi_write), ("s_axil", registers.bus)):
        for name, member in channel.signature.members.items():
            way = "o" if member.flow is In else "i"
            connections[f"{way}_{prefix}_{name.replace('_', '')}"] = getattr(channel, name)
    connections["i_m_axi_bid"] = 0
    return Instance(TOP_MODULE, **connections)


def board_pll(board: Board, clock_mhz: float | None = None) -> Pll:
    """The PLL for a clock, in MHz; the board's own where none is given. Raises ConfigError."""
    return choose_pll(board.oscillator_hz, (board.clock_mhz if clock_mhz is None else clock_mhz) * 1e6)


def emit_board(params: Params, board: Board, pll: Pll, *, baud: int = BAUD) -> str:
    """The Verilog of a board's top module, BOARD_MODULE, without the accelerator's.

    Raises ConfigError for a clock that memory or serial line cannot have.
    """
    board.sdram.check_clock(pll.clock_hz)
    bit_cycles(pll.clock_hz, baud)
    top = BoardTop(params, board, pll, baud=baud)
    return str(verilog.convert(top, name=BOARD_MODULE, ports=list(top.ports.values()), emit_src=False))
