"""Codes and real values of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.quantgraph import QuantTensor

__all__ = ["dequantize", "quantize_input"]


def quantize_input(tensor: QuantTensor, values: NDArray[Any]) -> NDArray[Any]:
    """Real values as int8 codes: divided by the scale, rounded half to even, moved by the zero point, clamped.

    A tensor that stays in float is returned as it is.
    """
    if tensor.is_float:
        return np.asarray(values)
    codes = np.rint(np.asarray(values, np.float64) / tensor.scale) + tensor.zero_point
    return np.asarray(np.clip(np.nan_to_num(codes, nan=tensor.zero_point), -128, 127), np.int8)


def dequantize(tensor: QuantTensor, codes: NDArray[Any]) -> NDArray[np.float64]:
    """The real values of codes."""
    if tensor.is_float:
        return np.asarray(codes, np.float64)
    return (codes.astype(np.float64) - tensor.zero_point) * tensor.scale
