"""A board under plain Linux: registers and interrupt through UIO, the buffer through u-dma-buf."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from systola.driver.board.buffer import DmaBuffer, find_dma_buffer
from systola.driver.board.device import TIMEOUT_SECONDS, BoardDevice
from systola.driver.board.files import map_file, open_device_file, read_number, read_text
from systola.driver.board.interrupt import Interrupt, Polling, UioInterrupt
from systola.driver.board.registers import MappedRegisters, Registers, check_window
from systola.hw.errors import DeviceError
from systola.hw.params import Params
from systola.hw.registers import REGISTERS

__all__ = ["UIO_NAME", "find_uio", "open_uio"]

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
    registers: Callable[[NDArray[np.uint32]], Registers] = MappedRegisters,
) -> BoardDevice:
    """The accelerator of a UIO device with a u-dma-buf buffer of ``used_bytes`` or more.

    ``name``: of the device ("uio0") or its node ("systola", also what is looked for where none is given). ``buffer``: the
    buffer's name; else the largest. ``root``: what holds /dev and /sys. ``registers`` makes the registers of the mapped window.
    A device without an interrupt is polled. Raises DeviceError where something is missing or too small.
    """
    folder = find_uio(root, name)
    window, path = _window(folder, root)
    mapped = registers(window)
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


def _window(folder: Path, root: Path) -> tuple[NDArray[np.uint32], Path]:
    """The registers of a device's first map, and the path of the device."""
    first = folder / "maps" / "map0"
    size = read_number(first / "size")
    offset = read_number(first / "offset") if (first / "offset").exists() else 0
    path = root / "dev" / folder.name
    check_window(size, folder.name)
    handle = open_device_file(path)
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        mapped = map_file(handle, offset + size + -(offset + size) % page, path)
    finally:
        os.close(handle)
    return mapped[offset : offset + size].view(np.uint32), path
