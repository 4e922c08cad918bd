"""Constant operands: their real values, and as weights and biases of a convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.mapper.graph import Graph, Tensor
from systola.mapper.nnef.quantfile import dequantize, expand_parameter
from systola.mapper.quantize.parameters import linear_grid

__all__ = ["Weights", "convolution_weights", "is_constant", "quantize_bias", "real_value", "symmetric_weights"]

_WEIGHT_LIMIT = 127
_BIAS_LIMIT = 1 << 30  # half of int32: the products need the rest
_SCALE_TOLERANCE = 1e-4  # a bias scale that differs less was meant to be scale_in · scale_weights (float32 products)
_ZERO_TOLERANCE = 1e-6
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 ``codes``, output channels first; ``scale``: float64 per output channel.

    ``requantized``: they replace integers of the model. ``error``: for weights that were rounded here, float64 [O, I/groups],
    what rounding took from a channel's weights (real less quantized, summed over kernel positions).
    """

    codes: NDArray[np.int8]
    scale: Real
    requantized: bool = False
    error: Real | None = None


def is_constant(graph: Graph, operand: object) -> bool:
    """A literal, or a tensor with data."""
    return not isinstance(operand, str) or graph.tensors[operand].data is not None


def real_value(graph: Graph, operand: object) -> Real:
    """The real values of a constant operand."""
    if not isinstance(operand, str):
        return np.asarray(operand, np.float64)
    tensor = graph.tensors[operand]
    if tensor.data is None:
        raise QuantizationError(f"tensor '{operand}' has no data; a constant is needed here")
    if tensor.quant is not None and tensor.data.dtype.kind in "iu":
        return dequantize(tensor.data, tensor.quant)
    return tensor.data.astype(np.float64)


def convolution_weights(graph: Graph, name: str, channel_axis: int = 0) -> Weights:
    """The weights of constant ``name``, output channels moved to the front: the stored integers where they are int8 around
    zero, else quantized anew per output channel.

    Stored weights with a zero point are shifted by it where the result fits int8 (unsigned ones around 128 do), and
    quantized anew where it does not.
    """
    tensor = graph.tensors[name]
    stored = _stored(tensor, channel_axis) if tensor.quant is not None else None
    if stored is not None:
        return stored
    values = np.moveaxis(real_value(graph, name), channel_axis, 0)
    return replace(symmetric_weights(values), requantized=tensor.quant is not None)


def _stored(tensor: Tensor, channel_axis: int) -> Weights | None:
    """The model's own integers, if one scale per output channel and a zero point of zero can express them."""
    if tensor.quant is None or tensor.data is None or tensor.data.dtype.kind not in "iu":
        return None
    scale, zero = linear_grid(tensor.quant)
    scale, zero = (np.asarray(expand_parameter(x, tensor.shape), np.float64) for x in (scale, zero))
    others = tuple(axis for axis in range(len(tensor.shape)) if axis != channel_axis)
    if any(scale.shape[axis] != 1 for axis in others) or np.any(np.abs(zero - np.rint(zero)) > _ZERO_TOLERANCE):
        return None
    codes = np.moveaxis(tensor.data.astype(np.int64) - np.rint(zero).astype(np.int64), channel_axis, 0)
    if codes.min(initial=0) < -128 or codes.max(initial=0) > _WEIGHT_LIMIT:
        return None
    channels = np.broadcast_to(scale.reshape(-1), codes.shape[:1])
    return Weights(codes.astype(np.int8), channels.astype(np.float64))


def symmetric_weights(values: Real) -> Weights:
    """Weights quantized to −127 … 127 with a scale per output channel (dimension 0)."""
    if not np.all(np.isfinite(values)):
        raise QuantizationError("a weight is infinite or not a number; finite weights are needed")
    largest = np.abs(values).reshape(len(values), -1).max(axis=1, initial=0.0)
    scale = np.where(largest > 0, largest / _WEIGHT_LIMIT, 1.0)
    spread = scale.reshape(-1, *(1,) * (values.ndim - 1))
    codes = np.rint(values / spread).astype(np.int8)
    error = (values - codes * spread).reshape(*values.shape[:2], -1).sum(axis=2)
    return Weights(codes, scale, error=error)


def quantize_bias(
    graph: Graph, operand: object, weights: Weights, scale_in: float, correction: Real | float = 0.0
) -> tuple[NDArray[np.int32], Weights]:
    """The bias as int32 in steps of scale_in · scale_weights, per output channel; ``correction`` is added to real values.

    Stored integers are taken as they are where their scale is that product; otherwise the real values are rounded. Where
    a bias would not leave room in 32 bits, that channel's weights get a coarser scale (returned).
    """
    steps = scale_in * weights.scale
    tensor = graph.tensors[operand] if isinstance(operand, str) else None
    if tensor is not None and tensor.quant is not None and tensor.data is not None and tensor.data.dtype.kind in "iu":
        scale, zero = (np.broadcast_to(x.reshape(-1), steps.shape) for x in map(np.asarray, linear_grid(tensor.quant)))
        if np.allclose(scale, steps, rtol=_SCALE_TOLERANCE, atol=0.0) and not np.any(zero):
            stored = np.broadcast_to(tensor.data.reshape(-1), steps.shape)
            if np.all(np.abs(stored.astype(np.int64)) < 1 << 31):
                return stored.astype(np.int32), weights
    values = np.broadcast_to(real_value(graph, operand).reshape(-1), steps.shape) + correction
    return _rounded_bias(values, weights, scale_in)


def _rounded_bias(values: Real, weights: Weights, scale_in: float) -> tuple[NDArray[np.int32], Weights]:
    if not np.all(np.isfinite(values)):
        raise QuantizationError("a bias is infinite or not a number; finite values are needed")
    least = np.abs(values) / (scale_in * _BIAS_LIMIT)
    if np.any(least > weights.scale):
        scale = np.maximum(least, weights.scale)
        spread = (weights.scale / scale).reshape(-1, *(1,) * (weights.codes.ndim - 1))
        weights = replace(weights, codes=np.rint(weights.codes * spread).astype(np.int8), scale=scale)
    return np.rint(values / (scale_in * weights.scale)).astype(np.int32), weights
