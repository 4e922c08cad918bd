"""Which grid (scale and zero point) every activation tensor has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.mapper.graph import Operation
from systola.mapper.quantize.graphs import Index, activation_inputs
from systola.mapper.quantize.parameters import ActivationParameters, from_entry, from_range
from systola.mapper.quantize.plan import Plan
from systola.mapper.quantize.rules import Rule

__all__ = ["Grids", "Ranges"]

_FIXED = {
    "softmax": ActivationParameters(1 / 256, -128),
    "sigmoid": ActivationParameters(1 / 256, -128),
    "tanh": ActivationParameters(1 / 128, 0),
}
"""Ranges known without measuring; the convention of 8-bit networks."""

_AROUND_ZERO = ActivationParameters(1 / 127, 0)
"""The same where the array reads the result as weights."""


class Ranges(Protocol):
    """Measured ranges of real values."""

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest value to represent."""

    def channel_means(self, name: str) -> NDArray[np.float64] | None:
        """The mean of each channel (dimension 1); None where there are no channels."""


class Grids:
    """Grids by tensor name, found on demand: an entry of graph.quant; else the grid of the input for operations that only
    move codes; else measured; else, in a quantized graph without samples, the grid of a neighbour that has to be equal."""

    def __init__(self, index: Index, plan: Plan, rules: Mapping[str, Rule], ranges: Ranges | None) -> None:
        self._index, self._plan, self._rules, self._ranges = index, plan, rules, ranges
        self._found: dict[str, ActivationParameters] = {}
        self._open: set[str] = set()
        self.notes: list[str] = []

    def __getitem__(self, name: str) -> ActivationParameters:
        """The grid of an activation tensor. Raises QuantizationError where nothing determines it."""
        if name not in self._found:
            if name in self._open:
                raise self._unknown(name)
            self._open.add(name)
            self._found[name] = self._find(name)
            self._open.discard(name)
        return self._found[name]

    def channel_means(self, name: str) -> NDArray[np.float64] | None:
        """Measured means per channel of a tensor of the model; None if there are none."""
        if self._ranges is None or name not in self._index.graph.tensors:
            return None
        return self._ranges.channel_means(name)

    def _find(self, name: str) -> ActivationParameters:
        entry = self._index.graph.tensors[name].quant
        if entry is not None:
            return from_entry(entry, name)
        op = self._index.producer.get(name)
        if op is not None and op.name in _FIXED:
            return _AROUND_ZERO if self._is_second_operand(name) else _FIXED[op.name]
        if op is not None and op.outputs[0] not in self._plan.host and self._rules[op.name].keeps_codes:
            return self._moved(name, op)
        if self._ranges is not None:
            joined = self._joined_into(name, op)
            return self[joined] if joined else self._measured(name, self._ranges)
        return self._neighbour(name, op)

    def _measured(self, name: str, ranges: Ranges) -> ActivationParameters:
        """Over the values seen; around zero for what the array reads as weights."""
        low, high = ranges.range_of(name)
        if not self._is_second_operand(name):
            return from_range(low, high)
        reach = max(-low, high)
        return ActivationParameters(from_range(0.0, reach * 255 / 127).scale, 0)

    def _is_second_operand(self, name: str) -> bool:
        """Its codes, perhaps moved, are the second operand of a product."""
        for op in self._index.consumers.get(name, ()):
            if op.name == "matmul" and op.inputs["B"] == name and op.outputs[0] not in self._plan.host:
                return True
            moves = op.name in self._rules and self._rules[op.name].keeps_codes and op.outputs[0] not in self._plan.host
            if moves and any(self._is_second_operand(result) for result in op.outputs):
                return True
        return False

    def _moved(self, name: str, op: Operation) -> ActivationParameters:
        inputs = activation_inputs(self._index.graph, op)
        if len(inputs) == 1:
            return self[inputs[0]]
        if self._ranges is not None:
            return from_range(*self._ranges.range_of(name))
        return max((self[x] for x in inputs), key=lambda grid: grid.scale)

    def _joined_into(self, name: str, op: Operation | None) -> str | None:
        """The concatenation that is a tensor's only reader: its producer may as well round onto that grid at once."""
        user = self._index.only_consumer(name)
        if op is None or user is None or user.name not in ("concat", "stack") or user.outputs[0] in self._plan.host:
            return None
        return user.outputs[0]

    def _neighbour(self, name: str, op: Operation | None) -> ActivationParameters:
        """In a quantized graph: a relu has its input's grid, and a tensor that is only moved has the result's."""
        graph = self._index.graph
        user = self._index.only_consumer(name)
        if user is not None and graph.tensors[user.outputs[0]].quant is not None and self._moves(user):
            self.notes.append(f"'{name}' has no entry in graph.quant: the scale of '{user.outputs[0]}' was taken")
            return self[user.outputs[0]]
        if op is not None and op.name in ("relu", "clamp"):
            self.notes.append(f"'{name}' has no entry in graph.quant: the scale of its input was taken")
            return self[activation_inputs(graph, op)[0]]
        raise self._unknown(name)

    def _moves(self, op: Operation) -> bool:
        """The result holds input codes, perhaps clamped."""
        on_host = op.outputs[0] in self._plan.host
        return not on_host and (op.name in ("relu", "clamp") or self._rules[op.name].keeps_codes)

    def _unknown(self, name: str) -> QuantizationError:
        return QuantizationError(
            f"tensor '{name}' has no entry in graph.quant and nothing else fixes its scale; add an entry, or give samples "
            "to calibrate it"
        )
