"""Pooling and spatial reductions as Pool nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod

from systola.hw.numerics import MAX_SHIFT
from systola.mapper.graph import Operation
from systola.mapper.quantgraph import Padding2d, Pool
from systola.mapper.quantize.builder import Builder, Target
from systola.mapper.quantize.convolutions import padding_of
from systola.mapper.quantize.graphs import Index
from systola.mapper.quantize.rules import Rule

__all__ = ["POOLS"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Window:
    size: Pair
    stride: Pair = (1, 1)
    padding: Padding2d = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)


def _pair(values: tuple[int, ...]) -> Pair:
    """The spatial part of a full-rank attribute; one-dimensional windows slide along x."""
    two = (1, *values[2:])[-2:]
    return two[0], two[1]


def _window(index: Index, op: Operation) -> _Window:
    shape = index.graph.tensors[op.inputs["input"]].shape
    a, ones = op.attributes, (1,) * len(shape)
    pairs = [(0, 0), *padding_of(op, shape, a["size"])[2:]][-2:]
    return _Window(
        _pair(tuple(a["size"])),
        _pair(tuple(a["stride"] or ones)),
        (pairs[0], pairs[1]),
        _pair(tuple(a["dilation"] or ones)),
    )


def _window_reason(index: Index, op: Operation) -> str:
    shape = index.graph.tensors[op.inputs["input"]].shape
    a = op.attributes
    pairs = padding_of(op, shape, a["size"])
    if len(shape) not in (3, 4):
        return f"it pools a tensor of {len(shape)} dimensions"
    if any(x != 1 for values in (a["size"], a["stride"]) for x in tuple(values)[:2]) or any(map(any, pairs[:2])):
        return "it pools over samples or channels"
    if any(min(pair) < 0 for pair in pairs):
        return "its padding is negative"
    if any(map(any, pairs)) and a["border"] not in ("constant", "ignore"):
        return f"its border is '{a['border']}'"
    return ""


def _average_reason(index: Index, op: Operation) -> str:
    reason = _window_reason(index, op)
    if reason:
        return reason
    normalized = op.name == "avg_pool" or op.attributes["normalize"]
    if normalized and op.attributes["border"] == "ignore" and _window(index, op).padding != ((0, 0), (0, 0)):
        return "its averages at the borders have fewer items: the divisor depends on the position"
    return ""


def _average_factor(b: Builder, real: float, name: str) -> tuple[int, int]:
    """The factor of a sum, rounded down.

    Averages of an even number of items hit ties all the time. A multiplier just below the factor sends them down, as the
    integer averages of the common runtimes do on codes below zero (half away from zero); all other results stay.
    """
    multiplier, shift = b.factor(real, name)
    exact = math.ldexp(multiplier, -shift)
    if exact >= real and multiplier > 1:
        fine = (multiplier << 1) - 1
        if fine >> b.multiplier_bits == 0 and shift < MAX_SHIFT:
            return fine, shift + 1
        multiplier -= 1
    return multiplier, shift


def _add_sum(b: Builder, source: str, target: Target, window: _Window, divisor: int) -> None:
    grid = b.grid(source)
    multiplier, shift = _average_factor(b, grid.scale / target.grid.scale / divisor, target.name)
    b.add(
        Pool(
            target.name, (source,), (target.name,), target.source, kind="sum", size=window.size, stride=window.stride,
            padding=window.padding, dilation=window.dilation, zero_in=grid.zero_point, multiplier=multiplier, shift=shift,
            zero_out=target.grid.zero_point, low=target.low, high=target.high,
        )
    )  # fmt: skip


def _add_max(b: Builder, op: Operation, source: str, window: _Window, pad_code: int) -> None:
    name = b.moved(source, op.outputs[0])
    b.add(
        Pool(
            name, (source,), (name,), b.index.source(op), kind="max", size=window.size, stride=window.stride,
            padding=window.padding, pad_code=pad_code, dilation=window.dilation,
        )
    )  # fmt: skip
    b.finish_moved(name, op.outputs[0], b.index.source(op))


def _build_average(b: Builder, op: Operation) -> None:
    window = _window(b.index, op)
    normalized = op.name == "avg_pool" or op.attributes["normalize"]
    _add_sum(b, op.inputs["input"], b.target(op), window, prod(window.size) if normalized else 1)


def _build_max(b: Builder, op: Operation) -> None:
    source = op.inputs["input"]
    pad_code = b.grid(source).zero_point if op.attributes["border"] == "constant" else -128
    _add_max(b, op, source, _window(b.index, op), pad_code)


def _reduce_reason(index: Index, op: Operation) -> str:
    shape = index.graph.tensors[op.inputs["input"]].shape
    if len(shape) not in (3, 4):
        return f"it reduces a tensor of {len(shape)} dimensions"
    if any(axis < 2 for axis in op.attributes["axes"]):
        return "it reduces over samples or channels"
    return ""


def _reduced(b: Builder, op: Operation) -> _Window:
    shape = b.graph.tensors[op.inputs["input"]].shape
    size = _pair(tuple(extent if axis in op.attributes["axes"] else 1 for axis, extent in enumerate(shape)))
    return _Window(size)


def _build_sum_reduce(b: Builder, op: Operation) -> None:
    window = _reduced(b, op)
    mean = op.name == "mean_reduce" or op.attributes["normalize"]
    _add_sum(b, op.inputs["input"], b.target(op), window, prod(window.size) if mean else 1)


def _build_max_reduce(b: Builder, op: Operation) -> None:
    _add_max(b, op, op.inputs["input"], _reduced(b, op), -128)


POOLS: dict[str, Rule] = {
    "avg_pool": Rule(_build_average, _average_reason, clamps=True),
    "box": Rule(_build_average, _average_reason, clamps=True),
    "max_pool": Rule(_build_max, _window_reason, keeps_codes=True),
    "mean_reduce": Rule(_build_sum_reduce, _reduce_reason, clamps=True),
    "sum_reduce": Rule(_build_sum_reduce, _reduce_reason, clamps=True),
    "max_reduce": Rule(_build_max_reduce, _reduce_reason, keeps_codes=True),
}
