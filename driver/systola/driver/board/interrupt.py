"""Ways to sleep until the accelerator's interrupt."""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from systola.driver.board.files import open_device_file
from systola.hw.errors import DeviceError

__all__ = ["Interrupt", "Polling", "UioInterrupt"]

SHORTEST_SLEEP_SECONDS = 50e-6
LONGEST_SLEEP_SECONDS = 1e-3


class Interrupt(Protocol):
    """The accelerator's interrupt."""

    def wait(self, seconds: float) -> bool:
        """Sleep until the interrupt, ``seconds`` at most; whether there was one. It may be one of before."""

    def close(self) -> None:
        """Let go of it."""


class UioInterrupt:
    """The interrupt of a UIO device: a write of 1 lets the next one through, a read of four bytes takes it.

    Raises DeviceError where the device cannot be opened; ``wired`` is False where it has no interrupt.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = open_device_file(path)
        self.wired = self._enable()
        self._poll = select.poll()
        self._poll.register(self._handle, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Sleep until the interrupt. What is already pending comes at once, since the line is level-triggered."""
        self._enable()
        if not self._poll.poll(max(0.0, seconds) * 1e3):
            return False
        try:
            return len(os.read(self._handle, 4)) == 4
        except OSError as error:
            raise DeviceError(f"the interrupt of {self._path} cannot be waited for: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _enable(self) -> bool:
        try:
            os.write(self._handle, struct.pack("=I", 1))
        except OSError as error:
            if error.errno in (errno.EIO, errno.EINVAL, errno.ENOSYS):
                return False  # the kernel's answers for a device without an interrupt, or whose driver cannot mask it
            raise DeviceError(f"the interrupt of {self._path} cannot be enabled: {error.strerror}") from error
        return True


class Polling:
    """No interrupt: ``pending`` is asked again and again, more and more rarely."""

    def __init__(self, pending: Callable[[], bool]) -> None:
        self._pending = pending

    def wait(self, seconds: float) -> bool:
        """Look until it is pending."""
        end, pause = time.monotonic() + seconds, SHORTEST_SLEEP_SECONDS
        while not self._pending():
            if time.monotonic() >= end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_SLEEP_SECONDS)
        return True

    def close(self) -> None:
        """Nothing to close."""
