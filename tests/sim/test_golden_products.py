"""Products of two computed tensors in golden, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systola.hw import numerics
from systola.mapper.quantgraph import Product, QuantTensor, WeightTiles
from systola.sim.golden import run_node


def codes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def run(node: Product | WeightTiles, *arrays: np.ndarray) -> np.ndarray:
    tensors = dict(zip(node.inputs, arrays, strict=True))
    return run_node(node, tensors, {name: QuantTensor(name, array.shape) for name, array in tensors.items()})[node.output]


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=40)
def test_product(seed, rows, groups, depth, columns):
    a, b = codes(seed, rows, groups * depth), codes(seed + 1, groups, depth, columns)
    node = Product("y", ("a", "b"), ("y",), "y", groups, seed % 256 - 128, 90_000, 24, -3, -100, 120)
    result = run(node, a, b)
    for m, g, n in np.ndindex(rows, groups, columns):
        total = sum((int(a[m, g * depth + k]) - node.zero_a) * int(b[g, k, n]) for k in range(depth))
        assert result[m, g * columns + n] == numerics.requantize(total, 0, 90_000, 24, -3, -100, 120)


@pytest.mark.parametrize("zero", [-128, 127])
def test_sums_over_24_bits_are_exact(zero):
    """A single 1 in a sum of 2**25 is not lost."""
    depth = 2000
    a = np.full((1, depth), 127 if zero < 0 else -128, np.int8)
    b = np.full((1, depth, 1), -128, np.int8)
    b[0, 0] = -127
    total = (int(a[0, 0]) - zero) * (-128 * depth + 1)
    shift = 21
    expected = numerics.requantize(total, 0, 1, shift, 0, -128, 127)
    assert abs(total) > 1 << 25
    assert run(Product("y", ("a", "b"), ("y",), "y", 1, zero, 1, shift, 0, -128, 127), a, b).item() == expected


def test_weight_tiles():
    """Places, template and biases as the node says them."""
    b = codes(3, 2, 3, 2)
    places = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 12, 0, 7], [0, 0, 0, 5]], np.int32)
    template = np.arange(16, dtype=np.int8).reshape(4, 4)
    node = WeightTiles("t", ("b",), ("t",), "t", template, places, np.array([0, 4], np.int32), np.array([3, 0], np.int32), -7)
    result = run(node, b)
    sums = b.astype(int).sum(axis=1).reshape(-1)
    assert result[:2].reshape(-1).view("<i4").tolist() == [7 * sums[3], 7 * sums[0]]
    flat = b.reshape(-1)
    assert result[2:].tolist() == [[flat[0], flat[11], 10, flat[6]], [12, 13, 14, flat[4]]]
