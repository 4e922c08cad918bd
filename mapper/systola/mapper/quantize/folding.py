"""Rewriting a graph before it is quantized: constant subgraphs evaluated, per-channel arithmetic folded into convolutions.

The second changes what is rounded, so it is for float graphs only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.mapper.graph import Graph, Operation, Tensor
from systola.mapper.quantize.affine import Affine, affine_of
from systola.mapper.quantize.constants import is_constant, real_value
from systola.mapper.quantize.graphs import Index, operands
from systola.mapper.reference_ops import FUNCTIONS

__all__ = ["fold_arithmetic", "fold_constants"]

_MOVES = ("reshape", "squeeze", "unsqueeze", "copy", "transpose", "slice", "split", "unstack")


def fold_constants(graph: Graph) -> Graph:
    """Replace operations whose operands are all constant by their values.

    Operations that only move data keep stored integers and their entry when that holds one scale for the whole tensor.
    """
    operations: list[Operation] = []
    for op in graph.operations:
        if op.name not in FUNCTIONS or not operands(op) or not all(is_constant(graph, x) for x in operands(op)):
            operations.append(op)
            continue
        graph = replace(graph, tensors={**graph.tensors, **_evaluated(graph, op)})
    return replace(graph, operations=tuple(operations))


def _evaluated(graph: Graph, op: Operation) -> dict[str, Tensor]:
    source = next((graph.tensors[x] for x in operands(op) if isinstance(x, str)), None)
    keeps = op.name in _MOVES and source is not None and source.quant is not None and _one_scale(source)
    entry = source.quant if keeps and source is not None else None

    def value(operand: Any) -> Any:
        if isinstance(operand, tuple):
            return [value(each) for each in operand]
        if isinstance(operand, str) and (entry is not None or graph.tensors[operand].dtype != "scalar"):
            return np.asarray(graph.tensors[operand].data)
        return real_value(graph, operand)

    tensors = [graph.tensors[name] for name in op.outputs]
    with np.errstate(all="ignore"):
        results = FUNCTIONS[op.name](
            {key: value(x) for key, x in op.inputs.items()}, dict(op.attributes), [tensor.shape for tensor in tensors]
        )
    return {
        tensor.name: replace(tensor, data=np.broadcast_to(result, tensor.shape), quant=entry)
        for tensor, result in zip(tensors, results, strict=True)
    }


def _one_scale(tensor: Tensor) -> bool:
    return tensor.quant is not None and all(np.size(value) == 1 for value in tensor.quant.parameters.values())


def fold_arithmetic(graph: Graph) -> Index:
    """Fold batch normalization and constant arithmetic into the convolution or matrix product before it.

    ``conv(x)·gain + offset`` is a convolution with scaled filter and bias. Only where nothing else reads the convolution.
    """
    sources: dict[str, str] = {}
    while True:
        index = Index(graph, sources)
        found = next(((op, affine) for op in graph.operations if (affine := _foldable(index, op))), None)
        if found is None:
            return index
        graph = _fold(index, found[0], found[1], sources)


def _foldable(index: Index, op: Operation) -> Affine | None:
    """The arithmetic that alone reads the result of ``op``, a convolution with constants."""
    if op.name not in ("conv", "linear", "matmul"):
        return None
    weights, bias = op.inputs["B" if op.name == "matmul" else "filter"], op.inputs.get("bias", 0.0)
    if not isinstance(weights, str) or not is_constant(index.graph, weights) or not is_constant(index.graph, bias):
        return None
    rank = len(index.graph.tensors[op.outputs[0]].shape)
    if op.name == "matmul" and (rank != 2 or op.attributes["transposeA"] or is_constant(index.graph, op.inputs["A"])):
        return None
    user = index.only_consumer(op.outputs[0])
    return affine_of(index.graph, user) if user is not None else None


def _fold(index: Index, op: Operation, affine: Affine, sources: dict[str, str]) -> Graph:
    graph = index.graph
    user = index.consumers[op.outputs[0]][0]
    result = user.outputs[0]
    filter_data, bias = _scaled(graph, op, affine)
    names = [_fresh(graph, f"{result}.{kind}") for kind in ("filter", "bias")]
    constants = {name: Tensor(name, data.shape, data=data) for name, data in zip(names, (filter_data, bias), strict=True)}
    inputs = {"input": op.inputs["A" if op.name == "matmul" else "input"], "filter": names[0], "bias": names[1]}
    name, attributes = ("conv", op.attributes) if op.name == "conv" else ("linear", {})
    folded = Operation(name, inputs, attributes, (result,), op.place)
    sources[result] = f"{index.source(op)} + {index.source(user)}"
    sources.pop(op.outputs[0], None)
    operations = [folded if x is op else x for x in graph.operations if x is not user]
    tensors = {key: tensor for key, tensor in graph.tensors.items() if key != op.outputs[0]}
    return replace(graph, tensors={**tensors, **constants}, operations=tuple(operations))


def _scaled(graph: Graph, op: Operation, affine: Affine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filter (output channels first) and bias [1, C] with the arithmetic in them."""
    weights = real_value(graph, op.inputs["B" if op.name == "matmul" else "filter"])
    if op.name == "matmul" and not op.attributes["transposeB"]:
        weights = weights.T
    bias = real_value(graph, op.inputs.get("bias", 0.0)).reshape(-1)
    gain = affine.gain.reshape(-1, *(1,) * (weights.ndim - 1))
    return np.ascontiguousarray(weights * gain), (bias * affine.gain + affine.offset)[None, :]


def _fresh(graph: Graph, stem: str) -> str:
    name, number = stem, 1
    while name in graph.tensors:
        number += 1
        name = f"{stem}{number}"
    return name
