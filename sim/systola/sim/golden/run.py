"""The whole network, or one node of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DataModelError
from systola.mapper.quantgraph import Host, Node, QuantGraph, QuantTensor
from systola.sim.golden.host import run_host
from systola.sim.golden.nodes import compute

__all__ = ["run_golden", "run_node"]

Array = NDArray[Any]


def run_golden(graph: QuantGraph, inputs: Mapping[str, Array], *, keep: bool = True) -> dict[str, Array]:
    """Every tensor of the network, or its outputs only, for any number of samples at once.

    Args:
        graph: the quantized network.
        inputs: int8 codes [S, *shape] by input name (floats for an input that is not quantized).
        keep: return inputs and all intermediate tensors too.

    Returns:
        int8 codes [S, *shape] by tensor name (float64 for tensors that stay in float).

    Raises:
        DataModelError: an input is missing or has another shape or type.
    """
    samples = _check(graph, inputs)
    values = {name: np.asarray(inputs[name]) for name in graph.inputs}
    last = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
    for number, node in enumerate(graph.nodes):
        operands = {name: _operand(graph, values, name, samples) for name in node.inputs}
        values.update(_run(node, operands, graph.tensors, samples))
        if not keep:
            for name in {n for n in node.inputs if last[n] == number and n not in graph.outputs}:
                values.pop(name, None)
    return values if keep else {name: values[name] for name in graph.outputs}


def run_node(node: Node, tensors: Mapping[str, Array], quant: Mapping[str, QuantTensor]) -> dict[str, Array]:
    """One node for one sample, as the driver needs it for what the host computes.

    Args:
        node: of any type.
        tensors: arrays in NNEF's shape by name, the node's inputs among them; constants may be absent.
        quant: the graph's tensors: scales for a Host node, data of constants.
    """
    operands = {}
    for name in node.inputs:
        array = tensors[name] if name in tensors else quant[name].data
        operands[name] = np.asarray(array)[None]
    return {name: array[0] for name, array in _run(node, operands, quant, 1).items()}


def _run(node: Node, operands: Mapping[str, Array], quant: Mapping[str, QuantTensor], samples: int) -> dict[str, Array]:
    if not isinstance(node, Host):
        return {node.output: compute(node, [operands[name] for name in node.inputs])}
    results = [run_host(node, {name: array[s] for name, array in operands.items()}, quant) for s in range(samples)]
    return {name: np.stack([result[name] for result in results]) for name in node.outputs}


def _operand(graph: QuantGraph, values: Mapping[str, Array], name: str, samples: int) -> Array:
    """A tensor, or a constant repeated for every sample."""
    if name in values:
        return values[name]
    tensor = graph.tensors[name]
    return np.broadcast_to(np.asarray(tensor.data), (samples, *tensor.shape))


def _check(graph: QuantGraph, inputs: Mapping[str, Array]) -> int:
    counts = set()
    for name in graph.inputs:
        tensor = graph.tensors[name]
        array = np.asarray(inputs[name]) if name in inputs else None
        if array is None or array.shape[1:] != tensor.shape or (array.dtype != np.int8 and not tensor.is_float):
            given = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            expected = f"[samples, {', '.join(map(str, tensor.shape))}]"
            raise DataModelError(f"input '{name}' must be int8 codes of shape {expected}; {given} was given")
        counts.add(len(array))
    if len(counts) > 1:
        raise DataModelError(f"the inputs have different numbers of samples: {sorted(counts)}")
    return counts.pop() if counts else 1
