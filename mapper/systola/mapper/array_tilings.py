"""Tilings of an array layer, and what each costs (``tile_costs`` says what a cost is)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from systola.hw.params import Params
from systola.mapper.tile_costs import (
    DRAIN_CYCLES,
    STEP_CYCLES,
    Numbers,
    cover_cycles,
    frontier,
    halvings,
    input_extent,
    memory_latency_cycles,
    period_cycles,
    pieces,
    word_cycles,
)
from systola.mapper.tiles import ArrayShape, Homes, Tiling

__all__ = ["array_tilings"]

_FILL_BANDS = 3  # bands after which the next layer's first step finds its input ready
_FIRST_WEIGHTS_SHARE = 0.03  # of the first weights' load: they are mostly loaded during the layer before
_LAST_WEIGHTS_SHARE = 0.25  # of the work with the last weights, where the layer waits for memory: the next layer's loads go on
_LAST_CHANNELS_SHARE = 0.1  # of a layer that needs all channels at once: what it waits for the last of them
_HANDOVER_SHARE = 0.5  # of a step: what a reader of another engine waits for
_ARRAY_BYTES, _DRAIN_BYTES = 128, 64  # instructions: load and array, drain
_SLOTS = ((1, 1, 1), (2, 2, 2), (3, 2, 2), (2, 3, 2), (3, 3, 2), (2, 4, 2), (3, 3, 3), (4, 4, 3), (2, 6, 2), (2, 10, 2))
"""Numbers of buffers worth trying: inputs, weights, outputs."""


@dataclass
class _Candidates:
    """Arrays, one number for each candidate."""

    rows: Numbers
    columns: Numbers
    blocks: Numbers
    chunk: Numbers
    planes: Numbers
    outer: Numbers
    input_slots: Numbers
    weight_slots: Numbers
    output_slots: Numbers


def array_tilings(shape: ArrayShape, params: Params, homes: Homes) -> list[Tiling]:
    """The tilings, cheapest first; only those for which no cheaper one takes fewer words.

    None if the accumulators are too small.
    """
    geometries = list(_geometries(shape, params))
    if not geometries:
        return []
    choices = np.array(geometries, dtype=np.float64)
    slots = np.array(_SLOTS, dtype=np.float64)
    table = np.hstack([np.repeat(choices, len(slots), axis=0), np.tile(slots, (len(choices), 1))])
    c = _Candidates(*table.T)
    costing = _Costing(shape, params, homes, c)
    cost, words = costing.cost(), costing.words()
    return [costing.tiling(index, cost[index]) for index in frontier(cost, words)]


def _geometries(shape: ArrayShape, params: Params) -> Iterator[tuple[int, int, int, int, int, int]]:
    """rows, columns, blocks, chunk, planes, weights_outer."""
    half, group = params.accumulator_half_words, params.column_groups
    most = max(run.blocks for run in shape.runs)
    planes = max(-(-run.row_blocks // params.row_groups) for run in shape.runs)
    for columns in pieces(shape.output.width, half // group):
        for rows in pieces(shape.output.height):
            fit = half // (rows * columns) // group * group
            if fit < 1:
                continue
            for blocks in _block_counts(min(fit, most), most, group):
                for depth in halvings(planes):
                    for chunk in _doublings(blocks, most) if depth == planes else [blocks]:
                        for outer in (1, 0) if chunk < most or depth < planes else (1,):
                            yield rows, columns, blocks, chunk, depth, outer
        if columns == shape.output.width and columns * group <= half and shape.output.height > 1:
            break  # narrower tiles only read borders twice


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


class _Costing:
    """Sizes, traffic and cost of every candidate."""

    def __init__(self, shape: ArrayShape, params: Params, homes: Homes, c: _Candidates) -> None:
        self.shape, self.params, self.homes, self.c = shape, params, homes, c
        self.taps = shape.window.kernel[0] * shape.window.kernel[1]
        self.all_planes = max(-(-run.row_blocks // params.row_groups) for run in shape.runs)
        height, width = shape.output.height, shape.output.width
        self.spatial = np.ceil(height / c.rows) * np.ceil(width / c.columns)
        self.depths = np.ceil(self.all_planes / c.planes)
        self.chunks = sum(np.ceil(run.blocks / c.chunk) for run in shape.runs) + np.zeros_like(c.rows)
        self.groups = sum(np.ceil(run.blocks / c.blocks) for run in shape.runs) + np.zeros_like(c.rows)
        self._buffers()

    def _buffers(self) -> None:
        """Words of each kind of buffer, and how many; none where a tensor is at home on chip."""
        c, shape, params, homes = self.c, self.shape, self.params, self.homes
        rows = input_extent(shape.window, 0, c.rows, shape.input.height)
        columns = input_extent(shape.window, 1, c.columns, shape.input.width)
        out = np.ceil(c.blocks / params.column_groups) * c.rows * c.columns
        none = np.zeros_like(c.rows)
        tiles = self.taps * c.planes * params.row_groups * params.weight_tile_words
        self.input_words = none if homes.input else c.planes * rows * columns
        self.weight_words = c.chunk * (tiles + params.drain_record_words)
        self.operand_words = out if shape.operand and not homes.operand else none
        self.output_words = none if homes.output else out
        inputs, weights = self.spatial * self.depths, self.chunks * self.depths  # different ones
        self.input_slots, self.weight_slots = np.minimum(c.input_slots, inputs), np.minimum(c.weight_slots, weights)
        again = np.where(self.depths > 1, self.groups, np.where(c.outer > 0, self.chunks, 1))
        self.input_loads = np.where(inputs <= c.input_slots, inputs, inputs * again)
        again = np.where((self.depths > 1) | (c.outer == 0), self.spatial, 1)
        self.weight_loads = np.where(weights <= c.weight_slots, weights, weights * again)
        self.output_slots = np.minimum(c.output_slots, self.spatial * self.groups)

    def words(self) -> Numbers:
        """Scratchpad words in all."""
        streamed = (self.output_words + self.operand_words) * self.output_slots
        total: Numbers = self.input_words * self.input_slots + self.weight_words * self.weight_slots + streamed
        return total

    def cost(self) -> Numbers:
        c, homes, shape, params = self.c, self.homes, self.shape, self.params
        extents = shape.output.height, shape.output.width
        word, latency = word_cycles(params), memory_latency_cycles(params)
        passes = sum(run.blocks * run.row_blocks for run in shape.runs) * self.taps
        blocks = sum(run.blocks for run in shape.runs)
        array = passes * cover_cycles(extents, c.rows, c.columns, params.weight_tile_words)
        drain = blocks * cover_cycles(extents, c.rows, c.columns, params.drain_record_words + 4)
        steps = self.spatial * self.groups
        step_words = np.ceil(c.blocks / params.column_groups) * c.rows * c.columns
        weight_load, input_load, output = self.weight_words * word, self.input_words * word, step_words * word
        outputs = shape.output.words * word
        memory = self.weight_loads * weight_load + self.input_loads * input_load
        memory = memory + steps * (_DRAIN_BYTES + self.depths * _ARRAY_BYTES) / params.lanes * word
        memory = memory + outputs * homes.store + outputs * (shape.operand and not homes.operand)
        share = 1 if homes.ends else _LAST_WEIGHTS_SHARE
        bound = np.maximum(np.maximum(array, drain), memory + share * array / self.weight_loads)
        inputs = period_cycles(self.input_loads, self.input_slots, array / self.input_loads, input_load, latency)
        weights = period_cycles(self.weight_loads, self.weight_slots, array / self.weight_loads, weight_load, latency)
        drain_step = drain / steps
        stores = period_cycles(steps, self.output_slots, array / steps, drain_step + output, latency + DRAIN_CYCLES)
        bound = np.maximum(bound, np.where(self.input_words > 0, inputs, 0))
        bound = np.maximum(bound, weights)
        bound = np.maximum(bound, np.where(self.output_words + self.operand_words > 0, stores, 0))
        first = np.where(self.input_words > 0, latency + input_load, 0)
        first = first + (1 if homes.begins else _FIRST_WEIGHTS_SHARE) * weight_load
        fill = (drain_step + DRAIN_CYCLES) * np.clip((_FILL_BANDS - self.spatial) / 2, 0, 1)
        last = fill if homes.output else drain_step + DRAIN_CYCLES + output + latency
        if homes.handover:
            last = last + _HANDOVER_SHARE * array / self._parts()
        if homes.by_channels:
            last = last + np.where(self.depths > 1, 0, _LAST_CHANNELS_SHARE * array)
        total: Numbers = bound + first + last + steps * self.depths * STEP_CYCLES
        return total

    def _parts(self) -> Numbers:
        """Parts of the output that a reader can begin with: bands of rows, or of channels where these are the outer loop."""
        by_channels = np.where(self.spatial == 1, self.groups, np.where((self.c.outer > 0) & (self.chunks > 1), self.chunks, 1))
        return np.where(by_channels > 1, by_channels, self.spatial)

    def tiling(self, index: int, cost: float) -> Tiling:
        """A candidate."""
        c = self.c
        sizes = (self.input_words, self.weight_words, self.operand_words, self.output_words)
        words = [int(size[index]) for size in sizes]
        outputs = int(self.output_slots[index])
        return Tiling(
            int(c.rows[index]), int(c.columns[index]), int(c.blocks[index]), int(c.chunk[index]), int(c.planes[index]),
            bool(c.outer[index]), words[0], words[1], words[2], words[3],
            input_slots=int(self.input_slots[index]) if words[0] else 0,
            weight_slots=int(self.weight_slots[index]),
            operand_slots=outputs if words[2] else 0,
            output_slots=outputs if words[3] else 0,
            cost_cycles=float(cost),
        )  # fmt: skip
