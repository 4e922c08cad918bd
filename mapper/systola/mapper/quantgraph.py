"""The quantized network: int8 tensors and operations with exact integer meaning.

``QuantGraph`` is what the quantizer makes and what golden, mapper and reports take. Each node's result is defined bit by bit
by ``systola.hw.numerics`` and the docstrings here, so fusing nodes or tiling them changes nothing.

Tensors are int8 codes with NNEF's shape (batch first, then channels). ``real = (code − zero_point) · scale``. Unsigned 8-bit
tensors of the source are re-centred at import (code = unsigned − 128) and marked so that outputs can be given back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from systola.mapper.graph import Operation

__all__ = [
    "Concat",
    "Conv",
    "Elementwise",
    "Host",
    "Im2col",
    "Multiply",
    "Node",
    "Pad",
    "Pool",
    "Product",
    "QuantGraph",
    "QuantTensor",
    "Reshape",
    "Slice",
    "Table",
    "Transpose",
    "Upsample",
    "WeightTiles",
]

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Padding2d = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)), in input positions; never negative."""


@dataclass(frozen=True, eq=False)
class QuantTensor:
    """An int8 tensor. ``data`` is set for constants. ``unsigned``: the source's codes are these plus 128.

    ``is_float``: the tensor is not quantized (an output of a host operation that stays in float, such as softmax).
    """

    name: str
    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    unsigned: bool = False
    data: Int8 | None = None
    is_float: bool = False


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. ``name`` is unique (the output's name where there is one output); ``source`` is where it comes from in the
    model (operation names as the user wrote them), for reports."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str

    @property
    def output(self) -> str:
        """The only output."""
        return self.outputs[0]


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Convolution, also linear and matmul with a constant (1×1 over rows as pixels), then stage A.

    ``acc[o] = Σ (x − zero_in) · weights[o]`` with positions outside the input counting as x = zero_in, then
    ``numerics.requantize(acc, bias[o], multiplier[o], shift[o], zero_out, low, high)``.
    weights: int8 [O, I/groups, kh, kw]; bias int32 [O]; multiplier int32 [O] ≥ 0; shift int32 [O].
    A rank-2 input [N, C] is N pixels of C channels, as is its output.
    """

    weights: Int8
    bias: Int32
    multiplier: Int32
    shift: Int32
    zero_in: int
    zero_out: int
    low: int
    high: int
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding2d = ((0, 0), (0, 0))
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Product(Node):
    """Matrix products of two computed tensors, as many as ``groups``, side by side.

    a: [M, groups·K], b: [groups, K, N], result: [M, groups·N];
    ``acc[m, g·N + n] = Σ_k (a[m, g·K + k] − zero_a) · b[g, k, n]``, then ``numerics.requantize(acc, 0, multiplier, shift,
    zero_out, low, high)``. b's zero point is 0.
    """

    groups: int
    zero_a: int
    multiplier: int
    shift: int
    zero_out: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Elementwise(Node):
    """Stage B on one tensor, or on two: add, subtract, relu, clamp, leaky relu, change of scale.

    ``numerics.elementwise(a, zero_a, multiplier_positive, multiplier_negative, b, zero_operand, multiplier_operand, shift,
    zero_out, low, high)``; with one input, multiplier_operand is 0. b has a's shape, or broadcasts: each of its dimensions (ranks
    equal) is a's or 1.
    """

    zero_a: int
    multiplier_positive: int
    multiplier_negative: int
    zero_operand: int
    multiplier_operand: int
    shift: int
    zero_out: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Multiply(Node):
    """``numerics.requantize((a − zero_a) · (b − zero_b), 0, multiplier, shift, zero_out, low, high)``; b broadcasts as in
    Elementwise."""

    zero_a: int
    zero_b: int
    multiplier: int
    shift: int
    zero_out: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Pool(Node):
    """Pooling over windows of [N, C, H, W].

    "max": the largest code; positions outside count as ``pad_code``; no requantization. "sum": ``requantize(Σ (x − zero_in), 0,
    multiplier, shift, zero_out, low, high)``; positions outside count as zero_in (averages divide through multiplier).
    """

    kind: Literal["max", "sum"]
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding2d
    pad_code: int = -128
    dilation: tuple[int, int] = (1, 1)
    zero_in: int = 0
    multiplier: int = 0
    shift: int = 0
    zero_out: int = 0
    low: int = -128
    high: int = 127


@dataclass(frozen=True, eq=False)
class Table(Node):
    """``table[x + 128]``; table: int8 [256]."""

    table: Int8


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Inputs of one scale and zero point, one after the other along ``axis``."""

    axis: int


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """The same codes in NNEF's (row-major) order under another shape: reshape, squeeze, unsqueeze, copy."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Transpose(Node):
    """Axes permuted as in NumPy's transpose."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Slice(Node):
    """Basic slicing: begin and end (exclusive, resolved, within the shape) per dimension, and a positive stride each."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """Constant padding per dimension with ``code`` (the zero point for zeros)."""

    padding: tuple[tuple[int, int], ...]
    code: int


@dataclass(frozen=True, eq=False)
class Upsample(Node):
    """Nearest-neighbour upsampling of the two spatial dimensions by integer factors."""

    factor: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Host(Node):
    """An operation computed on the host in float arithmetic: inputs are dequantized, the float reference's function for
    ``operation`` is applied in float64, and outputs that are not ``is_float`` are quantized (round half to even, clamp to int8).

    ``constants`` holds the float tensors it needs by the names that ``operation`` uses. ``reason``: why it is on the host.
    """

    operation: Operation
    constants: Mapping[str, NDArray[Any]]
    reason: str


@dataclass(frozen=True, eq=False)
class Im2col(Node):
    """Kernel positions as channels, which the host writes where a convolution reads a tensor with few channels that the host
    makes anyway: output [1, kh·kw·C, Ho, Wo], channel ``(ky·kw + kx)·C + c``; positions outside the input hold ``pad_code``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding2d
    pad_code: int


@dataclass(frozen=True, eq=False)
class WeightTiles(Node):
    """The second operand of a Product as the array reads weights, which the host writes: int8 [words, lanes], byte for byte.

    Byte i is ``template[i]`` where ``places[i]`` is 0, else code ``places[i] − 1`` of the operand in row-major order. Then the
    four bytes from ``bias_bytes[j]`` on are, little endian, ``−zero_a · Σ_k b[g, k, n]`` with g·N + n = ``bias_outputs[j]``:
    what the first operand's zero point adds to an output, in its record.
    """

    template: Int8
    places: Int32
    bias_bytes: Int32
    bias_outputs: Int32
    zero_a: int


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """A quantized network: nodes in execution order, tensors by name, inputs and outputs in the graph's order.

    ``multiplier_bits``: the hardware parameter that the multipliers were made for.
    ``notes``: remarks for the report, such as tensors whose range had to be assumed.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, QuantTensor]
    nodes: tuple[Node, ...]
    multiplier_bits: int
    notes: tuple[str, ...] = ()

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor; None for an input or a constant."""
        return next((n for n in self.nodes if tensor in n.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor."""
        return tuple(n for n in self.nodes if tensor in n.inputs)
