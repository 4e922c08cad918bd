"""The quantized graph in the making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.hw.numerics import quantize_factor, quantize_factors
from systola.mapper.graph import Operation
from systola.mapper.quantgraph import Elementwise, Host, Node, QuantGraph, QuantTensor, Reshape
from systola.mapper.quantize.constants import is_constant, real_value
from systola.mapper.quantize.graphs import Index, activation_inputs, operands, scalar_constant
from systola.mapper.quantize.grids import Grids
from systola.mapper.quantize.parameters import ActivationParameters, from_entry, from_range
from systola.mapper.quantize.plan import Plan
from systola.mapper.quantize.rescaling import pair_factors

__all__ = ["Builder", "Target", "clamp_codes"]


@dataclass(frozen=True)
class Target:
    """Where an operation's result goes, a merged activation included: codes are clamped to ``low`` … ``high``."""

    name: str
    grid: ActivationParameters
    low: int
    high: int
    source: str


def clamp_codes(index: Index, op: Operation, grid: ActivationParameters) -> tuple[int, int]:
    """The codes between which a relu or clamp (or neither) leaves values."""
    low, high = -inf, inf
    if op.name == "relu":
        low = 0.0
    elif op.name == "clamp":
        bounds = [scalar_constant(index.graph, op.inputs[side]) for side in "ab"]
        low, high = (-inf if bounds[0] is None else bounds[0]), (inf if bounds[1] is None else bounds[1])
    return grid.code(low), grid.code(high)


class Builder:
    """Collects nodes and tensors. ``index``, ``plan`` and ``grids`` are what the passes before found."""

    def __init__(self, index: Index, plan: Plan, grids: Grids, multiplier_bits: int) -> None:
        self.index, self.plan, self.grids, self.multiplier_bits = index, plan, grids, multiplier_bits
        self.graph = index.graph
        self.nodes: list[Node] = []
        self.tensors: dict[str, QuantTensor] = {}
        self.notes: list[str] = []
        for name in self.graph.inputs:
            self.add_tensor(name)

    # --- tensors -----------------------------------------------------------------------------------------------------

    def add_tensor(self, name: str, grid: ActivationParameters | None = None, shape: tuple[int, ...] | None = None) -> str:
        """Register a tensor: one of the model, or an intermediate one with its grid and shape."""
        if name in self.plan.floats:
            self.tensors[name] = QuantTensor(name, self.graph.tensors[name].shape, is_float=True)
            return name
        grid = grid or self.grids[name]
        shape = self.graph.tensors[name].shape if shape is None else shape
        self.tensors[name] = QuantTensor(name, shape, grid.scale, grid.zero_point, grid.unsigned)
        return name

    def grid(self, name: str) -> ActivationParameters:
        """The grid of a registered tensor."""
        tensor = self.tensors[name]
        return ActivationParameters(tensor.scale, tensor.zero_point)

    def fresh(self, stem: str) -> str:
        """A name that no tensor has."""
        name, number = stem, 1
        while name in self.tensors or name in self.graph.tensors:
            number += 1
            name = f"{stem}{number}"
        return name

    def constant(self, operand: Any, shape: tuple[int, ...], grid: ActivationParameters | None = None) -> str:
        """A constant as an int8 tensor of ``shape``: on ``grid``, or the model's own codes, or on a grid over its values."""
        tensor = self.graph.tensors[operand] if isinstance(operand, str) else None
        values = real_value(self.graph, operand)
        if grid is None and tensor is not None and tensor.quant is not None and tensor.quant.parameters["bits"] <= 8:
            grid = from_entry(tensor.quant, tensor.name)
        grid = grid or from_range(float(values.min()), float(values.max()))
        name = self.fresh(f"{operand}.codes" if tensor is not None else "literal")
        codes = grid.codes(values).reshape(shape)
        self.tensors[name] = QuantTensor(name, shape, grid.scale, grid.zero_point, False, codes)
        return name

    def target(self, op: Operation) -> Target:
        """The (first) result of an operation, after the activation merged into it; registers the tensor."""
        name, source, last = op.outputs[0], self.index.source(op), op
        if name in self.plan.merged:
            last = self.plan.merged[name]
            name, source = last.outputs[0], f"{source} + {self.index.source(last)}"
        self.add_tensor(name)
        grid = self.grids[name]
        return Target(name, grid, *clamp_codes(self.index, last, grid), source)

    # --- nodes -------------------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Append a node."""
        self.nodes.append(node)

    def factor(self, real: float, name: str) -> tuple[int, int]:
        """``numerics.quantize_factor`` with the tensor named in its error."""
        try:
            return quantize_factor(real, self.multiplier_bits)
        except QuantizationError as error:
            raise QuantizationError(f"the result '{name}' cannot be rescaled: {error}") from None

    def factors(self, real: tuple[float, ...], name: str) -> tuple[tuple[int, ...], int]:
        """``numerics.quantize_factors`` with the tensor named in its error."""
        try:
            return quantize_factors(real, self.multiplier_bits)
        except QuantizationError as error:
            raise QuantizationError(f"the result '{name}' cannot be rescaled: {error}") from None

    def pair(
        self, real: tuple[float, float], grids: tuple[ActivationParameters, ActivationParameters], name: str
    ) -> tuple[tuple[int, int], int]:
        """``rescaling.pair_factors`` with the tensor named in its error."""
        try:
            return pair_factors(real, grids, self.multiplier_bits)
        except QuantizationError as error:
            raise QuantizationError(f"the result '{name}' cannot be rescaled: {error}") from None

    def unary(self, source: str, target: Target, slopes: tuple[float, float] = (1.0, 1.0)) -> None:
        """Stage B on one tensor: different slopes for values at or above zero and below, then the target's clamp."""
        grid = self.grid(source)
        ratio = grid.scale / target.grid.scale
        (positive, negative), shift = self.factors((ratio * slopes[0], ratio * slopes[1]), target.name)
        self.add(
            Elementwise(
                target.name, (source,), (target.name,), target.source, zero_a=grid.zero_point, multiplier_positive=positive,
                multiplier_negative=negative, zero_operand=0, multiplier_operand=0, shift=shift,
                zero_out=target.grid.zero_point, low=target.low, high=target.high,
            )
        )  # fmt: skip

    def on_grid(self, name: str, grid: ActivationParameters, source: str) -> str:
        """``name`` itself if it is on ``grid``, else a rescaled copy."""
        if self.grid(name).same_grid(grid):
            return name
        copy = self.fresh(f"{name}.rescaled")
        self.add_tensor(copy, grid, self.tensors[name].shape)
        self.unary(name, Target(copy, grid, grid.low, grid.high, source))
        return copy

    def moved(self, source: str, result: str) -> str:
        """The name under which a node that moves codes writes its result: ``result``, or an intermediate tensor where the
        model gives the result another grid (``finish_moved`` then rescales)."""
        grid = self.grid(source)
        if self.grids[result].same_grid(grid):
            return self.add_tensor(result)
        return self.add_tensor(self.fresh(f"{result}.moved"), grid, self.graph.tensors[result].shape)

    def finish_moved(self, name: str, result: str, source: str) -> None:
        """Rescale what ``moved`` put aside."""
        if name != result:
            grid = self.grids[result]
            self.add_tensor(result)
            self.unary(name, Target(result, grid, grid.low, grid.high, source))

    def reshaped(self, name: str, shape: Sequence[int], source: str) -> str:
        """``name`` under another shape."""
        shape = tuple(shape)
        if self.tensors[name].shape == shape:
            return name
        result = self.add_tensor(self.fresh(f"{name}.reshaped"), self.grid(name), shape)
        self.add(Reshape(result, (name,), (result,), source, shape))
        return result

    def host(self, op: Operation, reason: str) -> None:
        """Give an operation to the host."""
        constants: dict[str, NDArray[Any]] = {}
        for operand in operands(op):
            if isinstance(operand, str) and is_constant(self.graph, operand):
                tensor = self.graph.tensors[operand]
                constants[operand] = real_value(self.graph, operand) if tensor.dtype == "scalar" else np.asarray(tensor.data)
        for name in op.outputs:
            self.add_tensor(name)
        inputs = tuple(dict.fromkeys(activation_inputs(self.graph, op)))
        self.add(Host(op.outputs[0], inputs, op.outputs, self.index.source(op), op, constants, reason))

    def finish(self) -> QuantGraph:
        """The quantized graph."""
        for name in self.graph.outputs:
            if name not in self.tensors:
                raise QuantizationError(f"output '{name}' is a constant; a network's outputs are computed from its inputs")
        return QuantGraph(
            self.graph.name, self.graph.inputs, self.graph.outputs, self.tensors, tuple(self.nodes), self.multiplier_bits,
            tuple(dict.fromkeys((*self.grids.notes, *self.notes))),
        )  # fmt: skip
