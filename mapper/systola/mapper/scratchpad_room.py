"""Room in the scratchpad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from systola.hw.params import Params
from systola.mapper.instruction_tables import Column, Table
from systola.mapper.jit import jit

__all__ = ["Extent", "ScratchpadRoom"]

Extent = tuple[int, int]
"""(first word, words)"""

_RECENT = 4
"""Layers for which words that a layer used are avoided: what is written there waits for that layer's readers."""


class ScratchpadRoom:
    """Finds room: where nothing live is in the way, preferring words that were not used of late, the later the less."""

    def __init__(self, params: Params) -> None:
        self._uses = np.array([[0, params.scratchpad_words, -_RECENT - 1]])
        """Rows of first word, end, and the last layer that used the words between; neighbours differ."""

    def use(self, extent: Extent, last: int) -> None:
        """These words are used until layer ``last``."""
        self._uses = _used(self._uses, extent[0], extent[0] + extent[1], last)

    def find(self, words: Sequence[int], taken: Sequence[Extent], first: int, *, compact: bool) -> list[int] | None:
        """The best address for each of ``words`` from layer ``first`` on, one after the other; None if there is no room between
        what is ``taken``.

        ``compact``: the lowest, whatever was there before.
        """
        if not words:
            return []
        spans = np.zeros((len(taken) + len(words), 2), np.int64)
        spans[: len(taken)] = np.array(taken, np.int64).reshape(-1, 2)
        found: list[int] = _find_all(np.array(words, np.int64), spans, self._uses, first, compact).tolist()
        return found or None


@jit
def _used(uses: Table, begin: int, end: int, last: int) -> Table:
    """The uses after ``begin`` … ``end`` was used until layer ``last``."""
    result, count = np.empty((len(uses) + 2, 3), np.int64), 0
    for use in range(len(uses)):
        low, high, before = uses[use]
        count = _append(result, count, low, min(high, begin), before)
        if low <= begin < high:
            count = _append(result, count, begin, end, last)
        count = _append(result, count, max(low, end), high, before)
    return result[:count].copy()


@jit
def _append(uses: Table, count: int, begin: int, end: int, last: int) -> int:
    """One more use, joined to the one before if that is the same; how many there are then."""
    if begin >= end:
        return count
    if count and uses[count - 1, 2] == last:
        uses[count - 1, 1] = end
        return count
    uses[count, 0], uses[count, 1], uses[count, 2] = begin, end, last
    return count + 1


@jit
def _find_all(words: Column, spans: Table, uses: Table, first: int, compact: bool) -> Column:
    """An address for each of ``words``; none if one finds no room. ``spans``: first words and sizes of what is taken, and rows
    to be filled for ``words``."""
    taken = len(spans) - len(words)
    addresses = np.empty(len(words), np.int64)
    for number, size in enumerate(words):
        live = _joined(spans[:taken])
        address = _find(size, live, uses, first, compact)
        if address < 0:
            return addresses[:0]
        addresses[number] = address
        spans[taken, 0], spans[taken, 1] = address, size
        taken += 1
    return addresses


@jit
def _joined(spans: Table) -> Table:
    """First word and end of what is taken, in order, neighbours joined."""
    joined, count = np.empty((len(spans), 2), np.int64), 0
    for number in np.argsort(spans[:, 0]):
        begin, end = spans[number, 0], spans[number, 0] + spans[number, 1]
        if count and begin <= joined[count - 1, 1]:
            joined[count - 1, 1] = max(joined[count - 1, 1], end)
        else:
            joined[count, 0], joined[count, 1] = begin, end
            count += 1
    return joined[:count]


@jit
def _find(words: int, live: Table, uses: Table, first: int, compact: bool) -> int:
    """The best address; −1 if there is none. Where something begins or ends to be live, or its last use changes, room may begin
    or end: no other place can be better."""
    size = uses[-1, 1]
    best, least = -1, -1
    for start in _starts(words, live, uses):
        if start < 0 or start + words > size or not _is_free(start, start + words, live):
            continue
        if compact:
            return int(start)
        recent = _recent_use(start, start + words, uses, first)
        if least < 0 or recent < least:
            best, least = start, recent
    return int(best)


@jit
def _starts(words: int, live: Table, uses: Table) -> Column:
    """Places worth trying, in order."""
    size = uses[-1, 1]
    edges = np.concatenate((live[:, 0], live[:, 1], uses[1:, 0]))
    edges = edges[(edges > 0) & (edges < size)]
    return np.sort(np.concatenate((np.array([0, size - words]), edges, edges - words)))


@jit
def _is_free(begin: int, end: int, live: Table) -> bool:
    for number in range(len(live)):  # noqa: SIM110 (compiled code knows no generators)
        if live[number, 0] < end and live[number, 1] > begin:
            return False
    return True


@jit
def _recent_use(begin: int, end: int, uses: Table, first: int) -> int:
    """How much, and how lately, words were used before layer ``first``."""
    total = 0
    for number in range(len(uses)):
        low, high, last = uses[number]
        shared = min(high, end) - max(low, begin)
        if shared > 0:
            age = min(max(first - last, 1), _RECENT + 1)
            total += shared * ((1 << (_RECENT + 1 - age)) - 1)
    return total
