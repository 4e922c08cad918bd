"""What the costs of tilings are made of.

The cost of a tiling is an estimate, in cycles, of what a layer adds to the program. Engines work at the same time, so it is the
largest of what each needs, and of what the buffers allow: a buffer that is loaded, used and given back cannot be loaded again
meanwhile, so with n buffers a period takes at least (latency + load + use) / n. To it is added what nothing else can hide:
waiting for the first tile, and for the last to be handed over. Costs rank tilings; they are not reported.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from systola.mapper.jit import jit
from systola.mapper.tiles import MAX_COUNT

__all__ = [
    "DRAIN_CYCLES",
    "STEP_CYCLES",
    "Numbers",
    "cover_cycles",
    "halvings",
    "period_cycles",
    "pieces",
]

Numbers = NDArray[np.float64]

STEP_CYCLES = 8
"""Of every step: its instructions are fetched (64 to 128 bytes) and handed over."""

DRAIN_CYCLES = 70
"""From the array's last pixel until another instruction may begin with the result: array and drain pipelines, two waits."""

_TIGHT = 0.7  # of its use: from here on a transfer has no time to spare


def pieces(extent: int, limit: int = MAX_COUNT) -> list[int]:
    """Tile extents worth trying: extent / 1, / 2, / 3 … rounded up, each once, largest first."""
    parts = range(1, extent + 1) if extent <= 32 else (*range(1, 17), *(extent // s for s in (1, 2, 3, 4, 6, 8, 12)))
    return sorted({size for part in parts if 0 < (size := -(-extent // part)) <= limit}, reverse=True)


def halvings(count: int) -> list[int]:
    """count, half of it, …, 1, rounded up."""
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


@jit
def cover_cycles(height: float, width: float, rows: float, columns: float, least: float) -> float:
    """Σ over the tiles of an image of max(pixels of the tile, least)."""
    total = 0.0
    for row_count, row_size in ((height // rows, rows), (1.0, height % rows)):
        for column_count, column_size in ((width // columns, columns), (1.0, width % columns)):
            pixels = row_size * column_size
            if pixels > 0:
                total += row_count * column_count * max(pixels, least)
    return total


@jit
def period_cycles(count: float, slots: float, use: float, transfer: float, latency: float) -> float:
    """What ``count`` transfers through ``slots`` buffers take when each is used for ``use`` cycles.

    Where transfers take about as long as their use, nothing that was lost once is ever made good: then there should be
    buffers for twice the latency.
    """
    if count <= slots:
        return 0.0
    spare = latency if transfer > _TIGHT * use else 0.0
    held = (latency + spare + transfer + use) / max(slots, 1.0)
    return count * max(use, transfer, held)
