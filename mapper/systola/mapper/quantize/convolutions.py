"""Convolution, matrix products with a constant, and per-channel arithmetic, as Conv nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.graph import Operation
from systola.mapper.nnef.window_shapes import same_padding
from systola.mapper.quantgraph import Conv, Padding2d, Reshape, Transpose
from systola.mapper.quantize.affine import Affine, affine_of
from systola.mapper.quantize.builder import Builder, Target
from systola.mapper.quantize.constants import Weights, convolution_weights, is_constant, quantize_bias, symmetric_weights
from systola.mapper.quantize.graphs import Index
from systola.mapper.quantize.products import build_product, product_reason
from systola.mapper.quantize.rules import Rule

__all__ = ["CONVOLUTIONS", "build_affine", "padding_of"]


@dataclass(frozen=True)
class _Window:
    """Geometry of a Conv node, (y, x) pairs."""

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding2d = ((0, 0), (0, 0))
    groups: int = 1


def padding_of(op: Operation, extents: tuple[int, ...], kernel: tuple[int, ...]) -> list[tuple[int, int]]:
    """Explicit (front, back) pairs of a window operation over ``extents``."""
    a, count = op.attributes, len(extents)
    explicit = a["padding"]
    pairs = explicit or same_padding(extents, kernel, a["stride"] or (1,) * count, a["dilation"] or (1,) * count)
    return [(front, back) for front, back in pairs]


def _add_conv(b: Builder, source: str, target: Target, weights: Weights, bias: Any, window: _Window) -> None:
    """The node, its requantization worked out. ``bias``: an operand of the graph."""
    grid = b.grid(source)
    if weights.requantized:
        b.notes.append(f"the stored weights of '{target.name}' are not int8 around zero: they were quantized anew")
    integers, weights = quantize_bias(b.graph, bias, weights, grid.scale, _bias_correction(b, source, weights, window.groups))
    pairs = [b.factor(grid.scale * scale / target.grid.scale, target.name) for scale in weights.scale.tolist()]
    multiplier, shift = np.array(pairs, np.int32).reshape(-1, 2).T
    b.add(
        Conv(
            target.name, (source,), (target.name,), target.source, weights=weights.codes, bias=integers,
            multiplier=np.ascontiguousarray(multiplier), shift=np.ascontiguousarray(shift), zero_in=grid.zero_point,
            zero_out=target.grid.zero_point, low=target.low, high=target.high, stride=window.stride,
            dilation=window.dilation, padding=window.padding, groups=window.groups,
        )
    )  # fmt: skip


def _bias_correction(b: Builder, source: str, weights: Weights, groups: int) -> NDArray[np.float64] | float:
    """What the rounding of weights takes from the mean of each output channel, by the input's mean per channel.

    As in Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, with measured means.
    """
    means = b.grids.channel_means(source)
    if weights.error is None or means is None:
        return 0.0
    outputs, per_group = weights.error.shape
    group_means = means.reshape(groups, 1, per_group)
    return np.asarray((weights.error.reshape(groups, outputs // groups, per_group) * group_means).sum(axis=2).reshape(-1))


def _conv_reason(index: Index, op: Operation) -> str:
    graph = index.graph
    if not is_constant(graph, op.inputs["filter"]) or not is_constant(graph, op.inputs["bias"]):
        return "its filter or bias is computed, not constant"
    shape, weights = graph.tensors[op.inputs["input"]].shape, graph.tensors[op.inputs["filter"]].shape
    if len(shape) not in (3, 4):
        return f"it slides over {len(shape) - 2} dimensions"
    pairs = padding_of(op, shape[2:], weights[2:])
    if any(min(pair) < 0 for pair in pairs):
        return "its padding is negative"
    if any(map(any, pairs)) and op.attributes["border"] not in ("constant", "ignore"):
        return f"its border is '{op.attributes['border']}'"
    return ""


def _two(values: Any, count: int) -> tuple[int, int]:
    """A window attribute as (y, x); one-dimensional windows slide along x."""
    pair = (1, *(values or (1,) * count))[-2:]
    return int(pair[0]), int(pair[1])


def _build_conv(b: Builder, op: Operation) -> None:
    source, filter_name = op.inputs["input"], op.inputs["filter"]
    shape = b.graph.tensors[source].shape
    weights = convolution_weights(b.graph, filter_name)
    kernel = weights.codes.shape[2:]
    codes = weights.codes.reshape(*weights.codes.shape[:2], *((1,) if len(kernel) == 1 else ()), *kernel)
    pairs = [(0, 0), *padding_of(op, shape[2:], kernel)][-2:]
    window = _Window(
        _two(op.attributes["stride"], len(kernel)),
        _two(op.attributes["dilation"], len(kernel)),
        (pairs[0], pairs[1]),
        op.attributes["groups"] or shape[1],
    )
    _add_conv(b, source, b.target(op), replace(weights, codes=codes), op.inputs["bias"], window)


def _pointwise(weights: Weights) -> Weights:
    """A matrix [O, I] as a 1×1 filter."""
    return replace(weights, codes=weights.codes[:, :, None, None])


def _linear_reason(index: Index, op: Operation) -> str:
    if not is_constant(index.graph, op.inputs["filter"]) or not is_constant(index.graph, op.inputs["bias"]):
        return "its filter or bias is computed, not constant"
    return ""


def _build_linear(b: Builder, op: Operation) -> None:
    weights = convolution_weights(b.graph, op.inputs["filter"])
    _add_conv(b, op.inputs["input"], b.target(op), _pointwise(weights), op.inputs["bias"], _Window())


def _matmul_reason(index: Index, op: Operation) -> str:
    graph = index.graph
    left, right = op.inputs["A"], op.inputs["B"]
    if is_constant(graph, left):
        return "its first operand is constant, not computed"
    if not is_constant(graph, right):
        return product_reason(index, op)
    if any(extent != 1 for extent in graph.tensors[right].shape[:-2]):
        return "its constant operand has several matrices"
    return ""


def _build_matmul(b: Builder, op: Operation) -> None:
    """A · B with constant B: rows of A are pixels. Leading dimensions are folded into rows around the node."""
    if not is_constant(b.graph, op.inputs["B"]):
        build_product(b, op)
        return
    source, name = op.inputs["A"], b.index.source(op)
    shape = b.tensors[source].shape
    if op.attributes["transposeA"]:
        axes = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        shape = tuple(shape[axis] for axis in axes)
        turned = b.add_tensor(b.fresh(f"{source}.transposed"), b.grid(source), shape)
        b.add(Transpose(turned, (source,), (turned,), name, axes))
        source = turned
    rank = len(b.graph.tensors[op.inputs["B"]].shape)
    axis = rank - 2 if op.attributes["transposeB"] else rank - 1
    weights = convolution_weights(b.graph, op.inputs["B"], axis)
    matrix = replace(weights, codes=weights.codes.reshape(len(weights.codes), -1), error=None)
    target = b.target(op)
    if len(shape) == 2:
        _add_conv(b, source, target, _pointwise(matrix), 0.0, _Window())
        return
    source = b.reshaped(source, (prod(shape[:-1]), shape[-1]), name)
    rows = b.fresh(f"{target.name}.rows")
    b.add_tensor(rows, target.grid, (b.tensors[source].shape[0], len(matrix.codes)))
    _add_conv(b, source, Target(rows, target.grid, target.low, target.high, name), _pointwise(matrix), 0.0, _Window())
    b.add(Reshape(target.name, (rows,), (target.name,), name, b.tensors[target.name].shape))


def build_affine(b: Builder, op: Operation, affine: Affine) -> None:
    """Per-channel arithmetic as a 1×1 depthwise convolution: weights ±127 with a scale per channel lose nothing."""
    weights = symmetric_weights(affine.gain[:, None, None, None])
    source, target = affine.x, b.target(op)
    _add_conv(b, source, target, weights, affine.offset, _Window(groups=len(affine.gain)))


def _normalization_reason(index: Index, op: Operation) -> str:
    if affine_of(index.graph, op) is None:
        return "its parameters are computed, or are not one per channel"
    return _affine_rank_reason(index, op)


def _affine_rank_reason(index: Index, op: Operation) -> str:
    rank = len(index.graph.tensors[op.outputs[0]].shape)
    return "" if rank <= 4 else f"it has {rank} dimensions"


def _build_normalization(b: Builder, op: Operation) -> None:
    affine = affine_of(b.graph, op)
    if affine is not None:
        build_affine(b, op, affine)


CONVOLUTIONS: dict[str, Rule] = {
    "conv": Rule(_build_conv, _conv_reason, clamps=True),
    "linear": Rule(_build_linear, _linear_reason, clamps=True),
    "matmul": Rule(_build_matmul, _matmul_reason, clamps=True),
    "batch_normalization": Rule(_build_normalization, _normalization_reason, clamps=True),
}
