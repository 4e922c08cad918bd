"""A board made of files: /dev and /sys of a UIO device and a u-dma-buf buffer, with a simulated accelerator behind them.

A mapped register cannot be trapped, so the accelerator's registers are reached through the runtime's own seam (the
``registers`` of open_uio). All else is as a board has it: the attributes and device files below a root, a terminal pair for
the interrupt (reads, writes and polls as the kernel's file does), and a processor's cache that the accelerator does not see.
"""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from systola.driver.board import buffer as buffer_module
from systola.driver.board.files import write_number
from systola.driver.device import Device
from systola.hw.registers import REGISTERS, Control

__all__ = ["ADDRESS", "BASE", "BoardTree", "Trapped", "board_tree"]

ADDRESS = {register.name: register.address for register in REGISTERS}
BASE = 0x1E90_0000
"""Where the buffer is on the bus."""


@dataclass
class BoardTree:
    """The folder that stands for /, and what lies in it."""

    root: Path
    cache: NDArray[np.uint8]
    uio: Path
    dma: Path

    def set(self, path: Path, value: object) -> None:
        """Write an attribute."""
        path.write_text(f"{value}\n", encoding="utf-8")


def board_tree(root: Path, size_bytes: int, *, name: str = "systola", coherent: int = 0, kind: str = "u-dma-buf") -> BoardTree:
    """A UIO device uio0 and a buffer udmabuf0 of ``size_bytes``; /dev/uio0 is to be made by the test."""
    uio, dma = root / "sys/class/uio/uio0", root / "sys/class" / kind / "udmabuf0"
    for folder in (uio / "maps/map0", dma, root / "dev"):
        folder.mkdir(parents=True)
    attributes = {
        uio / "name": name, uio / "maps/map0/addr": "0x43c00000", uio / "maps/map0/size": "0x1000",
        uio / "maps/map0/offset": "0x0", dma / "phys_addr": hex(BASE), dma / "size": size_bytes, dma / "dma_coherent": coherent,
        dma / "sync_offset": 0, dma / "sync_size": 0, dma / "sync_direction": 2, dma / "sync_for_cpu": 0,
        dma / "sync_for_device": 0,
    }  # fmt: skip
    for path, value in attributes.items():
        path.write_text(f"{value}\n", encoding="utf-8")
    with (root / "dev/udmabuf0").open("wb") as file:
        file.truncate(size_bytes)
    cache = np.memmap(root / "dev/udmabuf0", np.uint8, "r+").view(np.ndarray)
    return BoardTree(root, cache, uio, dma)


@dataclass
class Trapped:
    """The accelerator of a tree: registers of ``device``, whose memory is the DRAM; the tree's buffer file is what the processor
    sees of it through its cache. Accesses are logged."""

    device: Device
    tree: BoardTree
    log: list[str] = field(default_factory=list)
    interrupts: int = 0
    deliver: bool = True
    """Whether interrupts arrive."""

    def __post_init__(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave = slave
        (self.tree.root / "dev/uio0").symlink_to(os.ttyname(slave))

    def read(self, address: int) -> int:
        """A register's value."""
        return self.device.read_registers([address])[0]

    def write(self, address: int, value: int) -> None:
        """Write a register; a program runs at once."""
        self.device.write_registers([(address, value)])
        if address == ADDRESS["CONTROL"] and value & Control.START:
            self.log.append("start")
            self.device.wait_irq()
            if self.deliver:
                self.interrupt()

    def interrupt(self) -> None:
        """Raise the interrupt: the kernel counts them."""
        self.interrupts += 1
        os.write(self.master, self.interrupts.to_bytes(4, "little"))

    def with_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From here on, the buffer's attributes move bytes between cache and DRAM."""
        moves: dict[str, Callable[[slice], None]] = {"sync_for_device": self._flush, "sync_for_cpu": self._invalidate}

        def write(path: Path, value: int) -> None:
            write_number(path, value)
            if path.name in moves:
                self.log.append(path.name)
                first, size = (int((self.tree.dma / name).read_text()) for name in ("sync_offset", "sync_size"))
                moves[path.name](slice(first, first + size))

        monkeypatch.setattr(buffer_module, "write_number", write)

    def _flush(self, part: slice) -> None:
        self.device.memory[part] = self.tree.cache[part]

    def _invalidate(self, part: slice) -> None:
        self.tree.cache[part] = self.device.memory[part]

    def close(self) -> None:
        """Close the terminals."""
        os.close(self.master)
        os.close(self._slave)
