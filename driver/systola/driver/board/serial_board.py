"""A board on a serial port: registers, and the board's memory, of which only what differs is sent or fetched."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.board.device import TIMEOUT_SECONDS, BoardDevice
from systola.driver.board.interrupt import Polling
from systola.driver.board.line import Line, Request
from systola.hw.board.protocol import (
    BAUD,
    BLOCK_BYTES,
    MEMORY_ADDRESS,
    MOST_WORDS,
    QUIET_SECONDS,
    WORD_BYTES,
    Info,
    Operation,
)
from systola.hw.errors import DeviceError
from systola.hw.registers import REGISTERS

__all__ = ["SerialBuffer", "SerialDevice", "SerialRegisters", "open_serial"]

SILENCE_SECONDS = 5.0
"""After which a board that says nothing is taken to be none."""

_IRQ_STATUS = next(register.address for register in REGISTERS if register.name == "IRQ_STATUS")


class SerialRegisters:
    """Registers behind a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def read(self, address: int) -> int:
        """A register's value."""
        return self.read_many([address])[0]

    def read_many(self, addresses: Sequence[int]) -> list[int]:
        """Values of registers; neighbours are asked for at once."""
        requests = [Request(Operation.READ_REGISTERS, first, words) for first, words in _runs(addresses)]
        return [int(word) for answer in self._line.ask(requests) for word in answer]

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._line.ask([Request(Operation.WRITE_REGISTERS, address, 1, np.array([value], np.uint32))])


def _runs(addresses: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first address, number) of neighbours, in order."""
    for _, run in groupby(enumerate(addresses), lambda item: item[1] - WORD_BYTES * item[0]):
        found = [address for _, address in run]
        for start in range(0, len(found), MOST_WORDS):
            yield found[start], len(found[start : start + MOST_WORDS])


class SerialBuffer:
    """The first bytes of the board's memory, ``used_bytes`` or a few more, and a copy of them, ``memory``.

    ``to_device`` sends the blocks that differ there, ``to_processor`` fetches them; which ones do, their CRC-32 says. What the
    memory already held, of an earlier run, is not sent again. Raises DeviceError if the board has less memory.
    """

    address = MEMORY_ADDRESS

    def __init__(self, line: Line, used_bytes: int) -> None:
        if line.info[Info.MEMORY_BYTES] < used_bytes:
            raise DeviceError(f"the network needs {used_bytes} bytes of memory; the board has {line.info[Info.MEMORY_BYTES]}")
        self._line = line
        self._blocks = max(1, -(-used_bytes // BLOCK_BYTES))
        self.memory = np.zeros(self._blocks * BLOCK_BYTES, np.uint8)
        self._there: NDArray[np.uint32] | None = None
        self.blocks_sent = 0
        self.blocks_fetched = 0

    def to_device(self) -> None:
        """Send what differs."""
        here = self._digests_here()
        there = self._digests_there() if self._there is None else self._there
        words = self.memory.view("<u4").reshape(self._blocks, MOST_WORDS)
        blocks = np.flatnonzero(here != there)
        self._there = None  # until all has arrived
        self._line.ask(Request(Operation.WRITE_MEMORY, int(n) * BLOCK_BYTES, MOST_WORDS, words[n]) for n in blocks)
        self._there = here
        self.blocks_sent += len(blocks)

    def to_processor(self) -> None:
        """Fetch what differs."""
        there = self._digests_there()
        blocks = np.flatnonzero(self._digests_here() != there)
        answers = self._line.ask(Request(Operation.READ_MEMORY, int(n) * BLOCK_BYTES, MOST_WORDS) for n in blocks)
        words = self.memory.view("<u4").reshape(self._blocks, MOST_WORDS)
        for block, answer in zip(blocks, answers, strict=True):
            words[block] = answer
        self._there = there
        self.blocks_fetched += len(blocks)

    def close(self) -> None:
        """Nothing to give back."""

    def _digests_here(self) -> NDArray[np.uint32]:
        return np.array([zlib.crc32(block.data) for block in self.memory.reshape(self._blocks, BLOCK_BYTES)], np.uint32)

    def _digests_there(self) -> NDArray[np.uint32]:
        counts = [(first, min(MOST_WORDS, self._blocks - first)) for first in range(0, self._blocks, MOST_WORDS)]
        return np.concatenate(self._line.ask(Request(Operation.DIGEST, first * BLOCK_BYTES, count) for first, count in counts))


class SerialDevice(BoardDevice):
    """A board on a serial port, polled."""

    def __init__(self, line: Line, buffer: SerialBuffer, port: Any, timeout_seconds: float) -> None:
        registers = SerialRegisters(line)
        pending = Polling(lambda: registers.read(_IRQ_STATUS) != 0)
        super().__init__(
            registers, buffer, pending, frequency_hz=line.info[Info.CLOCK_HZ], timeout_seconds=timeout_seconds, close=port.close
        )
        self._many = registers

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """Values of registers, without waiting for one before the next is asked for."""
        return self._many.read_many(addresses)


def open_serial(
    name: str, used_bytes: int, *, timeout_seconds: float = TIMEOUT_SECONDS, silence_seconds: float = SILENCE_SECONDS
) -> SerialDevice:
    """The board on a serial port ("/dev/ttyUSB0", "COM3"), with memory for ``used_bytes``. ``timeout_seconds``: of a program;
    ``silence_seconds``: of an answer. Raises DeviceError where the port cannot be opened or no board answers."""
    port = _open_port(name, silence_seconds)
    try:
        time.sleep(2 * QUIET_SECONDS)  # what an earlier program left in the middle is forgotten
        port.reset_input_buffer()
        line = Line(port, name)
        return SerialDevice(line, SerialBuffer(line, used_bytes), port, timeout_seconds)
    except BaseException:
        port.close()
        raise


def _open_port(name: str, silence_seconds: float) -> Any:
    try:
        import serial  # noqa: PLC0415 - a package of an extra
        from serial.tools.list_ports import comports  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DeviceError("a serial port needs pyserial, which is not installed: pip install 'systola[serial]'") from error
    try:
        return serial.Serial(name, BAUD, timeout=silence_seconds, write_timeout=silence_seconds, exclusive=True)
    except (OSError, ValueError) as error:
        there = ", ".join(sorted(port.device for port in comports())) or "none"
        raise DeviceError(
            f"the serial port {name} cannot be opened: {error}. Ports that there are: {there}. It must be yours to use (on "
            "Debian, your user in the group dialout), and no other program's"
        ) from error
