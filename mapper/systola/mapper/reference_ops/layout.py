"""Operations that move data: reshape, transpose, concat, slice, pad…"""

from __future__ import annotations

from typing import Any

import numpy as np

from systola.mapper.nnef.shapes import slice_ranges
from systola.mapper.reference_ops.common import Array, Function

__all__ = ["LAYOUT", "pad_array"]

_PAD_MODES = {"replicate": "edge", "reflect": "reflect", "reflect-even": "symmetric"}


def pad_array(x: Array, pairs: Any, border: str, value: float = 0.0) -> Array:
    """Pad each dimension by (front, back); a negative amount crops. Unknown borders pad ``value``."""
    crop = tuple(slice(max(0, -front), extent - max(0, -back)) for extent, (front, back) in zip(x.shape, pairs, strict=True))
    grow = [(max(0, front), max(0, back)) for front, back in pairs]
    x = x[crop]
    if not any(map(any, grow)):
        return x
    if border in _PAD_MODES:
        mode: Any = _PAD_MODES[border]
        return np.asarray(np.pad(x, grow, mode))
    return np.pad(x, grow, constant_values=value)


def _reshape(x: dict[str, Any], a: dict[str, Any], shapes: list[Any]) -> list[Array]:  # noqa: ARG001
    return [next(iter(x.values())).reshape(shapes[0])]


def _transpose(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    axes = [*a["axes"], *range(len(a["axes"]), x["input"].ndim)]
    return [x["input"].transpose(axes)]


def _concat(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [np.concatenate(x["values"], a["axis"])]


def _stack(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [np.stack(x["values"], a["axis"])]


def _split(x: dict[str, Any], a: dict[str, Any], shapes: list[Any]) -> list[Array]:
    ends = np.cumsum([shape[a["axis"]] for shape in shapes])[:-1]
    return np.split(x["value"], ends, a["axis"])


def _unstack(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return list(np.moveaxis(x["value"], a["axis"], 0))


def _slice(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    value = x["input"]
    index = [slice(None)] * value.ndim
    for axis, start, stop, step in slice_ranges(value.shape, a):
        index[axis] = slice(start, None if stop < 0 else stop, step)
    return [value[tuple(index)]]


def _tile(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [np.tile(x["input"], a["repeats"])]


def _pad(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [pad_array(x["input"], a["padding"], a["border"], a["value"])]


def _gather(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [np.take(x["input"], x["indices"].astype(np.int64), a["axis"], mode="clip")]


def _cast(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [x["input"]]  # the caller converts results to the type that the graph states


def _copies(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [x["x"]] * a["times"]


def _sum(x: dict[str, Any], a: dict[str, Any], shapes: Any) -> list[Array]:  # noqa: ARG001
    return [np.asarray(sum(x["x"][1:], x["x"][0]))]


LAYOUT: dict[str, Function] = {
    **dict.fromkeys(("reshape", "squeeze", "unsqueeze"), _reshape),
    "transpose": _transpose,
    "concat": _concat,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "slice": _slice,
    "tile": _tile,
    "pad": _pad,
    "gather": _gather,
    "cast": _cast,
    "copy_n": _copies,
    "add_n": _sum,
}
