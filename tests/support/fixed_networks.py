"""A network of fixed structure that uses every engine and every kind of transfer, small enough to fail at each of its bursts."""

from __future__ import annotations

import numpy as np

from systola.mapper.quantgraph import Conv, Elementwise, Pool, QuantGraph, QuantTensor

__all__ = ["residual_network"]

MULTIPLIER_BITS = 17


def residual_network(channels: int = 6, extent: int = 6) -> QuantGraph:
    """x → conv 3×3 → depthwise 3×3 → conv 1×1 → + x → max pooling; names x, wide, depthwise, narrow, sum, y."""
    rng = np.random.default_rng(7)
    wide = 2 * channels

    def conv(source: str, name: str, outputs: int, inputs: int, kernel: int, shift: int, groups: int = 1) -> Conv:
        pad = (kernel // 2, kernel // 2)
        return Conv(
            name, (source,), (name,), name,
            weights=rng.integers(-127, 128, (outputs, inputs // groups, kernel, kernel)).astype(np.int8),
            bias=rng.integers(-5000, 5000, outputs).astype(np.int32),
            multiplier=rng.integers(1 << MULTIPLIER_BITS - 1, 1 << MULTIPLIER_BITS, outputs).astype(np.int32),
            shift=np.full(outputs, shift, np.int32), zero_in=3, zero_out=-5, low=-128, high=127,
            padding=(pad, pad), groups=groups,
        )  # fmt: skip

    nodes = (
        conv("x", "wide", wide, channels, 3, 25),
        conv("wide", "depthwise", wide, wide, 3, 24, groups=wide),
        conv("depthwise", "narrow", channels, wide, 1, 24),
        Elementwise(
            "sum", ("narrow", "x"), ("sum",), "sum", zero_a=-5, multiplier_positive=9000, multiplier_negative=9000,
            zero_operand=4, multiplier_operand=7000, shift=14, zero_out=2, low=-128, high=127,
        ),
        Pool("y", ("sum",), ("y",), "y", kind="max", size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), pad_code=-128),
    )  # fmt: skip
    plane = (extent, extent)
    shapes = {
        "x": (1, channels, *plane), "wide": (1, wide, *plane), "depthwise": (1, wide, *plane), "narrow": (1, channels, *plane),
        "sum": (1, channels, *plane), "y": (1, channels, extent // 2, extent // 2),
    }  # fmt: skip
    return QuantGraph("residual", ("x",), ("y",), {n: QuantTensor(n, s) for n, s in shapes.items()}, nodes, MULTIPLIER_BITS)
