"""A board under plain Linux: registers and interrupt through UIO, the buffer through u-dma-buf."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from systola.driver.board.buffer import DmaBuffer, find_dma_buffer
from systola.driver.board.device import TIMEOUT_SECONDS, BoardDevice
from systola.driver.board.files import map_file, open_device_file, read_number, read_text
from systola.driver.board.interrupt import Interrupt, Polling, UioInterrupt
from systola.driver.board.registers import MappedRegisters, Registers, check_window
from systola.hw.errors import DeviceError
from systola.hw.params import Params
from systola.hw.registers import REGISTERS

__all__ = ["UIO_NAME", "find_uio", "map_registers", "open_uio"]

UIO_NAME = "systola"
"""The name of the node in the device tree, by which the accelerator is found."""

_IRQ_STATUS = next(register.address for register in REGISTERS if register.name == "IRQ_STATUS")


def open_uio(
    params: Params,
    used_bytes: int,
    *,
    name: str | None = None,
    buffer: str | None = None,
    root: Path = Path("/"),
    timeout_seconds: float = TIMEOUT_SECONDS,
    registers: Callable[[Path, int, int], Registers] | None = None,
) -> BoardDevice:
    """The accelerator of a UIO device with a u-dma-buf buffer of ``used_bytes`` or more.

    ``name``: of the device ("uio0") or its node ("systola", also what is looked for where none is given). ``buffer``: the
    buffer's name; else the largest. ``root``: what holds /dev and /sys. ``registers`` is used in place of map_registers.
    A device without an interrupt is polled. Raises DeviceError where something is missing or too small.
    """
    folder = find_uio(root, name)
    first, path = folder / "maps" / "map0", root / "dev" / folder.name
    size = read_number(first / "size")
    check_window(size, folder.name)
    offset = read_number(first / "offset") if (first / "offset").exists() else 0
    mapped = (registers or map_registers)(path, offset, size)
    memory = DmaBuffer(find_dma_buffer(root, buffer), root, used_bytes)
    frequency = params.config.clock.frequency_mhz * 1e6
    return BoardDevice(mapped, memory, _interrupt(path, mapped), frequency_hz=frequency, timeout_seconds=timeout_seconds)


def find_uio(root: Path, name: str | None = None) -> Path:
    """The folder in /sys/class/uio of a device. Raises DeviceError with the names of those that there are."""
    folders = sorted((root / "sys" / "class" / "uio").glob("uio*"))
    names = {folder: read_text(folder / "name") for folder in folders}
    wanted = name or UIO_NAME
    found = [folder for folder, node in names.items() if wanted in (folder.name, node, node.partition("@")[0])]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{folder.name} ({node})" for folder, node in names.items()) or "none: is uio_pdrv_genirq loaded?"
    if found:
        raise DeviceError(f"several UIO devices are called '{wanted}': name one of {listed}")
    raise DeviceError(f"there is no UIO device '{wanted}'; those that there are: {listed}")


def _interrupt(path: Path, registers: Registers) -> Interrupt:
    uio = UioInterrupt(path)
    if uio.wired:
        return uio
    uio.close()
    return Polling(lambda: registers.read(_IRQ_STATUS) != 0)


def map_registers(path: Path, offset: int, size_bytes: int) -> Registers:
    """The registers of a device file, from ``offset`` in its first mapping on. Raises DeviceError."""
    handle = open_device_file(path)
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        mapped = map_file(handle, offset + size_bytes + -(offset + size_bytes) % page, path)
    finally:
        os.close(handle)  # the mapping stays
    return MappedRegisters(mapped[offset : offset + size_bytes].view(np.uint32))
