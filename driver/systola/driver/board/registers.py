"""Registers that are mapped into the process."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DeviceError
from systola.hw.registers import ADDRESS_BITS

__all__ = ["WINDOW_BYTES", "MappedRegisters", "Registers", "check_window"]

WINDOW_BYTES = 1 << ADDRESS_BITS
"""Size of the accelerator's register window."""


class Registers(Protocol):
    """32-bit registers by byte address."""

    def read(self, address: int) -> int:
        """A register's value."""

    def write(self, address: int, value: int) -> None:
        """Write a register."""


def check_window(size_bytes: int, where: str) -> None:
    """Raise DeviceError if a register window is smaller than the accelerator's; ``where`` names it."""
    if size_bytes < WINDOW_BYTES:
        raise DeviceError(
            f"the register window of {where} has {size_bytes} bytes; a Systola accelerator has {WINDOW_BYTES}: give its address "
            "range that size in the device tree or the block design"
        )


class MappedRegisters:
    """Registers in ``words``, a mapped array of uint32: each access is one load or store of 32 bits."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self._words = words

    def read(self, address: int) -> int:
        """A register's value."""
        return int(self._words[address >> 2])

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._words[address >> 2] = value
