"""What tiling and scheduling need to know of a layer's tensors."""

from __future__ import annotations

from dataclasses import replace

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.layers import ArrayLayer, Lowered, VectorLayer
from systola.mapper.layout import Layout
from systola.mapper.tiles import ArrayShape, Run, VectorShape

__all__ = ["array_shape", "resolve", "vector_shape"]


def resolve(net: Lowered, name: str) -> tuple[str, int]:
    """The tensor that ``name`` lies in, and the plane it begins at."""
    plane = 0
    while name in net.aliases:
        alias = net.aliases[name]
        name, plane = alias.whole, plane + alias.plane
    return name, plane


def array_shape(net: Lowered, layer: ArrayLayer, params: Params) -> ArrayShape:
    """The shape of an array layer; its window's padding code does not matter."""
    source = Layout.of(net.shapes[layer.input], params.lanes)
    return ArrayShape(
        source,
        Layout.of(net.shapes[layer.output], params.lanes),
        replace(layer.window, pad_code=0),
        _runs(layer, params),
        bool(layer.stage_b and layer.stage_b.operand),
    )


def _runs(layer: ArrayLayer, params: Params) -> tuple[Run, ...]:
    outputs, per_group = layer.weights.shape[:2]
    blocks = -(-outputs // params.columns)
    if layer.groups == 1:
        return (Run(0, blocks, 0, -(-per_group // params.rows)),)
    outputs_per_group = outputs // layer.groups
    step = params.column_groups  # a run begins at a whole word of outputs
    runs: list[Run] = []
    for block in range(0, blocks, step):
        count = min(step, blocks - block)
        first = block * params.columns // outputs_per_group * per_group
        last = (min((block + count) * params.columns, outputs) - 1) // outputs_per_group * per_group + per_group
        plane = first // params.lanes
        row_blocks = -(-(last - plane * params.lanes) // params.rows)
        if runs and (runs[-1].first_plane, runs[-1].row_blocks) == (plane, row_blocks):
            runs[-1] = Run(runs[-1].first_block, runs[-1].blocks + count, plane, row_blocks)
        else:
            runs.append(Run(block, count, plane, row_blocks))
    return tuple(runs)


def vector_shape(net: Lowered, layer: VectorLayer, params: Params) -> VectorShape:
    """The shape of a vector layer; its window's padding code does not matter."""
    weights = 0 if layer.weights is None else layer.weights.shape[1] * layer.weights.shape[2]
    records = params.vector_record_words if layer.records is not None else 0
    shared = layer.records is None or (layer.weights is None and len(layer.records[0]) == 1)
    return VectorShape(
        Layout.of(net.shapes[layer.input], params.lanes),
        Layout.of(net.shapes[layer.output], params.lanes),
        replace(layer.window, pad_code=0),
        layer.op,
        layer.operand is not None,
        layer.broadcast_operand,
        params.table_words if layer.op is VectorOp.TABLE else records + weights,
        shared,
        layer.upsample,
    )
