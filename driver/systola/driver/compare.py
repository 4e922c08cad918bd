"""Byte-for-byte comparison of what reached memory with golden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.runtime import Inference, Runtime
from systola.mapper.image import Image
from systola.mapper.quantgraph import QuantGraph
from systola.reports.record import Check

__all__ = ["Comparison"]


class Comparison:
    """Collects over samples: every tensor of the quantized graph that the image places in memory, and every output."""

    def __init__(self, graph: QuantGraph, image: Image) -> None:
        made = [name for node in graph.nodes for name in node.outputs]
        self._names = [name for name in made if name in image.tensors]
        self._floats = [name for name in graph.outputs if name not in image.tensors]
        fused = {n for layer in image.layers for n in _inner(graph, layer.nodes, layer.output)}
        self._on_chip = tuple(
            name for name in made if name not in image.tensors and name not in fused and not graph.tensors[name].is_float
        )
        self._bytes = dict.fromkeys((*self._names, *self._floats), 0)
        self._mismatches = dict.fromkeys((*self._names, *self._floats), 0)

    def add(self, expected: Mapping[str, NDArray[Any]], runtime: Runtime, inference: Inference) -> None:
        """Compare one sample; to be called before the next one runs."""
        for name in self._names:
            self._count(name, expected[name], runtime.tensor(name))
        for name in self._floats:
            self._count(name, expected[name], inference.outputs[name])

    def check(self) -> Check:
        """The result so far: of what was compared, so nothing before the first sample."""
        compared = {name: count for name, count in self._bytes.items() if count}
        return Check(compared, {n: c for n, c in self._mismatches.items() if c}, self._on_chip)

    def _count(self, name: str, expected: NDArray[Any], found: NDArray[Any]) -> None:
        self._bytes[name] += expected.nbytes
        self._mismatches[name] += int(np.count_nonzero(expected != found))


def _inner(graph: QuantGraph, nodes: tuple[str, ...], output: str) -> list[str]:
    """Tensors inside a fused layer: they exist nowhere."""
    return [name for node in graph.nodes if node.source in nodes for name in node.outputs if name != output]
