"""Chains of reshapes and transposes that put codes back where they were.

Matrices side by side are what attention computes before it splits them into heads and after it joins them; between two products
the moves of the model and those of the products cancel out.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from systola.mapper.quantgraph import Node, QuantGraph, Reshape, Transpose

__all__ = ["without_idle_moves"]


def without_idle_moves(graph: QuantGraph) -> QuantGraph:
    """The graph with each chain of moves that keeps the order of codes as one reshape; what nobody reads any more is gone."""
    makers = {node.output: node for node in graph.nodes if isinstance(node, Reshape | Transpose)}
    nodes: list[Node] = []
    bypassed: set[str] = set()
    for node in graph.nodes:
        start = _start(graph, makers, node) if node.output in makers else None
        if start is None:
            nodes.append(node)
            continue
        bypassed.update(node.inputs)
        nodes.append(Reshape(node.name, (start,), node.outputs, node.source, graph.tensors[node.output].shape))
    return _pruned(replace(graph, nodes=tuple(nodes)), makers, bypassed) if bypassed else graph


def _start(graph: QuantGraph, makers: dict[str, Reshape | Transpose], node: Node) -> str | None:
    """The farthest tensor whose codes, in their order, are the node's; None if there is none but perhaps its own input."""
    chain: list[Reshape | Transpose] = []
    name, found = node.output, None
    while name in makers:
        chain.insert(0, makers[name])
        name = makers[name].inputs[0]
        if len(chain) > 1 and any(isinstance(each, Transpose) for each in chain) and _keeps_order(graph, name, chain):
            found = name
    return found


def _keeps_order(graph: QuantGraph, name: str, chain: list[Reshape | Transpose]) -> bool:
    shape = graph.tensors[name].shape
    places = np.arange(prod(shape)).reshape(shape)
    for move in chain:
        places = places.reshape(move.shape) if isinstance(move, Reshape) else places.transpose(move.axes)
    return bool(np.array_equal(places.reshape(-1), np.arange(places.size)))


def _pruned(graph: QuantGraph, makers: dict[str, Reshape | Transpose], bypassed: set[str]) -> QuantGraph:
    """Without the moves, from those in ``bypassed`` up, that nothing reads."""
    nodes = list(graph.nodes)
    used = {name for node in nodes for name in node.inputs} | set(graph.outputs)
    gone: set[str] = set()
    while bypassed:
        name = bypassed.pop()
        if name in makers and name not in used:
            gone.add(name)
            nodes = [node for node in nodes if node.output != name]
            used = {each for node in nodes for each in node.inputs} | set(graph.outputs)
            bypassed.update(makers[name].inputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return replace(graph, nodes=tuple(nodes), tensors=tensors)
