"""Writing a ``Graph`` as an NNEF folder that ``read_model`` and other NNEF tools read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from systola.hw.errors import DataModelError, Place
from systola.mapper.graph import Graph, Operation, Tensor
from systola.mapper.nnef.safefile import path_inside
from systola.mapper.nnef.signature import standard_signatures
from systola.mapper.nnef.tensorfile import write_atomically, write_tensor

__all__ = ["format_graph", "format_quantization", "write_model"]


def _literal(value: Any) -> str:
    """A value as NNEF text: numbers, strings, arrays of numbers and of pairs."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, str):
        return f"'{value}'" if "'" not in value else f'"{value}"'
    return f"[{', '.join(map(_literal, value))}]"


def _attribute(value: Any) -> str:
    """An attribute of an operation: inside an array, a tuple of numbers is a tuple."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "[" + ", ".join(f"({', '.join(map(_literal, pair))})" for pair in value) + "]"
    return _literal(value)


def _operand(value: Any) -> str:
    """A tensor's name, a number, or an array of these."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_operand, value))}]"
    return value if isinstance(value, str) else _literal(value)


def _declaration(tensor: Tensor, inputs: tuple[str, ...]) -> str:
    shape = f"shape = {_literal(tensor.shape)}"
    if tensor.name in inputs:
        return f"{tensor.name} = external<{tensor.dtype}>({shape});"
    if tensor.label is not None:
        return f"{tensor.name} = variable<{tensor.dtype}>({shape}, label = {_literal(tensor.label)});"
    assert tensor.data is not None  # a tensor that no operation makes is an input, a variable or a constant
    values = tensor.data.reshape(-1)
    if values.size > 1 and np.all(values == values[0]):
        values = values[:1]
    return f"{tensor.name} = constant<{tensor.dtype}>({shape}, value = {_literal(tuple(values.tolist()))});"


def _operation(operation: Operation, tensors: Any) -> str:
    signature = standard_signatures()[operation.name]
    arguments = [_operand(value) for value in operation.inputs.values()]
    arguments += [f"{name} = {_attribute(value)}" for name, value in operation.attributes.items()]
    dtype = f"<{tensors[operation.outputs[0]].dtype}>" if operation.name == "cast" else ""
    left = ", ".join(operation.outputs)
    if signature.results[0].type.kind == "array":
        left = f"[{left}]"
    return f"{left} = {operation.name}{dtype}({', '.join(arguments)});"


def _statements(graph: Graph) -> Iterator[str]:
    made = {name for operation in graph.operations for name in operation.outputs}
    for tensor in graph.tensors.values():
        if tensor.name not in made:
            yield _declaration(tensor, graph.inputs)
    for operation in graph.operations:
        yield _operation(operation, graph.tensors)


def format_graph(graph: Graph) -> str:
    """The graph as the text of graph.nnef, in flat form."""
    lines = ["version 1.0;", "", f"graph {graph.name}({', '.join(graph.inputs)}) -> ({', '.join(graph.outputs)})", "{"]
    lines += [f"    {statement}" for statement in _statements(graph)]
    return "\n".join([*lines, "}", ""])


def format_quantization(graph: Graph) -> str:
    """The tensors' quantization as the text of graph.quant; empty if there is none."""
    lines = []
    for tensor in graph.tensors.values():
        if tensor.quant is not None:
            parameters = ", ".join(f"{name} = {_literal(value)}" for name, value in tensor.quant.parameters.items())
            lines.append(f'"{tensor.name}": {tensor.quant.op}({parameters});\n')
    return "".join(lines)


def write_model(graph: Graph, folder: Path | str) -> None:
    """Write graph.nnef, graph.quant (where the graph is quantized) and a tensor file per variable.

    Each file appears whole or not at all, graph.nnef last.

    Raises:
        DataModelError: a variable has no data, a label leads out of the folder, or the folder cannot be written.
    """
    folder = Path(folder)
    for tensor in graph.tensors.values():
        if tensor.label is None:
            continue
        place = Place(graph.source or str(folder))
        if tensor.data is None:
            raise DataModelError(f"variable {tensor.name!r} has no data to write", place)
        integers = tensor.data.dtype.kind in "iu" and tensor.dtype == "scalar"
        bits = tensor.quant.parameters["bits"] if integers and tensor.quant is not None else None
        write_tensor(path_inside(folder, tensor.label, ".dat", place), tensor.data, quantized=integers, bits=bits)
    quantization = format_quantization(graph)
    if quantization:
        write_atomically(folder / "graph.quant", quantization.encode())
    write_atomically(folder / "graph.nnef", format_graph(graph).encode())
