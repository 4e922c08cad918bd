"""Edge waste: the part of an engine's busy cycles in which rows, columns or lanes carried nothing of the network.

A busy cycle of the array is a pixel times a weight tile of rows × columns. Over a layer each tile meets every pixel equally
often, so the layer's busy cycles divide as its tiles do: rows without a channel, columns without one in the other rows, weights.
What the weights' share is more than the network's definition asks for was computed again. Cycles stay whole, and sum exactly: the
largest remainders are rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import Engine
from systola.hw.params import Params
from systola.mapper.image import LayerInfo
from systola.reports.classes import Use

__all__ = ["divide", "with_edges"]

BUSY_USES = (Use.USEFUL, Use.ROWS, Use.COLUMNS, Use.REPEATED)


def divide(total: int, shares: Sequence[int]) -> list[int]:
    """``total`` in whole parts, in proportion to ``shares``, none of them negative and not all 0; ties go to the first."""
    whole = sum(shares)
    parts = [total * share // whole for share in shares]
    rest = sorted(range(len(shares)), key=lambda n: (-(total * shares[n] % whole), n))
    for n in rest[: total - sum(parts)]:
        parts[n] += 1
    return parts


def with_edges(uses: NDArray[np.int64], layers: Sequence[LayerInfo], params: Params) -> NDArray[np.int64]:
    """[engine, layer, ``Use``] with edge waste taken from USEFUL."""
    result = uses.copy()
    for layer in layers:
        for engine, shares in _shares(layer, params, int(uses[Engine.ARRAY, layer.tag, Use.USEFUL])).items():
            busy = int(uses[engine, layer.tag, Use.USEFUL])
            result[engine, layer.tag, list(BUSY_USES)] = divide(busy, shares)
    return result


def _shares(layer: LayerInfo, params: Params, array_busy: int) -> dict[Engine, tuple[int, int, int, int]]:
    """In proportion: BUSY_USES of each engine that has edges."""
    edges = layer.occupancy
    shares = {}
    if edges.channels:
        shares[Engine.VECTOR] = (edges.channels, 0, -edges.channels % params.lanes, 0)
        shares[Engine.DRAIN] = (edges.channels, 0, -edges.channels % params.columns, 0)
    if edges.tiles and array_busy:
        computed, asked = array_busy * params.macs_per_cycle * edges.weights, layer.macs * edges.tiles * params.macs_per_cycle
        slots = array_busy * params.macs_per_cycle
        useful = min(asked, computed)
        rows = slots * (edges.tiles * params.rows - edges.rows) * params.columns
        columns = slots * (edges.rows * params.columns - edges.weights)
        shares[Engine.ARRAY] = (useful, rows, columns, computed - useful)
    return shares
