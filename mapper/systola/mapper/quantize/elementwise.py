"""Elementwise operations: stage B for sums and piecewise linear functions, tables for other functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from systola.mapper.graph import Operation
from systola.mapper.quantgraph import Elementwise, Multiply, Table
from systola.mapper.quantize.affine import affine_of
from systola.mapper.quantize.builder import Builder, Target
from systola.mapper.quantize.constants import is_constant, real_value
from systola.mapper.quantize.convolutions import build_affine
from systola.mapper.quantize.graphs import Index, activation_inputs, operands, scalar_constant
from systola.mapper.quantize.plan import is_clamp
from systola.mapper.quantize.rules import Rule
from systola.mapper.reference_ops import FUNCTIONS

__all__ = ["ELEMENTWISE"]

_TABLE_OPERATIONS = (
    "sigmoid", "tanh", "softplus", "softabs", "elu", "selu", "gelu", "silu", "exp", "log", "log2", "sqr", "sqrt", "rsqr",
    "rsqrt", "rcp", "sign", "floor", "ceil", "round", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "acosh", "atanh", "pow", "min", "max",
)  # fmt: skip


# --- one tensor and numbers ----------------------------------------------------------------------------------------------


def _is_unary(index: Index, op: Operation) -> bool:
    """A function of one tensor: every other operand is a number."""
    others = [x for x in operands(op) if scalar_constant(index.graph, x) is None]
    return len(others) == 1 and not is_constant(index.graph, others[0])


def _unary_reason(index: Index, op: Operation) -> str:
    return "" if _is_unary(index, op) else "its operands are not one tensor and numbers"


def _build_table(b: Builder, op: Operation) -> None:
    """The float function of each of the 256 codes, rounded half to even and clamped."""
    (source,) = activation_inputs(b.graph, op)
    target = b.target(op)
    values = b.grid(source).values(np.arange(-128, 128))
    given = {
        key: values if value == source else np.float64(scalar_constant(b.graph, value) or 0.0) for key, value in op.inputs.items()
    }
    with np.errstate(all="ignore"):  # log(0) and 1/0 are infinite: they become the last code
        (result,) = FUNCTIONS[op.name](given, dict(op.attributes), [values.shape])
    codes = np.clip(target.grid.codes(np.asarray(result, np.float64)), target.low, target.high).astype(np.int8)
    b.add(Table(target.name, (source,), (target.name,), target.source, codes))


def _clamp_reason(index: Index, op: Operation) -> str:
    return "" if is_clamp(index, op) and not is_constant(index.graph, op.inputs["x"]) else "its bounds are no numbers"


def _piecewise(slopes: Callable[[Builder, Operation], tuple[float, float]]) -> Callable[[Builder, Operation], None]:
    """A function with one slope above zero and one below."""

    def build(b: Builder, op: Operation) -> None:
        b.unary(activation_inputs(b.graph, op)[0], b.target(op), slopes(b, op))

    return build


def _prelu_slopes(b: Builder, op: Operation) -> tuple[float, float]:
    return 1.0, scalar_constant(b.graph, op.inputs["alpha"]) or 0.0


# --- two tensors ---------------------------------------------------------------------------------------------------------


def _binary_reason(index: Index, op: Operation) -> str:
    graph = index.graph
    x, y = op.inputs["x"], op.inputs["y"]
    rank = len(graph.tensors[op.outputs[0]].shape)
    if affine_of(graph, op) is not None:
        return "" if rank <= 4 else f"it has {rank} dimensions"
    if _is_unary(index, op):
        return ""
    if op.name == "div":
        return "it divides by a tensor"
    shape = graph.tensors[op.outputs[0]].shape
    if not any(isinstance(z, str) and graph.tensors[z].data is None and graph.tensors[z].shape == shape for z in (x, y)):
        return "both operands are broadcast"
    return ""


def _build_binary(b: Builder, op: Operation) -> None:
    affine = affine_of(b.graph, op)
    if _is_unary(b.index, op):
        _build_table(b, op)
    elif affine is not None:
        build_affine(b, op, affine)
    else:
        _build_two(b, op)


def _build_two(b: Builder, op: Operation) -> None:
    """Stage B or a product on two tensors; the first is the one that has the result's shape."""
    signs = {"x": 1.0, "y": -1.0 if op.name == "sub" else 1.0}
    target, shape = b.target(op), b.graph.tensors[op.outputs[0]].shape
    first = "x" if _fills(b, op.inputs["x"], shape) else "y"
    second = "y" if first == "x" else "x"
    a = op.inputs[first]
    other = _second_operand(b, op.inputs[second], len(shape), target.source)
    if op.name == "mul":
        _add_product(b, a, other, target)
    else:
        _add_sum(b, (a, signs[first]), (other, signs[second]), target)


def _fills(b: Builder, operand: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(operand, str) and not is_constant(b.graph, operand) and b.tensors[operand].shape == shape


def _second_operand(b: Builder, operand: Any, rank: int, source: str) -> str:
    """The operand as an int8 tensor of equal rank: NNEF aligns leading dimensions, so ones are appended."""
    if is_constant(b.graph, operand):
        shape = real_value(b.graph, operand).shape
        return b.constant(operand, shape + (1,) * (rank - len(shape)))
    name = str(operand)
    shape = b.tensors[name].shape
    return b.reshaped(name, shape + (1,) * (rank - len(shape)), source)


def _add_sum(b: Builder, first: tuple[str, float], second: tuple[str, float], target: Target) -> None:
    (a, sign_a), (c, sign_c) = first, second
    grid_a, grid_c, scale = b.grid(a), b.grid(c), target.grid.scale
    factors = sign_a * grid_a.scale / scale, sign_c * grid_c.scale / scale
    (factor_a, factor_c), shift = b.pair(factors, (grid_a, grid_c), target.name)
    b.add(
        Elementwise(
            target.name, (a, c), (target.name,), target.source, zero_a=grid_a.zero_point, multiplier_positive=factor_a,
            multiplier_negative=factor_a, zero_operand=grid_c.zero_point, multiplier_operand=factor_c, shift=shift,
            zero_out=target.grid.zero_point, low=target.low, high=target.high,
        )
    )  # fmt: skip


def _add_product(b: Builder, a: str, c: str, target: Target) -> None:
    grid_a, grid_c = b.grid(a), b.grid(c)
    multiplier, shift = b.factor(grid_a.scale * grid_c.scale / target.grid.scale, target.name)
    b.add(
        Multiply(
            target.name, (a, c), (target.name,), target.source, zero_a=grid_a.zero_point, zero_b=grid_c.zero_point,
            multiplier=multiplier, shift=shift, zero_out=target.grid.zero_point, low=target.low, high=target.high,
        )
    )  # fmt: skip


_BINARY = Rule(_build_binary, _binary_reason, clamps=True)

ELEMENTWISE: dict[str, Rule] = {
    **dict.fromkeys(("add", "sub", "mul", "div"), _BINARY),
    **dict.fromkeys(_TABLE_OPERATIONS, Rule(_build_table, _unary_reason, clamps=True)),
    "relu": Rule(_piecewise(lambda _b, _op: (1.0, 1.0))),
    "clamp": Rule(_piecewise(lambda _b, _op: (1.0, 1.0)), _clamp_reason),
    "leaky_relu": Rule(_piecewise(lambda _b, op: (1.0, float(op.attributes["alpha"]))), clamps=True),
    "prelu": Rule(_piecewise(_prelu_slopes), _unary_reason, clamps=True),
    "abs": Rule(_piecewise(lambda _b, _op: (1.0, -1.0)), clamps=True),
    "neg": Rule(_piecewise(lambda _b, _op: (-1.0, -1.0)), clamps=True),
}
