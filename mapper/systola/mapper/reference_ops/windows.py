"""Sliding windows: convolution, pooling, resampling, local normalization.

Loops run over the taps of the kernel, never over pixels: a convolution gathers one strided view per tap and is then one
matrix product per group; pooling works one dimension at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from systola.mapper.nnef.window_shapes import same_padding
from systola.mapper.reference_ops.common import Array, Function
from systola.mapper.reference_ops.layout import pad_array

__all__ = ["WINDOWS"]

_Tensors = dict[str, Any]
_Attributes = dict[str, Any]
_CHUNK_ITEMS = 1 << 25  # gathered pixels held at once


def _geometry(a: _Attributes, image: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[Any, list[int], list[int]]:
    """Padding, stride, dilation; ``image`` are the extents on the large side."""
    stride = list(a["stride"]) or [1] * len(kernel)
    dilation = list(a["dilation"]) or [1] * len(kernel)
    return list(a["padding"]) or same_padding(image, kernel, stride, dilation), stride, dilation


def _views(x: Array, kernel: tuple[int, ...], out: tuple[int, ...], stride: list[int], dilation: list[int]) -> Iterator[Array]:
    """For each tap of the kernel, in row-major order, the pixels that it meets."""
    for tap in product(*map(range, kernel)):
        index: tuple[Any, ...] = (..., *_steps(tap, out, stride, dilation))
        yield x[index]


def _steps(tap: tuple[int, ...], out: tuple[int, ...], stride: list[int], dilation: list[int]) -> Iterator[slice]:
    for at, extent, step, gap in zip(tap, out, stride, dilation, strict=True):
        yield slice(at * gap, at * gap + (extent - 1) * step + 1, step)


def _add_bias(value: Array, bias: Array) -> Array:
    return np.asarray(value + (bias.reshape(1, -1, *(1,) * (value.ndim - 2)) if bias.ndim else bias))


def _conv(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    value, weights = x["input"], x["filter"]
    kernel, out = weights.shape[2:], tuple(shapes[0][2:])
    padding, stride, dilation = _geometry(a, value.shape[2:], kernel)
    padded = pad_array(value, [(0, 0), (0, 0), *padding], a["border"])
    groups = a["groups"] or value.shape[1]
    made = np.empty((value.shape[0], weights.shape[0], *out), value.dtype)
    per_sample = value.shape[1] * prod(kernel) * prod(out)
    step = max(1, _CHUNK_ITEMS // per_sample)
    for start in range(0, value.shape[0], step):
        part = padded[start : start + step]
        made[start : start + step] = _convolve(part, weights, groups, out, stride, dilation)
    return [_add_bias(made, x["bias"])]


def _convolve(
    x: Array, weights: Array, groups: int, out: tuple[int, ...], stride: list[int], dilation: list[int]
) -> Array:
    """Convolution of padded pixels."""
    samples, channels = x.shape[:2]
    inner, kernel = channels // groups, weights.shape[2:]
    views = _views(x, kernel, out, stride, dilation)
    if inner == 1:  # depthwise: a matrix product of one row would only cost
        taps = weights.reshape(groups, -1, prod(kernel))
        total = np.zeros((samples, groups, taps.shape[1], *out), x.dtype)
        ones = (1,) * len(out)
        for i, view in enumerate(views):
            total += view[:, :, None] * taps[None, :, :, i].reshape(1, groups, -1, *ones)
        return total.reshape(samples, -1, *out)
    columns = np.empty((samples, channels, prod(kernel), *out), x.dtype)
    for i, view in enumerate(views):
        columns[:, :, i] = view
    matrix = weights.reshape(groups, -1, inner * prod(kernel))
    result = np.matmul(matrix, columns.reshape(samples, groups, inner * prod(kernel), prod(out)))
    return np.asarray(result.reshape(samples, -1, *out))


def _deconv(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    value, weights = x["input"], x["filter"]
    kernel, out, small = weights.shape[2:], tuple(shapes[0][2:]), value.shape[2:]
    padding, stride, dilation = _geometry(a, out, kernel)
    samples, channels = value.shape[:2]
    groups = a["groups"] or shapes[0][1]
    inner = channels // groups
    rows = value.reshape(samples, groups, inner, prod(small))
    matrix = weights.reshape(groups, inner, -1, prod(kernel))
    full = _full_extents(small, kernel, out, padding, stride, dilation)
    total = np.zeros((samples, shapes[0][1], *full), value.dtype)
    for i, view in enumerate(_views(total, kernel, small, stride, dilation)):
        view += np.matmul(matrix[..., i].swapaxes(1, 2), rows).reshape(samples, -1, *small)  # noqa: PLW2901
    return [_add_bias(_crop(total, padding, out), x["bias"])]


def _full_extents(
    small: tuple[int, ...], kernel: tuple[int, ...], out: tuple[int, ...], padding: Any, stride: list[int], dilation: list[int]
) -> list[int]:
    """Extents of a transposed window's result before cropping."""
    reach = [(i - 1) * s + (k - 1) * d + 1 for i, k, s, d in zip(small, kernel, stride, dilation, strict=True)]
    return [max(r, max(0, p) + o) for r, (p, _), o in zip(reach, padding, out, strict=True)]


def _crop(total: Array, padding: Any, out: tuple[int, ...]) -> Array:
    """The part of a transposed window's result that remains; a negative padding adds zeros in front."""
    total = pad_array(total, [(0, 0)] * (total.ndim - len(out)) + [(max(0, -p), 0) for p, _ in padding], "constant")
    index: tuple[Any, ...] = (..., *(slice(max(0, p), max(0, p) + o) for (p, _), o in zip(padding, out, strict=True)))
    return np.asarray(total[index])


def _separable_conv(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    planes = x["plane_filter"].shape[0]
    middle = (shapes[0][0], planes, *shapes[0][2:])
    zero = np.zeros((), x["input"].dtype)
    plane = {"input": x["input"], "filter": x["plane_filter"], "bias": zero}
    filtered = _conv(plane, {**a, "groups": 0}, [middle])[0]
    point = {"input": filtered, "filter": x["point_filter"], "bias": x["bias"]}
    return _conv(point, {"border": "constant", "padding": (), "stride": (), "dilation": (), "groups": a["groups"]}, shapes)


def _separable_deconv(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    zero = np.zeros((), x["input"].dtype)
    planes = x["point_filter"].shape[1] * (a["groups"] or x["input"].shape[1])
    point_attributes = {"border": "constant", "padding": (), "stride": (), "dilation": (), "groups": a["groups"]}
    middle = (shapes[0][0], planes, *x["input"].shape[2:])
    point = {"input": x["input"], "filter": x["point_filter"], "bias": zero}
    filtered = _deconv(point, point_attributes, [middle])[0]
    plane = {"input": filtered, "filter": x["plane_filter"], "bias": x["bias"]}
    return _deconv(plane, {**a, "groups": 0}, shapes)


def _slide(x: Array, a: _Attributes, out: tuple[int, ...], combine: Any, fill: float) -> Array:
    """Combine each window's items, one dimension after the other."""
    size = tuple(a["size"])
    padding, stride, dilation = _geometry(a, x.shape, size)
    for axis, (pair, step, gap) in enumerate(zip(padding, stride, dilation, strict=True)):
        if size[axis] == 1 and step == 1 and pair == (0, 0):
            continue
        pairs = [(0, 0)] * x.ndim
        pairs[axis] = pair
        padded = np.moveaxis(pad_array(x, pairs, a["border"], fill), axis, -1)
        views = _views(padded, (size[axis],), (out[axis],), [step], [gap])
        total = next(views).copy()
        for view in views:
            combine(total, view, out=total)
        x = np.moveaxis(total, -1, axis)
    return x


def _counts(x: Array, a: _Attributes, out: tuple[int, ...]) -> Array:
    """How many real items each window has (``border = 'ignore'``), else its volume."""
    if a["border"] != "ignore":
        return np.asarray(float(prod(a["size"])), x.dtype)
    return np.maximum(_slide(np.ones(x.shape, x.dtype), a, out, np.add, 0.0), 1.0)


def _box(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    total = _slide(x["input"], a, shapes[0], np.add, 0.0)
    return [total / _counts(x["input"], a, shapes[0]) if a.get("normalize", True) else total]


def _max_pool(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    fill = -np.inf if a["border"] == "ignore" else 0.0
    return [_slide(x["input"], a, shapes[0], np.maximum, fill)]


def _rms_pool(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    return [np.sqrt(_box({"input": np.square(x["input"])}, a, shapes)[0])]


def _debox(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    value, size, out = x["input"], tuple(a["size"]), tuple(shapes[0])
    padding, stride, dilation = _geometry(a, out, size)
    total = np.zeros(_full_extents(value.shape, size, out, padding, stride, dilation), value.dtype)
    for view in _views(total, size, value.shape, stride, dilation):
        view += value  # noqa: PLW2901
    made = _crop(total, padding, out)
    return [made / prod(size) if a.get("normalize", True) else made]


def _nearest_down(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    return [x["input"][(..., *(slice(None, None, factor) for factor in a["factor"]))]]


def _area_down(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
    size = (1, 1, *a["factor"])
    window = {"size": size, "stride": size, "dilation": (), "padding": [(0, 0)] * len(size), "border": "constant"}
    return _box(x, window, shapes)


def _nearest_up(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value = x["input"]
    for axis, factor in enumerate(a["factor"], 2):
        value = np.repeat(value, factor, axis)
    return [value]


def _multilinear_up(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value = x["input"]
    for axis, factor in enumerate(a["factor"], 2):
        matrix = _interpolation(value.shape[axis], factor, a["method"], a["border"]).astype(value.dtype)
        value = np.moveaxis(np.moveaxis(value, axis, -1) @ matrix, -1, axis)
    return [value]


def _interpolation(extent: int, factor: int, method: str, border: str) -> Array:
    """[in, out] weights of linear interpolation along one dimension."""
    position = np.arange(extent * factor, dtype=np.float64)
    if method == "symmetric":
        position = (position + 0.5) / factor - 0.5
    elif method == "asymmetric":
        position = position / factor
    else:
        position = position * ((extent - 1) / max(extent * factor - 1, 1))
    left = np.floor(position)
    matrix = np.zeros((extent + 2, position.size))
    columns = np.arange(position.size)
    for at, weight in ((left, 1.0 - (position - left)), (left + 1, position - left)):
        np.add.at(matrix, (at.astype(np.int64) + 1, columns), weight)
    if border == "replicate":
        matrix[1] += matrix[0]
        matrix[-2] += matrix[-1]
    return matrix[1:-1]


def _local_box(value: Array, a: _Attributes) -> Array:
    window = {"size": a["size"], "stride": (), "dilation": (), "padding": (), "border": "constant"}
    return _box({"input": value}, window, [value.shape])[0]


def _local_response(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    sigma = a["bias"] + a["alpha"] * _local_box(np.square(x["input"]), a)
    return [x["input"] / np.power(sigma, a["beta"])]


def _local_mean(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    return [x["input"] - _local_box(x["input"], a)]


def _local_variance(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    sigma = np.sqrt(_local_box(np.square(x["input"]), a))
    return [x["input"] / np.maximum(sigma + a["bias"], a["epsilon"])]


def _local_contrast(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:
    return _local_variance({"input": _local_mean(x, a, shapes)[0]}, a, shapes)


WINDOWS: dict[str, Function] = {
    "conv": _conv,
    "deconv": _deconv,
    "separable_conv": _separable_conv,
    "separable_deconv": _separable_deconv,
    "box": _box,
    "avg_pool": _box,
    "max_pool": _max_pool,
    "rms_pool": _rms_pool,
    "debox": _debox,
    "avg_unpool": _debox,
    "nearest_downsample": _nearest_down,
    "area_downsample": _area_down,
    "nearest_upsample": _nearest_up,
    "multilinear_upsample": _multilinear_up,
    "local_response_normalization": _local_response,
    "local_mean_normalization": _local_mean,
    "local_variance_normalization": _local_variance,
    "local_contrast_normalization": _local_contrast,
}
