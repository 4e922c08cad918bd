"""What every node computes, on codes with a leading sample axis: [S, *shape]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from systola.mapper.quantgraph import (
    Concat,
    Conv,
    Elementwise,
    Im2col,
    Multiply,
    Node,
    Pad,
    Pool,
    Product,
    Reshape,
    Slice,
    Table,
    Transpose,
    Upsample,
    WeightTiles,
)
from systola.sim.golden.arithmetic import elementwise, requantize
from systola.sim.golden.products import product, weight_tiles
from systola.sim.golden.windows import convolve, im2col, pool

__all__ = ["compute"]

Codes = NDArray[np.int8]


def compute(node: Node, inputs: list[Codes]) -> Codes:
    """The result of any node but Host. Inputs: int8 [S, *shape]."""
    return _FUNCTIONS[type(node)](node, *inputs)


def _as_images(x: Codes) -> Codes:
    """[S, *shape] as [M, C, H, W]: a row of pixels for [N, C] and [N, C, L]."""
    if x.ndim == 3:
        return x.transpose(0, 2, 1)[:, :, None, :]
    return x.reshape(-1, x.shape[2], *((1,) if x.ndim == 4 else ()), *x.shape[3:])


def _from_images(y: Codes, like: Codes) -> Codes:
    """The inverse, for a result with ``like``'s samples and rank."""
    if like.ndim == 3:
        return np.ascontiguousarray(y[:, :, 0, :].transpose(0, 2, 1))
    return y.reshape(*like.shape[:2], y.shape[1], *(y.shape[3:] if like.ndim == 4 else y.shape[2:]))


def _conv(node: Conv, x: Codes) -> Codes:
    return _from_images(convolve(_as_images(x), node), x)


def _pool(node: Pool, x: Codes) -> Codes:
    return _from_images(pool(_as_images(x), node), x)


def _im2col(node: Im2col, x: Codes) -> Codes:
    return _from_images(im2col(_as_images(x), node), x)


def _elementwise(node: Elementwise, a: Codes, b: Codes | None = None) -> Codes:
    return elementwise(
        a, node.zero_a, node.multiplier_positive, node.multiplier_negative, b, node.zero_operand, node.multiplier_operand,
        node.shift, node.zero_out, node.low, node.high,
    )  # fmt: skip


def _multiply(node: Multiply, a: Codes, b: Codes) -> Codes:
    product = (a.astype(np.int32) - node.zero_a) * (b.astype(np.int32) - node.zero_b)
    return requantize(product, 0, node.multiplier, node.shift, node.zero_out, node.low, node.high)


def _slice(node: Slice, x: Codes) -> Codes:
    index = tuple(slice(b, e, s) for b, e, s in zip(node.begin, node.end, node.stride, strict=True))
    return np.ascontiguousarray(x[(slice(None), *index)])


def _upsample(node: Upsample, x: Codes) -> Codes:
    if x.ndim == 5:
        x = x.repeat(node.factor[0], axis=3)
    return x.repeat(node.factor[1], axis=-1)


def _concat(node: Concat, *parts: Codes) -> Codes:
    return np.concatenate(parts, axis=node.axis + 1)


_FUNCTIONS: dict[type[Node], Callable[..., Codes]] = {
    Conv: _conv,
    Product: product,
    WeightTiles: weight_tiles,
    Elementwise: _elementwise,
    Multiply: _multiply,
    Pool: _pool,
    Im2col: _im2col,
    Table: lambda node, x: node.table[x.astype(np.int16) + 128],
    Concat: _concat,
    Reshape: lambda node, x: x.reshape(len(x), *node.shape),
    Transpose: lambda node, x: np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in node.axes))),
    Slice: _slice,
    Pad: lambda node, x: np.pad(x, ((0, 0), *node.padding), constant_values=node.code),
    Upsample: _upsample,
}
