"""Reductions, softmax, normalizations over axes, and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from systola.mapper.reference_ops.common import Array, Function, align

__all__ = ["REDUCTIONS"]

_Tensors = dict[str, Any]
_Attributes = dict[str, Any]


def _reduce(function: Any) -> Function:
    return lambda x, a, _shapes: [function(x["input"], axis=tuple(a["axes"]), keepdims=True)]


def _sum(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    function = np.mean if a["normalize"] else np.sum
    return [function(x["input"], axis=tuple(a["axes"]), keepdims=True)]


def _arg(function: Any) -> Function:
    """Position of the extreme over the axes together, in row-major order of these axes."""

    def evaluate(x: _Tensors, a: _Attributes, shapes: list[Any]) -> list[Array]:
        axes, value = sorted(a["axes"]), x["input"]
        last = np.moveaxis(value, axes, range(value.ndim - len(axes), value.ndim))
        flat = last.reshape(*last.shape[: value.ndim - len(axes)], -1)
        return [function(flat, axis=-1).reshape(shapes[0])]

    return evaluate


def _moments(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    axes = tuple(a["axes"])
    return [np.mean(x["input"], axis=axes, keepdims=True), np.var(x["input"], axis=axes, keepdims=True)]


def _softmax(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    axes = tuple(a["axes"])
    powers = np.exp(x["x"] - np.max(x["x"], axis=axes, keepdims=True))
    return [powers / np.sum(powers, axis=axes, keepdims=True)]


def _l1(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    sigma = np.sum(np.abs(x["input"]), axis=tuple(a["axes"]), keepdims=True)
    return [x["input"] / np.maximum(sigma + a["bias"], a["epsilon"])]


def _l2(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    sigma = np.sqrt(np.sum(np.square(x["input"]), axis=tuple(a["axes"]), keepdims=True))
    return [x["input"] / np.maximum(sigma + a["bias"], a["epsilon"])]


def _matmul(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    left = x["A"].swapaxes(-1, -2) if a["transposeA"] else x["A"]
    right = x["B"].swapaxes(-1, -2) if a["transposeB"] else x["B"]
    # Batched products of transposed views miss BLAS and are ten times slower than a copy and a product.
    return [np.matmul(np.ascontiguousarray(left), np.ascontiguousarray(right))]


def _linear(x: _Tensors, a: _Attributes, shapes: Any) -> list[Array]:  # noqa: ARG001
    bias = x["bias"].reshape(1, -1) if x["bias"].ndim else x["bias"]  # one value per channel in any rank
    product, bias = align(x["input"] @ x["filter"].T, bias)
    return [product + bias]


REDUCTIONS: dict[str, Function] = {
    "sum_reduce": _sum,
    "mean_reduce": _reduce(np.mean),
    "max_reduce": _reduce(np.max),
    "min_reduce": _reduce(np.min),
    "any_reduce": _reduce(np.any),
    "all_reduce": _reduce(np.all),
    "argmax_reduce": _arg(np.argmax),
    "argmin_reduce": _arg(np.argmin),
    "moments": _moments,
    "softmax": _softmax,
    "l1_normalization": _l1,
    "l2_normalization": _l2,
    "matmul": _matmul,
    "linear": _linear,
}
