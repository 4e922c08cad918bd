"""Channels moved between lanes by the array: a convolution with weights 0 and 1 copies codes exactly.

Stage A of ``Σ (x − z) · w`` with one weight of 1, a factor of exactly one and zero point z is x itself; with no weight of 1
it is z. So a part of a concatenation can be put at any channel, the others being z, and adding the next part to it in stage B
(again with factors of exactly one) leaves each channel with the code of its own part.
"""

from __future__ import annotations

import numpy as np

from systola.mapper.layers import ArrayLayer, StageB, Window
from systola.mapper.quantgraph import Elementwise, Node

__all__ = ["place_channels"]


def place_channels(
    node: Node,
    source: str,
    output: str,
    channels: tuple[int, int],
    first: int,
    zero: int,
    multiplier_bits: int,
    before: str = "",
) -> ArrayLayer:
    """A layer that copies channels of ``source`` to ``output``, of (source, output) channels, so that output channel c is
    source channel ``c − first``, and channels without one are ``zero``, or those of the tensor ``before``.
    """
    inputs, outputs = channels
    weights = np.zeros((outputs, inputs, 1, 1), dtype=np.int8)
    here = np.arange(max(first, 0), min(first + inputs, outputs))
    weights[here, here - first] = 1
    one, shift = 1 << multiplier_bits - 1, multiplier_bits - 1
    bias = -zero * weights.sum(axis=(1, 2, 3), dtype=np.int32)
    stage_b = None
    if before:
        same = Elementwise(output, (output, before), (output,), node.source, zero, one, one, zero, one, shift, zero, -128, 127)
        stage_b = StageB(same, before, one, one, one, zero, zero)
    return ArrayLayer(
        name=output, nodes=(node,), output=output, macs=0, input=source, window=Window(pad_code=zero), groups=1,
        weights=weights, bias=bias.astype(np.int32), multiplier=np.full(outputs, one, np.int32),
        shift=np.full(outputs, shift, np.int32), zero_out=zero, low=-128, high=127, stage_b=stage_b,
    )  # fmt: skip
