"""Bands of rows: what a group of layers that is computed band by band holds of each tensor, and where.

A group's output is made in bands of rows. Going back through the windows, every tensor before it has, for each band, rows that
must be there (``low`` … ``high``), of which those that no band before had are made in it (``fresh``).

A tensor in the middle has a buffer of some rows. Bands lie one after the other in it, each sharing with the one before the
rows that both need, until there is no room for another: then a new *turn* begins at the buffer's first row. Rows that are needed
on both sides of a turn are made once and written twice. So every band's rows are contiguous, whatever its windows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from systola.mapper.jit import jit
from systola.mapper.layers import Window

__all__ = ["Bands", "Ring", "bands_of_rows", "make_ring", "rows_needed"]

Rows = NDArray[np.int64]
Span = tuple[int, int]
"""(first, count)"""

_NEVER = 1 << 40
_KEPT = 1 << 14
"""Results that are kept: bands depend on the network alone, and so serve many accelerators."""


@dataclass(frozen=True, eq=False)
class Bands:
    """Rows of a tensor by band, ``low`` … ``high`` − 1; neither ever falls. Empty where ``low`` is not below ``high``."""

    low: Rows
    high: Rows

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def fresh_low(self) -> Rows:
        """First row that is made in each band; the last is ``high`` − 1."""
        first: Rows = np.maximum(self.low, np.concatenate([[0], self.high[:-1]]))
        return first

    def fresh(self, band: int) -> Span:
        """Rows made in a band."""
        first = int(self.fresh_low[band])
        return first, max(0, int(self.high[band]) - first)

    @cached_property
    def fresh_counts(self) -> Rows:
        """Rows made in each band."""
        counts: Rows = np.maximum(self.high - self.fresh_low, 0)
        return counts

    @cached_property
    def most_fresh(self) -> int:
        """Rows made in the band that makes most."""
        return int(self.fresh_counts.max())

    @cached_property
    def heights(self) -> dict[int, int]:
        """How many bands make so many rows, for each number of rows but 0."""
        heights = Counter(self.fresh_counts.tolist())
        del heights[0]
        return heights


@lru_cache(_KEPT)
def bands_of_rows(extent: int, rows: int) -> Bands:
    """``extent`` rows in bands of ``rows``."""
    low = np.arange(0, extent, rows, dtype=np.int64)
    return Bands(low, np.minimum(low + rows, extent))


@lru_cache(_KEPT)
def rows_needed(made: Bands, window: Window, upsample: int, extent: int, multiple: int) -> Bands:
    """Rows of a layer's input that the rows it makes in each band read.

    ``upsample``: the layer's factor along y. ``extent``: rows of its input. ``multiple``: rows of it that are made together.
    """
    first, end = made.fresh_low // upsample, made.high // upsample
    low = first * window.stride[0] - window.padding[0][0]
    high = (end - 1) * window.stride[0] - window.padding[0][0] + (window.kernel[0] - 1) * window.dilation[0] + 1
    low, high = np.maximum(low, 0) // multiple * multiple, -(-np.minimum(high, extent) // multiple) * multiple
    empty = (end <= first) | (high <= low)
    high = np.maximum.accumulate(np.where(empty, 0, high))
    low = np.minimum.accumulate(np.where(empty, _NEVER, low)[::-1])[::-1]  # a band without need keeps what the next one needs
    return Bands(np.minimum(low, high), high)


@dataclass(frozen=True, eq=False)
class Ring:
    """A buffer of ``rows`` rows in which ``turn`` bands follow each other before the next begins at its first row."""

    bands: Bands
    turn: int
    rows: int

    def first_row(self, turn: int) -> int:
        """The tensor's row that lies at the buffer's first row in a turn."""
        return int(self.bands.low[turn * self.turn])

    def again(self, band: int) -> Span:
        """Those of the rows made in a band that the next turn needs too."""
        following = band // self.turn + 1
        first, count = self.bands.fresh(band)
        if following * self.turn >= len(self.bands):
            return first, 0
        begin = max(first, self.first_row(following))
        return begin, max(0, first + count - begin)

    @cached_property
    def rows_again(self) -> int:
        """Rows that are written, or loaded, a second time, over all bands."""
        firsts = np.arange(self.turn, len(self.bands), self.turn)
        return int(np.maximum(self.bands.high[firsts - 1] - self.bands.low[firsts], 0).sum())


@lru_cache(_KEPT)
def make_ring(bands: Bands, ahead: int, *, loaded: bool) -> Ring:
    """The smallest buffer with which a band can be made while those up to ``ahead`` bands before it are still read.

    ``loaded``: a new turn's rows are loaded again rather than written twice.
    """
    count = len(bands)
    least = max(1, ahead + (0 if loaded else _overlap(bands)))
    turn = int(_smallest_turn(bands.low, bands.high, least, ahead, loaded))
    if turn < count:
        firsts = np.arange(0, count, turn)
        lasts = np.minimum(firsts + turn, count) - 1
        return Ring(bands, turn, int((bands.high[lasts] - bands.low[firsts]).max()))
    return Ring(bands, count, int(bands.high[-1] - bands.low[0]))


def _overlap(bands: Bands) -> int:
    """Later bands that need some row of one in the middle."""
    middle = len(bands) // 2
    return int(np.searchsorted(bands.low, bands.high[middle], side="left")) - middle - 1


@jit
def _smallest_turn(low: Rows, high: Rows, least: int, ahead: int, loaded: bool) -> int:
    """Bands in a turn: ``least`` or more, as few as have room; all if no fewer have."""
    for turn in range(least, len(low)):
        if _has_room(low, high, turn, ahead, loaded):
            return turn
    return len(low)


@jit
def _has_room(low: Rows, high: Rows, turn: int, ahead: int, loaded: bool) -> bool:
    """Whether no row is overwritten that this band, or one up to ``ahead`` before it, still reads."""
    count = len(low)
    for following in range(turn, count, turn):
        here = following - turn
        base, next_base = low[here], low[following]
        if not loaded:
            shared = high[following - 1] - next_base
            oldest = np.searchsorted(high, next_base, side="right") - ahead  # of the first band that makes one of them
            if shared > 0 and (oldest < here or low[min(oldest, count - 1)] - base < shared):
                return False
        for written in range(following, following + ahead):
            read = written - ahead
            if read < here or (written < count and high[written] - next_base > low[read] - base):
                return False
    return True
