"""Elementwise operations, activations, batch normalization and the quantize operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from systola.mapper.reference_ops.common import Array, Function, align, error_function, round_half_away, sigmoid

__all__ = ["ELEMENTWISE"]

_Attributes = dict[str, Any]


def _unary(function: Callable[[Array], Array]) -> Function:
    """An operation of one operand and no attributes."""
    return lambda x, _a, _shapes: [function(x["x"])]


def _joined(function: Callable[..., Array]) -> Function:
    """An operation whose operands broadcast against each other."""
    return lambda x, _a, _shapes: [function(*align(*x.values()))]


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _leaky(x: Array, alpha: Any) -> Array:
    return np.where(x < 0, alpha * x, x)


def _clamp(x: Array, low: Array, high: Array) -> Array:
    return np.maximum(np.minimum(x, high), low)


def _batch_normalization(x: dict[str, Any], a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value, mean, variance, offset, scale = align(x["input"], x["mean"], x["variance"], x["offset"], x["scale"])
    return [offset + scale * (value - mean) / np.sqrt(variance + a["epsilon"])]


def _zero_point_linear(x: dict[str, Any], a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value, zero_point, scale = align(x["x"], x["zero_point"], x["scale"])
    top = 2.0 ** (a["bits"] - 1) - 1 if a["signed"] else 2.0 ** a["bits"] - 1
    bottom = 0.0 if not a["signed"] else -top if a["symmetric"] else -top - 1
    stored = np.clip(round_half_away(value / scale) + zero_point, bottom, top)
    return [(stored - zero_point) * scale]


def _min_max_linear(x: dict[str, Any], a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value, low, high = align(x["x"], x["min"], x["max"])
    signed, symmetric = a.get("signed", False), a.get("symmetric", False)
    steps = math.ldexp(1.0, a["bits"]) - 1 - (signed and symmetric)
    offset = math.ldexp(1.0, a["bits"] - 1) - symmetric if signed else 0.0
    stored = round_half_away((_clamp(value, low, high) - low) / (high - low) * steps) - offset
    return [(stored + offset) / steps * (high - low) + low]


def _logarithmic(x: dict[str, Any], a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    value, high = align(x["x"], x["max"])
    top, steps = np.ceil(np.log2(high)), 2.0 ** a["bits"] - 1
    magnitude = np.maximum(np.abs(value), np.exp2(top - steps))
    return [np.sign(value) * np.exp2(round_half_away(np.clip(np.log2(magnitude), top - steps, top)))]


_UNARY: dict[str, Callable[[Array], Array]] = {
    "copy": lambda x: x,
    "neg": np.negative,
    "rcp": lambda x: 1.0 / x,
    "abs": np.abs,
    "sign": np.sign,
    "not": np.logical_not,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": round_half_away,
    "exp": np.exp,
    "log": np.log,
    "log2": np.log2,
    "sqr": np.square,
    "sqrt": np.sqrt,
    "rsqr": lambda x: 1.0 / np.square(x),
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "softplus": lambda x: np.logaddexp(x, 0),
    # The standard's text defines gelu as x·Φ(x); its sigmoid form is offered as an approximation only.
    "gelu": lambda x: 0.5 * x * (1.0 + error_function(x / math.sqrt(2.0))),
    "silu": lambda x: x * sigmoid(x),
}

_JOINED: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "select": np.where,
    "clamp": _clamp,
    "prelu": _leaky,
}

ELEMENTWISE: dict[str, Function] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _joined(function) for name, function in _JOINED.items()},
    "softabs": lambda x, a, _shapes: [np.sqrt(np.square(x["x"]) + a["epsilon"])],
    "elu": lambda x, a, _shapes: [_elu(x["x"], a["alpha"])],
    "selu": lambda x, a, _shapes: [a["lambda"] * _elu(x["x"], a["alpha"])],
    "leaky_relu": lambda x, a, _shapes: [_leaky(x["x"], a["alpha"])],
    "batch_normalization": _batch_normalization,
    "zero_point_linear_quantize": _zero_point_linear,
    "min_max_linear_quantize": _min_max_linear,
    "linear_quantize": _min_max_linear,
    "logarithmic_quantize": _logarithmic,
}
