"""Questions about a Graph that several passes ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from systola.mapper.graph import Graph, Operation
from systola.mapper.quantize.constants import is_constant, real_value

__all__ = ["Index", "activation_inputs", "operands", "scalar_constant"]


def operands(operation: Operation) -> tuple[Any, ...]:
    """Every operand, those inside arrays too: tensor names and literals."""
    flat: list[Any] = []
    for value in operation.inputs.values():
        flat.extend(value if isinstance(value, tuple) else (value,))
    return tuple(flat)


def activation_inputs(graph: Graph, operation: Operation) -> tuple[str, ...]:
    """The operands that are no constants, in order, repeated ones as often as they occur."""
    return tuple(x for x in operands(operation) if isinstance(x, str) and graph.tensors[x].data is None)


def scalar_constant(graph: Graph, operand: Any) -> float | None:
    """The value of a constant operand with one element; None for any other operand."""
    if not is_constant(graph, operand):
        return None
    value = real_value(graph, operand)
    return float(value.reshape(-1)[0]) if value.size == 1 else None


@dataclass(frozen=True, eq=False)
class Index:
    """A graph with its producers and consumers looked up once. ``sources``: how a rewritten operation is named in reports."""

    graph: Graph
    sources: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def producer(self) -> dict[str, Operation]:
        """The operation that makes each tensor."""
        return {name: operation for operation in self.graph.operations for name in operation.outputs}

    @cached_property
    def consumers(self) -> dict[str, tuple[Operation, ...]]:
        """The operations that read each tensor, each once."""
        found: dict[str, list[Operation]] = {}
        for operation in self.graph.operations:
            for name in dict.fromkeys(x for x in operands(operation) if isinstance(x, str)):
                found.setdefault(name, []).append(operation)
        return {name: tuple(each) for name, each in found.items()}

    def only_consumer(self, name: str) -> Operation | None:
        """The one operation that reads a tensor which is no output of the graph; None if there are none or more."""
        users = self.consumers.get(name, ())
        return users[0] if len(users) == 1 and name not in self.graph.outputs else None

    def source(self, operation: Operation) -> str:
        """The operation as the user knows it."""
        return self.sources.get(operation.outputs[0], f"{operation.name} {operation.outputs[0]}")
