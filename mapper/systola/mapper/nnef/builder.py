"""Collects the tensors and operations of a flat graph, inferring shapes as they are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DataModelError, Place
from systola.mapper.graph import Operation, Tensor
from systola.mapper.nnef.limits import MAX_EXTENT, MAX_RANK, MAX_VOLUME
from systola.mapper.nnef.shapes import SHAPE_FUNCTIONS, Shape, ShapeError
from systola.mapper.nnef.signature import Signature
from systola.mapper.nnef.types import TensorRef

__all__ = ["GraphBuilder", "check_shape", "freeze"]

_CONSTANT_DTYPES = {"scalar": np.float64, "integer": np.int64, "logical": np.bool_}


def freeze(value: Any) -> Any:
    """Arrays as tuples, tensors as their names: what an ``Operation`` holds."""
    if isinstance(value, TensorRef):
        return value.name
    if isinstance(value, (list, tuple)):
        return tuple(map(freeze, value))
    return value


def _shape_of(value: Any) -> Any:
    """The shape of a tensor argument; a number has the shape ``()``, an array of tensors a list of shapes."""
    if isinstance(value, TensorRef):
        return value.shape
    return [_shape_of(each) for each in value] if isinstance(value, list) else ()


def check_shape(shape: Shape, what: str) -> None:
    """Refuse shapes that no network has.

    Raises:
        ShapeError: an extent below 1 or of more than 32 bits, more than ``MAX_RANK`` dimensions, or too many elements.
    """
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{what} has {len(shape)} dimensions; at most {MAX_RANK} are possible")
    volume = 1
    for extent in shape:
        if not 1 <= extent <= MAX_EXTENT:
            raise ShapeError(f"{what} would have the shape {_show(shape)}: every extent must be from 1 to {MAX_EXTENT}")
        volume *= extent
    if volume > MAX_VOLUME:
        raise ShapeError(f"{what} would have the shape {_show(shape)}, more than {MAX_VOLUME} elements")


def _show(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


class GraphBuilder:
    """The graph under construction."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.operations: list[Operation] = []

    def declare(self, name: str, shape: Shape, dtype: str, label: str | None = None) -> TensorRef:
        """Add a tensor that no operation makes (external, variable)."""
        check_shape(shape, f"tensor {name!r}")
        self.tensors[name] = Tensor(name, shape, dtype, label=label)
        return TensorRef(name, dtype, shape)

    def constant(self, name: str, shape: Shape, dtype: str, values: list[Any], place: Place) -> TensorRef:
        """Add a constant; one value fills the whole shape.

        Raises:
            DataModelError: strings, which a tensor cannot hold.
        """
        check_shape(shape, f"constant {name!r}")
        if dtype not in _CONSTANT_DTYPES:
            raise DataModelError(f"constant {name!r} cannot hold values of type {dtype}", place)
        volume = int(np.prod(shape, dtype=np.int64)) if shape else 1
        if len(values) not in (1, volume):
            raise ShapeError(f"constant {name!r} of shape {_show(shape)} needs 1 or {volume} values, not {len(values)}")
        data: NDArray[Any] = np.asarray(values, dtype=_CONSTANT_DTYPES[dtype])
        data = np.broadcast_to(data.reshape(()), shape) if len(values) == 1 else data.reshape(shape)
        self.tensors[name] = Tensor(name, shape, dtype, data)
        return TensorRef(name, dtype, shape)

    def infer(self, signature: Signature, values: Mapping[str, Any]) -> list[Any]:
        """The shape of each result: a tuple, or a list of them for an array of tensors.

        Raises:
            ShapeError: the operands or attributes do not go together.
        """
        function = SHAPE_FUNCTIONS.get(signature.name)
        if function is None:
            raise ShapeError(f"the shape of the result of {signature.name!r} cannot be inferred")
        shapes: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        for parameter in signature.parameters:
            value = values[parameter.name]
            if parameter.tensor:
                shapes[parameter.name] = _shape_of(value)
            else:
                attributes[parameter.name] = value
        results = function(shapes, attributes)
        for result, shape in zip(signature.results, results, strict=True):
            for each in shape if isinstance(shape, list) else [shape]:
                check_shape(each, f"result {result.name!r} of {signature.name!r}")
        return results

    def operation(
        self, signature: Signature, values: Mapping[str, Any], results: list[tuple[str, Shape, str]], place: Place
    ) -> list[TensorRef]:
        """Add an operation; ``results`` are (tensor name, shape, type) for each tensor it makes."""
        inputs: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        for parameter in signature.parameters:
            (inputs if parameter.tensor else attributes)[parameter.name] = freeze(values[parameter.name])
        made = []
        for name, shape, dtype in results:
            self.tensors[name] = Tensor(name, shape, dtype)
            made.append(TensorRef(name, dtype, shape))
        outputs = tuple(name for name, _, _ in results)
        self.operations.append(Operation(signature.name, inputs, attributes, outputs, place))
        return made
