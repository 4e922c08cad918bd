"""What a tiling is: how much of a layer is on chip at a time, and in which order.

``array_tilings`` and ``vector_tilings`` enumerate and cost them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.jit import jit
from systola.mapper.layers import Window
from systola.mapper.layout import Layout

__all__ = ["MAX_COUNT", "ArrayShape", "Homes", "Run", "Tiling", "Tilings", "VectorShape", "column_mode"]

MAX_COUNT = (1 << 16) - 1

class Homes(NamedTuple):
    """Which tensors of a layer stay on chip: input, second operand, output. ``store``: the output must also reach DRAM.

    ``handover``: another engine reads the output next, and can begin when the first step is done. ``by_channels``: the input is
    made channel block by channel block, not row by row. ``begins``, ``ends``: the first or last of a program, with nothing
    before or after it to hide loads or work.
    """

    input: bool = False
    operand: bool = False
    output: bool = False
    store: bool = True
    handover: bool = False
    by_channels: bool = False
    begins: bool = False
    ends: bool = False


class Run(NamedTuple):
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

    @property
    def buffers(self) -> dict[str, tuple[int, int]]:
        """Words of a buffer of each kind, and how many."""
        return {
            "weights": (self.weight_words, self.weight_slots if self.weight_words else 0),
            "input": (self.input_words, self.input_slots if self.input_words else 0),
            "operand": (self.operand_words, self.operand_slots if self.operand_words else 0),
            "output": (self.output_words, self.output_slots if self.output_words else 0),
        }

    @cached_property
    def words(self) -> int:
        """Scratchpad words in all."""
        return sum(words * count for words, count in self.buffers.values())


class Tilings(Sequence[Tiling]):
    """A layer's choices, cheapest first; of those, only where no cheaper one takes fewer words. Made one by one as they are asked
    for: most never are."""

    def __init__(self, cost: NDArray[np.float64], words: NDArray[np.float64], make: Callable[[int], Tiling]) -> None:
        """``cost``, ``words`` of every candidate; ``make``: makes one, by its number."""
        self._candidates = _frontier(cost, words)
        self._cost, self._words = cost[self._candidates], words[self._candidates]
        self._make = make
        self._made: dict[int, Tiling] = {}

    def __len__(self) -> int:
        return len(self._candidates)

    @overload
    def __getitem__(self, index: int) -> Tiling: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tiling]: ...
    def __getitem__(self, index: int | slice) -> Tiling | Sequence[Tiling]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        number = range(len(self))[index]
        if number not in self._made:
            self._made[number] = self._make(int(self._candidates[number]))
        return self._made[number]

    @property
    def least_words(self) -> int:
        """Of the smallest; 0 if there is none."""
        return int(self._words[-1]) if len(self) else 0

    def first_within(self, words: int) -> int:
        """The number of the cheapest that takes at most ``words``; ``len(self)`` if there is none."""
        return int(np.searchsorted(-self._words, -words))

    def cost_within(self, words: int) -> float:
        """Cycles of the cheapest that takes at most ``words``; infinite if there is none."""
        number = self.first_within(words)
        return float(self._cost[number]) if number < len(self) else float("inf")


@jit
def _frontier(cost: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.int64]:
    """Candidates, cheapest first, for which no cheaper one takes fewer words; of equal ones the first."""
    found, costs, size = np.empty(len(cost), np.int64), np.empty(len(cost)), 0
    for new in range(len(cost)):
        place = np.searchsorted(costs[:size], cost[new])
        if place and words[found[place - 1]] <= words[new]:
            continue
        if place < size and costs[place] == cost[new] and words[found[place]] <= words[new]:
            continue
        after = place  # what stays of those that cost no less
        while after < size and words[found[after]] >= words[new]:
            after += 1
        stay, stay_costs = found[after:size].copy(), costs[after:size].copy()
        size = place + 1 + len(stay)
        found[place], costs[place] = new, cost[new]
        found[place + 1 : size], costs[place + 1 : size] = stay, stay_costs
    return found[:size]


def column_mode(params: Params, op: VectorOp, window: Window, *, operand: bool) -> bool:
    """Whether the vector engine can walk this layer column by column (all window columns at once)."""
    windowed = op in (VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MAX) and window.kernel != (1, 1)
    fits = window.kernel[1] <= params.taps and window.dilation[1] == 1 and not operand
    return windowed and fits and (op is not VectorOp.DEPTHWISE or window.kernel[0] <= params.config.vector.tap_depth)
