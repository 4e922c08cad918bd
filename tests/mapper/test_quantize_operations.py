"""Every operation, quantized: the golden result against the float operation on the same values."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_cases import CASES, HOST_CASES, float_results, network, samples, with_entries

from systola.mapper.quantgraph import Host
from systola.mapper.quantize import quantize
from systola.sim.golden import dequantize, quantize_input, run_golden

MULTIPLIER_BITS = 16


def golden(qgraph, inputs):
    codes = {name: quantize_input(qgraph.tensors[name], array) for name, array in inputs.items()}
    return codes, run_golden(qgraph, codes)


@pytest.mark.parametrize("case", CASES)
def test_follows_the_entries(case):
    """In a quantized graph each result is the float operation on the inputs' values, rounded: within one code, mostly equal."""
    graph = network(*CASES[case])
    inputs = samples(graph)
    merged = tuple(op.outputs[0] for op in graph.operations[:-1])  # tensors before an activation, without an entry
    graph = with_entries(graph, inputs, skip=merged)
    qgraph = quantize(graph, multiplier_bits=MULTIPLIER_BITS)
    codes, result = golden(qgraph, inputs)
    values = {name: dequantize(qgraph.tensors[name], array) for name, array in codes.items()}
    expected = quantize_input(qgraph.tensors["y"], float_results(graph, values)["y"]).astype(int)
    difference = np.abs(result["y"].astype(int) - expected)
    assert result["y"].shape == (3, *graph.tensors["y"].shape)
    assert expected.std() > 5, "the case exercises few codes"
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.97


@pytest.mark.parametrize("case", CASES)
def test_calibrated(case):
    """In a float graph the result's error is that of rounding inputs, weights and results."""
    graph = network(*CASES[case])
    inputs = samples(graph)
    qgraph = quantize(graph, multiplier_bits=MULTIPLIER_BITS, calibration=inputs, method="minmax")
    _, result = golden(qgraph, inputs)
    expected = float_results(graph, inputs)["y"]
    error = dequantize(qgraph.tensors["y"], result["y"]) - expected
    assert np.square(error).sum() < np.square(expected).sum() / 10**2.8


@pytest.mark.parametrize("case", CASES)
def test_only_what_must_is_on_the_host(case):
    graph = network(*CASES[case])
    qgraph = quantize(graph, multiplier_bits=MULTIPLIER_BITS, calibration=samples(graph))
    hosts = [node for node in qgraph.nodes if isinstance(node, Host)]
    assert bool(hosts) == (case in HOST_CASES)
    assert all(node.reason for node in hosts)


def test_several_results():
    graph = network("[a, b] = split(x, axis = 1, ratios = [1, 2]); [c, d] = unstack(z, axis = 2);",
                    {"x": [1, 6, 5, 4], "z": [1, 6, 2, 4]}, "a, b, c, d")  # fmt: skip
    inputs = samples(graph)
    qgraph = quantize(graph, multiplier_bits=MULTIPLIER_BITS, calibration=inputs)
    codes, result = golden(qgraph, inputs)
    assert np.array_equal(result["a"], codes["x"][:, :, :2])
    assert np.array_equal(result["b"], codes["x"][:, :, 2:])
    assert np.array_equal(result["c"], codes["z"][:, :, :, 0])
    assert np.array_equal(result["d"], codes["z"][:, :, :, 1])
