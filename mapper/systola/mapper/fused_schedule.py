"""The instructions of a group of layers: band by band, in each band layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from systola.hw.errors import MappingError
from systola.mapper.array_schedule import ArrayEmitter, ArrayPart
from systola.mapper.fusion import Fusion
from systola.mapper.layers import ArrayLayer, VectorLayer
from systola.mapper.operations import Work
from systola.mapper.plan import FusedPlan
from systola.mapper.schedule import (
    Area,
    Context,
    Patch,
    Slots,
    Source,
    Step,
    input_area,
    load,
    operand_name,
    pieces,
    source,
    store,
    whole_source,
)
from systola.mapper.shapes import array_shape
from systola.mapper.tiles import Tiling
from systola.mapper.vector_schedule import VectorEmitter

__all__ = ["fused_steps"]

Span = tuple[int, int]
"""(first, count)"""


@dataclass
class _Places:
    """Where the group's tensors lie."""

    context: Context
    plan: FusedPlan

    def rows_of(self, number: int, band: int) -> Patch:
        """The rows of a band's turn of the input (0), or of the output of the layer before layer ``number`` of the group."""
        tiling, index = self.plan.tiling, self.plan.first + number
        ring = tiling.rings[number]
        if ring is None:
            raise MappingError("internal: a band of a tensor that stays on chip")
        layout = self.context.layout(self.layer(index).input)
        turn = band // ring.turn
        area = Area((0, layout.planes), (ring.first_row(turn), ring.rows), (0, layout.width))
        return Patch.packed(self.plan.addresses["ring", index, 0], area)

    def layer(self, index: int) -> ArrayLayer | VectorLayer:
        layer = self.context.net.layers[index]
        if not isinstance(layer, ArrayLayer | VectorLayer):
            raise MappingError("internal: a host layer in a group")
        return layer

    def output(self, band: int) -> Patch:
        """The rows of the group's output that a band makes."""
        name = self.layer(self.plan.last).output
        layout, base = self.context.layout(name), self.context.chip(name)
        area = Area((0, layout.planes), self.plan.tiling.bands[-1].fresh(band), (0, layout.width))
        if base is not None:
            return Patch.within(base, layout, area)
        slots = sum(kind == "output" for kind, _, _ in self.plan.tiling.buffers)
        return Patch.packed(self.plan.addresses["output", self.plan.last, band % slots], area)


@dataclass
class _BandPorts:
    """Where the layer ``number`` of the group reads and writes in ``band``."""

    places: _Places
    number: int
    band: int = 0

    def __post_init__(self) -> None:
        self.context, self.plan = self.places.context, self.places.plan
        self.index = self.plan.first + self.number
        self.layer = self.places.layer(self.index)

    def source(self, tile: Area, step: Step) -> Source:  # noqa: ARG002 (loads come before the band's first step)
        """In a band, or in the tensor."""
        window, layout = self.layer.window, self.context.layout(self.layer.input)
        if self.plan.tiling.rings[self.number] is None:
            return whole_source(self.context, self.layer, tile)
        needed = input_area(window, layout, tile.rows, tile.columns, tile.planes)
        patch = self.places.rows_of(self.number, self.band).part(needed)
        return source(window, patch, patch.region(), tile.rows, tile.columns)

    def targets(self, area: Area, step: Step) -> list[Patch]:  # noqa: ARG002
        """In its band, and rows that the next turn needs too there as well; or the group's output."""
        if self.index == self.plan.last:
            return [self.places.output(self.band).part(area)]
        ring = self.plan.tiling.rings[self.number + 1]
        if ring is None:
            raise MappingError("internal: a tensor in the middle of a group without a buffer")
        patches = [self.places.rows_of(self.number + 1, self.band).part(area)]
        first, count = ring.again(self.band)
        begin, end = max(first, area.rows[0]), min(first + count, sum(area.rows))
        if begin < end:
            again = Area(area.planes, (begin, end - begin), area.columns)
            patches.append(self.places.rows_of(self.number + 1, self.band + ring.turn).part(again))
        return patches

    def operand(self, area: Area, step: Step) -> Patch:  # noqa: ARG002
        """In its tensor, in the input's band, or in a buffer for the band."""
        base = self.context.chip(operand_name(self.layer))
        if base is not None:
            return Patch.within(base, self.context.layout(operand_name(self.layer)), area)
        if self.index in self.plan.tiling.operand_in_input:
            return self.places.rows_of(0, self.band).part(area)
        return self.operand_buffer().part(area)

    def operand_buffer(self) -> Patch:
        """The buffer of this band's second operand."""
        layout = self.context.layout(operand_name(self.layer))
        rows, slot = self.plan.tiling.bands[self.number + 1].fresh(self.band), 0
        if isinstance(self.layer, VectorLayer) and self.layer.broadcast_operand:
            rows = 0, 1
        else:
            slot = self.band % sum(k == "operand" and i == self.index for k, i, _ in self.plan.tiling.buffers)
        address = self.plan.addresses["operand", self.index, slot]
        return Patch.packed(address, Area((0, layout.planes), rows, (0, layout.width)))

    def stores(self, patch: Patch) -> list[Work]:  # noqa: ARG002
        """None: a band is stored as a whole."""
        return []

    def loads(self) -> list[Work]:
        """What must be loaded for a band: rows of the group's input, and of a second operand."""
        works, tag, tiling = [], self.index, self.plan.tiling
        ring = tiling.rings[0]
        if self.number == 0 and ring is not None:
            first, count = ring.bands.fresh(self.band)
            if self.band % ring.turn == 0:
                first = ring.first_row(self.band // ring.turn)
                count = int(ring.bands.high[self.band]) - first
            turn = self.places.rows_of(0, self.band)
            rows = Area(turn.area.planes, (first, count), turn.area.columns)
            works += load(self.context, tag, self.layer.input, turn.part(rows))
        if ("operand", self.index, 0) in tiling.buffers:
            still = isinstance(self.layer, VectorLayer) and self.layer.broadcast_operand
            if not still or self.band == 0:
                works += load(self.context, tag, operand_name(self.layer), self.operand_buffer())
        return works


class _Member:
    """One layer of the group."""

    def __init__(self, places: _Places, number: int, fusion: Fusion, groups: Iterator[int]) -> None:
        self.ports, self.fusion = _BandPorts(places, number), fusion
        context, plan, layer, index = places.context, places.plan, self.ports.layer, self.ports.index
        self.index, self.made = index, plan.tiling.bands[number + 1]
        weights = Slots(tuple(plan.addresses[key] for key in plan.tiling.buffers if key[:2] == ("weights", index)))
        self.array = self.vector = None
        if isinstance(layer, VectorLayer):
            self.vector = VectorEmitter(context, layer, index, weights, self.ports)
        else:
            layout = context.layout(layer.output)
            most = max(run.blocks for run in array_shape(context.net, layer, context.params).runs)
            tiling = Tiling(layout.height, layout.width, most, most, context.layout(layer.input).planes, weights_outer=False)
            self.array = ArrayEmitter(context, layer, tiling, index, weights, self.ports, groups)

    def band(self, band: int) -> Iterator[Work]:
        """The work of a band."""
        self.ports.band = band
        rows = self.made.fresh(band)
        yield from self.ports.loads()
        if rows[1]:
            for step in self._steps(rows):
                yield from step.early
                yield from step.late
                yield from step.work

    def _steps(self, rows: Span) -> Iterator[Step]:
        if self.array is not None:
            yield from map(self.array.step, self._parts(self.array, rows))
        if self.vector is not None:
            shape, (fy, fx) = self.vector.shape, self.vector.shape.upsample
            depth, width = (0, shape.input.planes), (0, shape.output.width // fx)
            yield self.vector.step(Area(depth, (rows[0] // fy, rows[1] // fy), width))

    def _parts(self, array: ArrayEmitter, rows: Span) -> Iterator[ArrayPart]:
        cut = self.fusion.cut(self.index, rows[1])
        for first, count in pieces(rows[1], cut.rows):
            for columns in pieces(array.shape.output.width, cut.columns):
                for run in array.shape.runs:
                    chunk = array.chunk(run, (0, run.blocks), (0, array.planes(run)))
                    for blocks in pieces(run.blocks, cut.blocks):
                        yield ArrayPart((rows[0] + first, count), columns, chunk, blocks)


def fused_steps(context: Context, plan: FusedPlan, groups: Iterator[int]) -> list[Step]:
    """The work of a group, in an order that is right if all is done one after the other. ``groups``: numbers for accumulator
    groups."""
    places, fusion = _Places(context, plan), Fusion(context.net, context.params)
    members = [_Member(places, number, fusion, groups) for number in range(plan.last - plan.first + 1)]
    work: list[Work] = []
    for band in range(len(plan.tiling.bands[-1])):
        for member in members:
            work.extend(member.band(band))
        if plan.homes.store:
            work.append(store(context, plan.last, members[-1].ports.layer.output, places.output(band)))
    return [Step(work=work)]
