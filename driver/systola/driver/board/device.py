"""The device that the runtime sees of a board."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from systola.driver.board.buffer import Buffer
from systola.driver.board.interrupt import Interrupt
from systola.driver.board.registers import Registers
from systola.driver.board.state import describe_state
from systola.hw.errors import DeviceError
from systola.hw.registers import REGISTERS, Control

__all__ = ["TIMEOUT_SECONDS", "BoardDevice"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
TIMEOUT_SECONDS = 60.0
"""How long a program may take where nothing else is said."""

SLICE_SECONDS = 0.5
"""How long a sleep is; in between, progress is told."""


class BoardDevice:
    """An accelerator on a board: ``registers``, a ``buffer`` for its memory, its ``interrupt``.

    The buffer is handed to the accelerator before CONTROL's START is written, and taken back when the interrupt came.
    ``frequency_hz``: of its clock, by which a timeout in cycles is one in seconds; ``timeout_seconds`` where none is given.
    """

    def __init__(
        self,
        registers: Registers,
        buffer: Buffer,
        interrupt: Interrupt,
        *,
        frequency_hz: float,
        timeout_seconds: float = TIMEOUT_SECONDS,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._registers = registers
        self._buffer = buffer
        self._interrupt = interrupt
        self._frequency_hz = frequency_hz
        self._timeout_seconds = timeout_seconds
        self._close = close

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The buffer's bytes. While a program runs they are the accelerator's."""
        return self._buffer.memory

    @property
    def memory_address(self) -> int:
        """Where the accelerator sees them."""
        return self._buffer.address

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """Values of registers."""
        return [self._registers.read(address) for address in addresses]

    def write_registers(self, writes: Sequence[tuple[int, int]]) -> None:
        """Write registers, one after the other."""
        for address, value in writes:
            if address == _ADDRESS["CONTROL"] and value & Control.START:
                self._buffer.to_device()
            self._registers.write(address, value)

    def wait_irq(self, timeout_cycles: int | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Sleep until the interrupt; the cycles since the start. DeviceError, which says what the engines do, if it is late."""
        limit = self._timeout_seconds if timeout_cycles is None else timeout_cycles / self._frequency_hz
        end = time.monotonic() + limit
        while True:
            came = self._interrupt.wait(min(SLICE_SECONDS, end - time.monotonic()))
            if came and self._pending():
                break
            if time.monotonic() >= end:
                raise self._late(limit)
            if progress is not None:
                progress(self._cycles())
        self._buffer.to_processor()
        return self._cycles()

    def close(self) -> None:
        """Let go of interrupt, buffer and registers."""
        self._interrupt.close()
        self._buffer.close()
        self._close()

    def _pending(self) -> bool:
        return self._registers.read(_ADDRESS["IRQ_STATUS"]) != 0

    def _cycles(self) -> int:
        return self._registers.read(_ADDRESS["CYCLES_LOW"]) + (self._registers.read(_ADDRESS["CYCLES_HIGH"]) << 32)

    def _late(self, seconds: float) -> DeviceError:
        state = describe_state(self._registers.read)
        if self._pending():
            return DeviceError(
                f"the accelerator has finished ({state}), but its interrupt did not arrive in {seconds:g} s: is `irq` connected, "
                "is its number right in the device tree, and is it level-sensitive, active high?"
            )
        return DeviceError(f"the accelerator raised no interrupt in {seconds:g} s: {state}")
