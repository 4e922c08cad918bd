"""The boards that a bitstream can be made for. Pins, clock and part are those of ``amaranth-boards``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from systola.hw.board.sdram import SdramPart
from systola.hw.errors import ConfigError, ToolError

__all__ = ["BOARDS", "Board", "Pins", "constraints", "find_board"]


@dataclass(frozen=True)
class Pins:
    """A port of the top module: the package's pin of each bit, and their attributes. ``clock_hz``: what comes in there."""

    port: str
    sites: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    clock_hz: float = 0.0


@dataclass(frozen=True)
class Board:
    """``platform``: module and class of amaranth-boards. ``ports``: (port of the top module, resource, its number, subsignal).

    ``clock_mhz``: of the accelerator, where none is asked for.
    """

    name: str
    title: str
    platform: tuple[str, str]
    ports: tuple[tuple[str, str, int, str], ...]
    sdram: SdramPart
    clock_mhz: float = 50.0
    lamps: int = 8

    @property
    def part(self) -> str:
        """The FPGA."""
        return str(self._platform().device)

    @property
    def speed(self) -> int:
        """Its speed grade."""
        return int(self._platform().speed)

    @property
    def oscillator_hz(self) -> float:
        """Of the port ``clock``."""
        return next(pins.clock_hz for pins in self.pins() if pins.clock_hz)

    def pins(self) -> Iterator[Pins]:
        """Of every port. Raises ToolError where amaranth-boards is not installed."""
        resources = {(resource.name, resource.number): resource for resource in self._platform().resources}
        for port, name, number, subsignal in self.ports:
            numbers = range(self.lamps) if port == "lamps" else (number,)
            found = [resources[name, each] for each in numbers]
            ios = [_subsignal(resource, subsignal) for resource in found]
            clock = found[0].clock
            yield Pins(
                port,
                tuple(site for io in ios for site in io.ios[0].names),
                tuple(sorted({**found[0].attrs, **ios[0].attrs}.items())),
                clock.frequency if clock is not None else 0.0,
            )

    def _platform(self) -> Any:
        module, name = self.platform
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise ToolError(
                f"the pins of {self.name} come from amaranth-boards, which is not installed: pip install 'systola[fpga]'"
            ) from error


def _subsignal(resource: Any, name: str) -> Any:
    return resource if not name else next(io for io in resource.ios if io.name == name)


_ULX3S_PORTS = (
    ("clock", "clk25", 0, ""),
    ("reset", "button_fire", 0, ""),
    ("receive", "uart", 0, "rx"),
    ("transmit", "uart", 0, "tx"),
    ("lamps", "led", 0, ""),
    ("keep_running", "esp32", 0, "gpio0"),
    ("sdram_clock", "sdram", 0, "clk"),
    ("sdram_clock_enable", "sdram", 0, "clk_en"),
    ("sdram_select_n", "sdram", 0, "cs"),
    ("sdram_ras_n", "sdram", 0, "ras"),
    ("sdram_cas_n", "sdram", 0, "cas"),
    ("sdram_we_n", "sdram", 0, "we"),
    ("sdram_bank", "sdram", 0, "ba"),
    ("sdram_address", "sdram", 0, "a"),
    ("sdram_mask", "sdram", 0, "dqm"),
    ("sdram_data", "sdram", 0, "dq"),
)
BOARDS = {
    board.name: board
    for board in (
        Board(
            f"ulx3s-{size.lower()}", f"ULX3S with an LFE5U-{size}", ("amaranth_boards.ulx3s", f"ULX3S_{size}_Platform"),
            _ULX3S_PORTS, SdramPart(data_bits=16, row_bits=13, column_bits=9),
        )
        for size in ("25F", "45F", "85F")
    )
}  # fmt: skip
"""By name."""


def find_board(name: str) -> Board:
    """A board by name. Raises ConfigError for one that is not there."""
    if name not in BOARDS:
        raise ConfigError(f"there is no board '{name}': the boards are {', '.join(BOARDS)}")
    return BOARDS[name]


def constraints(board: Board) -> str:
    """Pins and the oscillator's clock, as an LPF file."""
    lines = []
    for pins in board.pins():
        names = [pins.port] if len(pins.sites) == 1 else [f"{pins.port}[{bit}]" for bit in range(len(pins.sites))]
        attributes = " ".join(f"{name}={value}" for name, value in pins.attributes)
        for name, site in zip(names, pins.sites, strict=True):
            lines += [f'LOCATE COMP "{name}" SITE "{site}";', f'IOBUF PORT "{name}" {attributes};']
        if pins.clock_hz:
            lines.append(f'FREQUENCY PORT "{pins.port}" {pins.clock_hz / 1e6:g} MHZ;')
    return "\n".join(lines) + "\n"
