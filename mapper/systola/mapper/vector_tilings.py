"""Tilings of a vector layer, and what each costs (``tile_costs`` says what a cost is)."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.jit import jit
from systola.mapper.layers import Window
from systola.mapper.tile_costs import (
    STEP_CYCLES,
    Numbers,
    halvings,
    period_cycles,
    pieces,
)
from systola.mapper.tiles import Homes, Tiling, Tilings, VectorShape, column_mode
from systola.mapper.timing import memory_latency_cycles, word_cycles

__all__ = ["vector_tilings"]

_PIPELINE_CYCLES = 34  # from an instruction's last step until another may begin with the result
_HANDOVER_SHARE = 0.5  # of a step: what a reader of another engine waits for
_SLOTS = np.array([1, 2, 3], dtype=np.float64)


class _Layer(NamedTuple):
    """What costs depend on, in numbers that compiled code can take.

    ``height``, ``width``: of the output before upsampling by ``scale`` pixels for one; ``words``: of the output. ``planes``,
    ``input_height``, ``input_width``: of the input. ``reach_*``: input rows or columns of one output. ``param_words``: of one
    plane, or of all if ``shared``. ``pixel_cycles``: of an output pixel of one plane, unless ``by_column``: then ``kernel_*`` and
    ``stride_x`` tell, and that an output takes ``output_cycles`` at least. ``loads_input``, ``loads_operand``,
    ``stages_output``: whether there are buffers for them; ``broadcast``: of the operand, one pixel is enough; the other flags as
    in Homes.
    """

    height: int
    width: int
    scale: int
    words: int
    planes: int
    input_height: int
    input_width: int
    stride_y: int
    stride_x: int
    reach_y: int
    reach_x: int
    kernel_y: int
    kernel_x: int
    param_words: int
    shared: bool
    by_column: bool
    output_cycles: int
    pixel_cycles: int
    word_cycles: float
    latency: int
    loads_input: bool
    loads_operand: bool
    broadcast: bool
    stages_output: bool
    store: bool
    handover: bool
    by_channels: bool


class _Buffers(NamedTuple):
    """Words of a candidate's buffers, and how many there are: ``slots`` of inputs, operands and outputs each. ``out``: words of
    an output tile, wherever it goes. ``bands``: tiles of a plane; ``steps``: in all."""

    input_words: float
    weight_words: float
    operand_words: float
    output_words: float
    slots: float
    weight_slots: float
    out: float
    bands: float
    steps: float


def vector_tilings(shape: VectorShape, params: Params, homes: Homes) -> Tilings:
    """The tilings, cheapest first; only those for which no cheaper one takes fewer words.

    Rows and columns are those before upsampling.
    """
    geometries, layer = _geometries(shape, params.scratchpad_words), _layer(shape, params, homes)
    cost, words = _costs(layer, geometries, _SLOTS)
    return Tilings(cost, words, partial(_tiling, layer, geometries, cost))


def _layer(shape: VectorShape, params: Params, homes: Homes) -> _Layer:
    window, (fy, fx), (height, width) = shape.window, shape.upsample, shape.window.kernel
    reach_y, reach_x = (_input_reach(window, axis, 1) for axis in (0, 1))
    if shape.op is VectorOp.TABLE:
        pixel_cycles = max(1, params.lanes // params.config.vector.table_lanes)
    else:
        pixel_cycles = height * width + shape.operand
    return _Layer(
        shape.output.height // fy, shape.output.width // fx, fy * fx, shape.output.words, shape.input.planes,
        shape.input.height, shape.input.width, *window.stride, reach_y, reach_x, height, width, shape.param_words,
        shape.shared_params, column_mode(params, shape.op, window, operand=shape.operand), params.vector_word_cycles,
        max(pixel_cycles, params.vector_word_cycles) * fy * fx, word_cycles(params),
        memory_latency_cycles(params), not homes.input, shape.operand and not homes.operand, shape.broadcast_operand,
        not homes.output, homes.store, homes.handover, homes.by_channels,
    )  # fmt: skip


def _input_reach(window: Window, axis: int, outputs: int) -> int:
    """Input positions that some outputs need at most along an axis."""
    return (outputs - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1


@lru_cache(maxsize=1 << 12)
def _geometries(shape: VectorShape, scratchpad_words: int) -> Numbers:
    """The tiles to choose from: rows, columns, planes of each, as the columns of a table."""
    found, (fy, fx) = [], shape.upsample
    for columns in pieces(shape.output.width // fx):
        for rows in pieces(shape.output.height // fy):
            found += [(rows, columns, planes) for planes in halvings(shape.input.planes)]
        if columns == shape.output.width // fx and _band_fits(shape, scratchpad_words, columns):
            break  # narrower tiles only read borders twice
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _band_fits(shape: VectorShape, scratchpad_words: int, columns: int) -> bool:
    """One row of a band, double-buffered, takes at most half of the scratchpad."""
    rows = min(_input_reach(shape.window, 0, 1), shape.input.height)
    width = min(_input_reach(shape.window, 1, columns), shape.input.width)
    return 2 * rows * width + 4 * columns <= scratchpad_words // 2


@jit
def _costs(layer: _Layer, geometries: Numbers, slots: Numbers) -> tuple[Numbers, Numbers]:
    """Estimated cycles, and scratchpad words, of every candidate: each row of ``geometries`` with each of ``slots``."""
    cost, words = np.empty(len(geometries) * len(slots)), np.empty(len(geometries) * len(slots))
    for candidate in range(len(cost)):
        geometry = geometries[candidate // len(slots)]
        buffers = _buffers(layer, geometry, slots[candidate % len(slots)])
        streamed = buffers.input_words + buffers.operand_words + buffers.output_words
        words[candidate] = streamed * buffers.slots + buffers.weight_words * buffers.weight_slots
        cost[candidate] = _cost(layer, geometry, buffers)
    return cost, words


@jit
def _buffers(layer: _Layer, geometry: Numbers, slots: float) -> _Buffers:
    rows, columns, planes = geometry
    pixels = rows * columns
    bands = np.ceil(layer.height / rows) * np.ceil(layer.width / columns)
    steps = bands * np.ceil(layer.planes / planes)
    slots = min(slots, steps)
    input_rows = min((rows - 1) * layer.stride_y + layer.reach_y, layer.input_height)
    input_columns = min((columns - 1) * layer.stride_x + layer.reach_x, layer.input_width)
    operand, out = planes * (1.0 if layer.broadcast else pixels), planes * pixels * layer.scale
    return _Buffers(
        planes * input_rows * input_columns if layer.loads_input else 0.0,
        layer.param_words * (1.0 if layer.shared else planes),
        operand if layer.loads_operand else 0.0,
        out if layer.stages_output else 0.0,
        slots,
        1.0 if planes >= layer.planes or layer.shared else min(max(slots, 2.0), steps),
        out, bands, steps,
    )  # fmt: skip


@jit
def _cost(layer: _Layer, geometry: Numbers, b: _Buffers) -> float:
    """Estimated cycles."""
    word, latency = layer.word_cycles, layer.latency
    compute = layer.planes * layer.height * _row_cycles(layer, geometry[1]) + b.steps * layer.param_words
    load, output = (b.input_words + b.operand_words) * word, b.out * word
    memory = b.steps * load + layer.words * word * layer.store + layer.param_words * layer.planes * word
    bound = max(compute, memory)
    if load > 0:
        bound = max(bound, period_cycles(b.steps, b.slots, compute / b.steps, load, latency))
    if b.output_words > 0:
        bound = max(bound, period_cycles(b.steps, b.slots, compute / b.steps, output, latency + _PIPELINE_CYCLES))
    first, last = latency + load if load > 0 else 0.0, output + latency if layer.stages_output else 0.0
    handover = _handover(layer, geometry[2], b, compute) if layer.handover else 0.0
    return bound + first + last + _PIPELINE_CYCLES + handover + b.steps * STEP_CYCLES


@jit
def _row_cycles(layer: _Layer, columns: float) -> float:
    """Of one plane's row."""
    if layer.by_column:
        parts = np.ceil(layer.width / columns)
        columns_read = (layer.width - parts) * layer.stride_x + parts * layer.kernel_x
        return float(max(columns_read * layer.kernel_y, layer.width * layer.output_cycles))
    return float(layer.width * layer.pixel_cycles)


@jit
def _handover(layer: _Layer, planes: float, b: _Buffers, compute: float) -> float:
    """What this layer keeps another engine waiting: little if it takes its input in the order in which that is made."""
    wide = planes >= layer.planes
    in_order = not wide if layer.by_channels else wide and b.bands > 1
    return _HANDOVER_SHARE * compute / b.steps if in_order or b.steps == 1 else compute


def _tiling(layer: _Layer, geometries: Numbers, cost: Numbers, index: int) -> Tiling:
    """A candidate, given the costs of all."""
    geometry = geometries[index // len(_SLOTS)]
    rows, columns, planes = map(int, geometry)
    b = _buffers(layer, geometry, _SLOTS[index % len(_SLOTS)])
    input_words, weight_words, operand_words, output_words, slots, weight_slots = map(int, b[:6])
    return Tiling(
        rows, columns, planes, planes, planes, True, input_words, weight_words, operand_words, output_words,
        input_slots=slots if input_words else 0,
        weight_slots=weight_slots if weight_words else 0,
        operand_slots=slots if operand_words else 0,
        output_slots=slots if output_words else 0,
        cost_cycles=float(cost[index]),
    )  # fmt: skip
