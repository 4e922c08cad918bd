"""Files below /dev and /sys: read, written and opened, with errors that say what to do."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DeviceError

__all__ = ["map_file", "open_device_file", "read_number", "read_text", "write_number"]


def read_text(path: Path) -> str:
    """The text of an attribute, stripped. Raises DeviceError."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise _error(path, "read", error) from error


def read_number(path: Path) -> int:
    """An attribute that is a number, decimal or 0x…. Raises DeviceError."""
    text = read_text(path)
    try:
        return int(text, 0)
    except ValueError as error:
        raise DeviceError(f"{path} holds '{text}', which is no number") from error


def write_number(path: Path, value: int) -> None:
    """Write an attribute in one call. Raises DeviceError."""
    try:
        handle = os.open(path, os.O_WRONLY)
        try:
            os.write(handle, str(value).encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise _error(path, "written", error) from error


def open_device_file(path: Path) -> int:
    """A descriptor to read and write. Raises DeviceError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _error(path, "opened", error) from error


def map_file(handle: int, size_bytes: int, path: Path) -> NDArray[np.uint8]:
    """The first ``size_bytes`` of an open file, shared; mapped until the array is gone. Raises DeviceError."""
    try:
        return np.frombuffer(mmap.mmap(handle, size_bytes), np.uint8)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path} cannot be mapped ({size_bytes} bytes): {error}") from error


def _error(path: Path, what: str, error: OSError) -> DeviceError:
    advice = {
        errno.EACCES: f"; give your user access, for example with `sudo chmod a+rw {path}`, or with a udev rule to last",
        errno.EPERM: f"; give your user access, for example with `sudo chmod a+rw {path}`, or with a udev rule to last",
        errno.EBUSY: "; another program uses it",
        errno.ENOENT: "; is its kernel module loaded, and the device in the device tree?",
    }.get(error.errno or 0, "")
    return DeviceError(f"{path} cannot be {what}: {error.strerror}{advice}")
