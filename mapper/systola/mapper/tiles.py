"""What a tiling is: how much of a layer is on chip at a time, and in which order.

``array_tilings`` and ``vector_tilings`` enumerate and cost them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.mapper.layers import Window
from systola.mapper.layout import Layout

__all__ = ["MAX_COUNT", "ArrayShape", "Homes", "Run", "Tiling", "VectorShape", "column_mode"]

MAX_COUNT = (1 << 16) - 1

@dataclass(frozen=True)
class Homes:
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


def column_mode(params: Params, op: VectorOp, window: Window, *, operand: bool) -> bool:
    """Whether the vector engine can walk this layer column by column (all window columns at once)."""
    windowed = op in (VectorOp.DEPTHWISE, VectorOp.SUM, VectorOp.MAX) and window.kernel != (1, 1)
    fits = window.kernel[1] <= params.taps and window.dilation[1] == 1 and not operand
    return windowed and fits and (op is not VectorOp.DEPTHWISE or window.kernel[0] <= params.config.vector.tap_depth)
