"""Tilings of an array layer, and what each costs (``tile_costs`` says what a cost is)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from math import ceil
from typing import NamedTuple

import numpy as np

from systola.hw.params import Params
from systola.mapper.layout import Layout
from systola.mapper.tile_costs import (
    DRAIN_CYCLES,
    STEP_CYCLES,
    Numbers,
    cover_cycles,
    halvings,
    input_extent,
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
_SLOTS = ((1, 1, 1), (2, 2, 2), (3, 2, 2), (2, 3, 2), (3, 3, 2), (2, 4, 2), (3, 3, 3), (4, 4, 3), (2, 6, 2), (2, 10, 2))
"""Numbers of buffers worth trying: inputs, weights, outputs."""


class _Candidates(NamedTuple):
    """Tiles in a column, a number for each; numbers of buffers in a row, one for each choice: together a table of candidates."""

    rows: Numbers
    columns: Numbers
    blocks: Numbers
    chunk: Numbers
    planes: Numbers
    outer: Numbers
    input_slots: Numbers
    weight_slots: Numbers
    output_slots: Numbers


def array_tilings(shape: ArrayShape, params: Params, homes: Homes) -> Tilings:
    """The tilings; none if the accumulators are too small."""
    geometries = _geometries(shape.output, shape.runs, params.accumulator_half_words, params.column_groups, params.row_groups)
    slots = np.array(_SLOTS, dtype=np.float64).T
    costing = _Costing(shape, params, homes, _Candidates(*geometries[:, :, None], *slots[:, None, :]))
    cost, words = costing.cost(), costing.words()
    return Tilings(cost.reshape(-1), words.reshape(-1), partial(costing.tiling, cost))


@lru_cache(maxsize=1 << 12)
def _geometries(output: Layout, runs: tuple[Run, ...], half: int, group: int, row_groups: int) -> Numbers:
    """The tiles to choose from: rows, columns, blocks, chunk, planes, weights_outer of each, as the rows of a table.

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
    return np.array(found, dtype=np.float64).reshape(-1, 6).T.copy()


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
        self.word, self.latency = word_cycles(params), memory_latency_cycles(params)
        self.taps = shape.window.kernel[0] * shape.window.kernel[1]
        self.all_planes = max(-(-run.row_blocks // params.row_groups) for run in shape.runs)
        height, width = shape.output.height, shape.output.width
        self.spatial = np.ceil(height / c.rows) * np.ceil(width / c.columns)
        self.depths = np.ceil(self.all_planes / c.planes)
        self.chunks: Numbers = np.zeros_like(c.rows) + sum(np.ceil(run.blocks / c.chunk) for run in shape.runs)
        self.groups: Numbers = np.zeros_like(c.rows) + sum(np.ceil(run.blocks / c.blocks) for run in shape.runs)
        self._buffers()

    def _buffers(self) -> None:
        """Words of each kind of buffer, and how many; none where a tensor is at home on chip."""
        c, shape, params, homes = self.c, self.shape, self.params, self.homes
        rows = input_extent(shape.window, 0, c.rows, shape.input.height)
        columns = input_extent(shape.window, 1, c.columns, shape.input.width)
        out: Numbers = np.ceil(c.blocks / params.column_groups) * c.rows * c.columns
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
        self.steps = self.spatial * self.groups
        self.output_slots = np.minimum(c.output_slots, self.steps)
        self.weight_load, self.input_load, self.output = (
            words * self.word for words in (self.weight_words, self.input_words, out)
        )  # cycles of one transfer

    def words(self) -> Numbers:
        """Scratchpad words in all."""
        streamed = (self.output_words + self.operand_words) * self.output_slots
        total: Numbers = self.input_words * self.input_slots + self.weight_words * self.weight_slots + streamed
        return total

    def cost(self) -> Numbers:
        """Estimated cycles."""
        c, shape, params = self.c, self.shape, self.params
        extents = shape.output.height, shape.output.width
        passes = sum(run.blocks * run.row_blocks for run in shape.runs) * self.taps
        blocks = sum(run.blocks for run in shape.runs)
        array = passes * cover_cycles(extents, c.rows, c.columns, params.weight_tile_words)
        drain = blocks * cover_cycles(extents, c.rows, c.columns, params.drain_record_words + 4)
        drain_step = drain / self.steps
        bound = np.maximum(np.maximum(array, drain), self._memory(array))
        for periods in self._periods(array, drain_step):
            bound = np.maximum(bound, periods)
        total: Numbers = bound + self._first() + self._last(array, drain_step) + self.steps * self.depths * STEP_CYCLES
        return total

    def _memory(self, array: Numbers) -> Numbers:
        """What the memory takes, and work that cannot begin before the last weights are there."""
        shape, homes, word = self.shape, self.homes, self.word
        outputs = shape.output.words * word
        memory = self.weight_loads * self.weight_load + self.input_loads * self.input_load
        memory = memory + self.steps * (_DRAIN_BYTES + self.depths * _ARRAY_BYTES) / self.params.lanes * word
        memory = memory + outputs * homes.store + outputs * (shape.operand and not homes.operand)
        share = 1 if homes.ends else _LAST_WEIGHTS_SHARE
        total: Numbers = memory + share * array / self.weight_loads
        return total

    def _periods(self, array: Numbers, drain_step: Numbers) -> Iterator[Numbers]:
        """What the buffers of inputs, weights and outputs allow."""
        inputs, weights, steps = self.input_loads, self.weight_loads, self.steps
        use = period_cycles(inputs, self.input_slots, array / inputs, self.input_load, self.latency)
        yield np.where(self.input_words > 0, use, 0)
        yield period_cycles(weights, self.weight_slots, array / weights, self.weight_load, self.latency)
        stored = drain_step + self.output
        use = period_cycles(steps, self.output_slots, array / steps, stored, self.latency + DRAIN_CYCLES)
        yield np.where(self.output_words + self.operand_words > 0, use, 0)

    def _first(self) -> Numbers:
        """Waiting for the first input and weights."""
        first = np.where(self.input_words > 0, self.latency + self.input_load, 0)
        total: Numbers = first + (1 if self.homes.begins else _FIRST_WEIGHTS_SHARE) * self.weight_load
        return total

    def _last(self, array: Numbers, drain_step: Numbers) -> Numbers:
        """What the next layer waits for."""
        homes = self.homes
        fill = (drain_step + DRAIN_CYCLES) * np.clip((_FILL_BANDS - self.spatial) / 2, 0, 1)
        last: Numbers = fill if homes.output else drain_step + DRAIN_CYCLES + self.output + self.latency
        if homes.handover:
            last = last + _HANDOVER_SHARE * array / self._parts()
        if homes.by_channels:
            last = last + np.where(self.depths > 1, 0, _LAST_CHANNELS_SHARE * array)
        return last

    def _parts(self) -> Numbers:
        """Parts of the output that a reader can begin with: bands of rows, or of channels where these are the outer loop."""
        by_channels = np.where(self.spatial == 1, self.groups, np.where((self.c.outer > 0) & (self.chunks > 1), self.chunks, 1))
        return np.where(by_channels > 1, by_channels, self.spatial)

    def tiling(self, cost: Numbers, index: int) -> Tiling:
        """A candidate, given the costs of all."""

        def number(values: Numbers) -> int:
            return int(np.broadcast_to(values, cost.shape).flat[index])

        c = self.c
        outputs = number(self.output_slots)
        words = [number(w) for w in (self.input_words, self.weight_words, self.operand_words, self.output_words)]
        return Tiling(
            number(c.rows), number(c.columns), number(c.blocks), number(c.chunk), number(c.planes), bool(number(c.outer)),
            words[0], words[1], words[2], words[3],
            input_slots=number(self.input_slots) if words[0] else 0,
            weight_slots=number(self.weight_slots),
            operand_slots=outputs if words[2] else 0,
            output_slots=outputs if words[3] else 0,
            cost_cycles=float(cost.flat[index]),
        )  # fmt: skip
