"""Tiles: how much of a layer is on chip at a time, and in which order. Chosen by cost.

The cost of a tiling is an estimate in cycles: the larger of what the engine needs and what the memory needs (they overlap
where buffers are double), plus what cannot overlap: the first load and the last drain and store. The estimate only ranks
tilings; it is not reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.layers import Window
from systola.mapper.layout import Layout

__all__ = ["ArrayShape", "Homes", "Run", "Tiling", "VectorShape", "array_tilings", "choose", "column_mode", "vector_tilings"]

MAX_COUNT = (1 << 16) - 1
_HANDOVER_SHARE = 0.5
"""Where another engine reads the output, it waits for the first step: this share of a step counts as cost."""

_STEP_OVERHEAD_CYCLES = 12  # hand-over between engines, per step
_START_OVERHEAD_CYCLES = 40  # of a layer: pipelines fill and drain


@dataclass(frozen=True)
class Homes:
    """Which tensors of a layer stay on chip: input, second operand, output. ``store``: the output must also reach DRAM.

    ``handover``: another engine reads the output next, and can begin when the first step is done.
    """

    input: bool = False
    operand: bool = False
    output: bool = False
    store: bool = True
    handover: bool = False


@dataclass(frozen=True)
class Run:
    """Consecutive blocks of output channels that read the same input channels (all of them, unless there are groups).

    ``blocks`` of ``columns`` outputs from ``first_block``; ``row_blocks`` blocks of ``rows`` channels from input plane
    ``first_plane``.
    """

    first_block: int
    blocks: int
    first_plane: int
    row_blocks: int


@dataclass(frozen=True)
class ArrayShape:
    """What tiling needs to know of an array layer."""

    input: Layout
    output: Layout
    window: Window
    runs: tuple[Run, ...]
    operand: bool


@dataclass(frozen=True)
class VectorShape:
    """What tiling needs to know of a vector layer. ``param_words``: of one plane; shared by all planes if ``shared_params``."""

    input: Layout
    output: Layout
    window: Window
    op: VectorOp
    operand: bool
    broadcast_operand: bool
    param_words: int
    shared_params: bool
    upsample: tuple[int, int]


@dataclass(frozen=True)
class Tiling:
    """A choice.

    ``rows`` × ``columns``: output pixels of a step. ``blocks``: channel blocks of a step (array: ``columns`` channels each;
    vector: planes). ``chunk_blocks``: blocks whose weights are loaded together. ``planes``: input planes of a step.
    ``weights_outer``: the outer loop goes over weight chunks and the inner over pixels; else the reverse. ``*_slots``: buffers
    of each kind; ``*_words``: the size of one.
    """

    rows: int
    columns: int
    blocks: int
    chunk_blocks: int
    planes: int
    weights_outer: bool
    input_words: int = 0
    weight_words: int = 0
    operand_words: int = 0
    output_words: int = 0
    input_slots: int = 0
    weight_slots: int = 0
    operand_slots: int = 0
    output_slots: int = 0
    cost_cycles: float = 0.0

    @cached_property
    def words(self) -> int:
        """Scratchpad words in all."""
        return (
            self.input_words * self.input_slots
            + self.weight_words * self.weight_slots
            + self.operand_words * self.operand_slots
            + self.output_words * self.output_slots
        )


def choose(tilings: Iterator[Tiling], available_words: int) -> Tiling | None:
    """The cheapest tiling that fits; of equals the one that takes fewer words. None if none fits."""
    best: Tiling | None = None
    for tiling in tilings:
        if tiling.words <= available_words and (
            best is None or (tiling.cost_cycles, tiling.words) < (best.cost_cycles, best.words)
        ):
            best = tiling
    return best


def _pieces(extent: int, limit: int = MAX_COUNT) -> list[int]:
    """Tile extents worth trying: extent / 1, / 2, / 3 … rounded up, each once, largest first."""
    sizes = {-(-extent // parts) for parts in range(1, extent + 1)} if extent <= 64 else {
        -(-extent // parts) for parts in (*range(1, 33), *(extent // s for s in (1, 2, 3, 4, 6, 8, 12)))
    }  # fmt: skip
    return sorted((s for s in sizes if 0 < s <= limit), reverse=True)


def _clipped(window: Window, axis: int, outputs: int, extent: int) -> int:
    """Input positions that a tile of ``outputs`` needs at most."""
    begin, end = window.input_span(axis, 0, outputs)
    return max(1, min(end - begin, extent))


def _bandwidth(params: Params) -> int:
    return min(params.bus_bytes, params.config.dram.bytes_per_cycle)


# --- array ---------------------------------------------------------------------------------------------------------


def array_tilings(shape: ArrayShape, params: Params, homes: Homes) -> Iterator[Tiling]:
    """Every tiling of an array layer that is worth costing, with its cost."""
    half = params.accumulator_half_words
    group = params.column_groups
    most_blocks = max(run.blocks for run in shape.runs)
    for columns in _pieces(shape.output.width, half // group):
        for rows in _pieces(shape.output.height):
            fit = half // (rows * columns) // group * group
            if fit < 1:
                continue
            yield from _array_blocks(shape, params, homes, Tiling(rows, columns, 0, 0, 0, True), min(fit, most_blocks))
        if columns == shape.output.width and shape.output.width * group <= half and shape.output.height > 1:
            break  # narrower tiles only read borders twice


def _array_blocks(shape: ArrayShape, params: Params, homes: Homes, tile: Tiling, most: int) -> Iterator[Tiling]:
    run_blocks = max(run.blocks for run in shape.runs)
    group = params.column_groups
    planes = max(-(-run.row_blocks // params.row_groups) for run in shape.runs)
    even = ceil(run_blocks / ceil(run_blocks / most))
    largest = min(most, ceil(even / group) * group)
    for blocks in sorted({ceil(part / group) * group for part in _halvings(largest)}, reverse=True):
        least = params.scratchpad_words
        for depth in _halvings(planes):
            for chunk in _doublings(blocks, run_blocks) if depth == planes and blocks == largest else [blocks]:
                for weights_outer in (True, False):
                    candidate = replace(tile, blocks=blocks, chunk_blocks=chunk, planes=depth, weights_outer=weights_outer)
                    for tiling in _slots(_sized(shape, params, homes, candidate), shape, params, homes):
                        least = min(least, tiling.words)
                        yield tiling
        if 2 * least <= params.scratchpad_words:
            break  # fewer blocks at a time would only read more often


def _halvings(planes: int) -> list[int]:
    sizes = [planes]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def _doublings(blocks: int, limit: int) -> list[int]:
    sizes = [blocks]
    while sizes[-1] < limit:
        sizes.append(min(limit, sizes[-1] * 2))
    return sizes


def _sized(shape: ArrayShape, params: Params, homes: Homes, tile: Tiling) -> Tiling:
    window = shape.window
    taps = window.kernel[0] * window.kernel[1]
    rows = _clipped(window, 0, tile.rows, shape.input.height)
    columns = _clipped(window, 1, tile.columns, shape.input.width)
    weights = tile.chunk_blocks * (taps * tile.planes * params.row_groups * params.weight_tile_words + params.drain_record_words)
    out_planes = -(-tile.blocks // params.column_groups)
    return replace(
        tile,
        input_words=0 if homes.input else tile.planes * rows * columns,
        weight_words=weights,
        operand_words=out_planes * tile.rows * tile.columns if shape.operand and not homes.operand else 0,
        output_words=0 if homes.output else out_planes * tile.rows * tile.columns,
    )


def _slots(tile: Tiling, shape: ArrayShape, params: Params, homes: Homes) -> Iterator[Tiling]:
    spatial = -(-shape.output.height // tile.rows) * -(-shape.output.width // tile.columns)
    chunks = sum(-(-run.blocks // tile.chunk_blocks) for run in shape.runs)
    depths = -(-max(-(-run.row_blocks // params.row_groups) for run in shape.runs) // tile.planes)
    single_x = spatial * depths == 1
    single_w = chunks * depths == 1
    for x_slots, w_slots in {(1 if single_x else 2, 1 if single_w else 2), (1, 1)}:
        for y_slots in (2, 1):
            slotted = replace(
                tile,
                input_slots=x_slots if tile.input_words else 0,
                weight_slots=w_slots,
                operand_slots=y_slots if tile.operand_words else 0,
                output_slots=y_slots if tile.output_words else 0,
            )
            yield replace(slotted, cost_cycles=_array_cost(slotted, shape, params, homes, (spatial, chunks, depths)))


def _array_cost(tile: Tiling, shape: ArrayShape, params: Params, homes: Homes, loops: tuple[int, int, int]) -> float:
    spatial, chunks, depths = loops
    taps = shape.window.kernel[0] * shape.window.kernel[1]
    tile_words = params.weight_tile_words
    pixels = shape.output.height * shape.output.width
    pass_stretch = max(1.0, tile_words / (tile.rows * tile.columns))
    passes = sum(run.blocks * run.row_blocks for run in shape.runs) * taps
    compute = passes * pixels * pass_stretch
    drain = sum(run.blocks for run in shape.runs) * pixels * (1.0 if tile.output_slots != 1 else 1.5)
    steps = spatial * depths * sum(-(-run.blocks // tile.blocks) for run in shape.runs)
    byte = params.lanes / _bandwidth(params)
    weights = passes * tile_words * byte
    inputs = 0.0 if homes.input else tile.input_words / max(1, tile.planes) * shape.input.planes * spatial * byte
    if depths > 1:
        groups = sum(-(-run.blocks // tile.blocks) for run in shape.runs)
        inputs, weights = inputs * groups, weights * spatial
    elif tile.weights_outer:
        inputs *= chunks if spatial > tile.input_slots else 1
    else:
        weights *= spatial if chunks > tile.weight_slots else 1
    outputs = shape.output.words * byte if homes.store else 0.0
    operand = 0.0 if homes.operand or not shape.operand else shape.output.words * byte
    memory = weights + inputs + outputs + operand
    first = (tile.input_words * (not homes.input) + tile.weight_words) * byte
    overlap = tile.input_slots != 1 or spatial * depths == 1
    overlap = overlap and (tile.weight_slots != 1 or chunks * depths == 1)
    busy = max(compute, drain, memory) if overlap else compute + memory
    last = tile.rows * tile.columns * tile.blocks * (1 + byte * homes.store)
    if homes.handover:
        last += _HANDOVER_SHARE * compute / spatial
    return busy + min(first, memory) * 0.5 + last + steps * _STEP_OVERHEAD_CYCLES + _START_OVERHEAD_CYCLES


# --- vector --------------------------------------------------------------------------------------------------------


def column_mode(params: Params, op: VectorOp, window: Window, *, operand: bool) -> bool:
    """Whether the vector engine can walk this layer column by column (all window columns at once)."""
    windowed = op in (VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MAX) and window.kernel != (1, 1)
    fits = window.kernel[1] <= params.taps and window.dilation[1] == 1 and not operand
    return windowed and fits and (op is not VectorOp.DEPTHWISE or window.kernel[0] <= params.config.vector.tap_depth)


def vector_tilings(shape: VectorShape, params: Params, homes: Homes) -> Iterator[Tiling]:
    """Every tiling of a vector layer that is worth costing, with its cost. Rows and columns are those before upsampling."""
    fy, fx = shape.upsample
    for columns in _pieces(shape.output.width // fx):
        for rows in _pieces(shape.output.height // fy):
            for planes in _halvings(shape.input.planes):
                yield from _vector_slots(shape, params, homes, Tiling(rows, columns, planes, planes, planes, True))
        if columns == shape.output.width // fx and _band_fits(shape, params, columns):
            break


def _band_fits(shape: VectorShape, params: Params, columns: int) -> bool:
    """One row of a band, double-buffered, takes at most half of the scratchpad."""
    rows = _clipped(shape.window, 0, 1, shape.input.height)
    return 2 * rows * _clipped(shape.window, 1, columns, shape.input.width) + 4 * columns <= params.scratchpad_words // 2


def _vector_slots(shape: VectorShape, params: Params, homes: Homes, tile: Tiling) -> Iterator[Tiling]:
    rows = _clipped(shape.window, 0, tile.rows, shape.input.height)
    columns = _clipped(shape.window, 1, tile.columns, shape.input.width)
    pixels = tile.rows * tile.columns
    fy, fx = shape.upsample
    operand = tile.planes * (1 if shape.broadcast_operand else pixels) if shape.operand and not homes.operand else 0
    sized = replace(
        tile,
        input_words=0 if homes.input else tile.planes * rows * columns,
        weight_words=shape.param_words * (1 if shape.shared_params else tile.planes),
        operand_words=operand,
        output_words=0 if homes.output else tile.planes * pixels * fy * fx,
    )
    bands = -(-(shape.output.height // fy) // tile.rows) * -(-(shape.output.width // fx) // tile.columns)
    steps = bands * -(-shape.input.planes // tile.planes)
    for slots in (2, 1) if steps > 1 else (1,):
        yield replace(
            sized,
            input_slots=slots if sized.input_words else 0,
            weight_slots=(1 if shape.shared_params or tile.planes >= shape.input.planes else slots) if sized.weight_words else 0,
            operand_slots=slots if sized.operand_words else 0,
            output_slots=slots if sized.output_words else 0,
            cost_cycles=_vector_cost(sized, shape, params, homes, steps, slots),
        )


def _vector_cost(tile: Tiling, shape: VectorShape, params: Params, homes: Homes, steps: int, slots: int) -> float:
    fy, fx = shape.upsample
    height, width = shape.output.height // fy, shape.output.width // fx
    kernel = shape.window.kernel
    if column_mode(params, shape.op, shape.window, operand=shape.operand):
        parts = -(-width // tile.columns)
        per_row = ((width - parts) * shape.window.stride[1] + parts * kernel[1]) * kernel[0]
    elif shape.op is VectorOp.TABLE:
        per_row = width * max(1, params.lanes // params.config.vector.table_lanes)
    else:
        per_row = width * (kernel[0] * kernel[1] + shape.operand) * fy * fx
    compute = shape.input.planes * height * per_row + steps * tile.planes * shape.param_words
    byte = params.lanes / _bandwidth(params)
    inputs = 0.0 if homes.input else tile.input_words * steps * byte
    operand = 0.0 if homes.operand else tile.operand_words * steps * byte
    outputs = shape.output.words * byte if homes.store else 0.0
    memory = inputs + operand + outputs + shape.param_words * shape.input.planes * byte
    busy = max(compute, memory) if slots == 2 or steps == 1 else compute + memory
    ends = (tile.input_words + tile.output_words * homes.store) * byte
    if homes.handover:
        ends += _HANDOVER_SHARE * compute / steps
    return busy + ends + steps * _STEP_OVERHEAD_CYCLES + _START_OVERHEAD_CYCLES
