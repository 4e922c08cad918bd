"""A device behind a bridge that another process serves."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from systola.driver.bridge.mailbox import MAGIC, MAILBOX_VERSION, TEXT_BYTES, TEXT_OFFSET, Operation, Outcome, Word
from systola.hw.errors import DeviceError

__all__ = ["BridgeDevice"]

SPINS = 2000
SLEEP_SECONDS = 50e-6
LOOKS_PER_CHECK = 2000
SLICE_CYCLES = 1_000_000
"""Cycles of one wait; in between, progress is told."""

_LOW = 0xFFFF_FFFF


class BridgeDevice:
    """The accelerator that ``systola bridge`` serves in ``folder``. Raises DeviceError where none does, or where it is in use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with ExitStack() as files:
            try:
                self._mailbox: IO[bytes] = files.enter_context((folder / "mailbox").open("r+b"))
                client = files.enter_context((folder / "client").open("r+b"))
                self._bytes = np.memmap(folder / "mailbox", np.uint8, "r+").view(np.ndarray)
            except (OSError, ValueError) as error:
                raise DeviceError(f"no bridge is in {folder}: start one with `systola bridge -o {folder}`") from error
            if not self._served():
                raise DeviceError(f"nobody serves the bridge in {folder} any more: start it again")
            try:
                fcntl.flock(client, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DeviceError(f"another program uses the bridge in {folder}") from error
            self._words: NDArray[np.uint32] = self._bytes.view(np.uint32)
            if self._words[Word.MAGIC] != MAGIC or self._words[Word.VERSION] != MAILBOX_VERSION:
                raise DeviceError(f"the bridge in {folder} is of another version of Systola")
            self._memory: NDArray[np.uint8] = np.memmap(folder / "memory", np.uint8, "r+").view(np.ndarray)
            self._files = files.pop_all()

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The DRAM's bytes, shared with the bridge."""
        return self._memory

    @property
    def memory_address(self) -> int:
        """Where the accelerator sees them."""
        return self._wide(Word.MEMORY_ADDRESS_LOW)

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """Values of registers."""
        return [self._read(address) for address in addresses]

    def write_registers(self, writes: Sequence[tuple[int, int]]) -> None:
        """Write registers, one after the other."""
        for address, value in writes:
            self._words[Word.ADDRESS], self._words[Word.VALUE] = address, value
            self._ask(Operation.WRITE)

    def wait_irq(self, timeout_cycles: int | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Let simulated time pass to the interrupt, and return the cycles; DeviceError after ``timeout_cycles``."""
        passed = 0
        while timeout_cycles is None or passed < timeout_cycles:
            limit = SLICE_CYCLES if timeout_cycles is None else min(SLICE_CYCLES, timeout_cycles - passed)
            self._words[Word.CYCLES_LOW], self._words[Word.CYCLES_HIGH] = limit & _LOW, limit >> 32
            outcome = self._ask(Operation.WAIT)
            passed += self._wide(Word.CYCLES_LOW)
            if outcome is Outcome.DONE:
                return passed
            if progress is not None:
                progress(passed)
        raise DeviceError(f"the accelerator behind the bridge raised no interrupt in {passed} cycles")

    def close(self) -> None:
        """Let another program use the bridge."""
        self._files.close()

    def _read(self, address: int) -> int:
        self._words[Word.ADDRESS] = address
        self._ask(Operation.READ)
        return int(self._words[Word.VALUE])

    def _ask(self, operation: Operation) -> Outcome:
        request = (int(self._words[Word.REQUEST]) + 1) & _LOW
        self._words[Word.OPERATION] = operation
        self._words[Word.REQUEST] = request
        looks = 0
        while int(self._words[Word.ANSWER]) != request:
            looks += 1
            if looks >= SPINS:
                time.sleep(SLEEP_SECONDS)
            if looks % LOOKS_PER_CHECK == 0 and not self._served():
                raise DeviceError(f"the server of the bridge in {self._folder} ended")
        outcome = Outcome(int(self._words[Word.OUTCOME]))
        if outcome is Outcome.FAILED:
            text = self._bytes[TEXT_OFFSET : TEXT_OFFSET + TEXT_BYTES].tobytes().partition(b"\0")[0]
            raise DeviceError(f"behind the bridge: {text.decode(errors='replace')}")
        return outcome

    def _served(self) -> bool:
        """The server holds the mailbox's lock while it lives."""
        try:
            fcntl.flock(self._mailbox, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._mailbox, fcntl.LOCK_UN)
        return False

    def _wide(self, low: Word) -> int:
        return int(self._words[low]) + (int(self._words[low + 1]) << 32)
