"""Operations that move codes: reshape, transpose, concat, slice, pad, upsampling."""

from __future__ import annotations

from typing import Any

from systola.mapper.graph import Operation
from systola.mapper.nnef.shapes import slice_ranges
from systola.mapper.quantgraph import Concat, Pad, Reshape, Slice, Transpose, Upsample
from systola.mapper.quantize.builder import Builder
from systola.mapper.quantize.constants import is_constant
from systola.mapper.quantize.graphs import Index
from systola.mapper.quantize.rules import Rule

__all__ = ["LAYOUTS"]


def _build_reshape(b: Builder, op: Operation) -> None:
    (source,) = op.inputs.values()
    name = b.moved(source, op.outputs[0])
    b.add(Reshape(name, (source,), (name,), b.index.source(op), b.graph.tensors[op.outputs[0]].shape))
    b.finish_moved(name, op.outputs[0], b.index.source(op))


def _build_transpose(b: Builder, op: Operation) -> None:
    source = op.inputs["input"]
    axes = tuple(op.attributes["axes"])
    axes = (*axes, *range(len(axes), len(b.tensors[source].shape)))
    name = b.moved(source, op.outputs[0])
    b.add(Transpose(name, (source,), (name,), b.index.source(op), axes))
    b.finish_moved(name, op.outputs[0], b.index.source(op))


def _add_slice(b: Builder, op: Operation, source: str, result: str, ranges: dict[int, tuple[int, int, int]]) -> None:
    """``ranges``: (begin, end, stride) by dimension; other dimensions are taken whole."""
    shape = b.tensors[source].shape
    whole = [ranges.get(axis, (0, extent, 1)) for axis, extent in enumerate(shape)]
    begin, end, stride = (tuple(int(each[i]) for each in whole) for i in range(3))
    name = b.moved(source, result)
    b.add(Slice(name, (source,), (name,), b.index.source(op), begin, end, stride))
    b.finish_moved(name, result, b.index.source(op))


def _slice_reason(index: Index, op: Operation) -> str:
    ranges = slice_ranges(index.graph.tensors[op.inputs["input"]].shape, dict(op.attributes))
    return "" if all(step > 0 for _, _, _, step in ranges) else "it runs backwards"


def _build_slice(b: Builder, op: Operation) -> None:
    source = op.inputs["input"]
    found = slice_ranges(b.tensors[source].shape, dict(op.attributes))
    ranges = {axis: (start, stop, step) for axis, start, stop, step in found}
    _add_slice(b, op, source, op.outputs[0], ranges)


def _build_split(b: Builder, op: Operation) -> None:
    axis, start = op.attributes["axis"], 0
    for result in op.outputs:
        extent = b.graph.tensors[result].shape[axis]
        _add_slice(b, op, op.inputs["value"], result, {axis: (start, start + extent, 1)})
        start += extent


def _build_unstack(b: Builder, op: Operation) -> None:
    source, axis, name = op.inputs["value"], op.attributes["axis"], b.index.source(op)
    shape = b.tensors[source].shape
    for position, result in enumerate(op.outputs):
        begin = tuple(position if i == axis else 0 for i in range(len(shape)))
        end = tuple(position + 1 if i == axis else extent for i, extent in enumerate(shape))
        piece = b.add_tensor(b.fresh(f"{result}.slice"), b.grid(source), (*shape[:axis], 1, *shape[axis + 1 :]))
        b.add(Slice(piece, (source,), (piece,), name, begin, end, (1,) * len(shape)))
        final = b.moved(piece, result)
        b.add(Reshape(final, (piece,), (final,), name, b.graph.tensors[result].shape))
        b.finish_moved(final, result, name)


def _part(b: Builder, operand: Any, result: str, shape: tuple[int, ...], source: str) -> str:
    """One operand of a concatenation: on the result's grid, in ``shape``."""
    grid = b.grids[result]
    if is_constant(b.graph, operand):
        return b.constant(operand, shape, grid)
    return b.reshaped(b.on_grid(operand, grid, source), shape, source)


def _build_concat(b: Builder, op: Operation) -> None:
    values, axis, result, source = op.inputs["values"], op.attributes["axis"], op.outputs[0], b.index.source(op)
    b.add_tensor(result)
    shapes = [b.graph.tensors[value].shape for value in values]
    if op.name == "stack":
        shapes = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
    parts = tuple(_part(b, value, result, shape, source) for value, shape in zip(values, shapes, strict=True))
    b.add(Concat(result, parts, (result,), source, axis))


def _pad_reason(index: Index, op: Operation) -> str:  # noqa: ARG001
    if any(min(pair) < 0 for pair in op.attributes["padding"]):
        return "its padding is negative"
    return "" if op.attributes["border"] == "constant" else f"its border is '{op.attributes['border']}'"


def _build_pad(b: Builder, op: Operation) -> None:
    source = op.inputs["input"]
    padding = tuple((int(front), int(back)) for front, back in op.attributes["padding"])
    code = b.grid(source).code(float(op.attributes["value"]))
    name = b.moved(source, op.outputs[0])
    b.add(Pad(name, (source,), (name,), b.index.source(op), padding, code))
    b.finish_moved(name, op.outputs[0], b.index.source(op))


def _upsample_reason(index: Index, op: Operation) -> str:
    rank = len(index.graph.tensors[op.outputs[0]].shape)
    return "" if rank in (3, 4) else f"it has {rank} dimensions"


def _build_upsample(b: Builder, op: Operation) -> None:
    source = op.inputs["input"]
    y, x = (1, *op.attributes["factor"])[-2:]
    name = b.moved(source, op.outputs[0])
    b.add(Upsample(name, (source,), (name,), b.index.source(op), (int(y), int(x))))
    b.finish_moved(name, op.outputs[0], b.index.source(op))


LAYOUTS: dict[str, Rule] = {
    **dict.fromkeys(("reshape", "squeeze", "unsqueeze", "copy"), Rule(_build_reshape, keeps_codes=True)),
    "transpose": Rule(_build_transpose, keeps_codes=True),
    "slice": Rule(_build_slice, _slice_reason, keeps_codes=True),
    "split": Rule(_build_split, keeps_codes=True),
    "unstack": Rule(_build_unstack, keeps_codes=True),
    "concat": Rule(_build_concat, keeps_codes=True),
    "stack": Rule(_build_concat, keeps_codes=True),
    "pad": Rule(_build_pad, _pad_reason, keeps_codes=True),
    "nearest_upsample": Rule(_build_upsample, _upsample_reason, keeps_codes=True),
}
