"""Ranges of activations, measured on samples with the float network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.mapper.graph import Graph
from systola.mapper.quantize.parameters import from_range
from systola.mapper.reference import run_float

__all__ = ["Calibration", "Method", "random_samples"]

Method = Literal["minmax", "percentile", "mse"]

_KEPT_VALUES = 1 << 16  # values of a tensor that percentile and error are computed on, over all samples
_CHUNK_VALUES = 1 << 24  # values of all tensors that one evaluation holds
_SHRINKS = np.linspace(0.3, 1.0, 36)  # the shares of the full range that "mse" tries
_RANDOM_SAMPLES = 4


def random_samples(graph: Graph, seed: int) -> dict[str, NDArray[np.float64]]:
    """Normally distributed inputs (mean 0, deviation 1): ranges for a graph with random weights and no samples."""
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal((_RANDOM_SAMPLES, *graph.tensors[name].shape)) for name in graph.inputs}


@dataclass
class _Seen:
    """What was seen of a tensor: the extremes and the sum per channel of all values, and a spread-out share of the values."""

    total: NDArray[np.float64] | None = None
    count: int = 0
    low: float = np.inf
    high: float = -np.inf
    values: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, array: NDArray[Any], share: int) -> None:
        flat = np.asarray(array, np.float64).reshape(-1)
        if array.ndim >= 2:
            total = np.asarray(array.sum(axis=(0, *range(2, array.ndim)), dtype=np.float64))
            self.total = total if self.total is None else self.total + total
            self.count += array.size // array.shape[1]
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.values.append(flat[:: max(1, flat.size // max(share, 1))])


class Calibration:
    """Ranges of every tensor of a float graph.

    ``samples``: arrays [S, *shape] by input name. ``method``: "minmax" takes the extremes; "percentile" cuts
    100 − ``percentile`` per cent off each side; "mse" takes the share of the range with the least squared rounding error.
    Raises QuantizationError for samples of the wrong form.
    """

    def __init__(self, graph: Graph, samples: Mapping[str, NDArray[Any]], method: Method, percentile: float) -> None:
        if not 50.0 < percentile <= 100.0:
            raise QuantizationError(f"the percentile is {percentile}; above 50 and up to 100 is expected")
        self._graph, self._method, self._percentile = graph, method, percentile
        self._samples = _checked(graph, samples)
        self._seen: dict[str, _Seen] | None = None

    def _of(self, name: str) -> _Seen:
        if self._seen is None:
            self._seen = self._measure()
        return self._seen[name]

    def channel_means(self, name: str) -> NDArray[np.float64] | None:
        """The mean of each channel (dimension 1) of a tensor; None where it has none."""
        seen = self._of(name)
        return None if seen.total is None else seen.total / seen.count

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest value of a tensor to represent."""
        seen = self._of(name)
        if self._method == "minmax":
            return seen.low, seen.high
        values = np.concatenate(seen.values)
        if self._method == "percentile":
            low, high = np.percentile(values, [100.0 - self._percentile, self._percentile])
            return float(low), float(high)
        return _least_error(seen.low, seen.high, values)

    def _measure(self) -> dict[str, _Seen]:
        count = len(next(iter(self._samples.values())))
        volume = sum(prod(tensor.shape) for tensor in self._graph.tensors.values() if tensor.data is None)
        step = max(1, _CHUNK_VALUES // max(volume, 1))
        found: dict[str, _Seen] = {}
        for start in range(0, count, step):
            part = {name: _joined(array[start : start + step]) for name, array in self._samples.items()}
            share = _KEPT_VALUES * min(step, count - start) // count
            for name, values in run_float(self._graph, part, keep=True, dtype=np.float32).items():
                if values.dtype.kind == "f":
                    found.setdefault(name, _Seen()).add(values, share)
        return found


def _joined(samples: NDArray[Any]) -> NDArray[Any]:
    """[S, N, …] as [S·N, …], the form in which ``run_float`` takes several samples."""
    return samples.reshape(-1, *samples.shape[2:])


def _checked(graph: Graph, samples: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    found, counts = {}, set()
    for name in graph.inputs:
        shape = graph.tensors[name].shape
        array = np.asarray(samples[name]) if name in samples else None
        if array is None or array.shape[1:] != shape or not len(array):
            given = "none" if array is None else f"an array of shape {list(array.shape)}"
            expected = f"[samples, {', '.join(map(str, shape))}]"
            raise QuantizationError(f"calibration samples for input '{name}' must have shape {expected}: {given} given")
        found[name] = array
        counts.add(len(array))
    if len(counts) > 1:
        raise QuantizationError(f"the inputs have different numbers of calibration samples: {sorted(counts)}")
    return found


def _least_error(low: float, high: float, values: NDArray[np.float64]) -> tuple[float, float]:
    """The range, shrunk towards zero, whose grid has the least squared error on ``values``, clipping included."""

    def error(share: float) -> float:
        grid = from_range(low * share, high * share)
        return float(np.square(grid.values(grid.codes(values)) - values).sum())

    best = min(_SHRINKS.tolist(), key=error)
    return low * best, high * best
