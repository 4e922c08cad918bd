"""The instructions of a vector layer: load, vector, store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

from systola.hw.isa import Opcode, VectorOp
from systola.mapper.layers import VectorLayer
from systola.mapper.operations import Region, Space, Template, Work, consecutive
from systola.mapper.plan import LayerPlan
from systola.mapper.schedule import (
    Area,
    Context,
    Patch,
    Ports,
    Slots,
    Source,
    Step,
    TilePorts,
    blob_load,
    pieces,
    stage_b_fields,
    window_fields,
)
from systola.mapper.shapes import vector_shape
from systola.mapper.tiles import Tiling, column_mode
from systola.mapper.weights import vector_params

__all__ = ["VectorEmitter", "vector_steps"]

Span = tuple[int, int]

_FIELDS = (
    "count_x", "count_y", "count_n", "a_address", "a_stride_y", "a_stride_n", "a_stride_ky", "origin_x", "origin_y", "limit_x",
    "limit_y", "dst_address", "dst_stride_y", "dst_stride_n", "param_address", "b_address", "b_stride_y", "b_stride_n",
)  # fmt: skip


@dataclass
class VectorEmitter:
    """Makes the instructions of a layer's tiles. ``weights``: buffers of parameters."""

    context: Context
    layer: VectorLayer
    tag: int
    weights: Slots
    ports: Ports

    def __post_init__(self) -> None:
        self.params = self.context.params
        self.shape = vector_shape(self.context.net, self.layer, self.params)
        sets = 1 if self.shape.shared_params else self.shape.input.planes
        size = sets * self.shape.param_words * self.params.lanes
        make = partial(vector_params, self.layer, self.params, self.shape.input.planes)
        self.constants = self.context.dram.constant(size, make) if size else 0
        self.template = Template(Opcode.VECTOR, self.tag, self._fixed(), _FIELDS)

    def _fixed(self) -> dict[str, int]:
        """The fields that all tiles share."""
        layer, window, shape = self.layer, self.layer.window, self.shape
        operand = layer.operand is not None
        fields = {
            "op": int(layer.op), "column_mode": int(column_mode(self.params, layer.op, window, operand=operand)),
            "a_stride_x": window.stride[1], "a_stride_kx": window.dilation[1], **window_fields(window),
            "dst_stride_x": shape.upsample[1], "param_stride_n": 0 if shape.shared_params else shape.param_words,
            "zero_in": layer.zero_in, "zero_a": layer.zero_out, "low_a": layer.low, "high_a": layer.high,
            **stage_b_fields(layer.stage_b),
        }  # fmt: skip
        if operand:
            fields |= {"operand": 1, "b_stride_x": int(not layer.broadcast_operand), "zero_operand": layer.zero_operand}
        if layer.op is VectorOp.MUL:
            fields["stage_b"] = 0
        return fields

    def tiles(self, tiling: Tiling) -> Iterator[Area]:
        """Planes outermost, then rows and columns (before upsampling)."""
        fy, fx = self.shape.upsample
        for depth in pieces(self.shape.input.planes, tiling.planes):
            for rows in pieces(self.shape.output.height // fy, tiling.rows):
                for columns in pieces(self.shape.output.width // fx, tiling.columns):
                    yield Area(depth, rows, columns)

    def step(self, tile: Area) -> Step:
        """One step; ``tile``: planes, and rows and columns before upsampling.

        Rows that are to be in another place as well are computed again.
        """
        step, (fy, fx) = Step(), self.shape.upsample
        params = self.param_words(tile.planes, step)
        area = Area(
            tile.planes, (tile.rows[0] * fy, tile.rows[1] * fy), (tile.columns[0] * fx, tile.columns[1] * fx)
        )
        targets = self.ports.targets(area, step)
        operand = self.operand(area, step)
        for patch in targets:
            rows = patch.area.rows[0] // fy, patch.area.rows[1] // fy
            part = Area(tile.planes, rows, tile.columns)
            src = self.ports.source(part, step)
            b = operand if operand is None or self.layer.broadcast_operand else operand.part(patch.area)
            for phase in product(range(fy), range(fx)):
                step.work.append(self.vector(part, src, patch, params, b, phase))
        step.work.extend(self.ports.stores(targets[0]))
        return step

    def param_words(self, depth: Span, step: Step) -> int:
        """First scratchpad word of the records, weights or table of some planes."""
        words = self.shape.param_words
        if not words:
            return 0
        key = None if self.shape.shared_params else depth
        count, first = (1, 0) if key is None else (depth[1], depth[0])
        address = self.constants + first * words * self.params.lanes
        return self.weights.find(
            key, lambda base: [blob_load(self.tag, address, count * words, base, self.params)], step
        )

    def operand(self, area: Area, step: Step) -> Patch | None:
        """Where the second operand is read."""
        layer = self.layer
        if layer.operand is None:
            return None
        if layer.broadcast_operand:
            area = Area(area.planes, (0, 1), (0, 1))
        return self.ports.operand(area, step)

    def vector(self, tile: Area, src: Source, patch: Patch, params: int, operand: Patch | None, phase: Span) -> Work:
        """The vector instruction of a step, or of one phase of an upsampling step."""
        window, (fy, fx), words = self.layer.window, self.shape.upsample, self.shape.param_words
        reads, b = [src.region], (0, 0, 0)
        if words:
            sets = 1 if self.shape.shared_params else tile.planes[1]
            reads.append(consecutive(Space.SCRATCHPAD, params, sets * words))
        if operand is not None:
            b = operand.base, 0 if self.layer.broadcast_operand else operand.row_stride, operand.plane_stride
            reads.append(operand.region())
        target = patch.base + phase[0] * patch.row_stride + phase[1]
        depth, rows, columns = tile.planes[1], tile.rows[1], tile.columns[1]
        values = (
            columns, rows, depth, src.address, window.stride[0] * src.row_stride, src.plane_stride,
            window.dilation[0] * src.row_stride, src.origin[1], src.origin[0], src.limit[1], src.limit[0], target,
            fy * patch.row_stride, patch.plane_stride, params, *b,
        )  # fmt: skip
        written = Region(Space.SCRATCHPAD, target, depth, patch.plane_stride, rows, fy * patch.row_stride, columns, fx)
        return Work(self.template, values, tuple(reads), (written,))


def vector_steps(context: Context, layer: VectorLayer, plan: LayerPlan, tag: int) -> list[Step]:
    """The steps of a vector layer."""
    emitter = VectorEmitter(context, layer, tag, Slots(plan.buffers.weights), TilePorts(context, tag, layer, plan))
    return [emitter.step(tile) for tile in emitter.tiles(plan.tiling)]
