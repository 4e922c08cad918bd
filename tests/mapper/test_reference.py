"""The float reference: against the source frameworks' outputs, plain loops, and itself one sample at a time."""

from __future__ import annotations

from itertools import product
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from systola.hw.errors import DataModelError, SemanticModelError
from systola.mapper.batching import batched_tensors
from systola.mapper.nnef import dequantize, parse_graph, read_model, standard_signatures
from systola.mapper.reference import run_float
from systola.mapper.reference_ops import FUNCTIONS

Array = NDArray[Any]


def evaluate(body: str, inputs: dict[str, Array], outputs: str = "y", shapes: dict[str, tuple[int, ...]] | None = None) -> Any:
    """Run statements on inputs; ``shapes`` are the graph's, if the inputs hold several samples."""
    shapes = shapes or {name: array.shape for name, array in inputs.items()}
    kinds = {"b": "logical", "i": "integer"}
    lines = [
        f"{name} = external<{kinds.get(array.dtype.kind, 'scalar')}>(shape = {list(shapes[name])});"
        for name, array in inputs.items()
    ]
    text = (
        "version 1.0; extension KHR_enable_operator_expressions;"
        f"graph g({', '.join(inputs)}) -> ({outputs}) {{ {' '.join(lines)} {body} }}"
    )
    results = run_float(parse_graph(text), inputs)
    made = [results[name.strip()] for name in outputs.split(",")]
    return made[0] if len(made) == 1 else made


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", ["ad_f32", "kws_f32", "resnet8_f32", "vww_f32", "resnet20_cifar10_f32"])
def test_float_networks_agree_with_their_frameworks(models: Path, name: str) -> None:
    graph = read_model(models / name)
    samples = models / name / "samples"
    wanted = np.load(samples / "ref_output.npy")[:12]
    made = run_float(graph, {graph.inputs[0]: np.load(samples / "input.npy")[:12]}, dtype=np.float32)[graph.outputs[0]]
    assert np.abs(made - wanted).max() < 1e-4 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", ["kws_int8", "vww_int8"])
def test_quantized_networks_come_close(models: Path, name: str) -> None:
    graph = read_model(models / name)
    samples = models / name / "samples"
    first, last = graph.tensors[graph.inputs[0]].quant, graph.tensors[graph.outputs[0]].quant
    assert first is not None and last is not None
    wanted = dequantize(np.load(samples / "ref_output.npy")[:12], last)
    made = run_float(graph, {graph.inputs[0]: dequantize(np.load(samples / "input.npy")[:12], first)})[graph.outputs[0]]
    assert np.array_equal(made.argmax(1), wanted.argmax(1))
    assert np.abs(made - wanted).max() < 0.1


@pytest.mark.parametrize("name", ["kws_f32", "resnet8_int8"])
def test_samples_together_equal_samples_alone(models: Path, name: str) -> None:
    graph = read_model(models / name)
    assert batched_tensors(graph) is not None
    inputs = numbers(3, *graph.tensors[graph.inputs[0]].shape[1:])
    together = run_float(graph, {graph.inputs[0]: inputs}, keep=True)
    for i in range(3):
        alone = run_float(graph, {graph.inputs[0]: inputs[i : i + 1]}, keep=True)
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            assert np.allclose(together[key][i : i + 1], value, atol=1e-9)


def test_graphs_that_mix_dimension_0_run_one_sample_at_a_time() -> None:
    x = numbers(6, 3)
    body = "t = transpose(x, axes = [1, 0]); r = sum_reduce(t, axes = [0]); y = transpose(r, axes = [1, 0]);"
    made = evaluate(body, {"x": x}, shapes={"x": (2, 3)})
    assert np.allclose(made, x.sum(1, keepdims=True))


def plain_conv(x: Array, w: Array, stride: list[int], dilation: list[int], padding: Any, groups: int) -> Array:
    """The definition, one output at a time."""
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    extents = [
        (padded.shape[2 + i] - (w.shape[2 + i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(x.ndim - 2)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *extents))
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for n, o, *at in product(*map(range, out.shape)):
        for i, *tap in product(*map(range, w.shape[1:])):
            where = [p * s + t * d for p, s, t, d in zip(at, stride, tap, dilation, strict=True)]
            out[(n, o, *at)] += padded[(n, o // per_out * per_in + i, *where)] * w[(o, i, *tap)]
    return out


@pytest.mark.parametrize(
    ("groups", "stride", "dilation", "padding"),
    [
        (1, [1, 1], [1, 1], [(1, 1), (1, 1)]),
        (2, [2, 1], [1, 2], [(0, 1), (2, 2)]),
        (4, [2, 3], [2, 1], [(2, 2), (1, 0)]),
    ],
)
def test_conv(groups: int, stride: list[int], dilation: list[int], padding: Any) -> None:
    x, w, b = numbers(2, 4, 6, 7), numbers(8, 4 // groups, 3, 2, seed=1), numbers(1, 8, seed=2)
    attributes = f"stride = {stride}, dilation = {dilation}, padding = {padding}, groups = {0 if groups == 4 else groups}"
    made = evaluate(f"y = conv(x, w, b, {attributes});", {"x": x, "w": w, "b": b})
    wanted = plain_conv(x, w, stride, dilation, padding, groups) + b.reshape(1, 8, 1, 1)
    assert np.allclose(made, wanted)


def test_same_padding_puts_the_rest_behind() -> None:
    x, w = numbers(1, 2, 5, 8), numbers(3, 2, 3, 2, seed=1)
    made = evaluate("y = conv(x, w, stride = [2, 2]);", {"x": x, "w": w})
    assert np.allclose(made, plain_conv(x, w, [2, 2], [1, 1], [(1, 1), (0, 0)], 1))
    made = evaluate("y = conv(x, w);", {"x": x, "w": w})
    assert np.allclose(made, plain_conv(x, w, [1, 1], [1, 1], [(1, 1), (0, 1)], 1))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", ["[]", "[(0, 0), (0, 0)]", "[(1, 0), (1, 2)]"])
def test_deconv_is_the_transpose_of_conv(groups: int, padding: str) -> None:
    """For every x and z: ⟨conv(x), z⟩ = ⟨x, deconv(z)⟩ with the same filter."""
    w = numbers(8, 4 // groups, 3, 3, seed=1)
    x = numbers(1, 4, 9, 8)
    attributes = f"stride = [2, 2], padding = {padding}, groups = {groups}"
    forward = evaluate(f"y = conv(x, w, {attributes});", {"x": x, "w": w})
    z = numbers(*forward.shape, seed=3)
    body = f"y = deconv(z, w, {attributes}, output_shape = [1, 4, 9, 8]);"
    backward = evaluate(body, {"z": z, "w": w})
    assert np.isclose((forward * z).sum(), (x * backward).sum())


@pytest.mark.parametrize("border", ["constant", "ignore", "replicate"])
def test_pools(border: str) -> None:
    x = numbers(1, 2, 5, 6)
    attributes = f"size = [1, 1, 3, 2], stride = [1, 1, 2, 1], padding = [(0, 0), (0, 0), (1, 1), (1, 0)], border = '{border}'"
    largest = evaluate(f"y = max_pool(x, {attributes});", {"x": x})
    average = evaluate(f"y = avg_pool(x, {attributes});", {"x": x})
    total = evaluate(f"y = box(x, {attributes});", {"x": x})
    fill = {"constant": 0.0, "ignore": np.nan}
    pairs = [(0, 0), (0, 0), (1, 1), (1, 0)]
    padded = np.pad(x, pairs, "edge") if border == "replicate" else np.pad(x, pairs, constant_values=fill[border])
    for i, j in product(range(3), range(6)):
        window = padded[:, :, 2 * i : 2 * i + 3, j : j + 2]
        assert np.allclose(largest[:, :, i, j], np.nanmax(window, axis=(2, 3)))
        assert np.allclose(average[:, :, i, j], np.nanmean(window, axis=(2, 3)))
        assert np.allclose(total[:, :, i, j], np.nansum(window, axis=(2, 3)))


def test_resampling() -> None:
    x = np.array([[[0.0, 4.0, 8.0]]])
    assert evaluate("y = nearest_upsample(x, factor = [2]);", {"x": x}).tolist() == [[[0, 0, 4, 4, 8, 8]]]
    assert evaluate("y = nearest_downsample(x, factor = [3]);", {"x": x}).tolist() == [[[0]]]
    assert evaluate("y = area_downsample(x, factor = [3]);", {"x": x}).tolist() == [[[4]]]
    up = "y = multilinear_upsample(x, factor = [2], method = '{}', border = '{}');"
    assert evaluate(up.format("symmetric", "replicate"), {"x": x}).tolist() == [[[0, 1, 3, 5, 7, 8]]]
    assert evaluate(up.format("symmetric", "constant"), {"x": x}).tolist() == [[[0, 1, 3, 5, 7, 6]]]
    assert evaluate(up.format("asymmetric", "replicate"), {"x": x}).tolist() == [[[0, 2, 4, 6, 8, 8]]]
    assert np.allclose(evaluate(up.format("aligned", "replicate"), {"x": x}), [[[0, 1.6, 3.2, 4.8, 6.4, 8]]])


def test_broadcasting_aligns_leading_dimensions() -> None:
    x, c = numbers(2, 3, 4), numbers(2, 3, seed=1)
    assert np.allclose(evaluate("y = x * c;", {"x": x, "c": c}), x * c[:, :, None])
    assert evaluate("y = c - 1.0;", {"c": c}).shape == (2, 3)


@pytest.mark.parametrize(
    ("expression", "function"),
    [
        ("gelu(x)", lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))),
        ("silu(x)", lambda x: x / (1 + np.exp(-x))),
        ("sigmoid(x)", lambda x: 1 / (1 + np.exp(-x))),
        ("softplus(x)", lambda x: np.log1p(np.exp(x))),
        ("elu(x)", lambda x: np.where(x < 0, np.exp(x) - 1, x)),
        ("leaky_relu(x, alpha = 0.25)", lambda x: np.where(x < 0, 0.25 * x, x)),
        ("softmax(x, axes = [1, 2])", lambda x: np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)),
        ("l2_normalization(x, axes = [1], epsilon = 0.1)", lambda x: x / np.sqrt((x * x).sum(1, keepdims=True))),
        ("local_mean_normalization(x, size = [1, 1, 1])", lambda x: 0 * x),
        ("select(x > 0.0, x, -x)", np.abs),
        ("clamp(x, -0.5, 0.5)", lambda x: np.clip(x, -0.5, 0.5)),
        ("round(x * 2.0)", lambda x: np.sign(x) * np.floor(np.abs(2 * x) + 0.5)),
        ("argmax_reduce(x, axes = [1, 2])", lambda x: x.reshape(2, -1).argmax(1).reshape(2, 1, 1)),
        ("matmul(x, x, transposeB = true)", lambda x: x @ x.swapaxes(1, 2)),
        ("slice(x, axes = [2, 1], begin = [-1, 1], end = [-6, 0], stride = [-2, 1])", lambda x: x[:, 1:, ::-2]),
        ("pad(x, padding = [(0, 0), (1, 1), (2, 0)], border = 'reflect')",
         lambda x: np.pad(x, [(0, 0), (1, 1), (2, 0)], "reflect")),
        ("tile(x, repeats = [1, 2, 1])", lambda x: np.concatenate([x, x], 1)),
        ("zero_point_linear_quantize(x, 3, 0.25, bits = 4, signed = true, symmetric = false)",
         lambda x: (np.clip(np.sign(x) * np.floor(np.abs(x / 0.25) + 0.5) + 3, -8, 7) - 3) * 0.25),
    ],
)  # fmt: skip
def test_formulas(expression: str, function: Any) -> None:
    x = numbers(2, 3, 5)
    assert np.allclose(evaluate(f"y = {expression};", {"x": x}), function(x), atol=1e-10)


def test_several_results_and_types() -> None:
    x = numbers(2, 4, 3)
    a, b = evaluate("[a, b] = split(x, axis = 1, ratios = [1, 3]);", {"x": x}, "a, b")
    assert np.array_equal(a, x[:, :1])
    assert np.array_equal(b, x[:, 1:])
    mean, variance = evaluate("m, v = moments(x, axes = [2]);", {"x": x}, "m, v")
    assert np.allclose(mean, x.mean(2, keepdims=True))
    assert np.allclose(variance, x.var(2, keepdims=True))
    assert evaluate("y = gather(x, k, axis = 1);", {"x": x, "k": np.array([3, 0])}).shape == (2, 2, 3)
    assert evaluate("y = x > 0.0;", {"x": x}).dtype == np.bool_


def test_inputs_are_checked() -> None:
    graph = parse_graph("version 1.0; graph g(x) -> (y) { x = external(shape = [1, 2]); y = relu(x); }")
    with pytest.raises(DataModelError, match="input 'x' is not given"):
        run_float(graph, {})
    with pytest.raises(DataModelError, match=r"has shape \[1, 3\]; the network takes \[1, 2\]"):
        run_float(graph, {"x": np.zeros((1, 3))})
    graph = parse_graph(
        "version 1.0; graph g(x) -> (y) { x = external(shape = [1, 2]); w = variable(shape = [2, 2], label = 'w');"
        "y = linear(x, w); }"
    )
    with pytest.raises(DataModelError, match="variable 'w' has no data"):
        run_float(graph, {"x": np.zeros((1, 2))})


def test_what_is_not_evaluated_is_said() -> None:
    missing = standard_signatures().keys() - FUNCTIONS.keys() - {"external", "variable", "constant"}
    assert missing == set(
        "update argmax_pool sample desample max_pool_with_index max_unpool avg_roi_pool max_roi_pool roi_resample "  # noqa: SIM905
        "avg_roi_align max_roi_align".split()
    )
    with pytest.raises(SemanticModelError, match="operation 'argmax_pool' has no float evaluation"):
        evaluate("y = argmax_pool(x, size = [1, 1, 2]);", {"x": numbers(1, 1, 4)})
