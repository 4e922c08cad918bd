"""The records that the compiled model writes, as NumPy structured arrays."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["TRACE_DTYPE", "WRITE_DTYPE", "TraceKind", "read_records"]

TRACE_DTYPE = np.dtype([("cycle", "<u8"), ("value", "<u4"), ("run", "<u2"), ("engine", "u1"), ("kind", "u1")])
"""``cycle`` since the run's start (0 is its first cycle); ``run`` since the last reset; ``engine`` an ``isa.Engine``, 7 for END;
``kind`` a ``TraceKind``, which says what ``value`` is."""

WRITE_DTYPE = np.dtype([
    ("first_cycle", "<u8"), ("last_cycle", "<u8"), ("address", "<u8"), ("length_bytes", "<u4"), ("run", "<u4"),
])  # fmt: skip
"""One write burst: the cycles at whose end its first and its last beat reached memory, its bus address and length."""


class TraceKind(IntEnum):
    """What a trace record says."""

    CLASS = 0  # from this cycle on the engine's CycleClass is ``value``; each engine has one in cycle 0
    TAKEN = 1  # the engine took its ``value``-th instruction of the run (from 0) in this cycle
    RETIRED = 2  # the engine finished its ``value``-th instruction in this cycle
    END = 3  # the run had ``cycle`` cycles


def read_records(path: Path, dtype: np.dtype[np.void], count: int) -> npt.NDArray[np.void]:
    """The first ``count`` records of a file that the model writes; the file may not exist while ``count`` is 0."""
    if count == 0:
        return np.empty(0, dtype)
    return np.fromfile(path, dtype, count)
