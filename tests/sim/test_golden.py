"""Golden against the definitions in plain Python: every node type, element by element, in ``systola.hw.numerics``."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from fixed_networks import residual_network
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_networks import networks

from systola.hw import numerics
from systola.hw.errors import DataModelError, Place
from systola.mapper.graph import Operation
from systola.mapper.quantgraph import (
    Concat,
    Conv,
    Elementwise,
    Host,
    Im2col,
    Multiply,
    Pad,
    Pool,
    QuantTensor,
    Reshape,
    Slice,
    Table,
    Transpose,
    Upsample,
)
from systola.sim.golden import dequantize, quantize_input, run_golden, run_node
from systola.sim.golden.arithmetic import elementwise, requantize

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
CODE = st.integers(-128, 127)


@given(st.lists(INT32, min_size=1, max_size=20), st.integers(0, (1 << 17) - 1), st.integers(0, 63), CODE, CODE, CODE, st.data())
@settings(max_examples=300)
def test_requantize(totals, multiplier, shift, zero, a, b, data):
    """Stage A for every sum, multiplier of 17 bits and shift that the accelerator has."""
    bias = data.draw(INT32)
    sums = [total - bias for total in totals]  # the sum with its bias is what has 32 bits
    low, high = min(a, b), max(a, b)
    expected = [numerics.requantize(total, bias, multiplier, shift, zero, low, high) for total in sums]
    assert requantize(np.array(sums), bias, multiplier, shift, zero, low, high).tolist() == expected


@given(st.integers(-128, 127), st.integers(0, 20))
def test_requantize_at_ties(whole, shift):
    """Exactly half between two results: up."""
    total = (2 * whole + 1) << shift
    expected = numerics.requantize(total, 0, 1, shift + 1, 0, -128, 127)
    assert requantize(np.array([total]), 0, 1, shift + 1, 0, -128, 127)[0] == expected == min(whole + 1, 127)


@given(st.lists(INT32, min_size=1, max_size=5), st.integers(1 << 20, (1 << 31) - 1), st.integers(0, 63))
@example([0, -1, 1], 1 << 20, 63)
def test_requantize_with_wide_multipliers(sums, multiplier, shift):
    expected = [numerics.requantize(total, 0, multiplier, shift, 3, -128, 127) for total in sums]
    assert requantize(np.array(sums), 0, multiplier, shift, 3, -128, 127).tolist() == expected


SIGNED = st.integers(-(1 << 17) + 1, (1 << 17) - 1)


@given(st.integers(0, 2**32 - 1), CODE, CODE, CODE, SIGNED, SIGNED, SIGNED, st.integers(0, 63))
@settings(max_examples=300)
def test_elementwise(seed, zero_a, zero_b, zero_out, positive, negative, factor, shift):
    codes, operand = np.random.default_rng(seed).integers(-128, 128, (2, 30)).astype(np.int8)
    common = (zero_b, factor, shift, zero_out, -128, 120)
    found = elementwise(codes, zero_a, positive, negative, operand, *common)
    expected = [
        numerics.elementwise(a, zero_a, positive, negative, b, *common)
        for a, b in zip(codes.tolist(), operand.tolist(), strict=True)
    ]
    assert found.tolist() == expected


# --- nodes, element by element ---------------------------------------------------------------------------------------------


def at(x: Any, position: tuple[int, ...], outside: int) -> int:
    """The code at a position, or what counts outside."""
    inside = all(0 <= p < extent for p, extent in zip(position, x.shape, strict=True))
    return int(x[position]) if inside else outside


def window_positions(node: Any, kernel: tuple[int, int], y: int, x: int):
    """(tap, input position) of a window."""
    (top, _), (left, _) = node.padding
    for ky, kx in product(range(kernel[0]), range(kernel[1])):
        yield (ky, kx), (y * node.stride[0] - top + ky * node.dilation[0], x * node.stride[1] - left + kx * node.dilation[1])


def slow_conv(node: Conv, x: Any, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape, np.int8)
    outputs, per_group, *kernel = node.weights.shape
    for n, o, y, c in np.ndindex(shape):
        first = o // (outputs // node.groups) * per_group
        total = sum(
            (at(x[n, first + i], position, node.zero_in) - node.zero_in) * int(node.weights[o, i][tap])
            for i in range(per_group)
            for tap, position in window_positions(node, (kernel[0], kernel[1]), y, c)
        )
        factors = int(node.bias[o]), int(node.multiplier[o]), int(node.shift[o])
        out[n, o, y, c] = numerics.requantize(total, *factors, node.zero_out, node.low, node.high)
    return out


def slow_pool(node: Pool, x: Any, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape, np.int8)
    outside = node.pad_code if node.kind == "max" else node.zero_in
    for n, c, y, column in np.ndindex(shape):
        codes = [at(x[n, c], position, outside) for _, position in window_positions(node, node.size, y, column)]
        out[n, c, y, column] = max(codes) if node.kind == "max" else numerics.requantize(
            sum(codes) - len(codes) * node.zero_in, 0, node.multiplier, node.shift, node.zero_out, node.low, node.high
        )  # fmt: skip
    return out


def codes(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def run(node: Any, *arrays: Any) -> Any:
    return run_node(node, dict(zip(node.inputs, arrays, strict=True)), {})[node.output]


def conv(outputs: int, per_group: int, kernel: tuple[int, int], **changes: Any) -> Conv:
    rng = np.random.default_rng(3)
    usual: dict[str, Any] = {
        "weights": rng.integers(-128, 128, (outputs, per_group, *kernel)).astype(np.int8),
        "bias": rng.integers(-9000, 9000, outputs).astype(np.int32),
        "multiplier": rng.integers(1 << 15, 1 << 16, outputs).astype(np.int32),
        "shift": rng.integers(24, 27, outputs).astype(np.int32),
        "zero_in": -7, "zero_out": 4, "low": -100, "high": 127,
    }  # fmt: skip
    return Conv("y", ("x",), ("y",), "y", **{**usual, **changes})


CONVS = {
    "plain": (conv(5, 6, (3, 3)), (1, 6, 7, 8), (1, 5, 5, 6)),
    "padded": (conv(5, 6, (3, 2), padding=((2, 1), (0, 1)), stride=(2, 1)), (1, 6, 7, 8), (1, 5, 4, 8)),
    "dilated": (conv(2, 3, (3, 3), dilation=(2, 3), padding=((1, 1), (3, 3))), (2, 3, 7, 8), (2, 2, 5, 8)),
    "groups": (conv(6, 2, (2, 2), groups=3), (1, 6, 4, 4), (1, 6, 3, 3)),
    "depthwise": (conv(6, 1, (3, 3), groups=6, padding=((1, 1), (1, 1))), (1, 6, 5, 4), (1, 6, 5, 4)),
    "multiplier": (conv(6, 1, (3, 3), groups=3, stride=(2, 2)), (1, 3, 5, 5), (1, 6, 2, 2)),
    "pointwise": (conv(4, 9, (1, 1)), (1, 9, 3, 2), (1, 4, 3, 2)),
}


@pytest.mark.parametrize("case", CONVS)
def test_conv(case):
    node, shape, result = CONVS[case]
    x = codes(*shape)
    assert np.array_equal(run(node, x), slow_conv(node, x, result))


def test_conv_on_rows_and_lines():
    """[N, C] is N pixels; [1, C, L] is one row."""
    node, x = conv(4, 9, (1, 1)), codes(3, 9)
    assert np.array_equal(run(node, x), slow_conv(node, x.T[None, :, None], (1, 4, 1, 3))[0, :, 0].T)
    node, x = conv(4, 3, (1, 5), padding=((0, 0), (2, 2)), stride=(1, 2)), codes(1, 3, 11)
    assert np.array_equal(run(node, x), slow_conv(node, x[:, :, None], (1, 4, 1, 6))[:, :, 0])


def test_conv_with_sums_over_24_bits():
    """float32 would lose bits here; the sum is exact all the same."""
    weights = np.full((1, 900, 3, 3), 127, np.int8)
    x = codes(1, 900, 3, 3)
    total = int((x.astype(np.int64) + 128).sum()) * 127
    node = conv(1, 900, (3, 3), weights=weights, bias=np.array([3 - total], np.int32), multiplier=np.ones(1, np.int32),
                shift=np.zeros(1, np.int32), zero_in=-128, zero_out=0, low=-128, high=127)  # fmt: skip
    assert total > 1 << 24
    assert run(node, x).item() == 3


def pool(kind: str, size: tuple[int, int], **changes: Any) -> Pool:
    usual: dict[str, Any] = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "zero_in": -9, "multiplier": 50000, "shift": 19,
                             "zero_out": 3}  # fmt: skip
    return Pool("y", ("x",), ("y",), "y", kind=kind, size=size, **{**usual, **changes})


@pytest.mark.parametrize("kind", ["max", "sum"])
@pytest.mark.parametrize(
    ("size", "changes", "result"),
    [
        ((2, 2), {"stride": (2, 2)}, (2, 3, 3, 4)),
        ((3, 2), {"padding": ((1, 1), (1, 0)), "pad_code": -20}, (2, 3, 6, 8)),
        ((3, 3), {"padding": ((0, 2), (2, 2)), "dilation": (1, 2), "stride": (1, 3)}, (2, 3, 6, 3)),
        ((6, 8), {}, (2, 3, 1, 1)),
    ],
)
def test_pool(kind, size, changes, result):
    node, x = pool(kind, size, **changes), codes(2, 3, 6, 8)
    assert np.array_equal(run(node, x), slow_pool(node, x, result))


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 3, 4, 5), (1, 3, 1, 1), (1, 1, 4, 1)]))
def test_two_operands(seed, shape):
    """Elementwise and Multiply, with an operand that broadcasts."""
    a, b = codes(1, 3, 4, 5, seed=seed), codes(*shape, seed=seed + 1)
    add = Elementwise("y", ("a", "b"), ("y",), "y", 3, 21000, 9000, -4, -17000, 15, 6, -90, 127)
    mul = Multiply("y", ("a", "b"), ("y",), "y", 3, -4, 40000, 22, 6, -90, 127)
    wide = np.broadcast_to(b, a.shape)
    summed, product_ = run(add, a, b), run(mul, a, b)
    for p in np.ndindex(a.shape):
        x, y = int(a[p]), int(wide[p])
        assert summed[p] == numerics.elementwise(x, 3, 21000, 9000, y, -4, -17000, 15, 6, -90, 127)
        assert product_[p] == numerics.requantize((x - 3) * (y + 4), 0, 40000, 22, 6, -90, 127)


def test_moves():
    x = codes(1, 6, 4, 5)
    table = codes(256, seed=9)
    assert np.array_equal(run(Table("y", ("x",), ("y",), "y", table), x), table[x.astype(int) + 128])
    assert np.array_equal(run(Concat("y", ("x", "z"), ("y",), "y", 2), x, x[:, :, :1]), np.concatenate([x, x[:, :, :1]], 2))
    assert np.array_equal(run(Reshape("y", ("x",), ("y",), "y", (2, 60)), x), x.reshape(2, 60))
    assert np.array_equal(run(Transpose("y", ("x",), ("y",), "y", (0, 2, 3, 1)), x), x.transpose(0, 2, 3, 1))
    part = Slice("y", ("x",), ("y",), "y", (0, 1, 0, 1), (1, 6, 4, 5), (1, 2, 1, 3))
    assert np.array_equal(run(part, x), x[:, 1:6:2, :, 1:5:3])
    padded = run(Pad("y", ("x",), ("y",), "y", ((0, 0), (0, 1), (2, 0), (1, 1)), 17), x)
    assert np.array_equal(padded[:, :6, 2:, 1:6], x)
    assert int((padded == 17).sum()) >= padded.size - x.size
    assert np.array_equal(run(Upsample("y", ("x",), ("y",), "y", (2, 3)), x), x.repeat(2, 2).repeat(3, 3))
    assert np.array_equal(run(Upsample("y", ("x",), ("y",), "y", (1, 3)), x[:, :, 0]), x[:, :, 0].repeat(3, 2))


def test_im2col_is_the_convolution():
    """A convolution is a 1×1 convolution of the kernel positions as channels."""
    node = conv(5, 3, (3, 2), padding=((2, 1), (0, 1)), stride=(2, 1), dilation=(1, 2))
    x = codes(1, 3, 7, 8)
    positions = Im2col("p", ("x",), ("p",), "p", (3, 2), node.stride, node.dilation, node.padding, node.zero_in)
    weights = np.ascontiguousarray(node.weights.transpose(0, 2, 3, 1)).reshape(5, -1, 1, 1)
    packed = conv(5, 18, (1, 1), weights=weights, bias=node.bias, multiplier=node.multiplier, shift=node.shift)
    assert np.array_equal(run(packed, run(positions, x)), run(node, x))


# --- whole networks --------------------------------------------------------------------------------------------------------


@given(networks(), st.integers(0, 1000))
@settings(max_examples=30)
def test_samples_do_not_touch_each_other(graph, seed):
    """Several samples at once give what each gives alone, node by node."""
    rng = np.random.default_rng(seed)
    parts = [
        {name: rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs} for _ in range(3)
    ]
    together = run_golden(graph, {name: np.stack([part[name] for part in parts]) for name in graph.inputs})
    for number, part in enumerate(parts):
        values = dict(part)
        for node in graph.nodes:
            values.update(run_node(node, values, graph.tensors))
        assert all(np.array_equal(values[name], together[name][number]) for name in values)


def test_only_outputs_on_request():
    graph = residual_network()
    inputs = {"x": codes(2, *graph.tensors["x"].shape)}
    everything, outputs = run_golden(graph, inputs), run_golden(graph, inputs, keep=False)
    assert list(outputs) == ["y"]
    assert set(everything) == set(graph.tensors)
    assert np.array_equal(outputs["y"], everything["y"])


def test_inputs_are_checked():
    graph = residual_network()
    shape = graph.tensors["x"].shape
    for wrong in ({}, {"x": codes(*shape)}, {"x": np.zeros((1, *shape))}):
        with pytest.raises(DataModelError, match="input 'x' must be int8 codes of shape \\[samples, 1, 6, 6, 6\\]"):
            run_golden(graph, wrong)


def test_host_operations_dequantize_compute_and_quantize():
    operation = Operation("softmax", {"x": "a"}, {"axes": (1,)}, ("y",), Place("g"))
    tensors = {"a": QuantTensor("a", (1, 4), 0.5, 3), "y": QuantTensor("y", (1, 4), 1 / 256, -128)}
    node = Host("y", ("a",), ("y",), "softmax y", operation, {}, "float")
    a = np.array([[3, 5, 3, -128]], np.int8)
    values = np.exp((a - 3.0) * 0.5)
    expected = np.clip(np.rint(values / values.sum() * 256) - 128, -128, 127)
    assert np.array_equal(run_node(node, {"a": a}, tensors)["y"], expected)
    tensors["y"] = QuantTensor("y", (1, 4), is_float=True)
    assert np.allclose(run_node(node, {"a": a}, tensors)["y"], values / values.sum())


def test_codes_and_values():
    tensor = QuantTensor("x", (4,), 0.5, 3)
    assert quantize_input(tensor, np.array([0.0, 0.25, 0.75, 1e9])).tolist() == [3, 3, 5, 127]
    assert dequantize(tensor, np.array([3, 5], np.int8)).tolist() == [0.0, 1.0]
    unquantized = QuantTensor("x", (4,), is_float=True)
    assert quantize_input(unquantized, np.array([0.3])).tolist() == [0.3]
    assert dequantize(unquantized, np.array([0.3])).tolist() == [0.3]
