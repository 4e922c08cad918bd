"""Tilings of a vector layer, and what each costs (``tile_costs`` says what a cost is)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.tile_costs import (
    STEP_CYCLES,
    Numbers,
    halvings,
    input_extent,
    period_cycles,
    pieces,
)
from systola.mapper.tiles import Homes, Tiling, Tilings, VectorShape, column_mode
from systola.mapper.timing import memory_latency_cycles, word_cycles

__all__ = ["vector_tilings"]

_PIPELINE_CYCLES = 34  # from an instruction's last step until another may begin with the result
_HANDOVER_SHARE = 0.5  # of a step: what a reader of another engine waits for
_SLOTS = (1, 2, 3)


def vector_tilings(shape: VectorShape, params: Params, homes: Homes) -> Tilings:
    """The tilings, cheapest first; only those for which no cheaper one takes fewer words.

    Rows and columns are those before upsampling.
    """
    geometries = np.array(list(_geometries(shape, params)), dtype=np.float64)
    slots = np.array(_SLOTS, dtype=np.float64)
    table = np.hstack([np.repeat(geometries, len(slots), axis=0), np.tile(slots, len(geometries))[:, None]])
    costing = _Costing(shape, params, homes, table)
    cost, words = costing.cost(), costing.words()
    return Tilings(cost, words, lambda index: costing.tiling(index, cost[index]))


def _geometries(shape: VectorShape, params: Params) -> Iterator[tuple[int, int, int]]:
    """rows, columns, planes."""
    fy, fx = shape.upsample
    for columns in pieces(shape.output.width // fx):
        for rows in pieces(shape.output.height // fy):
            for planes in halvings(shape.input.planes):
                yield rows, columns, planes
        if columns == shape.output.width // fx and _band_fits(shape, params, columns):
            break  # narrower tiles only read borders twice


def _band_fits(shape: VectorShape, params: Params, columns: int) -> bool:
    """One row of a band, double-buffered, takes at most half of the scratchpad."""
    one = np.ones(1)
    rows = input_extent(shape.window, 0, one, shape.input.height)[0]
    width = input_extent(shape.window, 1, one * columns, shape.input.width)[0]
    return bool(2 * rows * width + 4 * columns <= params.scratchpad_words // 2)


class _Costing:
    """Sizes and cost of every candidate; ``table``: rows, columns, planes, slots."""

    def __init__(self, shape: VectorShape, params: Params, homes: Homes, table: Numbers) -> None:
        self.shape, self.params, self.homes = shape, params, homes
        self.rows, self.columns, self.planes, slots = table.T
        fy, fx = shape.upsample
        self.height, self.width = shape.output.height // fy, shape.output.width // fx
        self.bands = np.ceil(self.height / self.rows) * np.ceil(self.width / self.columns)
        self.steps = self.bands * np.ceil(shape.input.planes / self.planes)
        self.slots = np.minimum(slots, self.steps)
        rows = input_extent(shape.window, 0, self.rows, shape.input.height)
        columns = input_extent(shape.window, 1, self.columns, shape.input.width)
        pixels, none = self.rows * self.columns, np.zeros_like(self.rows)
        self.input_words = none if homes.input else self.planes * rows * columns
        self.weight_words = shape.param_words * (none + 1 if shape.shared_params else self.planes)
        streamed = self.planes * (none + 1 if shape.broadcast_operand else pixels)
        self.operand_words = streamed if shape.operand and not homes.operand else none
        self.output_words = none if homes.output else self.planes * pixels * fy * fx
        single = (self.planes >= shape.input.planes) | shape.shared_params
        self.weight_slots = np.where(single, 1, np.minimum(np.maximum(self.slots, 2), self.steps))

    def words(self) -> Numbers:
        """Scratchpad words in all."""
        streamed = self.input_words + self.operand_words + self.output_words
        total: Numbers = streamed * self.slots + self.weight_words * self.weight_slots
        return total

    def cost(self) -> Numbers:
        shape, params, homes = self.shape, self.params, self.homes
        fy, fx = shape.upsample
        word, latency = word_cycles(params), memory_latency_cycles(params)
        compute = shape.input.planes * self.height * self._row_cycles() + self.steps * shape.param_words
        load = (self.input_words + self.operand_words) * word
        output = self.planes * self.rows * self.columns * fy * fx * word
        memory = self.steps * load + shape.output.words * word * homes.store + shape.param_words * shape.input.planes * word
        bound = np.maximum(compute, memory)
        inputs = period_cycles(self.steps, self.slots, compute / self.steps, load, latency)
        outputs = period_cycles(self.steps, self.slots, compute / self.steps, output, latency + _PIPELINE_CYCLES)
        bound = np.maximum(bound, np.where(load > 0, inputs, 0))
        bound = np.maximum(bound, np.where(self.output_words > 0, outputs, 0))
        first = np.where(load > 0, latency + load, 0)
        last = 0.0 if homes.output else output + latency
        total: Numbers = bound + first + last + _PIPELINE_CYCLES + self._handover(compute) + self.steps * STEP_CYCLES
        return total

    def _row_cycles(self) -> Numbers:
        """Of one plane's row."""
        shape, kernel = self.shape, self.shape.window.kernel
        if column_mode(self.params, shape.op, shape.window, operand=shape.operand):
            parts = np.ceil(self.width / self.columns)
            cycles: Numbers = ((self.width - parts) * shape.window.stride[1] + parts * kernel[1]) * kernel[0]
            return cycles
        if shape.op is VectorOp.TABLE:
            per_pixel = max(1, self.params.lanes // self.params.config.vector.table_lanes)
        else:
            per_pixel = (kernel[0] * kernel[1] + shape.operand) * shape.upsample[0] * shape.upsample[1]
        return np.full_like(self.rows, self.width * per_pixel)

    def _handover(self, compute: Numbers) -> Numbers:
        """What this layer keeps another engine waiting: little if it takes its input in the order in which that is made."""
        if not self.homes.handover:
            return np.zeros_like(compute)
        wide = self.planes >= self.shape.input.planes
        in_order = (wide & (self.bands > 1)) if not self.homes.by_channels else ~wide
        return np.where(in_order | (self.steps == 1), _HANDOVER_SHARE * compute / self.steps, compute)

    def tiling(self, index: int, cost: float) -> Tiling:
        """A candidate."""
        rows, columns, planes, slots = (int(a[index]) for a in (self.rows, self.columns, self.planes, self.slots))
        sizes = (self.input_words, self.weight_words, self.operand_words, self.output_words)
        words = [int(size[index]) for size in sizes]
        return Tiling(
            rows, columns, planes, planes, planes, True, words[0], words[1], words[2], words[3],
            input_slots=slots if words[0] else 0,
            weight_slots=int(self.weight_slots[index]) if words[1] else 0,
            operand_slots=slots if words[2] else 0,
            output_slots=slots if words[3] else 0,
            cost_cycles=float(cost),
        )  # fmt: skip
