"""The instructions of an array layer: load, array, drain, store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import Opcode
from systola.mapper.layers import ArrayLayer
from systola.mapper.operations import Space, Template, Work, consecutive
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

_ARRAY_FIELDS = (
    "act_address", "stride_y", "stride_ky", "stride_kb", "count_x", "count_y", "count_kb", "count_n", "origin_x", "origin_y",
    "limit_x", "limit_y", "weight_address", "accumulate",
)  # fmt: skip
_DRAIN_FIELDS = (
    "acc_address", "acc_stride_n", "count_x", "count_y", "count_n", "dst_address", "dst_stride_y", "dst_stride_n",
    "param_address", "b_address", "b_stride_y", "b_stride_n",
)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Chunk:
    """Weights that are loaded together: of ``blocks`` of a run, for input planes ``depth`` of it, which are ``planes`` of the
    tensor.

    ``row_blocks``: of these planes. ``tile_words``: of one block's tiles. ``is_last``: of the input planes; the accumulators are
    complete after it, so it has the records, too.
    """

    run: Run
    blocks: Span
    depth: Span
    planes: Span
    row_blocks: slice
    tile_words: int
    is_last: bool


class ArrayPart(NamedTuple):
    """One step's place in the loops: pixels, a chunk of weights, blocks of its run."""

    rows: Span
    columns: Span
    chunk: Chunk
    blocks: Span


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
    chunks: dict[tuple[Run, Span, Span], Chunk] = field(default_factory=dict)
    constants: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    dense: dict[int, NDArray[np.int8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params, layer, window = self.context.params, self.layer, self.layer.window
        self.shape = array_shape(self.context.net, layer, self.params)
        fixed = {"stride_x": window.stride[1], "stride_kx": window.dilation[1], **window_fields(window)}
        self.array_template = Template(Opcode.ARRAY, self.tag, fixed, _ARRAY_FIELDS)
        fixed = {
            "dst_stride_x": 1, "zero_a": layer.zero_out, "low_a": layer.low, "high_a": layer.high,
            **stage_b_fields(layer.stage_b),
        }  # fmt: skip
        self.drain_template = Template(Opcode.DRAIN, self.tag, fixed, _DRAIN_FIELDS)
        self.has_operand = layer.stage_b is not None and layer.stage_b.operand is not None

    def parts(self) -> Iterator[ArrayPart]:
        """The loops, in the order that the tiling says."""
        tiling = self.tiling
        pixels = [
            (rows, columns)
            for rows in pieces(self.shape.output.height, tiling.rows)
            for columns in pieces(self.shape.output.width, tiling.columns)
        ]
        chunks = [(run, blocks) for run in self.shape.runs for blocks in pieces(run.blocks, tiling.chunk_blocks)]
        outer = (
            ((pixel, chunk) for chunk in chunks for pixel in pixels)
            if tiling.weights_outer
            else ((pixel, chunk) for pixel in pixels for chunk in chunks)
        )
        for (rows, columns), (run, blocks) in outer:
            for first, count in pieces(blocks[1], tiling.blocks):
                for depth in pieces(self.planes(run), tiling.planes):
                    yield ArrayPart(rows, columns, self.chunk(run, blocks, depth), (blocks[0] + first, count))

    def planes(self, run: Run) -> int:
        """Input planes that a run reads."""
        return -(-run.row_blocks // self.params.row_groups)

    def chunk(self, run: Run, blocks: Span, depth: Span) -> Chunk:
        """The chunk of some blocks and planes of a run."""
        key = run, blocks, depth
        if key not in self.chunks:
            groups, kernel = self.params.row_groups, self.layer.window.kernel
            row_blocks = slice(depth[0] * groups, min((depth[0] + depth[1]) * groups, run.row_blocks))
            words = (row_blocks.stop - row_blocks.start) * kernel[0] * kernel[1] * self.params.weight_tile_words
            planes_in = run.first_plane + depth[0], depth[1]
            self.chunks[key] = Chunk(run, blocks, depth, planes_in, row_blocks, words, sum(depth) == self.planes(run))
        return self.chunks[key]

    def step(self, part: ArrayPart) -> Step:
        """The step of a part."""
        step, chunk = Step(), part.chunk
        if chunk.depth[0] == 0:
            self.group = next(self.groups)
        records, tiles = self.weight_words(part, step)
        src = self.ports.source(Area(chunk.planes, part.rows, part.columns), step)
        step.work.append(self.array(part, src, tiles))
        if chunk.is_last:
            step.work.extend(self.finish(part, records, step))
        return step

    def weight_words(self, part: ArrayPart, step: Step) -> tuple[int, int]:
        """Scratchpad words of the records (with the last planes only) and of the first tile of a part."""
        chunk, record_words = part.chunk, self.params.drain_record_words
        address, words = self.constants.get(chunk) or self.constant(chunk)
        base = self.weights.find(chunk, lambda where: [blob_load(self.tag, address, words, where, self.params)], step)
        skipped = part.blocks[0] - chunk.blocks[0]
        tiles = base + (chunk.blocks[1] * record_words if chunk.is_last else 0)
        return base + skipped * record_words, tiles + skipped * chunk.tile_words

    def constant(self, chunk: Chunk) -> tuple[int, int]:
        """DRAM address and words of a chunk's constants: records if it is the last of the planes, then tiles."""
        if self.layer.tiles:
            blobs: dict[Hashable, Blob] = {each.chunk: Blob(*self.blob(each.chunk)) for each in self.parts()}
            self.constants |= place_run_time_weights(self.context.net, self.context.dram, self.layer, blobs)
        else:
            words = chunk.blocks[1] * (chunk.tile_words + chunk.is_last * self.params.drain_record_words)
            address = self.context.dram.constant(words * self.params.lanes, partial(self.blob_bytes, chunk))
            self.constants[chunk] = address, words
        return self.constants[chunk]

    def blob_bytes(self, chunk: Chunk) -> NDArray[np.uint8]:
        """A chunk's records and tiles as they lie in memory."""
        records, _, tiles = self.blob(chunk)
        return np.concatenate([records, tiles.view(np.uint8)])

    def blob(self, chunk: Chunk) -> tuple[NDArray[np.uint8], int, NDArray[Any]]:
        """A chunk's records (none but with the last of the planes), its first block, and its tiles."""
        run = chunk.run
        if run.first_block not in self.dense:
            self.dense[run.first_block] = dense_weights(self.layer, self.params, run)
        blocks, first = slice(chunk.blocks[0], sum(chunk.blocks)), run.first_block + chunk.blocks[0]
        tiles = array_tiles(self.dense[run.first_block], self.params, blocks, chunk.row_blocks)
        records = array_records(self.layer, self.params, first, chunk.blocks[1]) if chunk.is_last else np.zeros(0, np.uint8)
        return records, first, tiles

    def array(self, part: ArrayPart, src: Source, tiles: int) -> Work:
        """The array instruction of a part."""
        window, chunk = self.layer.window, part.chunk
        values = (
            src.address, window.stride[0] * src.row_stride, window.dilation[0] * src.row_stride, src.plane_stride,
            part.columns[1], part.rows[1], chunk.row_blocks.stop - chunk.row_blocks.start, part.blocks[1], src.origin[1],
            src.origin[0], src.limit[1], src.limit[0], tiles, int(chunk.depth[0] > 0),
        )  # fmt: skip
        weights = consecutive(Space.SCRATCHPAD, tiles, part.blocks[1] * chunk.tile_words)
        return Work(self.array_template, values, (src.region, weights), (), self.group)

    def finish(self, part: ArrayPart, records: int, step: Step) -> list[Work]:
        """Drains, and store where the output goes to DRAM."""
        groups = self.params.column_groups
        first = part.chunk.run.first_block + part.blocks[0]
        area = Area((first // groups, -(-part.blocks[1] // groups)), part.rows, part.columns)
        b = self.ports.operand(area, step) if self.has_operand else None
        targets = self.ports.targets(area, step)
        return [*(self.drain(part, patch, records, b) for patch in targets), *self.ports.stores(targets[0])]

    def drain(self, part: ArrayPart, patch: Patch, records: int, operand: Patch | None) -> Work:
        """The drain instruction of a part, of the rows that ``patch`` holds."""
        area, pixels = patch.area, part.rows[1] * part.columns[1]
        reads = [consecutive(Space.SCRATCHPAD, records, part.blocks[1] * self.params.drain_record_words)]
        b = 0, 0, 0
        if operand is not None:
            read = operand.part(area)
            b = read.base, read.row_stride, read.plane_stride
            reads.append(read.region())
        values = (
            (area.rows[0] - part.rows[0]) * part.columns[1], pixels, part.columns[1], area.rows[1], part.blocks[1],
            patch.base, patch.row_stride, patch.plane_stride, records, *b,
        )  # fmt: skip
        return Work(self.drain_template, values, tuple(reads), (patch.region(),), self.group)


def array_steps(context: Context, layer: ArrayLayer, plan: LayerPlan, tag: int, groups: Iterator[int]) -> list[Step]:
    """The steps of an array layer. ``groups``: numbers for its accumulator groups."""
    weights, ports = Slots(plan.buffers.weights), TilePorts(context, tag, layer, plan)
    emitter = ArrayEmitter(context, layer, plan.tiling, tag, weights, ports, groups)
    return [emitter.step(part) for part in emitter.parts()]
