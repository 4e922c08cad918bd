"""The network in floating point: what calibration measures and what quantized results are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from systola.hw.errors import DataModelError, Place, SemanticModelError
from systola.mapper.batching import batched_tensors
from systola.mapper.graph import Graph, Operation, Tensor
from systola.mapper.nnef.quantfile import dequantize
from systola.mapper.reference_ops import FUNCTIONS

__all__ = ["run_float"]

_CHUNK_ITEMS = 1 << 24  # items of the largest activation held at once when samples run together

Arrays = dict[str, NDArray[Any]]


def run_float(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], keep: bool = False, *, dtype: DTypeLike = np.float64
) -> Arrays:
    """Evaluate a network on real values.

    Args:
        graph: the network; quantized variables are dequantized first, activations are not quantized.
        inputs: an array per graph input, in the input's shape. Dimension 0 may be a multiple of the graph's: that many
            samples are evaluated, at once where the operations allow it.
        keep: return every tensor made by an operation and the inputs, not only the outputs.
        dtype: float64 or float32, of all computation.

    Returns:
        Arrays by tensor name; dimension 0 as in the inputs (results of several runs are joined along it).

    Raises:
        DataModelError: an input is missing or has another shape, or a variable has no data.
        SemanticModelError: an operation has no float evaluation.
    """
    arrays, samples = _check_inputs(graph, inputs, np.dtype(dtype))
    constants = _constants(graph, np.dtype(dtype))
    wanted = _made(graph) if keep else set(graph.outputs)
    batched = batched_tensors(graph)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    for count, chunk in _chunks(graph, arrays, samples, batched is not None):
        values = _evaluate(graph, {**constants, **chunk}, count, batched or frozenset(), wanted, np.dtype(dtype))
        for name, collected in parts.items():
            collected.append(values[name])
    return {name: _join(collected) for name, collected in parts.items()}


def _made(graph: Graph) -> set[str]:
    return {*graph.inputs, *(name for operation in graph.operations for name in operation.outputs)}


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)


def _check_inputs(graph: Graph, inputs: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]) -> tuple[Arrays, int]:
    """The inputs in computation type, and how many times the graph's batch they hold."""
    place = Place(graph.source or graph.name)
    arrays: Arrays = {}
    counts = set()
    for name in graph.inputs:
        if name not in inputs:
            raise DataModelError(f"input {name!r} is not given", place)
        tensor, array = graph.tensors[name], np.asarray(inputs[name])
        shape = tensor.shape
        fit = array.ndim == len(shape) and array.shape[1:] == shape[1:] and (not shape or array.shape[0] % shape[0] == 0)
        if not fit or array.size == 0:
            raise DataModelError(
                f"input {name!r} has shape {list(array.shape)}; the network takes {list(shape)}, or a multiple of it in "
                "dimension 0",
                place,
            )
        counts.add(array.shape[0] // shape[0] if shape else 1)
        arrays[name] = array.astype(_numpy_type(tensor.dtype, dtype))
    if len(counts) > 1:
        raise DataModelError(f"the inputs hold different numbers of samples: {sorted(counts)}", place)
    return arrays, counts.pop() if counts else 1


def _chunks(graph: Graph, arrays: Arrays, samples: int, together: bool) -> Iterator[tuple[int, Arrays]]:
    """Samples in portions: as many as memory allows if they run together, else one by one."""
    step = 1
    if together:
        largest = max(prod(graph.tensors[name].shape) for name in _made(graph))
        step = max(1, min(samples, _CHUNK_ITEMS // largest))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        yield count, {name: _part(array, start, count, samples) for name, array in arrays.items()}


def _part(array: NDArray[Any], start: int, count: int, samples: int) -> NDArray[Any]:
    """The samples from ``start`` on; each is an equal share of dimension 0."""
    if not array.ndim:
        return array
    share = array.shape[0] // samples
    return array[start * share : (start + count) * share]


def _numpy_type(kind: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    return {"integer": np.dtype(np.int64), "logical": np.dtype(np.bool_)}.get(kind, dtype)


def _constants(graph: Graph, dtype: np.dtype[Any]) -> Arrays:
    """Variables and constants as real values."""
    made = _made(graph)
    return {name: _real(tensor, graph, dtype) for name, tensor in graph.tensors.items() if name not in made}


def _real(tensor: Tensor, graph: Graph, dtype: np.dtype[Any]) -> NDArray[Any]:
    if tensor.data is None:
        raise DataModelError(f"variable {tensor.name!r} has no data", Place(graph.source or graph.name))
    data: NDArray[Any] = tensor.data
    if tensor.quant is not None and data.dtype.kind in "iu":
        data = dequantize(data, tensor.quant)
    return data.astype(_numpy_type(tensor.dtype, dtype))


def _evaluate(
    graph: Graph, values: Arrays, count: int, batched: frozenset[str], wanted: set[str], dtype: np.dtype[Any]
) -> Arrays:
    """Run the operations; tensors that nobody needs any more are dropped on the way."""
    last_use = {
        name: i for i, operation in enumerate(graph.operations) for name in _names(operation.inputs.values())
    }
    with np.errstate(all="ignore"):  # log(0) and the like are values (-inf), as in any float evaluation
        for i, operation in enumerate(graph.operations):
            values.update(_apply(graph, operation, values, count, batched, dtype))
            for name in _names(operation.inputs.values()):
                if last_use[name] == i and name not in wanted:
                    values.pop(name, None)
    return values


def _names(values: Any) -> list[str]:
    """Tensor names among operands, also inside arrays."""
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += _names(value)
        elif isinstance(value, str):
            found.append(value)
    return found


def _apply(
    graph: Graph, operation: Operation, values: Arrays, count: int, batched: frozenset[str], dtype: np.dtype[Any]
) -> Arrays:
    function = FUNCTIONS.get(operation.name)
    if function is None:
        raise SemanticModelError(f"operation {operation.name!r} has no float evaluation", operation.place)

    def operand(value: Any) -> Any:
        if isinstance(value, tuple):
            return [operand(each) for each in value]
        return values[value] if isinstance(value, str) else np.asarray(value, None if isinstance(value, bool) else dtype)

    tensors = [graph.tensors[name] for name in operation.outputs]
    shapes = [
        (tensor.shape[0] * count, *tensor.shape[1:]) if tensor.name in batched else tensor.shape for tensor in tensors
    ]
    results = function({key: operand(value) for key, value in operation.inputs.items()}, dict(operation.attributes), shapes)
    made = {}
    for tensor, shape, result in zip(tensors, shapes, results, strict=True):
        array = np.asarray(result, _numpy_type(tensor.dtype, dtype))
        made[tensor.name] = array if array.shape == shape else np.broadcast_to(array, shape)
    return made
