"""Tilings of an array layer, and what each costs (``tile_costs`` says what a cost is)."""

from __future__ import annotations

from functools import lru_cache, partial
from math import ceil
from typing import NamedTuple

import numpy as np

from systola.hw.params import Params
from systola.mapper.jit import jit
from systola.mapper.layout import Layout
from systola.mapper.tile_costs import (
    DRAIN_CYCLES,
    STEP_CYCLES,
    Numbers,
    cover_cycles,
    halvings,
    period_cycles,
    pieces,
)
from systola.mapper.tiles import ArrayShape, Homes, Run, Tiling, Tilings
from systola.mapper.timing import memory_latency_cycles, word_cycles

__all__ = ["array_tilings"]

_FILL_BANDS = 3  # bands after which the next layer's first step finds its input ready
_FIRST_WEIGHTS_SHARE = 0.03  # of the first weights' load: they are mostly loaded during the layer before
_LAST_WEIGHTS_SHARE = 0.25  # of the work with the last weights, where the layer waits for memory: the next layer's loads go on
_LAST_CHANNELS_SHARE = 0.1  # of a layer that needs all channels at once: what it waits for the last of them
_HANDOVER_SHARE = 0.5  # of a step: what a reader of another engine waits for
_ARRAY_BYTES, _DRAIN_BYTES = 128, 64  # instructions: load and array, drain
_CHOICES = np.array(
    [(1, 1, 1), (2, 2, 2), (3, 2, 2), (2, 3, 2), (3, 3, 2), (2, 4, 2), (3, 3, 3), (4, 4, 3), (2, 6, 2), (2, 10, 2)],
    dtype=np.float64,
)  # fmt: skip
"""Numbers of buffers worth trying: inputs, weights, outputs."""


class _Layer(NamedTuple):
    """What costs depend on, in numbers that compiled code can take.

    ``reach_*``: input rows or columns of one output; ``words``: of the output. ``blocks``, ``passes``: of all runs, in all;
    ``planes``: of the run that reads most. ``weights``: words of a block's weights for one plane; ``record``, ``tile``: of its
    records and of one tile. ``word_cycles``, ``latency``: of the memory. ``loads_input``, ``loads_operand``, ``stages_output``:
    whether there are buffers for them; the other flags as in Homes.
    """

    height: int
    width: int
    words: int
    input_height: int
    input_width: int
    stride_y: int
    stride_x: int
    reach_y: int
    reach_x: int
    blocks: int
    passes: int
    planes: int
    weights: int
    record: int
    pixel_cycles: int
    tile: int
    column_groups: int
    lanes: int
    word_cycles: float
    latency: int
    loads_input: bool
    loads_operand: bool
    stages_output: bool
    store: bool
    handover: bool
    by_channels: bool
    begins: bool
    ends: bool


class _Tiles(NamedTuple):
    """What the tiles of a candidate come to, whatever the number of buffers.

    Words of a buffer of each kind, 0 where a tensor is at home on chip; ``out``: words of an output tile, wherever it goes.
    Counts: ``spatial`` tiles, ``depths`` of input planes, ``chunks`` of weights, ``groups`` of blocks, ``steps``; different
    ``inputs`` and ``weights``, and how often each is loaded where it does not stay. Cycles of ``array`` and ``drain``.
    """

    input_words: float
    weight_words: float
    operand_words: float
    output_words: float
    out: float
    spatial: float
    depths: float
    chunks: float
    groups: float
    steps: float
    inputs: float
    weights: float
    input_again: float
    weights_again: float
    outer: bool
    array: float
    drain: float


class _Slots(NamedTuple):
    """Numbers of buffers of each kind."""

    inputs: float
    weights: float
    outputs: float


def array_tilings(shape: ArrayShape, params: Params, homes: Homes) -> Tilings:
    """The tilings; none if the accumulators are too small."""
    geometries = _geometries(shape.output, shape.runs, params.accumulator_half_words, params.column_groups, params.row_groups)
    layer, runs = _layer(shape, params, homes), np.array([run.blocks for run in shape.runs], dtype=np.float64)
    cost, words = _costs(layer, runs, geometries, _CHOICES, params.scratchpad_words)
    return Tilings(cost, words, partial(_tiling, layer, runs, geometries, cost))


def _layer(shape: ArrayShape, params: Params, homes: Homes) -> _Layer:
    window, runs = shape.window, shape.runs
    taps = window.kernel[0] * window.kernel[1]
    reach_y, reach_x = ((window.kernel[axis] - 1) * window.dilation[axis] + 1 for axis in (0, 1))
    return _Layer(
        shape.output.height, shape.output.width, shape.output.words, shape.input.height, shape.input.width, *window.stride,
        reach_y, reach_x, sum(run.blocks for run in runs), sum(run.blocks * run.row_blocks for run in runs) * taps,
        max(-(-run.row_blocks // params.row_groups) for run in runs), taps * params.row_groups * params.weight_tile_words,
        params.drain_record_words, params.drain_word_cycles, params.weight_tile_words, params.column_groups, params.lanes,
        word_cycles(params),
        memory_latency_cycles(params), not homes.input, shape.operand and not homes.operand, not homes.output, homes.store,
        homes.handover, homes.by_channels, homes.begins, homes.ends,
    )  # fmt: skip


@lru_cache(maxsize=1 << 12)
def _geometries(output: Layout, runs: tuple[Run, ...], half: int, group: int, row_groups: int) -> Numbers:
    """The tiles to choose from: rows, columns, blocks, chunk, planes, weights_outer of each, as the columns of a table.

    ``half``: words of half of the accumulators. ``group``, ``row_groups``: blocks of columns, and of rows, in a word.
    """
    found: list[tuple[int, ...]] = []
    most = max(run.blocks for run in runs)
    planes = max(-(-run.row_blocks // row_groups) for run in runs)
    for columns in pieces(output.width, half // group):
        for rows in pieces(output.height):
            fit = half // (rows * columns) // group * group
            if fit >= 1:
                cuts = [
                    (blocks, chunk, depth) for blocks in _block_counts(min(fit, most), most, group) for depth in halvings(planes)
                    for chunk in (_doublings(blocks, most) if depth == planes else [blocks])
                ]  # fmt: skip
                found += [
                    (rows, columns, blocks, chunk, depth, outer) for blocks, chunk, depth in cuts
                    for outer in ((1, 0) if chunk < most or depth < planes else (1,))
                ]  # fmt: skip
        if columns == output.width and columns * group <= half and output.height > 1:
            break  # narrower tiles only read borders twice
    return np.array(found, dtype=np.float64).reshape(-1, 6)


def _block_counts(fit: int, most: int, group: int) -> list[int]:
    """Blocks of a step: as many as fit, evenly cut, and half of that and so on."""
    even = ceil(most / ceil(most / fit))
    largest = min(fit, ceil(even / group) * group)
    return sorted({ceil(part / group) * group for part in halvings(largest)}, reverse=True)


def _doublings(blocks: int, limit: int) -> list[int]:
    sizes = [blocks]
    while sizes[-1] < limit:
        sizes.append(min(limit, sizes[-1] * 2))
    return sizes


@jit
def _costs(layer: _Layer, runs: Numbers, geometries: Numbers, choices: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """Estimated cycles, and scratchpad words, of every candidate: each row of ``geometries`` with each of ``choices``; cycles are
    infinite where it takes more than ``most`` words. ``runs``: blocks of each."""
    cost, words = np.full(len(geometries) * len(choices), np.inf), np.empty(len(geometries) * len(choices))
    for number in range(len(geometries)):
        tiles = _tiles(layer, runs, geometries[number])
        for choice in range(len(choices)):
            candidate = number * len(choices) + choice
            slots = _slots(tiles, choices[choice, 0], choices[choice, 1], choices[choice, 2])
            words[candidate] = _words(tiles, slots)
            if words[candidate] <= most:
                cost[candidate] = _cost(layer, tiles, slots)
    return cost, words


@jit
def _tiles(layer: _Layer, runs: Numbers, geometry: Numbers) -> _Tiles:
    rows, columns, blocks, chunk, planes, outer = geometry
    height, width = float(layer.height), float(layer.width)
    spatial = np.ceil(height / rows) * np.ceil(width / columns)
    depths, chunks, groups = np.ceil(layer.planes / planes), 0.0, 0.0
    for run in runs:
        chunks += np.ceil(run / chunk)
        groups += np.ceil(run / blocks)
    input_rows = min((rows - 1) * layer.stride_y + layer.reach_y, layer.input_height)
    input_columns = min((columns - 1) * layer.stride_x + layer.reach_x, layer.input_width)
    out = np.ceil(blocks / layer.column_groups) * rows * columns
    return _Tiles(
        planes * input_rows * input_columns if layer.loads_input else 0.0,
        chunk * (layer.weights * planes + layer.record),
        out if layer.loads_operand else 0.0,
        out if layer.stages_output else 0.0,
        out, spatial, depths, chunks, groups, spatial * groups, spatial * depths, chunks * depths,
        groups if depths > 1 else chunks if outer > 0 else 1.0,
        spatial if depths > 1 or outer == 0 else 1.0,
        outer > 0,
        layer.passes * cover_cycles(height, width, rows, columns, layer.tile),
        layer.blocks * layer.pixel_cycles * cover_cycles(height, width, rows, columns, (layer.record + 4) / layer.pixel_cycles),
    )  # fmt: skip


@jit
def _slots(tiles: _Tiles, inputs: float, weights: float, outputs: float) -> _Slots:
    """No more than there are tiles for."""
    return _Slots(min(inputs, tiles.inputs), min(weights, tiles.weights), min(outputs, tiles.steps))


@jit
def _words(t: _Tiles, slots: _Slots) -> float:
    """Scratchpad words in all."""
    streamed = (t.output_words + t.operand_words) * slots.outputs
    return t.input_words * slots.inputs + t.weight_words * slots.weights + streamed


@jit
def _cost(layer: _Layer, t: _Tiles, slots: _Slots) -> float:
    """Estimated cycles."""
    drain_step = t.drain / t.steps
    input_loads = t.inputs if t.inputs <= slots.inputs else t.inputs * t.input_again
    weight_loads = t.weights if t.weights <= slots.weights else t.weights * t.weights_again
    memory = _memory(layer, t, input_loads, weight_loads)
    bound = max(t.array, t.drain, memory, _periods(layer, t, slots, input_loads, weight_loads, drain_step))
    first_input = layer.latency + t.input_words * layer.word_cycles if t.input_words > 0 else 0.0
    first = first_input + (1 if layer.begins else _FIRST_WEIGHTS_SHARE) * (t.weight_words * layer.word_cycles)
    return bound + first + _last(layer, t, drain_step) + t.steps * t.depths * STEP_CYCLES


@jit
def _memory(layer: _Layer, t: _Tiles, input_loads: float, weight_loads: float) -> float:
    """What the memory takes, and work that cannot begin before the last weights are there."""
    word, outputs = layer.word_cycles, layer.words * layer.word_cycles
    memory = weight_loads * (t.weight_words * word) + input_loads * (t.input_words * word)
    memory += t.steps * (_DRAIN_BYTES + t.depths * _ARRAY_BYTES) / layer.lanes * word
    memory += outputs * layer.store
    memory += outputs * layer.loads_operand
    return memory + (1 if layer.ends else _LAST_WEIGHTS_SHARE) * t.array / weight_loads


@jit
def _periods(
    layer: _Layer, t: _Tiles, slots: _Slots, input_loads: float, weight_loads: float, drain_step: float
) -> float:
    """What the buffers of inputs, weights and outputs allow."""
    word, latency = layer.word_cycles, layer.latency
    longest = period_cycles(weight_loads, slots.weights, t.array / weight_loads, t.weight_words * word, latency)
    if t.input_words > 0:
        longest = max(longest, period_cycles(input_loads, slots.inputs, t.array / input_loads, t.input_words * word, latency))
    if t.output_words + t.operand_words > 0:
        use, stored = t.array / t.steps, drain_step + t.out * word
        longest = max(longest, period_cycles(t.steps, slots.outputs, use, stored, latency + DRAIN_CYCLES))
    return longest


@jit
def _last(layer: _Layer, t: _Tiles, drain_step: float) -> float:
    """What the next layer waits for."""
    if layer.stages_output:
        last = drain_step + DRAIN_CYCLES + t.out * layer.word_cycles + layer.latency
    else:
        last = (drain_step + DRAIN_CYCLES) * min(max((_FILL_BANDS - t.spatial) / 2, 0.0), 1.0)
    if layer.handover:
        last += _HANDOVER_SHARE * t.array / _parts(t)
    if layer.by_channels and t.depths <= 1:
        last += _LAST_CHANNELS_SHARE * t.array
    return last


@jit
def _parts(t: _Tiles) -> float:
    """Parts of the output that a reader can begin with: bands of rows, or of channels where these are the outer loop."""
    by_channels = t.groups if t.spatial == 1 else t.chunks if t.outer and t.chunks > 1 else 1.0
    return by_channels if by_channels > 1 else t.spatial


def _tiling(layer: _Layer, runs: Numbers, geometries: Numbers, cost: Numbers, index: int) -> Tiling:
    """A candidate, given the costs of all."""
    geometry, choice = geometries[index // len(_CHOICES)], _CHOICES[index % len(_CHOICES)]
    rows, columns, blocks, chunk, planes, outer = map(int, geometry)
    tiles = _tiles(layer, runs, geometry)
    inputs, weights, outputs = map(int, _slots(tiles, *choice))
    input_words, weight_words, operand_words, output_words = map(int, tiles[:4])
    return Tiling(
        rows, columns, blocks, chunk, planes, bool(outer), input_words, weight_words, operand_words, output_words,
        input_slots=inputs if input_words else 0,
        weight_slots=weights,
        operand_slots=outputs if operand_words else 0,
        output_slots=outputs if output_words else 0,
        cost_cycles=float(cost[index]),
    )  # fmt: skip
