"""Shape inference of sliding windows: convolution, pooling and resampling.

``padding = []`` means SAME: out = ceil(in / stride), with total = max(0, (out-1)·stride + (k-1)·dilation + 1 - in),
total // 2 of it in front. Explicit padding: out = (in + front + back - (k-1)·dilation - 1) // stride + 1. The
transposed operations invert these; their ``output_shape`` decides where the inverse is not unique.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from systola.mapper.nnef.shape_rules import Shape, require

__all__ = ["WINDOW_SHAPE_FUNCTIONS", "down_size", "same_padding", "up_size"]

_BORDERS = ("constant", "replicate", "reflect", "reflect-even", "ignore")
_MAX_WINDOW = 1 << 31

Shapes = dict[str, Any]
Attributes = dict[str, Any]
Pairs = Sequence[tuple[int, int]]


def down_size(extents: Shape, kernel: Shape, padding: Pairs, stride: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Output extents of a window that slides over ``extents``."""
    if not padding:
        return tuple(-(-extent // step) for extent, step in zip(extents, stride, strict=True))
    out = []
    for extent, size, (front, back), step, gap in zip(extents, kernel, padding, stride, dilation, strict=True):
        reach = (size - 1) * gap + 1
        require(
            extent + front + back >= reach,
            f"a window of {reach} is larger than the input of {extent} with its padding of ({front}, {back})",
        )
        out.append((extent + front + back - reach) // step + 1)
    return tuple(out)


def up_size(extents: Shape, kernel: Shape, padding: Pairs, stride: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Output extents of the transposed window."""
    if not padding:
        return tuple(extent * step for extent, step in zip(extents, stride, strict=True))
    return tuple(
        (extent - 1) * step + (size - 1) * gap + 1 - front - back
        for extent, size, (front, back), step, gap in zip(extents, kernel, padding, stride, dilation, strict=True)
    )


def same_padding(extents: Shape, kernel: Shape, stride: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """What ``padding = []`` stands for, given the extents of the (larger) image."""
    pairs = []
    for extent, size, step, gap in zip(extents, kernel, stride, dilation, strict=True):
        out = -(-extent // step)
        total = max(0, (out - 1) * step + (size - 1) * gap + 1 - extent)
        pairs.append((total // 2, total - total // 2))
    return pairs


def _window(a: Attributes, count: int, kernel: Shape) -> tuple[Pairs, list[int], list[int]]:
    """Padding, stride and dilation, checked, with defaults filled in."""
    padding, stride, dilation = a["padding"], a["stride"] or [1] * count, a["dilation"] or [1] * count
    require(a["border"] in _BORDERS, f"'border' must be one of {', '.join(_BORDERS)}, not {a['border']!r}")
    for name, value in (("padding", padding or [0] * count), ("stride", stride), ("dilation", dilation)):
        require(len(value) == count, f"{name!r} must have {count} entries, not {len(value)}")
    for name, value in (("stride", stride), ("dilation", dilation), ("size", kernel)):
        require(all(1 <= each <= _MAX_WINDOW for each in value), f"every entry of {name!r} must be at least 1: {value}")
    small = all(abs(front) <= _MAX_WINDOW and abs(back) <= _MAX_WINDOW for front, back in padding)
    require(small, f"'padding' is out of range: {padding}")
    return padding, list(stride), list(dilation)


def _transposed(a: Attributes, extents: Shape, kernel: Shape, fixed: Shape) -> Shape:
    """Output extents of a transposed window, ``output_shape`` included; ``fixed`` are the leading output extents."""
    padding, stride, dilation = _window(a, len(extents), kernel)
    wanted = tuple(a.get("output_shape") or ())
    if not wanted:
        return up_size(extents, kernel, padding, stride, dilation)
    rank = len(fixed) + len(extents)
    require(len(wanted) == rank, f"'output_shape' must have {rank} entries, not {len(wanted)}")
    require(all(extent > 0 for extent in wanted), f"'output_shape' must be positive: {list(wanted)}")
    require(wanted[: len(fixed)] == fixed, f"'output_shape' {list(wanted)} must begin with {list(fixed)}")
    back = down_size(wanted[len(fixed) :], kernel, padding, stride, dilation)
    require(back == extents, f"'output_shape' {list(wanted)} would need an input of {list(back)}, not {list(extents)}")
    return wanted[len(fixed) :]


def _groups(a: Attributes, channels: int) -> int:
    groups: int = a["groups"]
    require(groups >= 0, f"'groups' must not be negative: {groups}")
    return groups or channels


def _bias(bias: Shape, channels: int) -> None:
    """A bias is a number, [C] or [1, C]."""
    fit = len(bias) <= 2 and all(extent == 1 for extent in bias[:-1]) and (not bias or bias[-1] in (1, channels))
    require(fit, f"a bias of shape {list(bias)} does not fit {channels} channels: [1, {channels}] is expected")


def _conv_ranks(shape: Shape, weights: Shape) -> None:
    require(len(shape) >= 3, f"the input must have at least 3 dimensions, not {len(shape)}")
    require(len(weights) == len(shape), f"the filter has {len(weights)} dimensions, the input {len(shape)}")


def _conv(s: Shapes, a: Attributes) -> list[Any]:
    shape, weights = s["input"], s["filter"]
    _conv_ranks(shape, weights)
    groups = _groups(a, shape[1])
    require(
        weights[1] * groups == shape[1],
        f"the filter's {weights[1]} channels times {groups} groups are not the input's {shape[1]} channels",
    )
    require(weights[0] % groups == 0, f"{weights[0]} output channels cannot be divided in {groups} groups")
    _bias(s["bias"], weights[0])
    window = _window(a, len(shape) - 2, weights[2:])
    return [(shape[0], weights[0], *down_size(shape[2:], weights[2:], *window))]


def _deconv(s: Shapes, a: Attributes) -> list[Any]:
    shape, weights = s["input"], s["filter"]
    _conv_ranks(shape, weights)
    wanted = a["output_shape"]
    groups = _groups(a, wanted[1] if len(wanted) > 1 and wanted[1] > 0 else shape[1])
    require(weights[0] == shape[1], f"the filter wants {weights[0]} input channels, the input has {shape[1]}")
    require(weights[0] % groups == 0, f"{weights[0]} input channels cannot be divided in {groups} groups")
    channels = weights[1] * groups
    _bias(s["bias"], channels)
    return [(shape[0], channels, *_transposed(a, shape[2:], weights[2:], (shape[0], channels)))]


def _separable_filters(s: Shapes) -> tuple[Shape, Shape]:
    plane, point = s["plane_filter"], s["point_filter"]
    _conv_ranks(s["input"], plane)
    _conv_ranks(s["input"], point)
    require(plane[1] == 1, f"the plane filter must have 1 channel, not {plane[1]}")
    require(all(extent == 1 for extent in point[2:]), f"the point filter must be 1 wide: {list(point)}")
    return plane, point


def _separable_conv(s: Shapes, a: Attributes) -> list[Any]:
    plane, _ = _separable_filters(s)
    filtered = _conv({"input": s["input"], "filter": plane, "bias": ()}, {**a, "groups": 0})[0]
    point = {"border": "constant", "padding": [], "stride": [], "dilation": [], "groups": a["groups"]}
    return _conv({"input": filtered, "filter": s["point_filter"], "bias": s["bias"]}, point)


def _separable_deconv(s: Shapes, a: Attributes) -> list[Any]:
    plane, point_filter = _separable_filters(s)
    point = {"border": "constant", "padding": [], "stride": [], "dilation": [], "output_shape": [], "groups": a["groups"]}
    filtered = _deconv({"input": s["input"], "filter": point_filter, "bias": ()}, point)[0]
    return _deconv({"input": filtered, "filter": plane, "bias": s["bias"]}, {**a, "groups": 0})


def _pool(s: Shapes, a: Attributes) -> list[Any]:
    shape, size = s["input"], tuple(a["size"])
    require(len(size) == len(shape), f"'size' must have {len(shape)} entries (one per dimension), not {len(size)}")
    return [down_size(shape, size, *_window(a, len(shape), size))]


def _pool_with_index(s: Shapes, a: Attributes) -> list[Any]:
    return _pool(s, a) * 2


def _unpool(s: Shapes, a: Attributes) -> list[Any]:
    shape, size = s["input"], tuple(a["size"])
    require(len(size) == len(shape), f"'size' must have {len(shape)} entries (one per dimension), not {len(size)}")
    return [_transposed(a, shape, size, ())]


def _sample(s: Shapes, a: Attributes) -> list[Any]:
    out = _pool(s, a)
    require(s["index"] == out[0], f"'index' of shape {list(s['index'])} must have the result's shape {list(out[0])}")
    return out


def _desample(s: Shapes, a: Attributes) -> list[Any]:
    require(s["index"] == s["input"], f"'index' of shape {list(s['index'])} must have the shape {list(s['input'])}")
    return _unpool(s, a)


def _factors(s: Shapes, a: Attributes) -> tuple[Shape, list[int]]:
    shape, factor = s["input"], a["factor"]
    require(len(shape) >= 3, f"the input must have at least 3 dimensions, not {len(shape)}")
    require(len(factor) == len(shape) - 2, f"'factor' must have {len(shape) - 2} entries, not {len(factor)}")
    require(all(each >= 1 for each in factor), f"every entry of 'factor' must be at least 1: {factor}")
    return shape, factor


def _downsample(s: Shapes, a: Attributes) -> list[Any]:
    shape, factor = _factors(s, a)
    whole = all(extent % each == 0 for extent, each in zip(shape[2:], factor, strict=True))
    require(whole, f"'factor' {factor} does not divide the input's {list(shape[2:])}")
    return [(*shape[:2], *(extent // each for extent, each in zip(shape[2:], factor, strict=True)))]


def _upsample(s: Shapes, a: Attributes) -> list[Any]:
    shape, factor = _factors(s, a)
    method, border = a.get("method", "symmetric"), a.get("border", "replicate")
    require(method in ("symmetric", "asymmetric", "aligned"), f"'method' {method!r} is not known")
    require(border in ("constant", "replicate"), f"'border' must be constant or replicate, not {border!r}")
    return [(*shape[:2], *(extent * each for extent, each in zip(shape[2:], factor, strict=True)))]


WINDOW_SHAPE_FUNCTIONS: dict[str, Callable[[Shapes, Attributes], list[Any]]] = {
    **dict.fromkeys(("box", "avg_pool", "max_pool", "rms_pool", "argmax_pool"), _pool),
    **dict.fromkeys(("debox", "avg_unpool"), _unpool),
    **dict.fromkeys(("desample", "max_unpool"), _desample),
    **dict.fromkeys(("nearest_downsample", "area_downsample"), _downsample),
    **dict.fromkeys(("nearest_upsample", "multilinear_upsample"), _upsample),
    "conv": _conv,
    "deconv": _deconv,
    "separable_conv": _separable_conv,
    "separable_deconv": _separable_deconv,
    "max_pool_with_index": _pool_with_index,
    "sample": _sample,
}
