"""graph.quant: ``"tensor": operation(name = value, …);``, one line per quantized tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import SemanticModelError
from systola.mapper.graph import QuantEntry, Tensor
from systola.mapper.nnef import syntax
from systola.mapper.nnef.parse import parse_quantization
from systola.mapper.nnef.signature import standard_signatures, suggest

__all__ = ["QUANTIZE_OPERATIONS", "dequantize", "expand_parameter", "read_quantization"]

QUANTIZE_OPERATIONS: Final = (
    "zero_point_linear_quantize",
    "min_max_linear_quantize",
    "linear_quantize",
    "logarithmic_quantize",
)


def read_quantization(source: syntax.Source, tensors: Mapping[str, Tensor]) -> dict[str, QuantEntry]:
    """The entries of graph.quant by tensor.

    Raises:
        SyntaxModelError: the text has not the form of graph.quant.
        SemanticModelError: an entry is for no tensor of the graph, or its parameters do not fit.
    """
    entries: dict[str, QuantEntry] = {}
    for line in parse_quantization(source):
        name = line.tensor
        if name not in tensors:
            hint = suggest(name, list(tensors))
            raise source.error(SemanticModelError, f"the graph has no tensor {name[:64]!r}{hint}", line.pos)
        if name in entries:
            raise source.error(SemanticModelError, f"tensor {name!r} has two entries", line.pos)
        entries[name] = _entry(source, line, tensors[name].shape)
    return entries


def _entry(source: syntax.Source, line: syntax.QuantLine, shape: tuple[int, ...]) -> QuantEntry:
    call = line.call

    def fail(message: str, pos: int) -> Exception:
        return source.error(SemanticModelError, f"entry of {line.tensor!r}: {message}", pos)

    if call.name not in QUANTIZE_OPERATIONS:
        raise fail(f"{call.name!r} is no quantize operation; known: {', '.join(QUANTIZE_OPERATIONS)}", call.pos)
    wanted = {each.name: each for each in standard_signatures()[call.name].parameters if each.name != "x"}
    given: dict[str, Any] = {}
    for key, node in call.arguments:
        if key is None:
            raise fail("arguments in graph.quant must be named", node.pos)
        if key not in wanted or key in given:
            problem = "is given twice" if key in given else f"is no parameter of {call.name!r}"
            raise fail(f"{key!r} {problem}{suggest(key, list(wanted))}", node.pos)
        try:
            given[key] = _checked(key, wanted[key].type.name, _plain(node), shape)
        except ValueError as error:
            raise fail(str(error), node.pos) from None
    parameters = {}
    for key, parameter in wanted.items():
        if key not in given and parameter.required:
            raise fail(f"parameter {key!r} is missing", call.pos)
        parameters[key] = given.get(key, parameter.default)
    if "min" in parameters and np.any(np.asarray(parameters["min"]) >= np.asarray(parameters["max"])):
        raise fail("'min' must be below 'max'", call.pos)
    return QuantEntry(call.name, parameters, source.place(line.pos))


def _plain(node: Any) -> Any:
    """The value of a literal; arrays become tuples."""
    if isinstance(node, syntax.Literal):
        return _tuples(node.value)
    if isinstance(node, syntax.Array):
        return tuple(_plain(each) for each in node.items)
    raise ValueError("a literal value is expected")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _checked(key: str, kind: str, value: Any, shape: tuple[int, ...]) -> Any:
    """A parameter's value, after checks of type, range and shape.

    Raises:
        ValueError: it does not fit.
    """
    if key in ("signed", "symmetric"):
        if not isinstance(value, bool):
            raise ValueError(f"{key!r} must be true or false")
        return value
    if key == "bits":
        if type(value) is not int or not 1 <= value <= 64:
            raise ValueError("'bits' must be an integer from 1 to 64")
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"the rows of {key!r} are not equally long") from None
    if array.dtype.kind not in ("i" if kind == "integer" else "if"):
        raise ValueError(f"{key!r} must be {'an integer' if kind == 'integer' else 'a number'} or an array of them")
    if key == "scale" and not np.all(array > 0):
        raise ValueError("'scale' must be positive")
    expand_parameter(value, shape)
    return value if kind == "integer" else _floats(value)


def _floats(value: Any) -> Any:
    return tuple(map(_floats, value)) if isinstance(value, tuple) else float(value)


def expand_parameter(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A quantization parameter as an array that NumPy broadcasts against a tensor of ``shape``.

    NNEF aligns leading dimensions. A list of C values for a tensor of shape [1, C] (which converters write for biases)
    means one per channel.

    Raises:
        ValueError: the parameter does not broadcast to the shape.
    """
    array = np.asarray(value)
    if array.ndim == 1 and len(shape) == 2 and shape[0] == 1 and array.shape[0] == shape[1]:
        array = array[None, :]
    padded = array.shape + (1,) * (len(shape) - array.ndim)
    if array.ndim > len(shape) or any(x not in (1, y) for x, y in zip(padded, shape, strict=True)):
        raise ValueError(f"a parameter of shape {list(array.shape)} does not broadcast to the tensor's {list(shape)}")
    return array.reshape(padded)


def dequantize(data: NDArray[Any], entry: QuantEntry) -> NDArray[np.float64]:
    """The real values of stored integers: the second half of the entry's quantize operation.

    Raises:
        ValueError: a parameter does not broadcast to the data.
    """
    p = entry.parameters
    values = data.astype(np.float64)
    if entry.op == "zero_point_linear_quantize":
        zero_point, scale = (expand_parameter(p[key], data.shape) for key in ("zero_point", "scale"))
        return np.asarray((values - zero_point) * scale)
    high = expand_parameter(p["max"], data.shape)
    if entry.op == "logarithmic_quantize":
        top, steps = np.ceil(np.log2(high)), 2.0 ** p["bits"] - 1
        return np.asarray(np.exp2(values + (top - steps)))
    low = expand_parameter(p["min"], data.shape)
    signed, symmetric = p.get("signed", False), p.get("symmetric", False)
    steps = math.ldexp(1.0, p["bits"]) - 1 - (signed and symmetric)
    offset = math.ldexp(1.0, p["bits"] - 1) - symmetric if signed else 0.0
    return np.asarray((values + offset) / steps * (high - low) + low)
