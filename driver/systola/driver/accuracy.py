"""How near the quantized network is: to reference outputs, to labels, to the float network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.samples import Samples, stacked
from systola.mapper.graph import Graph
from systola.mapper.quantgraph import QuantGraph, QuantTensor
from systola.mapper.reference import run_float
from systola.reports.record import Agreement
from systola.sim.golden import run_golden

__all__ = ["agreement", "labels_top1", "sqnr"]

SQNR_SAMPLES = 4
SQNR_ITEMS = 1 << 25
"""Networks with more activations than this are measured on one sample."""


def agreement(graph: QuantGraph, samples: Samples, outputs: Mapping[str, NDArray[Any]]) -> Agreement | None:
    """Agreement of the first output with the reference outputs; None where there are none."""
    if samples.reference is None or samples.compared is None or not len(samples.compared):
        return None
    name = graph.outputs[0]
    codes = outputs[name].reshape(len(outputs[name]), -1)[samples.compared]
    reference = samples.reference.reshape(len(samples.reference), -1)[samples.compared]
    if codes.shape != reference.shape:
        return None
    top1 = float(np.mean(codes.argmax(1) == reference.argmax(1)))
    equal = within = None
    if reference.dtype.kind in "iu" and codes.dtype.kind == "i":
        difference = np.abs(codes.astype(np.int64) + 128 * (reference.dtype.kind == "u") - reference.astype(np.int64))
        equal, within = float(np.mean(difference == 0)), float(np.mean(difference <= 1))
    return Agreement(len(samples.compared), top1, equal, within)


def labels_top1(graph: QuantGraph, samples: Samples, outputs: Mapping[str, NDArray[Any]]) -> float | None:
    """Share of the compared samples whose largest output is the label; None where there are no labels."""
    if samples.labels is None or samples.compared is None or not len(samples.compared):
        return None
    codes = outputs[graph.outputs[0]].reshape(len(outputs[graph.outputs[0]]), -1)
    return float(np.mean(codes[samples.compared].argmax(1) == samples.labels.reshape(-1)[samples.compared]))


def sqnr(float_graph: Graph, graph: QuantGraph, samples: Samples) -> dict[str, float]:
    """Signal to quantization noise in dB of every tensor that both networks have, over a few samples.

    The float network takes the dequantized input codes, so that what is measured is the network and not its input.
    """
    inputs = stacked(graph, samples)
    items = sum(int(np.prod(t.shape)) for t in graph.tensors.values())
    few = {name: codes[: SQNR_SAMPLES if items * SQNR_SAMPLES < SQNR_ITEMS else 1] for name, codes in inputs.items()}
    golden = run_golden(graph, few, keep=True)
    real = {name: _real(graph.tensors[name], codes).reshape(-1, *codes.shape[2:]) for name, codes in few.items()}
    reference = run_float(float_graph, real, keep=True, dtype=np.float32)
    result = {}
    for name, values in golden.items():
        tensor = graph.tensors.get(name)
        if tensor is None or name not in reference or reference[name].size != values.size or name in few:
            continue
        signal = reference[name].reshape(-1).astype(np.float64)
        noise = _real(tensor, values).reshape(-1) - signal
        power = float(np.mean(noise**2))
        if power > 0 and np.any(signal):
            result[name] = float(10 * np.log10(np.mean(signal**2) / power))
    return result


def _real(tensor: QuantTensor, codes: NDArray[Any]) -> NDArray[np.float64]:
    if tensor.is_float:
        return codes.astype(np.float64)
    return (codes.astype(np.float64) - tensor.zero_point) * tensor.scale
