"""Room in the scratchpad."""

from __future__ import annotations

import numpy as np

from systola.hw.params import Params

__all__ = ["Extent", "ScratchpadRoom"]

Extent = tuple[int, int]
"""(first word, words)"""

_RECENT = 4
"""Layers for which words that a layer used are avoided: what is written there waits for that layer's readers."""


class ScratchpadRoom:
    """Finds room: where nothing live is in the way, preferring words that were not used of late, the later the less."""

    def __init__(self, params: Params) -> None:
        self._last_use = np.full(params.scratchpad_words, -_RECENT - 1, dtype=np.int64)  # layer

    def use(self, extent: Extent, last: int) -> None:
        """These words are used until layer ``last``."""
        self._last_use[extent[0] : extent[0] + extent[1]] = last

    def find(self, words: int, taken: list[Extent], first: int, compact: bool) -> int | None:
        """The best address for ``words`` from layer ``first`` on; None if there is no room between what is ``taken``.

        ``compact``: the lowest, whatever was there before.
        """
        size = self._last_use.size
        live = np.zeros(size, dtype=bool)
        for base, length in taken:
            live[base : base + length] = True
        edges = np.flatnonzero(np.diff(live) | (np.diff(self._last_use) != 0)) + 1
        starts = np.unique(np.concatenate([[0], edges, edges - words, [size - words]]))
        starts = starts[(starts >= 0) & (starts + words <= size)]
        sums = np.concatenate([[0], np.cumsum(live)])
        starts = starts[sums[starts + words] == sums[starts]]
        if not starts.size:
            return None
        if compact:
            return int(starts[0])
        age = np.clip(first - self._last_use, 1, _RECENT + 1)
        recent = np.concatenate([[0], np.cumsum((1 << (_RECENT + 1 - age)) - 1)])
        return int(starts[np.argmin(recent[starts + words] - recent[starts])])
