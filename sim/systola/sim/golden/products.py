"""Matrix products of two computed tensors, and the second of them as the array reads weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.quantgraph import Product, WeightTiles
from systola.sim.golden.arithmetic import requantize

__all__ = ["product", "weight_tiles"]

Codes = NDArray[np.int8]

_FLOAT32_INTEGERS = 1 << 24


def product(node: Product, a: Codes, b: Codes) -> Codes:
    """A Product node on [S, M, groups·K] and [S, groups, K, N]. Sums are exact: floats hold every possible one."""
    samples, rows, _ = a.shape
    depth, columns = b.shape[2:]
    largest = max(127 - node.zero_a, 128 + node.zero_a) * 128 * depth
    dtype: Any = np.float32 if largest < _FLOAT32_INTEGERS else np.float64
    left = a.reshape(samples, rows, node.groups, depth).transpose(0, 2, 1, 3).astype(dtype)
    left -= node.zero_a
    sums = np.matmul(left, b.astype(dtype)).transpose(0, 2, 1, 3).reshape(samples, rows, node.groups * columns)
    return requantize(sums, 0, node.multiplier, node.shift, node.zero_out, node.low, node.high)


def weight_tiles(node: WeightTiles, b: Codes) -> Codes:
    """A WeightTiles node on [S, groups, K, N]."""
    samples = len(b)
    codes = np.concatenate([np.zeros((samples, 1), np.int8), b.reshape(samples, -1)], axis=1)
    places = node.places.reshape(-1)
    tiles = np.where(places > 0, codes[:, places], node.template.reshape(-1))
    bias = (b.sum(axis=2, dtype=np.int32).reshape(samples, -1) * np.int32(-node.zero_a))[:, node.bias_outputs]
    tiles[:, node.bias_bytes[:, None] + np.arange(4)] = bias.astype("<i4").view(np.int8).reshape(samples, -1, 4)
    return tiles.reshape(samples, *node.places.shape)
