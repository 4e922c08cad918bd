"""Checks of a quantized graph, made after every quantization: what must hold whatever the passes before did."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.hw.numerics import INT8_HIGH, INT8_LOW, MAX_SHIFT
from systola.mapper.quantgraph import (
    Concat,
    Conv,
    Elementwise,
    Host,
    Im2col,
    Multiply,
    Node,
    Pad,
    Pool,
    Product,
    QuantGraph,
    QuantTensor,
    Reshape,
    Slice,
    Table,
    Transpose,
    Upsample,
)

__all__ = ["verify_quantgraph"]

Shape = tuple[int, ...]


def verify_quantgraph(graph: QuantGraph) -> None:
    """Raises QuantizationError (a defect of the quantizer, not of the model) if a node or tensor breaks a rule."""
    for tensor in graph.tensors.values():
        _guard(f"tensor '{tensor.name}'", _tensor_problem, tensor)
    known = {*graph.inputs, *(t.name for t in graph.tensors.values() if t.data is not None)}
    names: set[str] = set()
    for node in graph.nodes:
        _guard(f"node '{node.name}'", _node_problem, graph, node, known)
        if node.name in names or any(output in known for output in node.outputs):
            raise QuantizationError(f"internal: node '{node.name}' or its result is there twice")
        names.add(node.name)
        known.update(node.outputs)
    missing = [name for name in graph.outputs if name not in known]
    if missing:
        raise QuantizationError(f"internal: output '{missing[0]}' is not computed")


def _guard(what: str, check: Callable[..., str], *args: Any) -> None:
    problem = check(*args)
    if problem:
        raise QuantizationError(f"internal: {what}: {problem}")


def _tensor_problem(tensor: QuantTensor) -> str:
    if tensor.data is not None and (tensor.data.dtype != np.int8 or tensor.data.shape != tensor.shape):
        return f"its data is {tensor.data.dtype} {list(tensor.data.shape)}, not int8 {list(tensor.shape)}"
    if not tensor.is_float and not (tensor.scale > 0 and np.isfinite(tensor.scale)):
        return f"its scale is {tensor.scale}"
    return "" if INT8_LOW <= tensor.zero_point <= INT8_HIGH else f"its zero point is {tensor.zero_point}"


def _node_problem(graph: QuantGraph, node: Node, known: set[str]) -> str:
    for name in (*node.inputs, *node.outputs):
        if name not in graph.tensors:
            return f"tensor '{name}' does not exist"
        if graph.tensors[name].is_float and not isinstance(node, Host):
            return f"tensor '{name}' is float, and the node is not the host's"
    unmade = [name for name in node.inputs if name not in known]
    if unmade:
        return f"'{unmade[0]}' is used before it is made"
    limit = (1 << graph.multiplier_bits) - 1
    check = _RANGES.get(type(node))
    problem = check(node, limit) if check else ""
    if not problem and isinstance(node, Product) and graph.tensors[node.inputs[1]].zero_point:
        problem = "its second operand's zero point is not 0"
    if problem or isinstance(node, Host):
        return problem
    expected = _SHAPES[type(node)](node, [graph.tensors[name].shape for name in node.inputs])
    shape = graph.tensors[node.output].shape
    return "" if expected == shape else f"its result has shape {list(shape)}, not {list(expected)}"


# --- numbers ---------------------------------------------------------------------------------------------------------------


def _stage_a(node: Any, limit: int) -> str:
    multiplier, shift = np.asarray(node.multiplier), np.asarray(node.shift)
    if np.any(multiplier < 0) or np.any(multiplier > limit):
        return f"a multiplier lies outside 0 … {limit}"
    if np.any(shift < 0) or np.any(shift > MAX_SHIFT):
        return f"a shift lies outside 0 … {MAX_SHIFT}"
    return _codes(node, "zero_out", "low", "high") or _empty_clamp(node)


def _stage_b(node: Elementwise, limit: int) -> str:
    if max(map(abs, (node.multiplier_positive, node.multiplier_negative, node.multiplier_operand))) > limit:
        return f"a multiplier's magnitude is over {limit}"
    if not 0 <= node.shift <= MAX_SHIFT:
        return f"its shift {node.shift} lies outside 0 … {MAX_SHIFT}"
    if len(node.inputs) == 1 and node.multiplier_operand:
        return "it has a multiplier for an operand that it does not have"
    return _codes(node, "zero_a", "zero_operand", "zero_out", "low", "high") or _empty_clamp(node)


def _empty_clamp(node: Any) -> str:
    return "its clamp is empty" if node.low > node.high else ""


def _codes(node: Any, *names: str) -> str:
    outside = [name for name in names if not INT8_LOW <= getattr(node, name) <= INT8_HIGH]
    return f"{outside[0]} is no int8 code" if outside else ""


def _typed(array: NDArray[Any], dtype: type, shape: Shape, name: str) -> str:
    return "" if array.dtype == dtype and array.shape == shape else f"its {name} are {array.dtype} {list(array.shape)}"


def _conv_numbers(node: Conv, limit: int) -> str:
    outputs = node.weights.shape[:1]
    return (
        _typed(node.weights, np.int8, node.weights.shape, "weights")
        or _typed(node.bias, np.int32, outputs, "biases")
        or _typed(node.multiplier, np.int32, outputs, "multipliers")
        or _typed(node.shift, np.int32, outputs, "shifts")
        or _codes(node, "zero_in")
        or ("its padding is negative" if min(map(min, node.padding)) < 0 else "")
        or _stage_a(node, limit)
    )


_RANGES: dict[type[Node], Callable[[Any, int], str]] = {
    Conv: _conv_numbers,
    Elementwise: _stage_b,
    Product: lambda node, limit: _codes(node, "zero_a") or _stage_a(node, limit),
    Multiply: lambda node, limit: _codes(node, "zero_a", "zero_b") or _stage_a(node, limit),
    Pool: lambda node, limit: _codes(node, "pad_code", "zero_in") or _stage_a(node, limit),
    Table: lambda node, _limit: _typed(node.table, np.int8, (256,), "table entries"),
    Pad: lambda node, _limit: _codes(node, "code"),
    Im2col: lambda node, _limit: _codes(node, "pad_code"),
}


# --- shapes ----------------------------------------------------------------------------------------------------------------


def _extent(size: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int]) -> int:
    return (size + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1


def _window(node: Any, kernel: Shape, spatial: Shape) -> Shape:
    """Extents of a sliding window's result; a single dimension is x, none is a row of pixels."""
    axes = (0, 1)[2 - len(spatial) :]
    return tuple(
        _extent(size, kernel[i], node.stride[i], node.dilation[i], node.padding[i]) for i, size in zip(axes, spatial, strict=True)
    )


def _conv_shape(node: Conv, shapes: list[Shape]) -> Shape:
    (shape,) = shapes
    outputs, per_group, *kernel = node.weights.shape
    if per_group * node.groups != shape[1] or outputs % node.groups:
        return ()
    return (shape[0], outputs, *_window(node, tuple(kernel), shape[2:]))


def _binary_shape(node: Node, shapes: list[Shape]) -> Shape:  # noqa: ARG001
    a, *others = shapes
    fit = all(len(b) == len(a) and all(y in (1, x) for x, y in zip(a, b, strict=True)) for b in others)
    return a if fit else ()


def _product_shape(node: Product, shapes: list[Shape]) -> Shape:
    a, b = shapes
    if len(a) != 2 or len(b) != 3 or b[0] != node.groups or a[1] != b[0] * b[1]:
        return ()
    return (a[0], b[0] * b[2])


def _concat_shape(node: Concat, shapes: list[Shape]) -> Shape:
    first, axis = shapes[0], node.axis
    if any((*s[:axis], *s[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for s in shapes):
        return ()
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def _slice_shape(node: Slice, shapes: list[Shape]) -> Shape:
    inside = all(0 <= b < e <= x and s > 0 for b, e, s, x in zip(node.begin, node.end, node.stride, shapes[0], strict=True))
    return tuple(-(-(e - b) // s) for b, e, s in zip(node.begin, node.end, node.stride, strict=True)) if inside else ()


def _upsample_shape(node: Upsample, shapes: list[Shape]) -> Shape:
    shape = shapes[0]
    factors = node.factor if len(shape) == 4 else node.factor[1:]
    return (*shape[:2], *(x * f for x, f in zip(shape[2:], factors, strict=True)))


def _im2col_shape(node: Im2col, shapes: list[Shape]) -> Shape:
    shape = shapes[0]
    return (shape[0], prod(node.kernel) * shape[1], *_window(node, node.kernel, shape[2:]))


_SHAPES: dict[type[Node], Callable[[Any, list[Shape]], Shape]] = {
    Conv: _conv_shape,
    Product: _product_shape,
    Elementwise: _binary_shape,
    Multiply: _binary_shape,
    Pool: lambda node, s: (*s[0][:2], *_window(node, node.size, s[0][2:])),
    Table: lambda _node, s: s[0],
    Concat: _concat_shape,
    Reshape: lambda node, s: node.shape if prod(node.shape) == prod(s[0]) else (),
    Transpose: lambda node, s: tuple(s[0][axis] for axis in node.axes) if sorted(node.axes) == list(range(len(s[0]))) else (),
    Slice: _slice_shape,
    Pad: lambda node, s: tuple(x + front + back for x, (front, back) in zip(s[0], node.padding, strict=True)),
    Upsample: _upsample_shape,
    Im2col: _im2col_shape,
}
