"""Operations that the host computes in float.

Their definition is the float reference of the network, ``systola.mapper.reference_ops``: it is what calibration measured and
what a user compares with. This is the one place where ``sim`` uses more of the mapper than its types; there is no second
implementation that could differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.quantgraph import Host, QuantTensor
from systola.mapper.reference_ops import FUNCTIONS
from systola.sim.golden.codes import dequantize, quantize_input

__all__ = ["run_host"]

Array = NDArray[Any]


def run_host(node: Host, inputs: Mapping[str, Array], tensors: Mapping[str, QuantTensor]) -> dict[str, Array]:
    """One sample of a Host node: codes (or floats) by input name to codes (or floats) by output name."""
    values = {name: _real(tensors[name], array) for name, array in inputs.items()}

    def operand(value: Any) -> Any:
        if isinstance(value, tuple):
            return [operand(each) for each in value]
        if isinstance(value, str):
            return values[value] if value in values else _double(node.constants[value])
        return np.asarray(value, None if isinstance(value, bool) else np.float64)

    operation = node.operation
    arguments = {key: operand(value) for key, value in operation.inputs.items()}
    shapes = [tensors[name].shape for name in node.outputs]
    with np.errstate(all="ignore"):  # infinities and not-a-number are values, as in any float evaluation
        results = FUNCTIONS[operation.name](arguments, dict(operation.attributes), shapes)
    return {
        name: quantize_input(tensors[name], np.broadcast_to(result, shape))
        for name, result, shape in zip(node.outputs, results, shapes, strict=True)
    }


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _real(tensor: QuantTensor, array: Array) -> Array:
    """Codes as values; integers and logical values of tensors that are not quantized as they are."""
    return _double(array) if tensor.is_float else dequantize(tensor, array)
