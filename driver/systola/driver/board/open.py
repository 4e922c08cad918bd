"""Open a board by what the user calls it."""

from __future__ import annotations

import re
from pathlib import Path

from systola.driver.board.serial_board import open_serial
from systola.driver.board.uio import open_uio
from systola.driver.bridge.client import BridgeDevice
from systola.driver.device import Device
from systola.hw.errors import ConfigError
from systola.hw.params import Params

__all__ = ["BOARD_HELP", "open_board"]

SERIAL = "serial:"
BOARD_HELP = (
    "uio (the node called systola), uio0, …, a bitstream NAME.bit with NAME.hwh (PYNQ), serial:PORT (a board of synth --board), "
    "or the folder of a bridge"
)


def open_board(board: str, params: Params, used_bytes: int, *, root: Path = Path("/")) -> Device:
    """The device that ``board`` names, as BOARD_HELP says, with memory for ``used_bytes``; ``root`` holds /dev and /sys.

    Raises ConfigError for what names none, else as open_uio, open_pynq, open_serial and BridgeDevice do.
    """
    if board.startswith(SERIAL):
        return open_serial(board.removeprefix(SERIAL), used_bytes)
    path = Path(board)
    if path.suffix == ".bit":
        from systola.driver.board.pynq import open_pynq  # noqa: PLC0415 - what it imports is slow, and for such boards only

        return open_pynq(path, params, used_bytes)
    if re.fullmatch(r"uio\d*", board):
        return open_uio(params, used_bytes, name=None if board == "uio" else board, root=root)
    if path.is_dir():
        return BridgeDevice(path)
    raise ConfigError(f"there is no board '{board}': give {BOARD_HELP}")
