"""Sliding windows on [M, C, H, W]: convolution through BLAS, pooling, kernel positions as channels.

Sums are exact: products of 8-bit codes are added as floats that hold every possible sum, float32 where the weights prove that
no sum passes 2**24, else float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from systola.mapper.quantgraph import Conv, Im2col, Padding2d, Pool
from systola.sim.golden.arithmetic import requantize

__all__ = ["convolve", "im2col", "pool"]

Array = NDArray[Any]
Codes = NDArray[np.int8]
Pair = tuple[int, int]

_FLOAT32_INTEGERS = 1 << 24
_CHUNK_ITEMS = 1 << 21  # items of the largest intermediate array: samples are taken in portions of this size


def _padded(x: Array, padding: Padding2d, value: int, dtype: Any) -> Array:
    """``x`` inside a frame of ``value``."""
    (top, bottom), (left, right) = padding
    samples, channels, height, width = x.shape
    if not any((top, bottom, left, right)):
        return x.astype(dtype)
    out = np.full((samples, channels, top + height + bottom, left + width + right), value, dtype)
    out[:, :, top : top + height, left : left + width] = x
    return out


def _windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """A view [M, C, Ho, Wo, kh, kw] of the windows' items."""
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


# --- convolution -----------------------------------------------------------------------------------------------------------


def convolve(x: Codes, node: Conv) -> Codes:
    """A Conv node on [M, C, H, W] codes."""
    weights = node.weights.astype(np.int64)
    largest = max(127 - node.zero_in, 128 + node.zero_in)
    bound = int(np.abs(weights).reshape(len(weights), -1).sum(axis=1).max()) * largest
    dtype = np.float32 if bound < _FLOAT32_INTEGERS else np.float64
    parts = [_convolve_part(part, node, weights.astype(dtype)) for part in _portions(x, node)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _portions(x: Codes, node: Conv) -> Iterator[Codes]:
    items = x[0].size * node.weights.shape[2] * node.weights.shape[3] // (node.stride[0] * node.stride[1]) + 1
    step = max(1, _CHUNK_ITEMS // items)
    for start in range(0, len(x), step):
        yield x[start : start + step]


def _convolve_part(x: Codes, node: Conv, weights: Array) -> Codes:
    padded = _padded(x, node.padding, node.zero_in, weights.dtype)
    padded -= node.zero_in
    depthwise = node.groups == x.shape[1] and node.weights.shape[1] == 1
    sums = (_depthwise if depthwise else _matrix_product)(padded, node, weights)
    bias, multiplier, shift = (each[:, None, None] for each in (node.bias, node.multiplier, node.shift))
    return requantize(sums, bias, multiplier, shift, node.zero_out, node.low, node.high)


def _matrix_product(x: Array, node: Conv, weights: Array) -> Array:
    kernel = weights.shape[2], weights.shape[3]
    windows = _windows(x, kernel, node.stride, node.dilation)
    samples, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(samples, node.groups, -1, height * width)
    matrix = weights.reshape(node.groups, len(weights) // node.groups, -1)
    sums: Array = np.matmul(matrix, columns)
    return sums.reshape(samples, len(weights), height, width)


def _depthwise(x: Array, node: Conv, weights: Array) -> Array:
    """One multiply-add of whole planes per kernel position."""
    kernel = weights.shape[2], weights.shape[3]
    windows = _windows(x, kernel, node.stride, node.dilation)
    samples, channels, height, width = windows.shape[:4]
    taps = weights.reshape(channels, -1, *kernel)
    sums = np.zeros((samples, channels, taps.shape[1], height, width), x.dtype)
    product = np.empty_like(sums)
    for ky, kx in np.ndindex(kernel):
        np.multiply(windows[:, :, None, :, :, ky, kx], taps[:, :, ky, kx, None, None], out=product)
        sums += product
    return sums.reshape(samples, -1, height, width)


# --- pooling and layout ----------------------------------------------------------------------------------------------------


def pool(x: Codes, node: Pool) -> Codes:
    """A Pool node on [M, C, H, W] codes: along y, then along x (sums and maxima are separable)."""
    if node.kind == "max":
        return _slide(_padded(x, node.padding, node.pad_code, np.int8), node, np.maximum)
    centred = _padded(x, node.padding, node.zero_in, np.int64) - node.zero_in
    sums = _slide(centred, node, np.add)
    return requantize(sums, 0, node.multiplier, node.shift, node.zero_out, node.low, node.high)


def _slide(x: Array, node: Pool, combine: np.ufunc) -> Array:
    """Combine the items of every window, one dimension after the other."""
    for axis in (0, 1):
        moved = np.moveaxis(x, 2 + axis, 0)
        reach = (node.size[axis] - 1) * node.dilation[axis]
        count = (len(moved) - reach - 1) // node.stride[axis] + 1
        result = None
        for tap in range(node.size[axis]):
            first = tap * node.dilation[axis]
            piece = moved[first : first + (count - 1) * node.stride[axis] + 1 : node.stride[axis]]
            result = piece.copy() if result is None else combine(result, piece, out=result)
        x = np.moveaxis(moved[:0] if result is None else result, 0, 2 + axis)
    return np.ascontiguousarray(x)


def im2col(x: Codes, node: Im2col) -> Codes:
    """An Im2col node on [M, C, H, W] codes."""
    padded = _padded(x, node.padding, node.pad_code, np.int8)
    windows = _windows(padded, node.kernel, node.stride, node.dilation)
    samples, _, height, width = windows.shape[:4]
    return np.ascontiguousarray(windows.transpose(0, 4, 5, 1, 2, 3)).reshape(samples, -1, height, width)
