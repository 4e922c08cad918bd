"""How much of what an engine handles at a time a layer's channels fill."""

from __future__ import annotations

import numpy as np

from systola.hw.params import Params
from systola.mapper.image import Occupancy
from systola.mapper.layers import ArrayLayer, HostLayer, Layer, Lowered
from systola.mapper.layout import Layout
from systola.mapper.shapes import array_shape

__all__ = ["occupancy"]


def occupancy(net: Lowered, layer: Layer, params: Params) -> Occupancy:
    """What a layer leaves empty at its edges."""
    if isinstance(layer, HostLayer):
        return Occupancy()
    channels = Layout.of(net.shapes[layer.output], params.lanes).channels
    if not isinstance(layer, ArrayLayer):
        return Occupancy(channels=channels)
    outputs, per_group = layer.weights.shape[:2]
    positions = layer.weights.size // (outputs * per_group)
    tiles = sum(run.blocks * run.row_blocks for run in array_shape(net, layer, params).runs)
    return Occupancy(channels, tiles * positions, _rows(layer, params) * positions, layer.weights.size)


def _rows(layer: ArrayLayer, params: Params) -> int:
    """Rows that carry a channel which some output of their block needs, over the blocks of outputs."""
    outputs, per_group = layer.weights.shape[:2]
    first = np.arange(0, outputs, params.columns)
    last = np.minimum(first + params.columns, outputs) - 1
    outputs_per_group = outputs // layer.groups
    groups = last // outputs_per_group - first // outputs_per_group + 1
    total: int = groups.sum().item() * per_group
    return total
