"""The network as NNEF states it: tensors, operations, parameters, shapes.

``Graph`` is what the reader makes and the quantizer takes. It is flat (fragments are expanded), every tensor has its
shape, and operations are in an order in which every input is made before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from systola.hw.errors import Place

__all__ = ["Graph", "Operation", "QuantEntry", "Tensor"]


@dataclass(frozen=True)
class QuantEntry:
    """One line of graph.quant: ``op`` is the quantize operation's name, ``parameters`` its arguments.

    A parameter is a number, a bool, or a (nested) tuple of numbers when it is given per channel.
    """

    op: str
    parameters: Mapping[str, Any]
    place: Place


@dataclass(frozen=True)
class Tensor:
    """One named tensor.

    ``shape`` is NNEF's (batch, channels, spatial…). ``dtype`` is NNEF's: "scalar", "integer", "logical" or "string".
    ``data`` is set for variables and constants: float64/float32 for float data, the stored integers (int64 or
    narrower) for quantized data. ``quant`` is the tensor's entry in graph.quant, if it has one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "scalar"
    data: NDArray[Any] | None = None
    quant: QuantEntry | None = None
    label: str | None = None


@dataclass(frozen=True)
class Operation:
    """One operation: ``name`` as in the NNEF standard.

    ``inputs`` maps a parameter's name to a tensor's name, to a number (a literal operand such as ``bias = 0.0``), or to
    a tuple of these (``concat``'s values). ``attributes`` holds every non-tensor parameter of the standard's
    signature, defaults included. ``outputs`` are tensor names in the order of the signature's results.
    """

    name: str
    inputs: Mapping[str, Any]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class Graph:
    """A network. ``external``, ``variable`` and ``constant`` are tensors, not operations.

    ``inputs`` and ``outputs`` are tensor names in the order of the graph's signature.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    operations: tuple[Operation, ...]
    source: str = ""
    quantized: bool = field(default=False)
