"""QuantGraph → layers: fuse nodes, give each layer to an engine or to the host, find tensors that need no memory of their own.

Fusing never changes a bit: a layer computes exactly what its nodes define, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import MappingError
from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.layers import Alias, ArrayLayer, HostLayer, Layer, Lowered, StageB, VectorLayer, Window
from systola.mapper.layout import channels_height_width
from systola.mapper.quantgraph import (
    Concat,
    Conv,
    Elementwise,
    Host,
    Im2col,
    Multiply,
    Node,
    Pad,
    Pool,
    Product,
    QuantGraph,
    Reshape,
    Slice,
    Table,
    Transpose,
    Upsample,
    WeightTiles,
)
from systola.mapper.selection import place_channels

__all__ = ["lower"]

MAX_WINDOW = 255  # the widest kernel, stride or dilation that an instruction's fields hold
_NodeT = TypeVar("_NodeT", bound=Node)
_Result = TypeVar("_Result")
_Node = Any  # the registry's functions each take their own node type


@dataclass
class _State:
    """What lowering has found so far."""

    graph: QuantGraph
    params: Params
    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, Alias] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        return self.graph.consumers(tensor)

    def made_by_host(self, tensor: str) -> bool:
        """The host writes it: a graph input, or the output of a host layer."""
        if tensor in self.aliases:
            return self.made_by_host(self.aliases[tensor].whole)
        return tensor in self.graph.inputs or any(isinstance(x, HostLayer) and x.output == tensor for x in self.layers)

    def host(self, node: Node, reason: str) -> None:
        """Give a node to the host."""
        for output in node.outputs:
            self.layers.append(HostLayer(node.name, (node,), output, 0, reason))


def lower(graph: QuantGraph, params: Params) -> Lowered:
    """The layers of ``graph`` for this accelerator. Raises MappingError where a number does not fit the hardware."""
    state = _State(graph, params)
    state.shapes = {t.name: t.shape for t in graph.tensors.values()}
    state.constants = {t.name: t.data for t in graph.tensors.values() if t.data is not None}
    for node in graph.nodes:
        if node.name in state.done:
            continue
        reason = _cannot_hold(state, node)
        if reason:
            state.host(node, reason)
        else:
            _LOWERING[type(node)](state, node)
    host_only = frozenset(t.name for t in graph.tensors.values() if t.is_float or not _has_layout(t.shape))
    return Lowered(
        graph.name, graph.inputs, graph.outputs, tuple(state.layers), state.shapes, state.aliases, state.constants, host_only,
        graph.tensors,
    )  # fmt: skip


def _has_layout(shape: tuple[int, ...]) -> bool:
    try:
        channels_height_width(shape)
    except MappingError:
        return False
    return True


def _cannot_hold(state: _State, node: Node) -> str:
    """Why the tensors of a node cannot lie in the accelerator's memory; empty if they can."""
    if isinstance(node, Host):
        return ""
    inputs = node.inputs[:1] if isinstance(node, Product) else node.inputs  # the host writes the second one anew
    for name in (*inputs, *node.outputs):
        try:
            channels_height_width(state.shapes[name])
        except MappingError as error:
            return str(error)
    return ""


def _once_per_node(function: Callable[[_NodeT], _Result]) -> Callable[[_NodeT], _Result]:
    """What a function of a node returns, kept as long as the node: the same network is compiled for many accelerators."""
    known: WeakKeyDictionary[_NodeT, _Result] = WeakKeyDictionary()

    def looked_up(node: _NodeT) -> _Result:
        if node not in known:
            known[node] = function(node)
        return known[node]

    return looked_up


# --- convolution ---------------------------------------------------------------------------------------------------


def _lower_conv(state: _State, node: Conv) -> None:
    kernel = cast("tuple[int, int]", node.weights.shape[2:])
    if max(*kernel, *node.stride, *node.dilation) > MAX_WINDOW:
        state.host(node, f"its kernel, stride or dilation is over {MAX_WINDOW}")
        return
    window = Window(kernel, node.stride, node.dilation, node.padding, node.zero_in)
    if _on_vector_engine(state.params, node, kernel):
        state.layers.append(_fuse(state, _depthwise(state, node, window), binary=False))
        return
    layer = _array_layer(state, node, window)
    packed = _im2col(state, layer)
    state.layers.append(_fuse(state, packed or layer, binary=True))


def _on_vector_engine(params: Params, node: Conv, kernel: tuple[int, int]) -> bool:
    outputs, per_group = node.weights.shape[:2]
    if node.groups == 1 or per_group != 1 or outputs != node.groups or not params.taps:
        return False
    return _column_mode(params, kernel, node.dilation) or kernel[0] * kernel[1] <= params.tap_entries


def _column_mode(params: Params, kernel: tuple[int, int], dilation: tuple[int, int]) -> bool:
    return kernel[1] <= params.taps and kernel[0] <= params.config.vector.tap_depth and dilation[1] == 1


def _depthwise(state: _State, node: Conv, window: Window) -> VectorLayer:
    _check_depthwise_bound(node)
    return VectorLayer(
        name=node.name, nodes=(node,), output=node.output, macs=_conv_macs(state, node), input=node.inputs[0],
        op=VectorOp.DEPTHWISE, window=window, operand=None, broadcast_operand=False, zero_in=node.zero_in,
        zero_out=node.zero_out, low=node.low, high=node.high, zero_operand=0,
        records=(node.bias, node.multiplier, node.shift), weights=node.weights[:, 0], table=None, stage_b=None,
    )  # fmt: skip


def _array_layer(state: _State, node: Conv, window: Window) -> ArrayLayer:
    return ArrayLayer(
        name=node.name, nodes=(node,), output=node.output, macs=_conv_macs(state, node), input=node.inputs[0],
        window=window, groups=node.groups, weights=node.weights, bias=_folded_bias(node),
        multiplier=node.multiplier, shift=node.shift, zero_out=node.zero_out, low=node.low, high=node.high, stage_b=None,
    )  # fmt: skip


@_once_per_node
def _folded_bias(node: Conv) -> NDArray[np.int32]:
    """The bias with the input's zero point folded in. Raises MappingError where a sum could pass 32 bits."""
    weights = node.weights.astype(np.int64).reshape(len(node.bias), -1)
    bias = node.bias.astype(np.int64) - node.zero_in * weights.sum(1)
    _check_bound(node, np.abs(weights).sum(1) * 128, bias)
    folded: NDArray[np.int32] = bias.astype(np.int32)
    return folded


@_once_per_node
def _check_depthwise_bound(node: Conv) -> None:
    """Raises MappingError where a sum could pass 32 bits."""
    _check_bound(node, np.abs(node.weights.astype(np.int64)).reshape(len(node.bias), -1).sum(1) * 255, node.bias)


def _check_bound(node: Node, products: NDArray[np.int64], bias: NDArray[Any]) -> None:
    """Prove that no sum passes 32 bits, whatever the input."""
    worst = int(np.max(products + np.abs(bias.astype(np.int64)), initial=0))
    if worst >= 1 << 31:
        raise MappingError(
            f"operation '{node.name}': its sums can reach {worst}, over the 32 bits of an accumulator; "
            "use smaller weights or biases, or split its input channels"
        )


def _conv_macs(state: _State, node: Conv) -> int:
    _, height, width = channels_height_width(state.shapes[node.output])
    return int(node.weights.size) * height * width


def _im2col(state: _State, layer: ArrayLayer) -> ArrayLayer | None:
    """The layer over kernel positions as channels, where the host makes the input and it pays; None otherwise."""
    outputs, channels, kh, kw = layer.weights.shape
    if layer.groups != 1 or kh * kw == 1 or not state.made_by_host(layer.input):
        return None
    rows, lanes = state.params.rows, state.params.lanes
    passes, packed_passes = -(-channels // rows) * kh * kw, -(-channels * kh * kw // rows)
    _, height, width = channels_height_width(state.shapes[layer.output])
    blocks = -(-outputs // state.params.columns)
    words = -(-channels * kh * kw // lanes)
    saved = (passes - packed_passes) * blocks * height * width
    traffic_cycles = words * lanes * height * width // min(state.params.bus_bytes, state.params.config.dram.bytes_per_cycle)
    if saved <= 0 or traffic_cycles > passes * blocks * height * width:
        return None
    name = f"{layer.output}.im2col"
    window = layer.window
    node = Im2col(name, (layer.input,), (name,), layer.name, window.kernel, window.stride, window.dilation, window.padding,
                  window.pad_code)  # fmt: skip
    state.shapes[name] = (1, kh * kw * channels, height, width)
    state.layers.append(HostLayer(name, (node,), name, 0, "writes the input with kernel positions as channels"))
    weights: NDArray[Any] = np.ascontiguousarray(layer.weights.transpose(0, 2, 3, 1)).reshape(outputs, -1, 1, 1)
    return replace(layer, input=name, window=Window(pad_code=window.pad_code), weights=weights)


# --- products of two computed tensors ------------------------------------------------------------------------------


def _lower_product(state: _State, node: Product) -> None:
    """A convolution in groups, 1×1, whose weights the host writes."""
    groups, depth, columns = state.shapes[node.inputs[1]]
    outputs = groups * columns
    _check_bound(node, np.full(1, depth * 128 * (128 + abs(node.zero_a))), np.zeros(1, np.int32))
    tiles, empty = f"{node.output}.tiles", np.zeros(0, np.int32)
    state.shapes[tiles] = (1, state.params.lanes)  # until the tiling is chosen
    host = WeightTiles(tiles, node.inputs[1:], (tiles,), node.source, empty.astype(np.int8), empty, empty, empty, node.zero_a)
    state.layers.append(HostLayer(tiles, (host,), tiles, 0, "writes the second operand as the array reads weights"))
    places = np.arange(1, groups * depth * columns + 1, dtype=np.int32).reshape(groups, depth, columns)
    pixels = state.shapes[node.output][0]
    layer = ArrayLayer(
        name=node.name, nodes=(node,), output=node.output, macs=pixels * outputs * depth, input=node.inputs[0],
        window=Window(pad_code=node.zero_a), groups=groups,
        weights=np.ascontiguousarray(places.transpose(0, 2, 1)).reshape(outputs, depth, 1, 1), bias=np.zeros(outputs, np.int32),
        multiplier=np.full(outputs, node.multiplier, np.int32), shift=np.full(outputs, node.shift, np.int32),
        zero_out=node.zero_out, low=node.low, high=node.high, stage_b=None, tiles=tiles,
    )  # fmt: skip
    state.layers.append(_fuse(state, layer, binary=True))


# --- fusing stage B ------------------------------------------------------------------------------------------------


def _fuse(state: _State, layer: Any, *, binary: bool) -> Any:
    """The layer with the elementwise node that follows it, if it can be computed on the way out."""
    users = state.consumers(layer.output)
    if len(users) != 1 or layer.output in state.graph.outputs or not isinstance(users[0], Elementwise):
        return layer
    node = users[0]
    if node.inputs.count(layer.output) != 1 or state.shapes[node.output] != state.shapes[layer.output]:
        return layer
    stage_b = _stage_b(state, node, layer.output, binary=binary)
    if stage_b is None:
        return layer
    skips_stage_a = isinstance(layer, VectorLayer) and layer.op is VectorOp.MAX
    if stage_b.zero_code != layer.zero_out and not skips_stage_a:
        return layer  # the instructions have one field for both
    state.done.add(node.name)
    nodes = (*layer.nodes, node)
    return replace(layer, name=node.name, nodes=nodes, output=node.output, zero_out=stage_b.zero_code, stage_b=stage_b)


def _stage_b(state: _State, node: Elementwise, code: str, *, binary: bool) -> StageB | None:
    if len(node.inputs) == 1:
        return StageB(node, None, node.multiplier_positive, node.multiplier_negative, 0, node.zero_a, 0)
    other = node.inputs[1] if node.inputs[0] == code else node.inputs[0]
    ready = other in state.graph.inputs or other in state.constants or other in state.aliases or any(
        x.output == other for x in state.layers
    )  # fmt: skip
    if not binary or not ready or state.shapes[other] != state.shapes[code]:
        return None
    if node.inputs[0] == code:
        return StageB(node, other, node.multiplier_positive, node.multiplier_negative, node.multiplier_operand,
                      node.zero_a, node.zero_operand)  # fmt: skip
    if node.multiplier_positive != node.multiplier_negative:
        return None
    return StageB(node, other, node.multiplier_operand, node.multiplier_operand, node.multiplier_positive,
                  node.zero_operand, node.zero_a)  # fmt: skip


# --- the vector engine's layers ------------------------------------------------------------------------------------


def _vector(node: Node, op: VectorOp, **changes: Any) -> VectorLayer:
    """A vector layer with the usual values for what ``changes`` does not say."""
    usual: dict[str, Any] = {
        "name": node.name, "nodes": (node,), "output": node.output, "macs": 0, "input": node.inputs[0], "op": op,
        "window": Window(), "operand": None, "broadcast_operand": False, "zero_in": 0, "zero_out": 0, "low": -128,
        "high": 127, "zero_operand": 0, "records": None, "weights": None, "table": None, "stage_b": None,
    }  # fmt: skip
    return VectorLayer(**{**usual, **changes})


def _one_record(multiplier: int, shift: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    return np.zeros(1, np.int32), np.array([multiplier], np.int32), np.array([shift], np.int32)


def _lower_pool(state: _State, node: Pool) -> None:
    if max(*node.size, *node.stride, *node.dilation) > MAX_WINDOW:
        state.host(node, f"its window, stride or dilation is over {MAX_WINDOW}")
        return
    is_max = node.kind == "max"
    window = Window(node.size, node.stride, node.dilation, node.padding, node.pad_code if is_max else node.zero_in)
    layer = _vector(
        node, VectorOp.MAX if is_max else VectorOp.SUM, window=window, zero_in=node.zero_in, zero_out=node.zero_out,
        low=node.low, high=node.high, records=None if is_max else _one_record(node.multiplier, node.shift),
    )  # fmt: skip
    state.layers.append(_fuse(state, layer, binary=False))


def _operand(state: _State, node: Node, a: str, b: str) -> tuple[str, bool] | None:
    """(operand, whether it is broadcast over pixels) for a lane-wise operation; None where the vector engine cannot read it so.

    A constant that broadcasts any other way is written out in full.
    """
    shape_a, shape_b = state.shapes[a], state.shapes[b]
    if shape_a == shape_b:
        return b, False
    if b in state.constants:
        name = f"{node.name}.{b}"
        state.constants[name] = np.ascontiguousarray(np.broadcast_to(state.constants[b], shape_a))
        state.shapes[name] = shape_a
        return name, False
    if len(shape_a) == len(shape_b) >= 3 and shape_b[1] == shape_a[1] and prod(shape_b[2:]) == 1:
        return b, True
    return None


def _lower_elementwise(state: _State, node: Elementwise) -> None:
    if len(node.inputs) == 1:
        stage_b = _stage_b(state, node, node.inputs[0], binary=False)
        state.layers.append(_vector(node, VectorOp.COPY, zero_out=node.zero_a, stage_b=stage_b))
        return
    operand = _operand(state, node, *node.inputs)
    if operand is None:
        state.host(node, "its second operand broadcasts in a way that the vector engine cannot read")
        return
    stage_b = StageB(node, operand[0], node.multiplier_positive, node.multiplier_negative, node.multiplier_operand,
                     node.zero_a, node.zero_operand)  # fmt: skip
    layer = _vector(
        node, VectorOp.COPY, operand=operand[0], broadcast_operand=operand[1], zero_out=node.zero_a,
        zero_operand=node.zero_operand, stage_b=stage_b,
    )  # fmt: skip
    state.layers.append(layer)


def _lower_multiply(state: _State, node: Multiply) -> None:
    operand = _operand(state, node, *node.inputs)
    if operand is None or not state.params.taps:
        state.host(node, "the vector engine has no multipliers" if operand else "its second operand broadcasts in a way that the "
                   "vector engine cannot read")  # fmt: skip
        return
    layer = _vector(
        node, VectorOp.MUL, operand=operand[0], broadcast_operand=operand[1], zero_in=node.zero_a, zero_operand=node.zero_b,
        zero_out=node.zero_out, low=node.low, high=node.high, records=_one_record(node.multiplier, node.shift),
    )  # fmt: skip
    state.layers.append(layer)


def _lower_table(state: _State, node: Table) -> None:
    state.layers.append(_vector(node, VectorOp.TABLE, table=node.table))


def _lower_upsample(state: _State, node: Upsample) -> None:
    state.layers.append(_vector(node, VectorOp.COPY, upsample=node.factor))


def _lower_pad(state: _State, node: Pad) -> None:
    if len(node.padding) < 4 or any(p != (0, 0) for p in node.padding[:2]):
        state.host(node, "it pads channels or samples")
        return
    window = Window(padding=(node.padding[2], node.padding[3]), pad_code=node.code)
    state.layers.append(_vector(node, VectorOp.COPY, window=window))


# --- layout --------------------------------------------------------------------------------------------------------


def _lower_reshape(state: _State, node: Reshape) -> None:
    source, shape = node.inputs[0], state.shapes[node.output]
    if channels_height_width(state.shapes[source]) == channels_height_width(shape) and source not in state.constants:
        state.aliases[node.output] = Alias(source, 0)
        return
    flat = _flatten_into_linear(state, node)
    if not flat:
        state.host(node, "it moves codes between channels and pixels")


def _flatten_into_linear(state: _State, node: Reshape) -> bool:
    """Flattening [1, C, H, W] before a matrix product makes it a convolution with an H × W kernel."""
    users = state.consumers(node.output)
    shape = state.shapes[node.inputs[0]]
    small = len(shape) == 4 and max(shape[2:]) <= MAX_WINDOW
    if not small or node.output in state.graph.outputs or not all(
        isinstance(u, Conv) and state.shapes[u.output][0] == 1 and len(state.shapes[u.output]) == 2 for u in users
    ):  # fmt: skip
        return False
    for user in cast("tuple[Conv, ...]", users):
        weights = user.weights.reshape(len(user.bias), *shape[1:])
        if user.groups != 1:
            return False
        _lower_conv(state, replace(user, inputs=node.inputs, weights=weights))
        state.done.add(user.name)
    return True


def _lower_transpose(state: _State, node: Transpose) -> None:
    source, shape = node.inputs[0], state.shapes[node.inputs[0]]
    moved = [axis for axis in node.axes if shape[axis] != 1]
    same = channels_height_width(shape) == channels_height_width(state.shapes[node.output])
    if moved == sorted(moved) and same and source not in state.constants:
        state.aliases[node.output] = Alias(source, 0)
    else:
        state.host(node, "it moves codes between channels and pixels")


def _lower_slice(state: _State, node: Slice) -> None:
    shape, lanes = state.shapes[node.inputs[0]], state.params.lanes
    if len(shape) != 4 or node.stride[:2] != (1, 1) or max(node.stride) > MAX_WINDOW:
        state.host(node, "it takes other than consecutive channels of a [1, C, H, W] tensor")
        return
    part = node.inputs[0]
    if node.begin[1] or node.end[1] != shape[1]:
        part = f"{node.name}.channels"
        count = node.end[1] - node.begin[1]
        state.shapes[part] = (1, count, *shape[2:])
        if node.begin[1] % lanes:
            zero, bits = state.graph.tensors[node.inputs[0]].zero_point, state.params.multiplier_bits
            moved = place_channels(node, node.inputs[0], part, (shape[1], count), -node.begin[1], zero, bits)
            state.layers.append(moved)
        else:
            state.aliases[part] = Alias(node.inputs[0], node.begin[1] // lanes)
    window = Window(stride=(node.stride[2], node.stride[3]), padding=((-node.begin[2], 0), (-node.begin[3], 0)))
    state.layers.append(_vector(node, VectorOp.COPY, window=window, input=part))


def _lower_concat(state: _State, node: Concat) -> None:
    """Each part is written straight into the whole where all begin at a plane; otherwise the array moves channels."""
    lanes = state.params.lanes
    channels = [channels_height_width(state.shapes[name])[0] for name in node.inputs]
    if node.axis != 1 or len(state.shapes[node.output]) < 3:
        state.host(node, "it joins other than channels")
        return
    if any(c % lanes for c in channels[:-1]):
        _join_on_array(state, node, channels)
        return
    plane = 0
    for name, count in zip(node.inputs, channels, strict=True):
        here = Alias(node.output, plane)
        if _can_live_inside(state, name, node):
            state.aliases[name] = here
        else:
            part = f"{node.name}.part{plane}"
            state.shapes[part] = state.shapes[name]
            state.aliases[part] = here
            copy = _vector(node, VectorOp.COPY, input=name)
            state.layers.append(replace(copy, name=part, output=part))
        plane += -(-count // lanes)


def _join_on_array(state: _State, node: Concat, channels: list[int]) -> None:
    """Parts that begin inside a word: each is moved to its channels and added to those before."""
    zero, bits = state.graph.tensors[node.output].zero_point, state.params.multiplier_bits
    first, before = 0, ""
    for number, (name, count) in enumerate(zip(node.inputs, channels, strict=True)):
        output = node.output if number == len(channels) - 1 else f"{node.name}.joined{number}"
        state.shapes[output] = state.shapes[node.output]
        state.layers.append(place_channels(node, name, output, (count, sum(channels)), first, zero, bits, before))
        first, before = first + count, output


def _can_live_inside(state: _State, name: str, node: Concat) -> bool:
    """A part that an engine makes, used once in the concatenation, and not itself a piece of something."""
    made = any(not isinstance(x, HostLayer) and x.output == name for x in state.layers)
    return made and name not in state.aliases and node.inputs.count(name) == 1 and name not in state.graph.outputs


def _lower_host(state: _State, node: Host) -> None:
    state.host(node, node.reason)


_LOWERING: dict[type[Node], Callable[[_State, _Node], None]] = {
    Conv: _lower_conv,
    Product: _lower_product,
    Elementwise: _lower_elementwise,
    Multiply: _lower_multiply,
    Pool: _lower_pool,
    Table: _lower_table,
    Concat: _lower_concat,
    Reshape: _lower_reshape,
    Transpose: _lower_transpose,
    Slice: _lower_slice,
    Pad: _lower_pad,
    Upsample: _lower_upsample,
    Host: _lower_host,
}
