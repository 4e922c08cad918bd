"""The side of a bridge that has the simulated accelerator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from systola.driver.bridge.mailbox import (
    MAGIC,
    MAILBOX_BYTES,
    MAILBOX_VERSION,
    TEXT_BYTES,
    TEXT_OFFSET,
    Operation,
    Outcome,
    Word,
)
from systola.driver.device import Device
from systola.hw.errors import ConfigError, DeviceError
from systola.hw.registers import REGISTERS, Status

__all__ = ["Bridge", "bridge_folder", "memory_file"]

_STATUS = next(register.address for register in REGISTERS if register.name == "STATUS")
_LOW = 0xFFFF_FFFF
SPINS = 2000
"""Looks at the mailbox, after the last request, before the first sleep."""

SLEEP_SECONDS = 50e-6
LONGEST_SLEEP_SECONDS = 2e-3
IDLE_SLEEPS = 20_000
"""Short sleeps, after the last request, before the long ones."""

FILES = ("mailbox", "client", "memory")


@contextmanager
def bridge_folder(folder: Path) -> Iterator[Path]:
    """A folder to serve a bridge in, alone; the bridge's files in it are removed at the end.

    Raises ConfigError where another bridge serves it, or where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "mailbox").open("a+b")
    except OSError as error:
        raise ConfigError(f"the bridge's folder {folder} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another bridge serves {folder}: give another folder with --output") from error
        try:
            lock.truncate(0)
            lock.truncate(MAILBOX_BYTES)
            (folder / "client").touch()
            (folder / "memory").unlink(missing_ok=True)
            yield folder
        finally:
            for name in FILES:
                with contextlib.suppress(OSError):
                    (folder / name).unlink()


class Bridge:
    """Serves ``device`` in a folder that :func:`bridge_folder` gave and that holds the device's memory as the file ``memory``.

    ``poll_cycles``: a program that reads STATUS while the accelerator is busy lets this many simulated cycles pass, or as many as
    there are to the interrupt; time passes in simulations only within accesses. ``tell`` is told of what goes wrong.
    """

    def __init__(self, device: Device, folder: Path, *, poll_cycles: int = 1000, tell: Callable[[str], None] = print) -> None:
        self._device = device
        self._poll_cycles = poll_cycles
        self._tell = tell
        self._bytes = np.memmap(folder / "mailbox", np.uint8, "r+").view(np.ndarray)
        self._words: NDArray[np.uint32] = self._bytes.view(np.uint32)
        memory, address = device.memory.size, device.memory_address
        for low, value in ((Word.MEMORY_BYTES_LOW, memory), (Word.MEMORY_ADDRESS_LOW, address)):
            self._put_wide(low, value)
        self._words[Word.VERSION] = MAILBOX_VERSION
        self._words[Word.MAGIC] = MAGIC

    def serve(self, stop: Callable[[], bool]) -> None:
        """Answer requests until ``stop`` says so; it is asked now and then while nothing is requested."""
        idle = 0
        while True:
            if int(self._words[Word.REQUEST]) != int(self._words[Word.ANSWER]):
                self._answer()
                idle = 0
                continue
            idle += 1
            if idle < SPINS:
                continue
            if stop():
                return
            time.sleep(SLEEP_SECONDS if idle < IDLE_SLEEPS else LONGEST_SLEEP_SECONDS)

    def _answer(self) -> None:
        request = int(self._words[Word.REQUEST])
        try:
            outcome = self._serve(int(self._words[Word.OPERATION]))
        except DeviceError as error:
            outcome = Outcome.FAILED
            text = str(error).encode()[: TEXT_BYTES - 1]
            self._bytes[TEXT_OFFSET : TEXT_OFFSET + len(text) + 1] = list(text + b"\0")
            self._tell(str(error))
        self._words[Word.OUTCOME] = outcome
        self._words[Word.ANSWER] = request

    def _serve(self, operation: int) -> Outcome:
        address = int(self._words[Word.ADDRESS])
        if operation == Operation.READ:
            self._words[Word.VALUE] = self._read(address)
        elif operation == Operation.WRITE:
            self._write(address, int(self._words[Word.VALUE]))
        elif operation == Operation.WAIT:
            return self._wait(int(self._words[Word.CYCLES_LOW]) + (int(self._words[Word.CYCLES_HIGH]) << 32))
        else:
            raise DeviceError(f"the program asks for operation {operation}: it was compiled with files of another version")
        return Outcome.DONE

    def _read(self, address: int) -> int:
        value = self._device.read_registers([address])[0]
        if address == _STATUS and value & Status.BUSY and self._poll_cycles:
            with contextlib.suppress(DeviceError):  # no interrupt yet
                self._device.wait_irq(self._poll_cycles)
            value = self._device.read_registers([address])[0]
        return value

    def _write(self, address: int, value: int) -> None:
        try:
            self._device.write_registers([(address, value)])
        except DeviceError as error:
            # The interpreter executes at once what is started, and says more of a fault than the registers, where it is also.
            if not self._device.read_registers([_STATUS])[0] & Status.FAULT:
                raise
            self._tell(str(error))

    def _wait(self, limit: int) -> Outcome:
        """Run to the interrupt; another DeviceError than its absence is raised again when the device is asked once more."""
        try:
            passed = self._device.wait_irq(limit or None)
        except DeviceError:
            if not limit:
                raise
            self._device.read_registers([_STATUS])
            self._put_wide(Word.CYCLES_LOW, limit)
            return Outcome.LATE
        self._put_wide(Word.CYCLES_LOW, passed)
        return Outcome.DONE

    def _put_wide(self, low: Word, value: int) -> None:
        self._words[low] = value & _LOW
        self._words[low + 1] = value >> 32


def memory_file(folder: Path, size_bytes: int) -> NDArray[np.uint8]:
    """The file ``memory`` of a device that has no file of its own: zeros, mapped."""
    path = folder / "memory"
    with path.open("wb") as file:
        os.truncate(file.fileno(), size_bytes)
    return np.memmap(path, np.uint8, "r+").view(np.ndarray)
