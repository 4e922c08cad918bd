"""Memory that the accelerator and the processor both see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from systola.driver.board.files import map_file, open_device_file, read_number, write_number
from systola.hw.errors import DeviceError

__all__ = ["Buffer", "DmaBuffer", "find_dma_buffer"]

CLASSES = ("u-dma-buf", "udmabuf")
"""Names of the driver's folder in /sys/class: since version 2, and before."""

BIDIRECTIONAL = 0


class Buffer(Protocol):
    """A buffer. Between ``to_device`` and ``to_processor`` it is the accelerator's."""

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Its bytes, where the processor sees them."""

    @property
    def address(self) -> int:
        """Where the accelerator sees them."""

    def to_device(self) -> None:
        """What the processor wrote is in memory from here on."""

    def to_processor(self) -> None:
        """What the accelerator wrote is what the processor reads from here on."""

    def close(self) -> None:
        """Let go of it."""


def find_dma_buffer(root: Path, name: str | None) -> Path:
    """The folder in /sys/class of a u-dma-buf buffer: of this name, or the largest. DeviceError where there is none."""
    folders = [folder for kind in CLASSES for folder in sorted((root / "sys" / "class" / kind).glob("*")) if folder.is_dir()]
    if name is not None:
        folders = [folder for folder in folders if folder.name == name]
    if not folders:
        what = "u-dma-buf buffer" if name is None else f"u-dma-buf buffer '{name}'"
        raise DeviceError(
            f"there is no {what} in {root / 'sys/class/u-dma-buf'}: load the kernel module u-dma-buf with a buffer, "
            "for example `modprobe u-dma-buf udmabuf0=0x1000000`, or put one into the device tree"
        )
    return max(folders, key=lambda folder: read_number(folder / "size"))


class DmaBuffer:
    """A buffer of the kernel module u-dma-buf; ``folder``: where /sys/class has it, below ``root``.

    The processor's cache is on. Unless the driver says that the hardware keeps it coherent, ``to_device`` and ``to_processor``
    tell the driver whose ``used_bytes``, rounded up to pages, are. Raises DeviceError where the buffer is smaller than that.
    """

    def __init__(self, folder: Path, root: Path, used_bytes: int) -> None:
        self._folder = folder
        self.address = read_number(folder / "phys_addr")
        size = read_number(folder / "size")
        if size < used_bytes:
            raise DeviceError(
                f"the buffer {folder.name} has {size} bytes; the network needs {used_bytes}: make it larger, for example with "
                f"`modprobe u-dma-buf {folder.name}={used_bytes + -used_bytes % (1 << 20):#x}`"
            )
        coherent = folder / "dma_coherent"
        self._coherent = coherent.exists() and bool(read_number(coherent))
        path = root / "dev" / folder.name
        handle = open_device_file(path)
        try:
            self.memory = map_file(handle, size, path)
        finally:
            os.close(handle)  # the mapping stays
        if not self._coherent:
            page = os.sysconf("SC_PAGE_SIZE")
            synchronized = min(size, used_bytes + -used_bytes % page)
            for attribute, value in (("sync_offset", 0), ("sync_size", synchronized), ("sync_direction", BIDIRECTIONAL)):
                write_number(folder / attribute, value)

    def to_device(self) -> None:
        """Flush the cache."""
        self._synchronize("sync_for_device")

    def to_processor(self) -> None:
        """Invalidate the cache."""
        self._synchronize("sync_for_cpu")

    def close(self) -> None:
        """Nothing to give back: the mapping goes with the last array of it."""

    def _synchronize(self, attribute: str) -> None:
        if not self._coherent:
            write_number(self._folder / attribute, 1)
