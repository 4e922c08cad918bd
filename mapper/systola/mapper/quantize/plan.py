"""Decisions before any node is made: what the host computes, what stays float, which activations merge into their producer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from systola.hw.errors import QuantizationError
from systola.mapper.graph import Operation
from systola.mapper.quantize.graphs import Index, activation_inputs, scalar_constant
from systola.mapper.quantize.parameters import from_entry
from systola.mapper.quantize.rules import Rule
from systola.mapper.reference_ops import FUNCTIONS

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """``host``: reason per operation (by its first output). ``floats``: tensors that stay float. ``merged``: by the name of a
    tensor that is never quantized itself, the relu or clamp that its producer applies."""

    host: Mapping[str, str]
    floats: frozenset[str]
    merged: Mapping[str, Operation]


def make_plan(index: Index, rules: Mapping[str, Rule]) -> Plan:
    """Decide for every operation. Raises QuantizationError for an operation without a definition."""
    host = {op.outputs[0]: reason for op in index.graph.operations if (reason := _host_reason(index, op, rules))}
    floats = _float_tensors(index, rules, host)
    for op in index.graph.operations:
        if op.outputs[0] not in host and any(name in floats for name in (*activation_inputs(index.graph, op), *op.outputs)):
            host[op.outputs[0]] = "it moves values that stay in float"
    return Plan(host, floats, _merged(index, rules, host))


def _host_reason(index: Index, op: Operation, rules: Mapping[str, Rule]) -> str:
    if op.name not in FUNCTIONS:
        raise QuantizationError(f"{op.place}: operation '{op.name}' has no evaluation; remove it from the network")
    names = (*activation_inputs(index.graph, op), *op.outputs)
    if any(index.graph.tensors[name].dtype != "scalar" for name in names):
        return "it works on integers or logical values"
    if op.name not in rules:
        return f"'{op.name}' is computed in float"
    return rules[op.name].host_reason(index, op)


def _float_tensors(index: Index, rules: Mapping[str, Rule], host: Mapping[str, str]) -> frozenset[str]:
    """Tensors that no quantized operation touches: made by the host and read by the host (or an output), or of another type."""

    def movable(op: Operation) -> bool:
        return op.outputs[0] in host or (op.name in rules and rules[op.name].keeps_codes)

    tensors = index.graph.tensors
    fixed = {t.name for t in tensors.values() if t.dtype != "scalar" and t.data is None}
    candidates = {
        name for op in index.graph.operations if movable(op) for name in op.outputs if tensors[name].quant is None
    } | fixed  # fmt: skip
    while True:
        kept = {name for name in candidates if name in fixed or _stays_float(index, name, host, candidates)}
        if kept == candidates:
            return frozenset(kept)
        candidates = kept


def _stays_float(index: Index, name: str, host: Mapping[str, str], candidates: set[str]) -> bool:
    op = index.producer[name]
    made = op.outputs[0] in host or all(x in candidates for x in activation_inputs(index.graph, op))
    return made and all(
        user.outputs[0] in host or all(x in candidates for x in user.outputs) for user in index.consumers.get(name, ())
    )


def _merged(index: Index, rules: Mapping[str, Rule], host: Mapping[str, str]) -> dict[str, Operation]:
    """Activations whose clamp their producer can apply without changing a bit."""
    found = {}
    for op in index.graph.operations:
        name = op.outputs[0]
        user = index.only_consumer(name)
        if user is None or name in host or user.outputs[0] in host or not rules[op.name].clamps:
            continue
        if is_clamp(index, user) and _same_grid(index, name, user.outputs[0]):
            found[name] = user
    return found


def is_clamp(index: Index, op: Operation) -> bool:
    """relu, or a clamp between two numbers."""
    if op.name == "clamp":
        return all(scalar_constant(index.graph, op.inputs[side]) is not None for side in "ab")
    return op.name == "relu"


def _same_grid(index: Index, before: str, after: str) -> bool:
    """Clamping codes equals rounding twice: the tensor in between has no grid of its own, or the same."""
    first, second = index.graph.tensors[before].quant, index.graph.tensors[after].quant
    if first is None:
        return True
    if second is None:
        return False
    one, two = from_entry(first, before), from_entry(second, after)
    return one.same_grid(two) and one.low <= two.low and one.high >= two.high
