"""What the evaluation functions share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Function", "align", "error_function", "round_half_away", "sigmoid"]

Array = NDArray[Any]
Shape = tuple[int, ...]
Function = Callable[[dict[str, Any], dict[str, Any], list[Shape]], list[Array]]

_ERF_LIMIT = 6.0  # beyond it erf is ±1 in float64
_ERF_STEPS = 1 << 13


def align(*arrays: Array) -> list[Array]:
    """Append dimensions of 1 so that NumPy broadcasts as NNEF does: leading dimensions together."""
    rank = max(array.ndim for array in arrays)
    return [array.reshape(array.shape + (1,) * (rank - array.ndim)) if array.ndim else array for array in arrays]


def round_half_away(x: Array) -> Array:
    """Round to nearest, halves away from zero: C's ``round``, which NNEF's reference parser uses."""
    return np.asarray(np.trunc(x + np.copysign(0.5, x)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small).astype(x.dtype) / (1.0 + small)


@cache
def _erf_table() -> tuple[Array, Array]:
    step = 2 * _ERF_LIMIT / _ERF_STEPS
    points = [step * i - _ERF_LIMIT for i in range(_ERF_STEPS + 1)]
    return np.array([erf(x) for x in points]), np.array([2 / sqrt(pi) * exp(-x * x) * step for x in points])


def error_function(x: Array) -> Array:
    """erf by cubic Hermite interpolation of exact values and slopes 0.0015 apart: within 1e-12."""
    values, slopes = _erf_table()
    position = (np.clip(x, -_ERF_LIMIT, _ERF_LIMIT) + _ERF_LIMIT) * (_ERF_STEPS / (2 * _ERF_LIMIT))
    left = np.minimum(position.astype(np.int64), _ERF_STEPS - 1)
    t = position - left
    u = 1.0 - t
    near = u * u * ((1 + 2 * t) * values[left] + t * slopes[left])
    far = t * t * ((1 + 2 * u) * values[left + 1] - u * slopes[left + 1])
    return np.asarray(near + far, x.dtype)
