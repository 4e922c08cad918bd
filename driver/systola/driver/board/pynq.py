"""A board with PYNQ: a bitstream with its .hwh, an allocated buffer, the interrupt of PYNQ's controller.

The package pynq is there on such boards only; it is imported when a bitstream is opened.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.board.device import TIMEOUT_SECONDS, BoardDevice
from systola.driver.board.interrupt import Interrupt, Polling
from systola.driver.board.registers import check_window
from systola.hw.errors import ConfigError, DeviceError, ToolError
from systola.hw.params import Params
from systola.hw.registers import REGISTERS

__all__ = ["open_pynq"]

_IRQ_STATUS = next(register.address for register in REGISTERS if register.name == "IRQ_STATUS")
_BLOCK = "systola"
"""How the name of the block begins, in the third part of its type (vendor:library:NAME:version)."""


def open_pynq(
    bitstream: Path, params: Params, used_bytes: int, *, block: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> BoardDevice:
    """Load a bitstream and open the accelerator in it, with a buffer of ``used_bytes``.

    ``block``: its name in the block design; else the one block whose type is called systola. Where its interrupt does not lead
    to an interrupt controller, STATUS is polled. Raises ConfigError where a file is missing, ToolError without PYNQ, DeviceError
    where the design has no such block or its window is too small.
    """
    for path in (bitstream, bitstream.with_suffix(".hwh")):
        if not path.is_file():
            raise ConfigError(f"there is no {path}: PYNQ needs a bitstream and, beside it and with the same name, its .hwh file")
    pynq = _pynq()
    overlay = pynq.Overlay(str(bitstream.resolve()))
    name = _find(overlay.ip_dict, block, bitstream)
    entry = overlay.ip_dict[name]
    check_window(int(entry["addr_range"]), name)
    registers = _Registers(pynq.MMIO(int(entry["phys_addr"]), int(entry["addr_range"])))
    buffer = _Buffer(pynq.allocate(shape=(used_bytes,), dtype="u1"))
    frequency = params.config.clock.frequency_mhz * 1e6
    interrupt = _interrupt(pynq, overlay.interrupt_pins, name, registers)
    return BoardDevice(registers, buffer, interrupt, frequency_hz=frequency, timeout_seconds=timeout_seconds)


def _pynq() -> Any:
    try:
        return importlib.import_module("pynq")
    except ImportError as error:
        raise ToolError(
            f"a .bit file is loaded with PYNQ, which is not here ({error}): run this on the board, in PYNQ's environment; "
            "or load the bitstream yourself and use --board uio"
        ) from error


def _find(blocks: Mapping[str, Mapping[str, Any]], wanted: str | None, bitstream: Path) -> str:
    types = {name: str(entry.get("type", "")) for name, entry in blocks.items()}
    if wanted is not None:
        found = [name for name in types if wanted in (name, name.partition("/")[0])]
    else:
        found = [name for name, kind in types.items() if ":".join(kind.split(":")[2:]).startswith(_BLOCK)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{name} ({kind})" for name, kind in types.items()) or "none"
    what = "of a type called systola" if wanted is None else f"'{wanted}'"
    count = f"{len(found)} blocks" if found else "no block"
    raise DeviceError(f"{bitstream.name} has {count} {what}; its blocks: {listed}")


class _Registers:
    """Registers through PYNQ's MMIO."""

    def __init__(self, mmio: Any) -> None:
        self._mmio = mmio

    def read(self, address: int) -> int:
        return int(self._mmio.read(address))

    def write(self, address: int, value: int) -> None:
        self._mmio.write(address, value)


class _Buffer:
    """A buffer of pynq.allocate: its flush and invalidate do nothing where it is coherent."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    @property
    def memory(self) -> NDArray[np.uint8]:
        return np.asarray(self._buffer).view(np.ndarray)

    @property
    def address(self) -> int:
        return int(self._buffer.physical_address)

    def to_device(self) -> None:
        self._buffer.flush()

    def to_processor(self) -> None:
        self._buffer.invalidate()

    def close(self) -> None:
        self._buffer.freebuffer()


class _PynqInterrupt:
    """An interrupt that PYNQ waits for in an event loop; here in one of its own."""

    def __init__(self, interrupt: Any) -> None:
        self._interrupt = interrupt
        self._loop = asyncio.new_event_loop()

    def wait(self, seconds: float) -> bool:
        try:
            self._loop.run_until_complete(self._within(max(0.0, seconds)))
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._loop.close()

    async def _within(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await self._interrupt.wait()


def _interrupt(pynq: Any, pins: Mapping[str, Any], name: str, registers: _Registers) -> Interrupt:
    block = name.partition("/")[0]
    own = [pin for pin in pins if pin.startswith(f"{block}/")]
    if len(own) == 1:
        return _PynqInterrupt(pynq.Interrupt(own[0]))
    return Polling(lambda: registers.read(_IRQ_STATUS) != 0)
