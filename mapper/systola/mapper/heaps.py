"""Binary heaps of instructions: the one with the smallest keys first, and of equal ones the first in the program."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from systola.mapper.instruction_tables import Column
from systola.mapper.jit import jit_borrowing

__all__ = ["pop", "push"]

Keys = NDArray[np.float64]
"""By instruction."""


@jit_borrowing
def push(heap: Column, size: int, item: int, first: Keys, second: Keys) -> None:
    """``item`` goes into a heap of ``size`` items; it has ``size`` + 1 then."""
    place = size
    while place:
        parent = (place - 1) // 2
        if not _before(item, heap[parent], first, second):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = item


@jit_borrowing
def pop(heap: Column, size: int, first: Keys, second: Keys) -> int:
    """The item in front is taken out of a heap of ``size`` items; it has ``size`` − 1 then."""
    front, item, place = heap[0], heap[size - 1], 0
    while True:
        child = 2 * place + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and _before(heap[child + 1], heap[child], first, second):
            child += 1
        if not _before(heap[child], item, first, second):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = item
    return int(front)


@jit_borrowing
def _before(one: int, other: int, first: Keys, second: Keys) -> bool:
    if first[one] != first[other]:
        return bool(first[one] < first[other])
    if second[one] != second[other]:
        return bool(second[one] < second[other])
    return one < other
