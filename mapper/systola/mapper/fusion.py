"""Groups of layers that are computed band by band: which there could be, what they need on chip, and what they cost.

Tensors in the middle of a group exist only as bands (``bands``) and never reach memory. All weights of a group are on chip while
it runs. The array and the vector engine work on different bands at the same time, so that a group costs about what its busiest
engine needs, where layers by themselves cost what each needs, one after the other, and the traffic of the tensors between them.

Costs rank groups, tilings of a group, and groups against layers by themselves (``tile_costs``); they are not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from systola.hw.isa import Opcode
from systola.hw.params import Params
from systola.mapper.bands import Bands, Ring, bands_of_rows, make_ring, rows_needed
from systola.mapper.layers import ArrayLayer, HostLayer, Layer, Lowered, VectorLayer
from systola.mapper.layout import Layout
from systola.mapper.shapes import array_shape, resolve, vector_shape
from systola.mapper.tile_costs import DRAIN_CYCLES, STEP_CYCLES, halvings, pieces
from systola.mapper.tiles import ArrayShape, VectorShape, column_mode
from systola.mapper.timing import Timing, memory_latency_cycles, word_cycles

__all__ = ["ArrayCut", "FusedHomes", "FusedTiling", "Fusion", "choose_groups", "fusable"]

MAX_LAYERS = 6
_MAX_BAND_CHOICES = 8
_OUTPUT_SLOTS = 2
_OPERAND_SLOTS = 2
_EDGE_SHARE = 0.5  # of the first band's way through the group: the rest overlaps with layers before and after
_WEIGHTS_SHARE = 0.1  # of their load: the rest is done during the layers before
_AHEAD = (2, 1, 0)
_AHEAD_OF_OPERAND = 3  # bands that the first layer may be ahead of the one that reads the group's input again


@dataclass(frozen=True)
class FusedHomes:
    """Which tensors outside a group stay on chip: its input, each layer's second operand, its output. ``store``: the output must
    also reach DRAM."""

    input: bool
    operands: tuple[bool, ...]
    output: bool
    store: bool


@dataclass(frozen=True)
class ArrayCut:
    """How an array layer's rows of a band are cut into steps, and the cycles that array and drain take for them."""

    rows: int
    columns: int
    blocks: int
    array_cycles: float
    drain_cycles: float
    steps: int


@dataclass(frozen=True, eq=False)
class FusedTiling:
    """A choice for a group of n layers.

    ``bands``: of the group's input and the output of each layer. ``rings``: buffers of the input (None if it stays on chip) and
    of the tensors in the middle. ``buffers``: scratchpad words by kind, layer and number. ``operand_in_input``: layers whose
    second operand is read from the input's buffer.
    """

    bands: tuple[Bands, ...]
    rings: tuple[Ring | None, ...]
    buffers: dict[tuple[str, int, int], int]
    operand_in_input: frozenset[int]
    cost_cycles: float

    @cached_property
    def words(self) -> int:
        """Scratchpad words in all."""
        return sum(self.buffers.values())


def fusable(net: Lowered, dram_readers: frozenset[str]) -> list[bool]:
    """By layer: whether it and the next can be in one group, the tensor between them being read by nothing else.

    ``dram_readers``: tensors that host or user read.
    """
    readers: dict[str, int] = {}
    for layer in net.layers:
        for name in _read_by(layer):
            whole = resolve(net, name)[0]
            readers[whole] = readers.get(whole, 0) + 1
    wholes = {resolve(net, name)[0] for name in net.aliases}
    outside = {*net.aliases, *wholes, *net.inputs, *net.outputs, *net.constants, *net.host_only, *dram_readers}

    def link(layer: Layer, following: Layer) -> bool:
        if isinstance(layer, HostLayer) or isinstance(following, HostLayer):
            return False
        name = layer.output
        return following.input == name and readers.get(name) == 1 and name not in outside

    return [link(layer, following) for layer, following in zip(net.layers, net.layers[1:], strict=False)] + [False]


def _read_by(layer: Layer) -> list[str]:
    if isinstance(layer, HostLayer):
        return list(layer.nodes[0].inputs)
    second = layer.operand if isinstance(layer, VectorLayer) else layer.stage_b.operand if layer.stage_b else None
    return [layer.input] if second is None else [layer.input, second]


def choose_groups(
    links: Sequence[bool], alone: Callable[[int], float], together: Callable[[int, int], float]
) -> list[tuple[int, int]]:
    """The cheapest way to divide the layers: (first, last) of each group of two layers or more.

    ``alone``: cost of a layer by itself; ``together``: of first … last as a group.
    """
    best = [(0.0, 0)]  # of the layers before each, and the first layer of what ends there
    for last in range(len(links)):
        choices = [(best[last][0] + alone(last), last)]
        first = last
        while first > 0 and links[first - 1] and last - first + 2 <= MAX_LAYERS:
            first -= 1
            choices.append((best[first][0] + together(first, last), first))
        best.append(min(choices))
    groups, end = [], len(links)
    while end:
        first = best[end][1]
        if end - first > 1:
            groups.append((first, end - 1))
        end = first
    return groups[::-1]


@dataclass
class Fusion:
    """Tilings of the groups of one network."""

    net: Lowered
    params: Params
    _tilings: dict[tuple[int, int, FusedHomes], list[FusedTiling]] = field(default_factory=dict)
    _bands: dict[tuple[int, int], list[Bands]] = field(default_factory=dict)
    _rings: dict[tuple[int, int, int, int, bool], Ring] = field(default_factory=dict)
    _cuts: dict[tuple[int, int], ArrayCut] = field(default_factory=dict)
    _vector_cycles: dict[tuple[int, int], float] = field(default_factory=dict)
    _shapes: dict[int, ArrayShape | VectorShape] = field(default_factory=dict)
    _layer_cycles: dict[tuple[int, Bands, Ring | None], tuple[float, float, int]] = field(default_factory=dict)
    _weights: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._timing = Timing(self.params)

    def tilings(self, first: int, last: int, homes: FusedHomes) -> list[FusedTiling]:
        """A group's tilings, cheapest first; only those for which no cheaper one takes fewer words."""
        key = first, last, homes
        if key not in self._tilings:
            found: list[FusedTiling] = []
            for tiling in sorted(self._enumerate(first, last, homes), key=lambda t: (t.cost_cycles, t.words)):
                if tiling.words < (found[-1].words if found else self.params.scratchpad_words + 1):
                    found.append(tiling)
            self._tilings[key] = found
        return self._tilings[key]

    def shape(self, index: int) -> ArrayShape | VectorShape:
        """The shape of a layer."""
        if index not in self._shapes:
            layer = self.net.layers[index]
            if isinstance(layer, ArrayLayer):
                self._shapes[index] = array_shape(self.net, layer, self.params)
            elif isinstance(layer, VectorLayer):
                self._shapes[index] = vector_shape(self.net, layer, self.params)
        return self._shapes[index]

    def _enumerate(self, first: int, last: int, homes: FusedHomes) -> Iterator[FusedTiling]:
        if any(not isinstance(x := self.shape(i), VectorShape) and not _fits_accumulators(x, self.params)
               for i in range(first, last + 1)):
            return
        fixed = {
            ("weights", index, number): words for index in range(first, last + 1)
            for number, words in enumerate(self._weight_words(index))
        }  # fmt: skip
        if sum(fixed.values()) >= self.params.scratchpad_words:
            return
        output = self.shape(last).output
        multiple = _multiple(self.shape(last))
        sizes = [size * multiple for size in pieces(output.height // multiple)]
        sizes = [size for size in sizes if size < output.height]
        for rows in sizes[-_MAX_BAND_CHOICES:] if len(sizes) > _MAX_BAND_CHOICES else sizes:
            bands = self._chain(first, last, rows)
            again = self._operands_in_input(first, last, homes, bands)
            for ahead in _AHEAD:
                tiling = self._tiling(first, last, homes, rows, ahead, fixed, bands, again)
                if tiling is not None:
                    yield tiling

    def _tiling(
        self, first: int, last: int, homes: FusedHomes, rows: int, ahead: int, fixed: dict[tuple[str, int, int], int],
        bands: list[Bands], again: frozenset[int],
    ) -> FusedTiling | None:
        """The tiling with bands of ``rows`` rows; None if it does not fit the scratchpad."""
        rings: list[Ring | None] = []
        buffers, room_left = dict(fixed), self.params.scratchpad_words - sum(fixed.values())
        for number, index in enumerate(range(first, last + 1)):
            ring = None
            if index > first or not homes.input:
                room = ahead if index > first else _AHEAD_OF_OPERAND if again else 1
                ring = self._ring(last, rows, index, bands[number], room, loaded=index == first)
                layout = self.shape(index).input
                buffers["ring", index, 0] = layout.planes * ring.rows * layout.width
                room_left -= buffers["ring", index, 0]
                if room_left < 0:
                    return None
            rings.append(ring)
            if self._operand(index) is not None and not homes.operands[number] and index not in again:
                buffers |= self._operand_buffers(index, bands[number + 1].most_fresh)
        if not homes.output:
            out = self.shape(last).output
            slots = range(min(_OUTPUT_SLOTS, len(bands[-1])))
            buffers |= {("output", last, slot): out.planes * rows * out.width for slot in slots}
        tiling = FusedTiling(tuple(bands), tuple(rings), buffers, again, 0.0)
        if tiling.words > self.params.scratchpad_words:
            return None
        cost = _Cost(self, first, last, homes, tiling, rows, ahead).cycles()
        return FusedTiling(tiling.bands, tiling.rings, buffers, again, cost)

    def _chain(self, first: int, last: int, rows: int) -> list[Bands]:
        """Bands of the input of ``first`` and of the output of each layer from there to ``last``."""
        if (last, rows) not in self._bands:
            self._bands[last, rows] = [bands_of_rows(self.shape(last).output.height, rows)]
        chain = self._bands[last, rows]  # backwards
        while len(chain) < last - first + 2:
            index = last - len(chain) + 1
            shape = self.shape(index)
            together = self._made_together(index)
            chain.append(rows_needed(chain[-1], shape.window, _multiple(shape), shape.input.height, together))
        return chain[: last - first + 2][::-1]

    def _made_together(self, index: int) -> int:
        """Rows of a layer's input that the layer before makes together, if it makes it."""
        layer, maker = self.net.layers[index], self.net.layers[index - 1] if index else None
        if isinstance(layer, HostLayer) or not isinstance(maker, VectorLayer) or maker.output != layer.input:
            return 1
        return maker.upsample[0]

    def _ring(self, last: int, rows: int, index: int, bands: Bands, ahead: int, *, loaded: bool) -> Ring:
        key = last, rows, index, ahead, loaded
        if key not in self._rings:
            self._rings[key] = make_ring(bands, ahead, loaded=loaded)
        return self._rings[key]

    def _operand(self, index: int) -> str | None:
        return self._operands[index]

    @cached_property
    def _operands(self) -> list[str | None]:
        """By layer of the accelerator: its second operand."""
        return [None if isinstance(layer, HostLayer) else (*_read_by(layer), None)[1] for layer in self.net.layers]

    def _operands_in_input(self, first: int, last: int, homes: FusedHomes, bands: list[Bands]) -> frozenset[int]:
        """Layers whose second operand is the group's input, with every row in the band in which it is needed."""
        layers, found = self.net.layers, []
        source = layers[first]
        if homes.input or isinstance(source, HostLayer):
            return frozenset()
        for number, index in enumerate(range(first, last + 1)):
            made = bands[number + 1]
            if (
                self._operand(index) == source.input
                and self._same_extent(source.input, layers[index].output)
                and bool(((made.fresh_low >= bands[0].low) & (made.high <= bands[0].high)).all())
            ):
                found.append(index)
        return frozenset(found)

    def _same_extent(self, one: str, other: str) -> bool:
        lanes = self.params.lanes
        return Layout.of(self.net.shapes[one], lanes) == Layout.of(self.net.shapes[other], lanes)

    def _operand_buffers(self, index: int, rows: int) -> dict[tuple[str, int, int], int]:
        out, shape = self.shape(index).output, self.shape(index)
        if isinstance(shape, VectorShape) and shape.broadcast_operand:
            return {("operand", index, 0): out.planes}
        return {("operand", index, slot): out.planes * rows * out.width for slot in range(_OPERAND_SLOTS)}

    def _weight_words(self, index: int) -> list[int]:
        """Words of each buffer that holds a layer's weights: one for each run of blocks, all of one size."""
        if index not in self._weights:
            shape, params = self.shape(index), self.params
            if isinstance(shape, VectorShape):
                words = shape.param_words * (1 if shape.shared_params else shape.input.planes)
                self._weights[index] = [words] if words else []
            else:
                tile = shape.window.kernel[0] * shape.window.kernel[1] * params.weight_tile_words
                most = max(run.blocks * (params.drain_record_words + run.row_blocks * tile) for run in shape.runs)
                self._weights[index] = [most] * len(shape.runs)
        return self._weights[index]

    def cut(self, index: int, rows: int) -> ArrayCut:
        """How ``rows`` rows of an array layer's output are best computed."""
        key = index, rows
        if key not in self._cuts:
            shape = self.shape(index)
            if isinstance(shape, VectorShape):
                raise TypeError(f"layer {index} is not the array's")
            self._cuts[key] = _best_cut(shape, _CutLimits.of(self.params), rows)
        return self._cuts[key]

    def layer_cycles(self, index: int, made: Bands, following: Ring | None) -> tuple[float, float, int]:
        """Cycles of a layer's engine, and of the drain, and steps, for all bands that it makes, some rows twice where that is
        what the ``following`` tensor's buffer takes."""
        key = index, made, following
        if key not in self._layer_cycles:
            shape, again = self.shape(index), following.rows_again if following is not None else 0
            if isinstance(shape, VectorShape):
                cycles = sum(times * self.vector_cycles(index, rows) for rows, times in made.heights.items())
                found = cycles * (1 + again / max(1, shape.output.height)), 0.0, sum(made.heights.values())
            else:
                cuts = [(self.cut(index, rows), times) for rows, times in made.heights.items()]
                drain = sum(cut.drain_cycles * times for cut, times in cuts)
                found = (
                    sum(cut.array_cycles * times for cut, times in cuts),
                    drain + again * shape.output.width * sum(run.blocks for run in shape.runs) * self.params.drain_word_cycles,
                    sum(cut.steps * times for cut, times in cuts),
                )
            self._layer_cycles[key] = found
        return self._layer_cycles[key]

    def vector_cycles(self, index: int, rows: int) -> float:
        """What the vector engine takes for ``rows`` rows of a layer's output, all planes."""
        key = index, rows
        if key not in self._vector_cycles:
            layer, shape = self.net.layers[index], self.shape(index)
            if not isinstance(shape, VectorShape) or not isinstance(layer, VectorLayer):
                raise TypeError(f"layer {index} is not the vector engine's")
            (fy, fx), kernel = shape.upsample, shape.window.kernel
            fields = {
                "op": int(shape.op), "count_x": shape.output.width // fx, "count_y": rows // fy, "count_n": shape.output.planes,
                "count_kx": kernel[1], "count_ky": kernel[0], "step_x": shape.window.stride[1], "operand": int(shape.operand),
                "column_mode": int(column_mode(self.params, shape.op, shape.window, operand=shape.operand)),
            }  # fmt: skip
            columns = {name: np.array([value]) for name, value in fields.items()}
            self._vector_cycles[key] = fy * fx * float(self._timing.of(Opcode.VECTOR, columns).busy_cycles[0])
        return self._vector_cycles[key]


def _multiple(shape: ArrayShape | VectorShape) -> int:
    """Rows that a layer makes together."""
    return shape.upsample[0] if isinstance(shape, VectorShape) else 1


def _fits_accumulators(shape: ArrayShape, params: Params) -> bool:
    return bool(shape.runs) and params.accumulator_half_words >= params.column_groups


class _CutLimits(NamedTuple):
    """What cuts depend on besides the layer."""

    half: int
    group: int
    tile_words: int
    record_words: int
    word_cycles: int

    @staticmethod
    def of(params: Params) -> _CutLimits:
        return _CutLimits(
            params.accumulator_half_words, params.column_groups, params.weight_tile_words, params.drain_record_words,
            params.drain_word_cycles,
        )  # fmt: skip


@lru_cache(1 << 14)
def _best_cut(shape: ArrayShape, limits: _CutLimits, rows: int) -> ArrayCut:
    cuts = _cuts(shape, limits, rows)
    return min(cuts, key=lambda cut: max(cut.array_cycles, cut.drain_cycles) + STEP_CYCLES * cut.steps)


def _cuts(shape: ArrayShape, limits: _CutLimits, rows: int) -> Iterator[ArrayCut]:
    """The ways to cut ``rows`` rows of all columns and blocks into steps that fit half of the accumulators."""
    half, group = limits.half, limits.group
    taps = shape.window.kernel[0] * shape.window.kernel[1]
    passes = sum(run.blocks * run.row_blocks for run in shape.runs) * taps
    blocks_in_all = sum(run.blocks for run in shape.runs)
    columns = pieces(shape.output.width, half // group)[0]
    for blocks in {-(-size // group) * group for size in halvings(max(run.blocks for run in shape.runs))}:
        fit = half // (columns * blocks)
        if not fit:
            continue
        height = -(-rows // -(-rows // fit))
        pixels = [
            min(height, rows - y) * min(columns, shape.output.width - x)
            for y in range(0, rows, height)
            for x in range(0, shape.output.width, columns)
        ]
        array = passes * sum(max(count, limits.tile_words) for count in pixels)
        drain = blocks_in_all * sum(max(limits.word_cycles * count, limits.record_words + 4) for count in pixels)
        steps = len(pixels) * sum(-(-run.blocks // blocks) for run in shape.runs)
        yield ArrayCut(height, columns, blocks, array, drain, steps)


class _Cost:
    """What a tiling of a group costs."""

    def __init__(
        self, fusion: Fusion, first: int, last: int, homes: FusedHomes, tiling: FusedTiling, rows: int, ahead: int
    ) -> None:
        self.fusion, self.first, self.last, self.homes, self.tiling = fusion, first, last, homes, tiling
        self.rows, self.ahead = rows, ahead
        self.busy = {"array": 0.0, "drain": 0.0, "vector": 0.0}
        self.steps = 0
        self.layers = [self._layer(number, index) for number, index in enumerate(range(first, last + 1))]

    def _layer(self, number: int, index: int) -> tuple[str, float]:
        """Engine and cycles of a layer, all bands."""
        following = self.tiling.rings[number + 1] if index < self.last else None
        busy, drain, steps = self.fusion.layer_cycles(index, self.tiling.bands[number + 1], following)
        engine = "vector" if isinstance(self.fusion.shape(index), VectorShape) else "array"
        self.steps += steps
        self.busy[engine] += busy
        self.busy["drain"] += drain
        return engine, busy

    def cycles(self) -> float:
        params, tiling = self.fusion.params, self.tiling
        word, latency, bands = word_cycles(params), memory_latency_cycles(params), len(tiling.bands[0])
        weights = word * sum(words for (kind, _, _), words in tiling.buffers.items() if kind == "weights")
        bound = max(*self.busy.values(), self._memory(word) + weights)
        bottleneck = max(self.busy, key=lambda engine: self.busy[engine])
        way = sum(cycles for engine, cycles in self.layers if engine != bottleneck) / bands
        first = 0.0 if tiling.rings[0] is None else latency + self._first_load(word)
        output = self.fusion.shape(self.last).output
        last = 0.0 if self.homes.output else latency + output.planes * self.rows * output.width * word
        edges = first + last + _EDGE_SHARE * (way + DRAIN_CYCLES * len(self.layers)) + _WEIGHTS_SHARE * weights
        return bound + edges + self._stalls() + STEP_CYCLES * self.steps

    def _memory(self, word: float) -> float:
        """Cycles of the memory for what is not weights."""
        shape, ring = self.fusion.shape, self.tiling.rings[0]
        total = 0
        if ring is not None:
            layout = shape(self.first).input
            total += (layout.height + ring.rows_again) * layout.width * layout.planes
        for (kind, index, slot) in self.tiling.buffers:
            if kind == "operand" and slot == 0:
                total += shape(index).output.words
        return word * (total + shape(self.last).output.words * self.homes.store)

    def _first_load(self, word: float) -> float:
        layout = self.fusion.shape(self.first).input
        return word * layout.planes * layout.width * float(self.tiling.bands[0].high[0])

    def _stalls(self) -> float:
        """Without room ahead, a layer waits at each turn for the next one's band."""
        if self.ahead:
            return 0.0
        rings = self.tiling.rings[1:]
        return sum(
            min(made, used) / ring.turn
            for ((_, made), (_, used), ring) in zip(self.layers, self.layers[1:], rings, strict=False)
            if ring is not None and ring.turn < len(ring.bands)
        )
