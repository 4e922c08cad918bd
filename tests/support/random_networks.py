"""Small quantized networks drawn by hypothesis: every node type, odd sizes, branches."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from systola.mapper.quantgraph import (
    Concat,
    Conv,
    Elementwise,
    Multiply,
    Node,
    Pad,
    Pool,
    Product,
    QuantGraph,
    QuantTensor,
    Reshape,
    Slice,
    Table,
    Transpose,
    Upsample,
)

__all__ = ["convolutions", "network_input", "networks", "products"]

MULTIPLIER_BITS = 17
MULTIPLIER_MAX = (1 << MULTIPLIER_BITS) - 1
FACTOR_MAX = (1 << 17) - 1  # of stage B
MAX_ELEMENTS = 6000
Shape = tuple[int, ...]


class _Builder:
    """A network in the making; weights come from a seed, structure from hypothesis."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shapes: dict[str, Shape] = {"x": shape}
        self.nodes: list[Node] = []

    def add(self, node: Node, shape: Shape) -> str:
        self.nodes.append(node)
        self.shapes[node.output] = shape
        return node.output

    def name(self) -> str:
        return f"t{len(self.nodes)}"

    def code(self, low: int = -128, high: int = 127) -> int:
        return int(self.rng.integers(low, high + 1))

    def range(self) -> tuple[int, int]:
        """A clamp, most often none."""
        if self.rng.random() < 0.7:
            return -128, 127
        low, high = sorted((self.code(), self.code()))
        return low, high

    def graph(self) -> QuantGraph:
        used = {name for node in self.nodes for name in node.inputs}
        outputs = tuple(node.output for node in self.nodes if node.output not in used)
        tensors = {name: QuantTensor(name, shape) for name, shape in self.shapes.items()}
        return QuantGraph("drawn", ("x",), outputs, tensors, tuple(self.nodes), MULTIPLIER_BITS)


def _window(draw: Any, height: int, width: int, most: int) -> tuple[Any, ...]:
    """kernel, stride, dilation, padding that leave at least one output."""
    kernel, stride, dilation, padding = [], [], [], []
    for extent in (height, width):
        k = draw(st.integers(1, min(most, extent)))
        d = draw(st.sampled_from((1, 1, 1, 2))) if (k - 1) * 2 < extent else 1
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.sampled_from((1, 1, 2, 3))))
        padding.append((draw(st.integers(0, (k - 1) * d)), draw(st.integers(0, (k - 1) * d))))
    return tuple(kernel), tuple(stride), tuple(dilation), tuple(padding)


def _outputs(extent: int, k: int, s: int, d: int, p: tuple[int, int]) -> int:
    return (extent + sum(p) - (k - 1) * d - 1) // s + 1


def _spatial(shape: Shape, window: tuple[Any, ...]) -> tuple[int, int]:
    kernel, stride, dilation, padding = window
    height, width = (
        _outputs(shape[2 + axis], kernel[axis], stride[axis], dilation[axis], padding[axis]) for axis in (0, 1)
    )
    return height, width


def _add_conv(draw: Any, b: _Builder, source: str, *, window: tuple[Any, ...] | None = None, outputs: int = 0) -> str:
    shape = b.shapes[source]
    channels = shape[1]
    window = window or _window(draw, shape[2], shape[3], draw(st.sampled_from((1, 3, 3, 5, 7))))
    kind = "dense" if outputs else draw(st.sampled_from(("dense", "dense", "depthwise", "grouped")))
    groups = 1
    if kind == "depthwise":
        groups = channels
        outputs = channels * draw(st.sampled_from((1, 1, 2)))
    elif kind == "grouped":
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, 4))
    outputs = outputs or draw(st.integers(1, 40))
    kernel, stride, dilation, padding = window
    rng, name = b.rng, b.name()
    low, high = b.range()
    node = Conv(
        name, (source,), (name,), name,
        weights=rng.integers(-127, 128, (outputs, channels // groups, *kernel)).astype(np.int8),
        bias=rng.integers(-20000, 20000, outputs).astype(np.int32),
        multiplier=rng.integers(1 << MULTIPLIER_BITS - 1, 1 << MULTIPLIER_BITS, outputs).astype(np.int32),
        shift=rng.integers(21, 27, outputs).astype(np.int32),
        zero_in=b.code(), zero_out=b.code(-30, 30), low=low, high=high,
        stride=stride, dilation=dilation, padding=padding, groups=groups,
    )  # fmt: skip
    return b.add(node, (1, outputs, *_spatial(shape, window)))


def _add_pool(draw: Any, b: _Builder, source: str) -> str:
    shape, name = b.shapes[source], b.name()
    window = _window(draw, shape[2], shape[3], draw(st.sampled_from((2, 3, 8))))
    kernel, stride, dilation, padding = window
    low, high = b.range()
    node = Pool(
        name, (source,), (name,), name, kind=draw(st.sampled_from(("max", "sum"))), size=kernel, stride=stride, padding=padding,
        pad_code=b.code(), dilation=dilation, zero_in=b.code(), multiplier=b.code(20000, MULTIPLIER_MAX), shift=b.code(14, 22),
        zero_out=b.code(-30, 30), low=low, high=high,
    )  # fmt: skip
    return b.add(node, (*shape[:2], *_spatial(shape, window)))


def _add_elementwise(draw: Any, b: _Builder, source: str) -> str:
    shape = b.shapes[source]
    inputs = [source]
    if draw(st.booleans()):
        others = [name for name, other in b.shapes.items() if other == shape or other == (1, shape[1], 1, 1)]
        branch = draw(st.booleans())
        unit = ((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
        inputs.append(_add_conv(draw, b, source, window=unit, outputs=shape[1]) if branch else draw(st.sampled_from(others)))
    low, high = b.range()
    positive = b.code(-FACTOR_MAX, FACTOR_MAX)
    previous = b.nodes[-1] if b.nodes else None
    zero = previous.zero_out if isinstance(previous, Conv | Pool) else b.code()
    name = b.name()
    swapped = len(inputs) == 2 and b.shapes[inputs[1]] == shape and draw(st.booleans())
    node = Elementwise(
        name, tuple(reversed(inputs)) if swapped else tuple(inputs), (name,), name, zero_a=zero, multiplier_positive=positive,
        multiplier_negative=positive if draw(st.booleans()) else b.code(-FACTOR_MAX, FACTOR_MAX),
        zero_operand=zero if swapped else b.code(), multiplier_operand=b.code(-FACTOR_MAX, FACTOR_MAX) if len(inputs) == 2 else 0,
        shift=b.code(13, 19), zero_out=b.code(-30, 30), low=low, high=high,
    )  # fmt: skip
    return b.add(node, shape)


def _add_multiply(draw: Any, b: _Builder, source: str) -> str:
    shape, name = b.shapes[source], b.name()
    others = [n for n, other in b.shapes.items() if other == shape or other == (1, shape[1], 1, 1)]
    node = Multiply(
        name, (source, draw(st.sampled_from(others))), (name,), name, zero_a=b.code(), zero_b=b.code(),
        multiplier=b.code(30000, MULTIPLIER_MAX), shift=b.code(18, 24), zero_out=b.code(-30, 30), low=-128, high=127,
    )  # fmt: skip
    return b.add(node, shape)


def _add_table(draw: Any, b: _Builder, source: str) -> str:
    del draw
    name = b.name()
    return b.add(Table(name, (source,), (name,), name, b.rng.integers(-128, 128, 256).astype(np.int8)), b.shapes[source])


def _add_layout(draw: Any, b: _Builder, source: str) -> str:
    shape, name = b.shapes[source], b.name()
    kind = draw(st.sampled_from(("pad", "slice", "upsample", "concat")))
    if kind == "pad":
        pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
        node: Node = Pad(name, (source,), (name,), name, ((0, 0), (0, 0), *pads), b.code())
        return b.add(node, (*shape[:2], shape[2] + sum(pads[0]), shape[3] + sum(pads[1])))
    if kind == "slice":
        begin = [0, 0, draw(st.integers(0, shape[2] - 1)), draw(st.integers(0, shape[3] - 1))]
        stride = (1, 1, draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        node = Slice(name, (source,), (name,), name, tuple(begin), shape, stride)
        return b.add(node, (*shape[:2], *(-(-(shape[a] - begin[a]) // stride[a]) for a in (2, 3))))
    if kind == "upsample":
        factor = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
        return b.add(Upsample(name, (source,), (name,), name, factor), (*shape[:2], shape[2] * factor[0], shape[3] * factor[1]))
    parts = [n for n, other in b.shapes.items() if other[2:] == shape[2:]]
    chosen = (source, *draw(st.lists(st.sampled_from(parts), min_size=1, max_size=2)))
    return b.add(Concat(name, chosen, (name,), name, 1), (1, sum(b.shapes[n][1] for n in chosen), *shape[2:]))


_KINDS = {
    "conv": _add_conv,
    "pool": _add_pool,
    "elementwise": _add_elementwise,
    "multiply": _add_multiply,
    "table": _add_table,
    "layout": _add_layout,
}


def _input_shape(draw: Any, channels: int, extent: int) -> Shape:
    return 1, draw(st.integers(1, channels)), draw(st.integers(1, extent)), draw(st.integers(1, extent))


@st.composite
def convolutions(draw: Any) -> QuantGraph:
    """One convolution of any kind, perhaps with an elementwise node behind it."""
    b = _Builder(_input_shape(draw, 48, 18), draw(st.integers(0, 1 << 30)))
    last = _add_conv(draw, b, "x")
    if draw(st.booleans()):
        _add_elementwise(draw, b, last)
    return b.graph()


@st.composite
def networks(draw: Any) -> QuantGraph:
    """A few nodes of any type, one after the other with branches."""
    b = _Builder(_input_shape(draw, 40, 12), draw(st.integers(0, 1 << 30)))
    last = "x"
    for kind in draw(st.lists(st.sampled_from((*_KINDS, "conv", "elementwise")), min_size=1, max_size=6)):
        last = _KINDS[kind](draw, b, last)
        if int(np.prod(b.shapes[last])) > MAX_ELEMENTS:
            break
    return b.graph()


def _linear(b: _Builder, source: str, rows: int, inputs: int, outputs: int) -> str:
    rng, name = b.rng, b.name()
    node = Conv(
        name, (source,), (name,), name, weights=rng.integers(-127, 128, (outputs, inputs, 1, 1)).astype(np.int8),
        bias=rng.integers(-20000, 20000, outputs).astype(np.int32),
        multiplier=rng.integers(1 << MULTIPLIER_BITS - 1, 1 << MULTIPLIER_BITS, outputs).astype(np.int32),
        shift=rng.integers(22, 27, outputs).astype(np.int32), zero_in=b.code(), zero_out=0, low=-128, high=127,
    )  # fmt: skip
    return b.add(node, (rows, outputs))


@st.composite
def products(draw: Any) -> QuantGraph:
    """Products of two computed tensors as attention has them: scores of rows with rows, or rows mixed; then a sum."""
    rows, inputs = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    groups, depth = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    b = _Builder((rows, inputs), draw(st.integers(0, 1 << 30)))
    scores = draw(st.booleans())
    # As many channels of the first operand as the second has rows of each matrix.
    one = _linear(b, "x", rows, inputs, groups * (depth if scores else rows))
    other = _linear(b, "x", rows, inputs, groups * depth)
    split, turned, name = "split", "turned", "product"
    b.add(Reshape(split, (other,), (split,), split, (rows, groups, depth)), (rows, groups, depth))
    axes = (1, 2, 0) if scores else (1, 0, 2)
    shape = tuple((rows, groups, depth)[axis] for axis in axes)
    b.add(Transpose(turned, (split,), (turned,), turned, axes), shape)
    low, high = b.range()
    node = Product(
        name, (one, turned), (name,), name, groups=groups, zero_a=b.code(), multiplier=b.code(1 << 16, MULTIPLIER_MAX),
        shift=b.code(23, 26), zero_out=b.code(-30, 30), low=low, high=high,
    )  # fmt: skip
    b.add(node, (rows, groups * shape[2]))
    if draw(st.booleans()):
        _add_sum(draw, b, node)
    return b.graph()


def _add_sum(draw: Any, b: _Builder, node: Product) -> None:
    """Elementwise behind a product, alone or with another tensor of its shape."""
    shape, name = b.shapes[node.output], b.name()
    others = [each for each, other in b.shapes.items() if other == shape]
    inputs = (node.output, draw(st.sampled_from(others))) if draw(st.booleans()) else (node.output,)
    factor = b.code(-FACTOR_MAX, FACTOR_MAX)
    b.add(
        Elementwise(
            name, inputs, (name,), name, zero_a=node.zero_out, multiplier_positive=factor, multiplier_negative=factor,
            zero_operand=b.code(), multiplier_operand=b.code(-FACTOR_MAX, FACTOR_MAX) if len(inputs) == 2 else 0,
            shift=b.code(13, 19), zero_out=b.code(-30, 30), low=-128, high=127,
        ),
        shape,
    )  # fmt: skip


def network_input(graph: QuantGraph) -> dict[str, np.ndarray[Any, np.dtype[np.int8]]]:
    """A random sample for a drawn network, always the same one."""
    shape = graph.tensors["x"].shape
    return {"x": np.random.default_rng(sum(shape)).integers(-128, 128, shape).astype(np.int8)}
