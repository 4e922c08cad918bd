"""Layers and their plan → instructions in program order.

Each layer is a sequence of steps; a step needs some tiles in buffers and then computes. Where a kind of buffer is double, the
loads of the next step come before the work of this one, so that they overlap. Order between engines is not decided here:
each piece of work says what it reads and writes, and ``hazards`` derives the waits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, Protocol

from systola.hw.errors import MappingError
from systola.hw.isa import Opcode
from systola.hw.params import Params
from systola.mapper.image import Placed
from systola.mapper.layers import ArrayLayer, Lowered, StageB, VectorLayer, Window
from systola.mapper.layout import Layout
from systola.mapper.memory import Dram
from systola.mapper.operations import Region, Space, Template, Work, consecutive
from systola.mapper.plan import LayerPlan, Plan
from systola.mapper.shapes import resolve
from systola.mapper.tiles import MAX_COUNT

__all__ = [
    "Area",
    "Context",
    "Patch",
    "Ports",
    "Slots",
    "Source",
    "Step",
    "TilePorts",
    "after_layer",
    "blob_load",
    "flatten",
    "input_area",
    "load",
    "operand_name",
    "pieces",
    "source",
    "stage_b_fields",
    "store",
    "whole_source",
    "window_fields",
]

ADDRESS_MASK = (1 << 24) - 1
_TRANSFER_FIELDS = (
    "dram_address", "sp_address", "count_x", "count_y", "count_z", "dram_stride_y", "dram_stride_z", "sp_stride_y", "sp_stride_z",
)  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What every layer's schedule draws on."""

    net: Lowered
    params: Params
    plan: Plan
    dram: Dram
    _layouts: dict[str, Layout] = field(default_factory=dict)

    def layout(self, name: str) -> Layout:
        """How a tensor lies in memory."""
        if name not in self._layouts:
            self._layouts[name] = Layout.of(self.net.shapes[name], self.params.lanes)
        return self._layouts[name]

    def chip(self, name: str) -> int | None:
        """First scratchpad word of a tensor that stays on chip; None if it does not."""
        whole, plane = resolve(self.net, name)
        base = self.plan.chip.get(whole)
        return None if base is None else base + plane * self.layout(name).plane_words


class Area(NamedTuple):
    """A rectangle of a tensor: planes, rows and columns, each (first, count)."""

    planes: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def words(self) -> int:
        """Words in it."""
        return self.planes[1] * self.rows[1] * self.columns[1]


class Patch(NamedTuple):
    """Words of the scratchpad that hold an area: ``base`` is its first word, strides in words."""

    base: int
    row_stride: int
    plane_stride: int
    area: Area

    @staticmethod
    def packed(base: int, area: Area) -> Patch:
        """An area by itself in a buffer."""
        return Patch(base, area.columns[1], area.rows[1] * area.columns[1], area)

    @staticmethod
    def within(base: int, layout: Layout, area: Area) -> Patch:
        """An area of a whole tensor that begins at ``base``."""
        first = area.planes[0] * layout.plane_words + area.rows[0] * layout.width + area.columns[0]
        return Patch(base + first, layout.width, layout.plane_words, area)

    def part(self, area: Area) -> Patch:
        """An area inside this one."""
        depth, rows, columns = self.area
        first = (area.planes[0] - depth[0]) * self.plane_stride + (area.rows[0] - rows[0]) * self.row_stride
        return Patch(self.base + first + area.columns[0] - columns[0], self.row_stride, self.plane_stride, area)

    def region(self) -> Region:
        """Its words."""
        (_, depth), (_, rows), (_, columns) = self.area
        return Region(Space.SCRATCHPAD, self.base, depth, self.plane_stride, rows, self.row_stride, columns, 1)


@dataclass
class Step:
    """One step: ``early`` loads may come before the work of the step before, ``late`` ones may not."""

    early: list[Work] = field(default_factory=list)
    late: list[Work] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)


def flatten(steps: Iterator[Step]) -> Iterator[Work]:
    """Program order: each step's early loads before the work of the step before it."""
    previous: list[Work] = []
    for step in steps:
        yield from step.early
        yield from previous
        yield from step.late
        previous = step.work
    yield from previous


def after_layer(steps: list[Step]) -> list[Step]:
    """A layer's steps, the first one's loads not before the work of the layer before, whose stores they may read."""
    first = steps[0]
    first.early, first.late = [], first.early + first.late
    return steps


@dataclass
class Slots:
    """Buffers of one kind, the least recently used given away first."""

    addresses: tuple[int, ...]
    _held: dict[Hashable, int] = field(default_factory=dict)  # the least recently used first

    def find(self, key: Hashable, load: Callable[[int], list[Work]], step: Step) -> int:
        """The buffer that holds ``key``; if none does, one is filled by what ``load`` returns for its address."""
        held = self._held
        address = held.pop(key, None)
        if address is None:
            address = self.addresses[len(held)] if len(held) < len(self.addresses) else held.pop(next(iter(held)))
            (step.early if len(self.addresses) > 1 else step.late).extend(load(address))
        held[key] = address
        return address


@cache
def _transfers(opcode: Opcode, tag: int) -> Template:
    return Template(opcode, tag, {}, _TRANSFER_FIELDS)


def transfer(opcode: Opcode, tag: int, tensor: Placed, patch: Patch, params: Params) -> Work:
    """A load or store of an area of a tensor, contiguous dimensions merged."""
    layout, lanes = tensor.layout, params.lanes
    (plane, depth), (row, rows), (column, columns) = patch.area
    first, pitch = (plane * layout.height + row) * layout.width + column, layout.plane_words
    there = Region(Space.DRAM, tensor.address // lanes + first, depth, pitch, rows, layout.width, columns, 1)
    axes = (columns, 1, 1), (rows, layout.width, patch.row_stride), (depth, pitch, patch.plane_stride)
    values = tensor.address + first * lanes, patch.base, *_axes_values(axes, lanes)
    here = patch.region()
    reads, writes = ((there,), (here,)) if opcode is Opcode.LOAD else ((here,), (there,))
    return Work(_transfers(opcode, tag), values, reads, writes)


def _axes_values(axes: tuple[tuple[int, int, int], ...], lanes: int) -> tuple[int, ...]:
    """Counts and strides of up to three axes, merging an axis with the next inner one where both sides are contiguous.

    ``axes``: (count, DRAM stride, scratchpad stride), in words, innermost first.
    """
    merged = [axes[0]]
    for count, dram, chip in axes[1:]:
        if count == 1:
            continue
        inner_count, inner_dram, inner_chip = merged[-1]
        contiguous = dram == inner_count * inner_dram and chip == inner_count * inner_chip
        if contiguous and count * inner_count <= MAX_COUNT:
            merged[-1] = (count * inner_count, inner_dram, inner_chip)
        else:
            merged.append((count, dram, chip))
    merged += [(1, 0, 0)] * (3 - len(merged))
    (x, _, _), (y, dram_y, chip_y), (z, dram_z, chip_z) = merged
    return x, y, z, dram_y * lanes, dram_z * lanes, chip_y, chip_z


def blob_load(tag: int, address: int, words: int, base: int, params: Params) -> Work:
    """A load of ``words`` consecutive constant words; constants are never written, so only the scratchpad side can conflict."""
    rows = -(-words // MAX_COUNT)
    while words % rows:
        rows += 1
    per_row = words // rows
    values = address, base, per_row, rows, 1, per_row * params.lanes, 0, per_row, 0
    return Work(_transfers(Opcode.LOAD, tag), values, (), (consecutive(Space.SCRATCHPAD, base, words),))


def stage_b_fields(stage_b: StageB | None) -> dict[str, int]:
    """The instruction fields of stage B; none if there is no stage B."""
    if stage_b is None:
        return {}
    node = stage_b.node
    return {
        "stage_b": 1, "multiplier_positive": stage_b.multiplier_positive, "multiplier_negative": stage_b.multiplier_negative,
        "multiplier_operand": stage_b.multiplier_operand, "shift_b": node.shift, "zero_operand": stage_b.zero_operand,
        "zero_b": node.zero_out, "low_b": node.low, "high_b": node.high, "operand": int(stage_b.operand is not None),
    }  # fmt: skip


def window_fields(window: Window) -> dict[str, int]:
    """The instruction fields of a window that do not depend on the tile."""
    return {
        "step_x": window.stride[1], "step_y": window.stride[0], "dilation_x": window.dilation[1],
        "dilation_y": window.dilation[0], "pad_value": window.pad_code, "count_kx": window.kernel[1],
        "count_ky": window.kernel[0],
    }  # fmt: skip


class Source(NamedTuple):
    """Where the input of a step is read: how the window lies in the scratchpad, and the words it reads.

    ``address``: word of the window's first position, perhaps outside. ``origin``, ``limit``: as the instructions have them,
    (y, x).
    """

    region: Region
    row_stride: int
    plane_stride: int
    address: int
    origin: tuple[int, int]
    limit: tuple[int, int]


def input_area(window: Window, layout: Layout, rows: tuple[int, int], columns: tuple[int, int], depth: tuple[int, int]) -> Area:
    """The part of the input that an output tile needs; empty (zero rows or columns) where all of it is padding."""

    y, x = window.input_span(0, *rows), window.input_span(1, *columns)
    return Area(depth, _clipped(y, layout.height), _clipped(x, layout.width))


def _clipped(span: tuple[int, int], extent: int) -> tuple[int, int]:
    """(first, count) of what lies inside an extent."""
    begin, end = max(span[0], 0), min(span[1], extent)
    return (begin, end - begin) if end > begin else (0, 0)


def source(window: Window, patch: Patch, needed: Region, rows: tuple[int, int], columns: tuple[int, int]) -> Source:
    """How a window reads ``patch`` for an output tile; ``needed`` are the words that it does read."""
    area = patch.area
    first_y, first_x = window.input_span(0, *rows)[0], window.input_span(1, *columns)[0]
    origin = (first_y - area.rows[0], first_x - area.columns[0])
    address = patch.base + origin[0] * patch.row_stride + origin[1]
    limit = (area.rows[1], area.columns[1])
    return Source(needed, patch.row_stride, patch.plane_stride, address & ADDRESS_MASK, origin, limit)


def whole_source(context: Context, layer: ArrayLayer | VectorLayer, tile: Area) -> Source:
    """How a layer reads its input where that stays on chip. Raises MappingError where it does not (a defect of the mapper)."""
    layout, base = context.layout(layer.input), context.chip(layer.input)
    if base is None:
        raise MappingError(f"internal: '{layer.input}' does not stay on chip")
    whole = Patch.within(base, layout, Area(tile.planes, (0, layout.height), (0, layout.width)))
    needed = input_area(layer.window, layout, tile.rows, tile.columns, tile.planes)
    return source(layer.window, whole, whole.part(needed).region(), tile.rows, tile.columns)


class Ports(Protocol):
    """Where the steps of a layer read and write. Loads that this takes are added to the step."""

    def source(self, tile: Area, step: Step) -> Source:
        """The input of an output tile; ``tile``: input planes, output rows and output columns (before upsampling)."""

    def targets(self, area: Area, step: Step) -> list[Patch]:
        """Where an output tile is written: in all, then perhaps some of its rows in other places as well."""

    def operand(self, area: Area, step: Step) -> Patch:
        """Where a second operand is read."""

    def stores(self, patch: Patch) -> list[Work]:
        """What sends an output tile to DRAM, if it is to go there."""


class TilePorts:
    """Tensors that stay on chip whole, and buffers for tiles of the others."""

    def __init__(self, context: Context, tag: int, layer: ArrayLayer | VectorLayer, plan: LayerPlan) -> None:
        self.context, self.tag, self.layer, self.plan = context, tag, layer, plan
        self.inputs, self.operands, self.outputs = (
            Slots(addresses) for addresses in (plan.buffers.input, plan.buffers.operand, plan.buffers.output)
        )
        self.input_stays, self.output_base = context.chip(layer.input) is not None, context.chip(layer.output)
        self.output_layout = context.layout(layer.output)
        self._sources: dict[Area, Source] = {}  # by output tile, where the input stays on chip
        self._needed: dict[Area, Area] = {}  # by output tile, where it is loaded

    def source(self, tile: Area, step: Step) -> Source:
        """Within the tensor, or in a buffer that the tile is loaded into."""
        window, name = self.layer.window, self.layer.input
        if self.input_stays:
            if tile not in self._sources:
                self._sources[tile] = whole_source(self.context, self.layer, tile)
            return self._sources[tile]
        if tile not in self._needed:
            self._needed[tile] = input_area(window, self.context.layout(name), tile.rows, tile.columns, tile.planes)
        patch = self._loaded(self.inputs, name, self._needed[tile], step)
        return source(window, patch, patch.region(), tile.rows, tile.columns)

    def targets(self, area: Area, step: Step) -> list[Patch]:
        """In the tensor, or in the next buffer."""
        if self.output_base is not None:
            return [Patch.within(self.output_base, self.output_layout, area)]
        return [Patch.packed(self.outputs.find(area, lambda _: [], step), area)]

    def operand(self, area: Area, step: Step) -> Patch:
        """In the tensor, or in a buffer that it is loaded into."""
        name = operand_name(self.layer)
        base = self.context.chip(name)
        if base is not None:
            return Patch.within(base, self.context.layout(name), area)
        return self._loaded(self.operands, name, area, step)

    def stores(self, patch: Patch) -> list[Work]:
        """Where the output goes to DRAM."""
        return [store(self.context, self.tag, self.layer.output, patch)] if self.plan.homes.store else []

    def _loaded(self, slots: Slots, name: str, area: Area, step: Step) -> Patch:
        def load_into(address: int) -> list[Work]:
            return load(self.context, self.tag, name, Patch.packed(address, area))

        return Patch.packed(slots.find(area, load_into, step), area)


def operand_name(layer: ArrayLayer | VectorLayer) -> str:
    """The second operand of a layer that has one. Raises MappingError if it has none (a defect of the mapper)."""
    name = layer.operand if isinstance(layer, VectorLayer) else layer.stage_b.operand if layer.stage_b else None
    if name is None:
        raise MappingError(f"internal: layer '{layer.name}' has no second operand")
    return name


def load(context: Context, tag: int, name: str, patch: Patch) -> list[Work]:
    """The load of an area from DRAM; none for an empty one."""
    if not patch.area.words:
        return []
    return [transfer(Opcode.LOAD, tag, context.dram.tensor(name), patch, context.params)]


def store(context: Context, tag: int, name: str, patch: Patch) -> Work:
    """The store of an output tile to DRAM."""
    return transfer(Opcode.STORE, tag, context.dram.tensor(name), patch, context.params)


def pieces(extent: int, size: int) -> list[tuple[int, int]]:
    """(first, count) of consecutive parts of ``extent``, each of ``size`` but the last."""
    return [(first, min(size, extent - first)) for first in range(0, extent, size)]
