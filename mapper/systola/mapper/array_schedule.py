"""The instructions of an array layer: load, array, drain, store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import Opcode
from systola.mapper.layers import ArrayLayer
from systola.mapper.operations import Space, Work, planes
from systola.mapper.plan import LayerPlan
from systola.mapper.run_time_weights import Blob, place_run_time_weights
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
from systola.mapper.shapes import array_shape
from systola.mapper.tiles import Run, Tiling
from systola.mapper.weights import array_records, array_tiles, dense_weights

__all__ = ["ArrayEmitter", "ArrayPart", "array_steps"]

Span = tuple[int, int]
"""(first, count)"""


@dataclass(frozen=True)
class ArrayPart:
    """One step's place in the loops: pixels, a run, a weight chunk of it, blocks of it, input planes."""

    rows: Span
    columns: Span
    run: Run
    chunk: Span
    blocks: Span
    depth: Span

    @property
    def key(self) -> tuple[int, Span, Span]:
        """Names the constants that it needs."""
        return self.run.first_block, self.chunk, self.depth


@dataclass
class ArrayEmitter:
    """Makes the instructions of a layer's parts. ``weights``: buffers of chunks; ``groups``: numbers for accumulator groups."""

    context: Context
    layer: ArrayLayer
    tiling: Tiling
    tag: int
    weights: Slots
    ports: Ports
    groups: Iterator[int]
    group: int = 0
    constants: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    dense: dict[int, NDArray[np.int8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = self.context.params
        self.shape = array_shape(self.context.net, self.layer, self.params)

    def parts(self) -> Iterator[ArrayPart]:
        """The loops, in the order that the tiling says."""
        tiling = self.tiling
        pixels = [
            (rows, columns)
            for rows in pieces(self.shape.output.height, tiling.rows)
            for columns in pieces(self.shape.output.width, tiling.columns)
        ]
        chunks = [(run, chunk) for run in self.shape.runs for chunk in pieces(run.blocks, tiling.chunk_blocks)]
        outer = (
            ((pixel, chunk) for chunk in chunks for pixel in pixels)
            if tiling.weights_outer
            else ((pixel, chunk) for pixel in pixels for chunk in chunks)
        )
        for (rows, columns), (run, chunk) in outer:
            for first, count in pieces(chunk[1], tiling.blocks):
                for depth in pieces(self.planes(run), tiling.planes):
                    yield ArrayPart(rows, columns, run, chunk, (chunk[0] + first, count), depth)

    def planes(self, run: Run) -> int:
        """Input planes that a run reads."""
        return -(-run.row_blocks // self.params.row_groups)

    def row_blocks(self, run: Run, depth: Span) -> slice:
        """Row blocks of some of a run's planes."""
        groups = self.params.row_groups
        return slice(depth[0] * groups, min((depth[0] + depth[1]) * groups, run.row_blocks))

    def is_last(self, part: ArrayPart) -> bool:
        """The last of the input planes: the accumulators are complete after it."""
        return part.depth[0] + part.depth[1] == self.planes(part.run)

    def step(self, part: ArrayPart) -> Step:
        """The step of a part."""
        step = Step()
        if part.depth[0] == 0:
            self.group = next(self.groups)
        records, tiles = self.weight_words(part, step)
        planes_in = (part.run.first_plane + part.depth[0], part.depth[1])
        src = self.ports.source(Area(planes_in, part.rows, part.columns), step)
        step.work.append(self.array(part, src, tiles))
        if self.is_last(part):
            step.work.extend(self.finish(part, records, step))
        return step

    def weight_words(self, part: ArrayPart, step: Step) -> tuple[int, int]:
        """Scratchpad words of the records (with the last planes only) and of the first tile of a part."""
        address, words = self.constant(part)
        base = self.weights.find(
            (part.run, part.chunk, part.depth),
            lambda where: [blob_load(self.tag, address, words, where, self.params)],
            step,
        )
        record_words = self.params.drain_record_words
        skipped = part.blocks[0] - part.chunk[0]
        tiles = base + (part.chunk[1] * record_words if self.is_last(part) else 0)
        return base + skipped * record_words, tiles + skipped * self.tile_words(part)

    def tile_words(self, part: ArrayPart) -> int:
        """Words of the weight tiles of one output block."""
        blocks = self.row_blocks(part.run, part.depth)
        kernel = self.layer.window.kernel
        count: int = blocks.stop - blocks.start
        return count * kernel[0] * kernel[1] * self.params.weight_tile_words

    def constant(self, part: ArrayPart) -> tuple[int, int]:
        """DRAM address and words of a chunk's constants: records if it is the last of the planes, then tiles."""
        if part.key not in self.constants:
            if self.layer.tiles:
                blobs: dict[Hashable, Blob] = {each.key: Blob(*self.blob(each)) for each in self.parts()}
                self.constants |= place_run_time_weights(self.context.net, self.context.dram, self.layer, blobs)
            else:
                words = part.chunk[1] * (self.tile_words(part) + self.is_last(part) * self.params.drain_record_words)
                address = self.context.dram.constant(words * self.params.lanes, partial(self.blob_bytes, part))
                self.constants[part.key] = address, words
        return self.constants[part.key]

    def blob_bytes(self, part: ArrayPart) -> NDArray[np.uint8]:
        """A chunk's records and tiles as they lie in memory."""
        records, _, tiles = self.blob(part)
        return np.concatenate([records, tiles.view(np.uint8)])

    def blob(self, part: ArrayPart) -> tuple[NDArray[np.uint8], int, NDArray[Any]]:
        """A chunk's records (none but with the last of the planes), its first block, and its tiles."""
        if part.run.first_block not in self.dense:
            self.dense[part.run.first_block] = dense_weights(self.layer, self.params, part.run)
        blocks, first = slice(part.chunk[0], sum(part.chunk)), part.run.first_block + part.chunk[0]
        tiles = array_tiles(self.dense[part.run.first_block], self.params, blocks, self.row_blocks(part.run, part.depth))
        last = self.is_last(part)
        records = array_records(self.layer, self.params, first, part.chunk[1]) if last else np.zeros(0, np.uint8)
        return records, first, tiles

    def array(self, part: ArrayPart, src: Source, tiles: int) -> Work:
        """The array instruction of a part."""
        window = self.layer.window
        blocks = self.row_blocks(part.run, part.depth)
        fields = {
            "act_address": src.address, "stride_x": window.stride[1], "stride_y": window.stride[0] * src.row_stride,
            "stride_kx": window.dilation[1], "stride_ky": window.dilation[0] * src.row_stride, "stride_kb": src.plane_stride,
            "count_x": part.columns[1], "count_y": part.rows[1], "count_kb": blocks.stop - blocks.start,
            "count_kx": window.kernel[1], "count_ky": window.kernel[0], "count_n": part.blocks[1],
            **window_fields(window, src.origin, src.limit),
            "weight_address": tiles, "acc_address": 0, "accumulate": int(part.depth[0] > 0),
        }  # fmt: skip
        weights = planes(Space.SCRATCHPAD, tiles, (part.blocks[1] * self.tile_words(part), 1))
        return Work(Opcode.ARRAY, self.tag, fields, [src.region, weights], [], self.group)

    def finish(self, part: ArrayPart, records: int, step: Step) -> list[Work]:
        """Drains, and store where the output goes to DRAM."""
        groups = self.params.column_groups
        first = part.run.first_block + part.blocks[0]
        area = Area((first // groups, -(-part.blocks[1] // groups)), part.rows, part.columns)
        operand = self.layer.stage_b is not None and self.layer.stage_b.operand is not None
        b = self.ports.operand(area, step) if operand else None
        targets = self.ports.targets(area, step)
        return [*(self.drain(part, patch, records, b) for patch in targets), *self.ports.stores(targets[0])]

    def drain(self, part: ArrayPart, patch: Patch, records: int, operand: Patch | None) -> Work:
        """The drain instruction of a part, of the rows that ``patch`` holds."""
        layer, area, record_words = self.layer, patch.area, self.params.drain_record_words
        fields = {
            "acc_address": (area.rows[0] - part.rows[0]) * part.columns[1], "acc_stride_n": part.rows[1] * part.columns[1],
            "count_x": part.columns[1], "count_y": area.rows[1], "count_n": part.blocks[1], "group": 0,
            "dst_address": patch.base, "dst_stride_x": 1, "dst_stride_y": patch.row_stride, "dst_stride_n": patch.plane_stride,
            "param_address": records, "zero_a": layer.zero_out, "low_a": layer.low, "high_a": layer.high,
            **stage_b_fields(layer.stage_b),
        }  # fmt: skip
        reads = [planes(Space.SCRATCHPAD, records, (part.blocks[1] * record_words, 1))]
        if operand is not None:
            b = operand.part(area)
            fields |= {"b_address": b.base, "b_stride_y": b.row_stride, "b_stride_n": b.plane_stride}
            reads.append(b.region())
        return Work(Opcode.DRAIN, self.tag, fields, reads, [patch.region()], self.group)


def array_steps(context: Context, layer: ArrayLayer, plan: LayerPlan, tag: int, groups: Iterator[int]) -> list[Step]:
    """The steps of an array layer. ``groups``: numbers for its accumulator groups."""
    weights, ports = Slots(plan.buffers.weights), TilePorts(context, tag, layer, plan)
    emitter = ArrayEmitter(context, layer, plan.tiling, tag, weights, ports, groups)
    return [emitter.step(part) for part in emitter.parts()]
