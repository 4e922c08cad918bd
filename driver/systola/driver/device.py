"""What the driver needs of an accelerator, wherever it is: simulated, interpreted or on a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Device"]


class Device(Protocol):
    """An accelerator: its control registers, its memory, its interrupt.

    The driver knows nothing else of what it talks to.
    """

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The bytes behind the bus, from the DRAM base on; shared with the accelerator."""

    @property
    def memory_address(self) -> int:
        """Where the accelerator sees the first of them: the address on its bus."""

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """Values of 32-bit registers by byte address."""

    def write_registers(self, writes: Sequence[tuple[int, int]]) -> None:
        """Write registers, (address, value) one after the other."""

    def wait_irq(self, timeout_cycles: int | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Sleep until the interrupt; DeviceError after ``timeout_cycles``. ``progress`` is told cycles now and then."""

    def close(self) -> None:
        """Let go of the accelerator."""
