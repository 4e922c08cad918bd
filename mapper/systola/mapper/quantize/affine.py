"""Constant arithmetic per channel: ``y = x · gain + offset``, as batch normalization and scaled or shifted tensors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.graph import Graph, Operation
from systola.mapper.quantize.constants import is_constant, real_value

__all__ = ["Affine", "affine_of"]

Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """``x · gain[c] + offset[c]`` for channel c of tensor ``x``; ``scalar``: all channels have the same constants."""

    x: str
    gain: Real
    offset: Real
    scalar: bool


def affine_of(graph: Graph, op: Operation) -> Affine | None:
    """The operation as per-channel arithmetic on one tensor with channels; None if it is anything else."""
    if op.name == "batch_normalization":
        return _normalization(graph, op)
    if op.name not in ("add", "sub", "mul", "div"):
        return None
    x, y = op.inputs["x"], op.inputs["y"]
    left, right = is_constant(graph, x), is_constant(graph, y)
    if left == right or (left and op.name == "div"):
        return None
    name, operand = (y, x) if left else (x, y)
    value = _per_channel(graph, operand, graph.tensors[name].shape)
    if value is None:
        return None
    ones, zeros = np.ones_like(value), np.zeros_like(value)
    with np.errstate(divide="ignore"):
        gain, offset = {
            "add": (ones, value),
            "sub": (-ones, value) if left else (ones, -value),
            "mul": (value, zeros),
            "div": (1.0 / value, zeros),
        }[op.name]
    return _checked(name, gain, offset, scalar=real_value(graph, operand).size == 1)


def _normalization(graph: Graph, op: Operation) -> Affine | None:
    name = op.inputs["input"]
    if not isinstance(name, str) or is_constant(graph, name):
        return None
    keys = ("mean", "variance", "offset", "scale")
    if not all(is_constant(graph, op.inputs[key]) for key in keys):
        return None
    values = [_per_channel(graph, op.inputs[key], graph.tensors[name].shape) for key in keys]
    if any(value is None for value in values):
        return None
    mean, variance, offset, scale = (np.asarray(value) for value in values)
    with np.errstate(all="ignore"):
        gain = scale / np.sqrt(variance + op.attributes["epsilon"])
    return _checked(name, gain, offset - mean * gain, scalar=False)


def _checked(name: str, gain: Real, offset: Real, *, scalar: bool) -> Affine | None:
    finite = np.all(np.isfinite(gain)) and np.all(np.isfinite(offset))
    return Affine(name, gain, offset, scalar) if finite else None


def _per_channel(graph: Graph, operand: Any, shape: tuple[int, ...]) -> Real | None:
    """A constant as one value per channel (dimension 1) of ``shape``; None if it varies along another dimension."""
    value = real_value(graph, operand)
    if len(shape) < 2 or value.ndim > len(shape):
        return None
    extents = value.shape + (1,) * (len(shape) - value.ndim)  # NNEF aligns leading dimensions
    if any(extent != 1 for axis, extent in enumerate(extents) if axis != 1) or extents[1] not in (1, shape[1]):
        return None
    return np.broadcast_to(value.reshape(-1), (shape[1],)).astype(np.float64)
