"""The array alone (``rtl/``) in a simulation session: the same harness, driver, Verilator options as the accelerator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from systola.hw.config import load_config
from systola.hw.params import Params
from systola.sim.rtl.session import RtlSession

__all__ = ["expected_totals", "open_array", "run_pixels", "totals"]

FOLDER = Path(__file__).with_name("rtl")
ROWS = COLUMNS = 16
PASS = 64
SEED = 0x9E37_79B9_7F4A_7C15
_MASK = (1 << 64) - 1
_CONTROL, _IRQ_ENABLE, _IRQ_STATUS, _PIXELS, _TOTALS = 0x10, 0x18, 0x1C, 0x28, 0x40


@contextmanager
def open_array() -> Iterator[RtlSession]:
    """A session with the array in the accelerator's place; built if the cache has none."""
    verilog = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("array.sv", "machine.sv"))
    with RtlSession(Params(load_config("base")), 1 << 12, verilog=verilog) as session:
        yield session


def run_pixels(session: RtlSession, pixels: int) -> int:
    """Stream ``pixels`` random pixels through the array, one a cycle; the cycles until the interrupt."""
    session.write_registers([(_IRQ_ENABLE, 1), (_IRQ_STATUS, 1), (_PIXELS, pixels), (_CONTROL, 1)])
    return session.wait_irq()


def totals(session: RtlSession) -> list[int]:
    """The sum of all that left each column, modulo 2³²."""
    return session.read_registers(range(_TOTALS, _TOTALS + 4 * COLUMNS, 4))


def expected_totals(pixels: int) -> list[int]:
    """What ``totals`` must be, from the definition."""
    words = [_random_words(number, count) for number, count in enumerate((pixels, pixels, *[(pixels // PASS + 1) * ROWS] * 2))]
    activations = np.concatenate(words[:2], axis=1).astype(np.int64)
    # A tile's rows are shifted in from above: the last one stays in row 0.
    tiles = np.concatenate(words[2:], axis=1).astype(np.int64).reshape(-1, ROWS, COLUMNS)[:, ::-1]
    sums = np.zeros(COLUMNS, np.int64)
    for number in range(-(-pixels // PASS)):
        sums += activations[number * PASS : (number + 1) * PASS].sum(0) @ tiles[number]
    return [int(total) & 0xFFFF_FFFF for total in sums]


def _random_words(number: int, count: int) -> NDArray[np.int8]:
    """The first ``count`` states of generator ``number`` as int8 [count, 8]."""
    state, states = (SEED + number) & _MASK, []
    for _ in range(count):
        states.append(state)
        state ^= state << 13 & _MASK
        state ^= state >> 7
        state ^= state << 17 & _MASK
    return np.array(states, "<u8").view(np.int8).reshape(count, 8)
