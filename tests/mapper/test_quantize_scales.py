"""Scales, weights and biases: from graph.quant, from ranges, and where neither fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantize_cases import PLACE, entry, network, samples, variable, with_entries

from systola.hw.errors import QuantizationError
from systola.mapper.graph import QuantEntry
from systola.mapper.quantgraph import Conv, Elementwise, Host, Pool
from systola.mapper.quantize import quantize, split_calibration
from systola.mapper.quantize.constants import convolution_weights, symmetric_weights
from systola.mapper.quantize.parameters import ActivationParameters, from_entry, from_range
from systola.mapper.quantize.rescaling import pair_factors

CONV = variable("w", 5, 6, 3, 3) + variable("b", 1, 5) + "c = conv(x, w, b); y = relu(c);"
X = {"x": [1, 6, 9, 8]}


def quantized(skip=(), **entries):
    """The conv → relu network with entries, some replaced."""
    graph = network(CONV, X)
    graph = with_entries(graph, samples(graph), skip)
    tensors = dict(graph.tensors)
    for name, value in entries.items():
        tensors[name] = replace(tensors[name], quant=value)
    return replace(graph, tensors=tensors)


def test_equal_grids_merge_the_activation():
    graph = quantized(c=entry(0.1, -128), y=entry(0.1, -128))
    (node,) = quantize(graph, multiplier_bits=16).nodes
    assert isinstance(node, Conv)
    assert node.outputs == ("y",)
    assert (node.low, node.high, node.zero_out) == (-128, 127, -128)
    assert node.source == "conv c + relu y"


def test_different_grids_round_twice():
    first, second = quantize(quantized(c=entry(0.1, 3), y=entry(0.05, -128)), multiplier_bits=16).nodes
    assert isinstance(first, Conv)
    assert isinstance(second, Elementwise)
    assert (first.output, first.low) == ("c", -128)
    assert (second.output, second.low) == ("y", -128)


def test_a_clamp_inside_the_codes_merges():
    graph = quantized(c=entry(0.1, 5), y=entry(0.1, 5))
    (node,) = quantize(graph, multiplier_bits=16).nodes
    assert (node.low, node.high) == (5, 127)


def test_an_activation_used_elsewhere_does_not_merge():
    graph = replace(quantized(c=entry(0.1, 5), y=entry(0.1, 5)), outputs=("y", "c"))
    assert len(quantize(graph, multiplier_bits=16).nodes) == 2


def test_unsigned_tensors_are_recentred():
    grid = from_entry(entry(0.5, 127, signed=False), "x")
    assert grid == ActivationParameters(0.5, -1, -128, 127, unsigned=True)
    graph = quantize(quantized(x=entry(0.5, 127, signed=False)), multiplier_bits=16)
    assert graph.tensors["x"].unsigned
    assert not graph.tensors["y"].unsigned


def test_symmetric_codes_leave_out_the_lowest():
    assert from_entry(entry(0.5, 0, symmetric=True), "x").low == -127


def test_few_bits():
    grid = from_entry(entry(0.5, 1, bits=4), "x")
    assert (grid.low, grid.high) == (-8, 7)
    assert from_entry(entry(0.5, 8, bits=4, signed=False), "x") == ActivationParameters(0.5, -120, -128, -113, unsigned=True)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_min_max_grid(signed, symmetric):
    """Codes of the formula in the standard, and codes of the grid found, are the same."""
    low, high = -1.5, 2.0
    parameters = {"min": low, "max": high, "bits": 8, "signed": signed, "symmetric": symmetric}
    grid = from_entry(QuantEntry("min_max_linear_quantize", parameters, PLACE), "x")
    steps = 255 - int(signed and symmetric)
    offset = (128 - int(symmetric)) if signed else 0
    values = np.linspace(low, high, 100)
    codes = (values - low) / (high - low) * steps - offset - (0 if signed else 128)
    assert np.abs(grid.codes(values) - codes).max() <= 1.0  # the zero point is rounded to an integer: half a step, and rounding
    assert abs(grid.scale * steps - (high - low)) < 1e-12


def test_linear_is_min_max_unsigned():
    grid = from_entry(QuantEntry("linear_quantize", {"min": 0.0, "max": 25.5, "bits": 8}, PLACE), "x")
    assert (grid.zero_point, grid.unsigned) == (-128, True)
    assert abs(grid.scale - 0.1) < 1e-12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (entry((0.1, 0.2), (0, 0)), "a scale per channel"),
        (entry(0.1, 0, bits=16), "has 16 bits"),
        (entry(0.1, 300), "zero point of 'x' is 300"),
        (QuantEntry("logarithmic_quantize", {"max": 1.0, "bits": 8}, PLACE), "logarithmic"),
    ],
)
def test_entries_without_an_int8_form(wrong, message):
    with pytest.raises(QuantizationError, match=message):
        from_entry(wrong, "x")


def test_a_tensor_without_an_entry_takes_its_only_readers():
    graph = quantize(quantized(skip=("c",)), multiplier_bits=16)
    assert [node.output for node in graph.nodes] == ["y"]


def test_a_tensor_whose_scale_nothing_fixes_is_named():
    with pytest.raises(QuantizationError, match="tensor 'c' has no entry"):
        quantize(replace(quantized(skip=("c", "y"))), multiplier_bits=16)


def test_samples_serve_tensors_without_an_entry():
    graph = network(CONV, X)
    inputs = samples(graph)
    graph = with_entries(graph, inputs, skip=("c", "y"))
    assert quantize(graph, multiplier_bits=16, calibration=inputs).tensors["y"].zero_point == -128


# --- weights ---------------------------------------------------------------------------------------------------------------


def stored(codes, **kind):
    """The network's filter as stored integers."""
    graph = quantized()
    tensor = replace(graph.tensors["w"], data=codes, quant=entry(kind.pop("scale", 0.01), **kind))
    return replace(graph, tensors={**graph.tensors, "w": tensor})


def test_stored_weights_are_taken_as_they_are():
    codes = np.random.default_rng(0).integers(-128, 128, (5, 6, 3, 3)).astype(np.int8)
    weights = convolution_weights(stored(codes, zero_point=0), "w")
    assert np.array_equal(weights.codes, codes)
    assert not weights.requantized
    assert weights.scale.tolist() == [0.01] * 5


def test_unsigned_weights_are_recentred():
    codes = np.random.default_rng(0).integers(0, 256, (5, 6, 3, 3)).astype(np.uint8)
    weights = convolution_weights(stored(codes, zero_point=128, signed=False), "w")
    assert np.array_equal(weights.codes, codes.astype(int) - 128)
    assert not weights.requantized


def test_weights_with_another_zero_point_are_quantized_anew_and_noted():
    codes = np.random.default_rng(0).integers(0, 256, (5, 6, 3, 3)).astype(np.uint8)
    graph = stored(codes, zero_point=100, signed=False)
    weights = convolution_weights(graph, "w")
    values = (codes.astype(float) - 100) * 0.01
    assert weights.requantized
    assert np.abs(weights.codes * weights.scale[:, None, None, None] - values).max() <= weights.scale.max() / 2 + 1e-12
    assert any("quantized anew" in note for note in quantize(graph, multiplier_bits=16).notes)


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_symmetric_weights_round_to_the_nearest(channels, seed):
    values = np.random.default_rng(seed).normal(size=(channels, 3, 2, 2))
    weights = symmetric_weights(values)
    real = weights.codes * weights.scale[:, None, None, None]
    assert np.abs(weights.codes.astype(int)).reshape(channels, -1).max(axis=1).tolist() == [127] * channels
    assert np.all(np.abs(real - values) <= weights.scale[:, None, None, None] * 0.5000001)
    assert np.allclose(weights.error, (values - real).sum(axis=(2, 3)))


def test_a_stored_bias_of_the_same_scale_is_exact_and_another_is_converted():
    graph = quantized(x=entry(0.02, 0))
    scale = convolution_weights(graph, "w").scale[0] * 0.02
    codes = np.array([[7, -3, 100000, 0, 1]], np.int32)
    for factor in (1.0, 4.0):
        bias = replace(graph.tensors["b"], data=codes, quant=entry(scale * factor, 0, bits=32))
        node = quantize(replace(graph, tensors={**graph.tensors, "b": bias}), multiplier_bits=16).nodes[0]
        assert node.bias.tolist() == (codes[0] * int(factor)).tolist()


def test_a_bias_that_is_too_large_coarsens_its_channel():
    body = "y = conv(x, w, b);"
    graph = network(variable("w", 2, 1, 1, 1) + variable("b", 1, 2) + body, {"x": [1, 1, 4, 4]})
    tensors = dict(graph.tensors)
    tensors["w"] = replace(tensors["w"], data=np.array([1e-9, 1.0]).reshape(2, 1, 1, 1))
    tensors["b"] = replace(tensors["b"], data=np.array([[100.0, 0.5]]))
    graph = replace(graph, tensors=tensors)
    node = quantize(graph, multiplier_bits=16, calibration=samples(graph)).nodes[0]
    assert np.all(np.abs(node.bias.astype(np.int64)) <= 1 << 30)
    assert node.weights[1] == 127


def test_dead_channels_and_constant_tensors():
    graph = network(variable("w", 2, 1, 1, 1) + "y = relu(conv(x, w, 0.0));", {"x": [1, 1, 4, 4]})
    graph = replace(graph, tensors={**graph.tensors, "w": replace(graph.tensors["w"], data=np.zeros((2, 1, 1, 1)))})
    node = quantize(graph, multiplier_bits=16, calibration=samples(graph)).nodes[0]
    assert not node.weights.any()
    assert not node.bias.any()


# --- ranges ----------------------------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_zero_is_a_code(a, b):
    grid = from_range(min(a, b), max(a, b))
    assert grid.code(0.0) == grid.zero_point
    assert grid.values(np.array([grid.zero_point]))[0] == 0.0
    reach = grid.values(np.array([-128, 127]))
    assert reach[0] <= min(a, b, 0.0) + grid.scale / 2 * 1.001
    assert reach[1] >= max(a, b, 0.0) - grid.scale / 2 * 1.001


def test_infinite_values_are_refused():
    with pytest.raises(QuantizationError, match="finite"):
        from_range(0.0, float("inf"))


def outliers():
    """A network of one relu, and values with one far from the others."""
    graph = network("y = relu(x);", {"x": [1, 1, 50, 50]})
    inputs = {"x": np.random.default_rng(0).uniform(0.0, 1.0, (4, 1, 1, 50, 50))}
    inputs["x"][0, 0, 0, 0, 0] = 100.0
    return graph, inputs


@pytest.mark.parametrize(("method", "low", "high"), [("minmax", 100.0, 100.0), ("percentile", 0.9, 1.1), ("mse", 29.0, 100.0)])
def test_methods(method, low, high):
    graph, inputs = outliers()
    found = quantize(graph, multiplier_bits=16, calibration=inputs, method=method, percentile=99.9).tensors["x"]
    assert low <= found.scale * 255 <= high * 1.000001


def test_percentile_is_checked():
    graph, inputs = outliers()
    with pytest.raises(QuantizationError, match="percentile is 20"):
        quantize(graph, multiplier_bits=16, calibration=inputs, method="percentile", percentile=20.0)


@pytest.mark.parametrize("wrong", [{}, {"x": np.zeros((3, 2))}, {"x": np.zeros((0, 1, 1, 50, 50))}])
def test_calibration_samples_of_the_wrong_form(wrong):
    graph, _ = outliers()
    with pytest.raises(QuantizationError, match="'x' must have shape \\[samples, 1, 1, 50, 50\\]"):
        quantize(graph, multiplier_bits=16, calibration=wrong)


def test_random_inputs_are_noted_and_repeatable():
    graph = network(CONV, X)
    first, second = (quantize(graph, multiplier_bits=16, seed=3) for _ in range(2))
    assert "random inputs" in first.notes[0]
    assert [t.scale for t in first.tensors.values()] == [t.scale for t in second.tensors.values()]


def test_split_is_disjoint_and_complete():
    split = split_calibration({"x": np.arange(10)[:, None]})
    assert sorted([*split.calibration_indices, *split.evaluation_indices]) == list(range(10))
    assert len(split.calibration_indices) == 5
    assert split.calibration["x"][:, 0].tolist() == split.calibration_indices.tolist()
    assert len(split_calibration({"x": np.zeros((100, 2))}).calibration_indices) == 16
    assert split_calibration({"x": np.zeros((1, 2))}).evaluation_indices.tolist() == [0]
    with pytest.raises(QuantizationError, match="as many for each input"):
        split_calibration({"x": np.zeros((2, 1)), "z": np.zeros((3, 1))})


# --- folding and structure -------------------------------------------------------------------------------------------------

NORM = "".join(variable(name, 1, 5) for name in ("mean", "variance", "offset", "scale"))


def test_arithmetic_folds_into_the_convolution():
    body = variable("w", 5, 6, 3, 3) + NORM + variable("k", 1, 5) + (
        "c = conv(x, w, 0.0); n = batch_normalization(c, mean, variance, offset, scale, epsilon = 0.001);"
        "m = mul(n, 0.5); a = sub(k, m); y = relu(a);"
    )  # fmt: skip
    graph = network(body, X)
    (node,) = quantize(graph, multiplier_bits=16, calibration=samples(graph)).nodes
    assert isinstance(node, Conv)
    assert node.source == "conv c + batch_normalization n + mul m + sub a + relu y"


def test_a_bias_added_to_a_matrix_product_folds():
    graph = network(variable("w", 12, 5) + variable("k", 1, 5) + "y = add(matmul(x, w), k);", {"x": [3, 12]})
    (node,) = quantize(graph, multiplier_bits=16, calibration=samples(graph)).nodes
    assert isinstance(node, Conv)


def test_quantized_graphs_are_not_folded():
    body = variable("w", 5, 6, 3, 3) + variable("k", 1, 5) + "c = conv(x, w, 0.0); y = add(c, k);"
    graph = network(body, X)
    nodes = quantize(with_entries(graph, samples(graph)), multiplier_bits=16).nodes
    assert [node.output for node in nodes] == ["c", "y"]


def test_constant_subgraphs_keep_stored_integers():
    body = variable("w", 12, 5) + "t = transpose(w, axes = [1, 0]); y = linear(x, t);"
    graph = network(body, {"x": [3, 12]})
    graph = with_entries(graph, samples(graph), skip=("t",))
    (node,) = quantize(graph, multiplier_bits=16).nodes
    assert np.array_equal(node.weights[:, :, 0, 0], graph.tensors["w"].data.T)


def test_concatenated_results_share_a_grid():
    body = variable("w", 4, 6, 1, 1) + variable("v", 3, 6, 1, 1) + (
        "a = relu(conv(x, w, 0.0)); b = conv(x, v, 0.0); y = concat([a, b, x], axis = 1);"
    )
    graph = network(body, X)
    qgraph = quantize(graph, multiplier_bits=16, calibration=samples(graph))
    scales = {name: qgraph.tensors[name].scale for name in ("a", "b", "y")}
    assert len(set(scales.values())) == 1
    assert [type(node).__name__ for node in qgraph.nodes] == ["Conv", "Conv", "Elementwise", "Concat"]


def test_host_results_stay_in_float_only_where_nothing_else_reads_them():
    graph = network("s = softmax(x); r = squeeze(s, axes = [0]); y = copy(r);", {"x": [1, 6]})
    qgraph = quantize(graph, multiplier_bits=16, calibration=samples(graph))
    assert all(isinstance(node, Host) for node in qgraph.nodes)
    assert all(qgraph.tensors[name].is_float for name in "sry")
    graph = network("s = softmax(x); y = add(s, x);", {"x": [1, 6]})
    qgraph = quantize(graph, multiplier_bits=16, calibration=samples(graph))
    assert not qgraph.tensors["s"].is_float
    assert (qgraph.tensors["s"].scale, qgraph.tensors["s"].zero_point) == (1 / 256, -128)


def test_averages_send_ties_down():
    graph = network("y = mean_reduce(x, axes = [2, 3]);", {"x": [1, 1, 8, 8]})
    grid = entry(0.25, -128)
    tensors = {name: replace(tensor, quant=grid) for name, tensor in graph.tensors.items()}
    (node,) = quantize(replace(graph, tensors=tensors, quantized=True), multiplier_bits=16).nodes
    assert isinstance(node, Pool)
    totals = np.arange(0, 64 * 255 + 1)
    rounded = (totals * node.multiplier + (1 << node.shift >> 1)) >> node.shift
    assert np.array_equal(rounded, np.ceil(totals / 64 - 0.5))


@given(st.floats(0.05, 20.0), st.floats(0.05, 20.0), st.integers(-128, 127), st.integers(-128, 127), st.integers(8, 17))
def test_pairs_of_multipliers(a, b, zero_a, zero_b, bits):
    grids = ActivationParameters(1.0, zero_a), ActivationParameters(1.0, zero_b)
    (first, second), shift = pair_factors((a, -b), grids, bits)
    assert abs(first) < 1 << bits
    assert abs(second) < 1 << bits
    assert abs(first / 2**shift - a) <= 2.0**-shift
    assert abs(second / 2**shift + b) <= 2.0**-shift


def test_errors_name_the_operation():
    graph = quantized(x=entry(1e9, 0), y=entry(1e-9, -128), c=entry(1e-9, -128))
    with pytest.raises(QuantizationError, match="conv 'c': the result 'y' cannot be rescaled"):
        quantize(graph, multiplier_bits=16)
