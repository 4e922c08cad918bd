"""Matrix products of two computed tensors, as Product nodes."""

from __future__ import annotations

from math import prod

from systola.hw.numerics import INT8_HIGH, INT8_LOW
from systola.mapper.graph import Operation
from systola.mapper.quantgraph import Product, Transpose
from systola.mapper.quantize.builder import Builder, Target
from systola.mapper.quantize.graphs import Index
from systola.mapper.quantize.layouts import LAYOUTS
from systola.mapper.quantize.parameters import ActivationParameters, from_entry

__all__ = ["build_product", "product_reason"]

MAX_DEPTH = 1 << 15
"""Products whose sum fits 32 bits whatever the codes and the zero point are."""


def product_reason(index: Index, op: Operation) -> str:
    """Why the array cannot multiply the two computed operands of a matmul; empty if it can."""
    one, other = (index.graph.tensors[op.inputs[side]].shape for side in "AB")
    if one[:-2] != other[:-2]:
        return "its operands have different numbers of matrices"
    depth = one[-2] if op.attributes["transposeA"] else one[-1]
    if depth > MAX_DEPTH:
        return f"its sums have {depth} products; {MAX_DEPTH} are sure to fit 32 bits"
    entry = _entry(index, op.inputs["B"])
    if entry is not None and entry.zero_point:
        return f"the zero point of its second operand is {entry.zero_point}, not 0"
    return ""


def _entry(index: Index, name: str) -> ActivationParameters | None:
    """The grid that graph.quant gives a tensor, or what its codes are moved from; None if it gives none."""
    quant, op = index.graph.tensors[name].quant, index.producer.get(name)
    if quant is not None:
        return from_entry(quant, name)
    moved = op is not None and op.name in LAYOUTS and isinstance(op.inputs.get("input"), str)
    return _entry(index, op.inputs["input"]) if op is not None and moved else None


def build_product(b: Builder, op: Operation) -> None:
    """A · B: the matrices of leading dimensions side by side, so that rows of A are pixels with all channels."""
    name, target = b.index.source(op), b.target(op)
    shape = b.tensors[op.inputs["A"]].shape
    batch, rank = shape[:-2], len(shape)
    m, k = (rank - 1, rank - 2) if op.attributes["transposeA"] else (rank - 2, rank - 1)
    left = _turned(b, op.inputs["A"], (m, *range(rank - 2), k), name)
    left = b.reshaped(left, (shape[m], prod(batch) * shape[k]), name)
    right = _symmetric(b, op.inputs["B"], name)
    if op.attributes["transposeB"]:
        right = _turned(b, right, (*range(rank - 2), rank - 1, rank - 2), name)
    columns = b.tensors[right].shape[-1]
    right = b.reshaped(right, (prod(batch), shape[k], columns), name)
    wide = (shape[m], prod(batch) * columns)
    final = target if wide == b.tensors[target.name].shape else _intermediate(b, target, wide, name)
    one, other = b.grid(left), b.grid(right)
    multiplier, shift = b.factor(one.scale * other.scale / target.grid.scale, target.name)
    b.add(
        Product(
            final.name, (left, right), (final.name,), target.source, groups=prod(batch), zero_a=one.zero_point,
            multiplier=multiplier, shift=shift, zero_out=target.grid.zero_point, low=target.low, high=target.high,
        )
    )  # fmt: skip
    if final is not target:
        split = b.reshaped(final.name, (shape[m], *batch, columns), name)
        b.add(Transpose(target.name, (split,), (target.name,), name, (*range(1, rank - 1), 0, rank - 1)))


def _intermediate(b: Builder, target: Target, shape: tuple[int, ...], source: str) -> Target:
    """A tensor on the target's grid, before its codes are moved to where the model has them."""
    name = b.add_tensor(b.fresh(f"{target.name}.wide"), target.grid, shape)
    return Target(name, target.grid, target.low, target.high, source)


def _turned(b: Builder, name: str, axes: tuple[int, ...], source: str) -> str:
    """``name`` with its axes permuted."""
    if axes == tuple(range(len(axes))):
        return name
    shape = b.tensors[name].shape
    result = b.add_tensor(b.fresh(f"{name}.transposed"), b.grid(name), tuple(shape[axis] for axis in axes))
    b.add(Transpose(result, (name,), (result,), source, axes))
    return result


def _symmetric(b: Builder, name: str, source: str) -> str:
    """``name``, rescaled where its zero point is not 0 (a grid that is fixed by what makes it)."""
    grid = b.grid(name)
    if not grid.zero_point:
        return name
    reach = max(grid.zero_point - INT8_LOW, INT8_HIGH - grid.zero_point)
    return b.on_grid(name, ActivationParameters(grid.scale * reach / INT8_HIGH, 0), source)
