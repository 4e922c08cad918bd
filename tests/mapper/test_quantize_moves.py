"""Moves that cancel out are gone; those that do not are untouched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from quantize_cases import entry, float_results, network, samples, variable

from systola.mapper.quantgraph import Conv, Host, Product, QuantGraph, Reshape, Transpose
from systola.mapper.quantize import quantize
from systola.sim.golden import dequantize, quantize_input, run_golden


def quantized(body: str, inputs: dict[str, list[int]], outputs: str = "y") -> QuantGraph:
    graph = network(body, inputs, outputs)
    return quantize(graph, multiplier_bits=17, calibration=samples(graph))


def kinds(graph: QuantGraph) -> list[type]:
    return [type(node) for node in graph.nodes]


SPLIT = "s = reshape(x, shape = [6, 2, 4]); t = transpose(s, axes = [1, 0, 2]);"


def test_a_move_and_its_inverse_are_one_reshape():
    graph = quantized(SPLIT + "u = transpose(t, axes = [1, 0, 2]); y = reshape(u, shape = [6, 8]);", {"x": [6, 8]})
    assert kinds(graph) == [Reshape]
    assert set(graph.tensors) == {"x", "y"}
    codes = np.arange(48, dtype=np.int8).reshape(1, 6, 8)
    assert np.array_equal(run_golden(graph, {"x": codes})["y"], codes)


def test_what_is_read_elsewhere_stays():
    graph = quantized(SPLIT + "u = transpose(t, axes = [1, 0, 2]); y = reshape(u, shape = [6, 8]);", {"x": [6, 8]}, "y, t")
    assert kinds(graph) == [Reshape, Transpose, Reshape]
    assert [node.output for node in graph.nodes] == ["s", "t", "y"]


def test_moves_that_change_the_order_stay():
    graph = quantized(SPLIT + "u = transpose(t, axes = [2, 0, 1]); y = reshape(u, shape = [8, 6]);", {"x": [6, 8]})
    assert kinds(graph) == [Reshape, Transpose, Transpose, Reshape]


def test_a_function_before_the_second_operand_is_symmetric():
    graph = network("s = sigmoid(z); y = matmul(x, s); w = sigmoid(x);", {"x": [4, 6], "z": [6, 5]}, "y, w")
    given = samples(graph)
    result = quantize(graph, multiplier_bits=17, calibration=given)
    assert (result.tensors["s"].scale, result.tensors["s"].zero_point) == (1 / 127, 0)
    assert result.tensors["w"].zero_point == -128
    codes = {name: quantize_input(result.tensors[name], values) for name, values in given.items()}
    found, expected = dequantize(result.tensors["y"], run_golden(result, codes)["y"]), float_results(graph, given)["y"]
    assert np.square(found - expected).sum() < np.square(expected).sum() / 10**2.8


def test_an_entry_with_another_zero_point_is_the_hosts():
    """Nothing is rounded but what the entries say."""
    graph = network("y = matmul(x, z);", {"x": [4, 6], "z": [6, 5]})
    tensors = {name: replace(t, quant=entry(0.05, 3 if name == "z" else 0)) for name, t in graph.tensors.items()}
    result = quantize(replace(graph, tensors=tensors, quantized=True), multiplier_bits=17)
    (node,) = result.nodes
    assert isinstance(node, Host)
    assert "zero point of its second operand is 3" in node.reason


def test_attention_keeps_heads_side_by_side():
    """The first operand is not split, the result not joined: only the second operand is moved."""
    body = "".join(variable(f"{part}w", 8, 8) + f"{part} = linear(x, {part}w, 0.0);" for part in "qv")
    body += "".join(
        f"{p}s = reshape({p}, shape = [6, 2, 4]); {p}t = transpose({p}s, axes = [1, 0, 2]);" for p in "qv"
    )
    body += "m = matmul(qt, vt, transposeB = true); n = matmul(m, vt); o = transpose(n, axes = [1, 0, 2]);"
    body += "y = reshape(o, shape = [6, 8]);"
    graph = network(body, {"x": [6, 8]})
    given = samples(graph)
    result = quantize(graph, multiplier_bits=17, calibration=given)
    assert [kind for kind in kinds(result) if kind not in (Reshape, Transpose)] == [Conv, Conv, Product, Product]
    first, second = (node for node in result.nodes if isinstance(node, Product))
    makers = {node.output: node for node in result.nodes}
    assert makers[first.inputs[0]].inputs == ("q",)
    assert makers[second.inputs[0]].inputs == (first.output,)
    assert makers["y"].inputs == (second.output,)
    # Grids of what the array reads as weights are symmetric.
    assert result.tensors["v"].zero_point == 0
    assert result.tensors["q"].zero_point != 0
    codes = quantize_input(result.tensors["x"], given["x"])
    assert run_golden(result, {"x": codes})["y"].shape == (len(codes), 6, 8)
