"""The layers of a network as the accelerator runs them: nodes fused, and each given to an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import VectorOp
from systola.mapper.quantgraph import Elementwise, Node, Padding2d, QuantTensor

__all__ = ["Alias", "ArrayLayer", "HostLayer", "Layer", "Lowered", "StageB", "VectorLayer", "Window"]


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling: (y, x) pairs."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding2d = ((0, 0), (0, 0))
    pad_code: int = 0

    @property
    def is_pointwise(self) -> bool:
        """One input position for each output, and no padding."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == ((0, 0), (0, 0))

    def input_span(self, axis: int, first: int, count: int) -> tuple[int, int]:
        """Input positions, begin and end before clipping, that outputs first … first + count − 1 cover; axis 0 is y."""
        begin = first * self.stride[axis] - self.padding[axis][0]
        return begin, begin + (count - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1


@dataclass(frozen=True, eq=False)
class StageB:
    """A fused elementwise node; ``operand`` is the second tensor, if there is one."""

    node: Elementwise
    operand: str | None
    multiplier_positive: int
    multiplier_negative: int
    multiplier_operand: int
    zero_code: int
    zero_operand: int


@dataclass(frozen=True, eq=False)
class _LayerBase:
    """``nodes``: the quantized graph's nodes that this layer computes, first to last. ``macs`` by the network's definition."""

    name: str
    nodes: tuple[Node, ...]
    output: str
    macs: int


@dataclass(frozen=True, eq=False)
class ArrayLayer(_LayerBase):
    """A convolution or matrix product, on array and drain.

    weights: int8 [O, I/groups, kh, kw]; bias int32 [O], the input's zero point folded in; multiplier, shift int32 [O].

    ``tiles``: where the weights are another tensor's codes, the tensor that the host writes them to as tiles; ``weights`` are
    then int32: places in that other tensor, counted from 1, and ``bias`` is 0: the host adds what is missing.
    """

    input: str
    window: Window
    groups: int
    weights: NDArray[np.int8] | NDArray[np.int32]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    zero_out: int
    low: int
    high: int
    stage_b: StageB | None
    tiles: str = ""


@dataclass(frozen=True, eq=False)
class VectorLayer(_LayerBase):
    """A layer of the vector engine. ``operand``: the second tensor; ``stage_b`` as for the drain.

    ``records``: (bias, multiplier, shift), each int32 [channels], or [1] for one set for all; None for ops without stage A.
    ``weights``: int8 [channels, kh, kw] for DEPTHWISE. ``table``: int8 [256] for TABLE.
    ``broadcast_operand``: the operand has one pixel per channel. ``upsample``: factors (y, x).
    """

    input: str
    op: VectorOp
    window: Window
    operand: str | None
    broadcast_operand: bool
    zero_in: int
    zero_out: int
    low: int
    high: int
    zero_operand: int
    records: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]] | None
    weights: NDArray[np.int8] | None
    table: NDArray[np.int8] | None
    stage_b: StageB | None
    upsample: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class HostLayer(_LayerBase):
    """A node that the host computes, and why."""

    reason: str


Layer = ArrayLayer | VectorLayer | HostLayer


@dataclass(frozen=True)
class Alias:
    """A tensor that lies inside another: from plane ``plane`` of ``whole`` on, under its own shape."""

    whole: str
    plane: int


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as layers, in execution order.

    ``shapes``: every tensor's shape. ``aliases``: tensors without memory of their own. ``constants``: codes of tensors that
    the image holds from the start. ``host_only``: tensors without a place in the accelerator's memory: float ones, and those
    with a shape that it cannot hold. ``quant``: the quantized graph's tensors.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    shapes: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, Alias]
    constants: Mapping[str, NDArray[np.int8]]
    host_only: frozenset[str]
    quant: Mapping[str, QuantTensor]
