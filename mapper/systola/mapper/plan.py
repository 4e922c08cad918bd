"""Which tensors stay on chip, the tiling of each layer, and where everything lies in the scratchpad.

Tensors are considered in the order in which they are made: one stays on chip from its first writer to its last reader if
the layers in between then cost less in all, with what is left of the scratchpad for their buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from systola.hw.errors import MappingError
from systola.hw.params import Params
from systola.mapper.array_tilings import array_tilings
from systola.mapper.fusion import FusedHomes, FusedTiling, Fusion, choose_groups, fusable
from systola.mapper.layers import ArrayLayer, HostLayer, Layer, Lowered, VectorLayer
from systola.mapper.layout import Layout
from systola.mapper.shapes import array_shape, resolve, vector_shape
from systola.mapper.tiles import Homes, Tiling
from systola.mapper.vector_tilings import vector_tilings

__all__ = ["Buffers", "FusedPlan", "LayerPlan", "Plan", "make_plan"]


@dataclass(frozen=True)
class Buffers:
    """Scratchpad words of a layer's buffers, by kind; each slot's first word."""

    input: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    operand: tuple[int, ...] = ()
    output: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerPlan:
    """One layer's choice."""

    homes: Homes
    tiling: Tiling
    buffers: Buffers


@dataclass(frozen=True)
class FusedPlan:
    """The choice for layers ``first`` … ``last``, computed band by band. ``addresses``: first words of the tiling's buffers."""

    first: int
    last: int
    homes: FusedHomes
    tiling: FusedTiling
    addresses: Mapping[tuple[str, int, int], int]


@dataclass(frozen=True)
class Plan:
    """``chip``: first scratchpad word of each tensor that stays on chip (wholes only). ``layers``: None for host layers and for
    those in groups. ``groups``: by their first layer."""

    chip: Mapping[str, int]
    layers: tuple[LayerPlan | None, ...]
    groups: Mapping[int, FusedPlan]


@dataclass(frozen=True)
class _Resident:
    """A tensor that could stay, and for how long: from layer ``first`` to layer ``last``."""

    name: str
    words: int
    first: int
    last: int


@dataclass
class _Planner:
    net: Lowered
    params: Params
    pinned: dict[str, _Resident] = field(default_factory=dict)
    by_channels: set[str] = field(default_factory=set)  # wholes that the array makes channel block by channel block
    groups: dict[int, tuple[int, int]] = field(default_factory=dict)  # (first, last), by every layer in it
    _tilings: dict[tuple[int, Homes], list[Tiling]] = field(default_factory=dict)

    @cached_property
    def fusion(self) -> Fusion:
        return Fusion(self.net, self.params)

    @cached_property
    def dram_readers(self) -> frozenset[str]:
        """Wholes that something outside the accelerator reads: host layers and the user."""
        names = set(self.net.outputs)
        for layer in self.net.layers:
            if isinstance(layer, HostLayer):
                names.update(layer.nodes[0].inputs)
        return frozenset(resolve(self.net, name)[0] for name in names)

    @cached_property
    def handovers(self) -> frozenset[int]:
        """Layers whose output a layer of the other engine reads."""
        units: dict[str, set[type]] = {}
        for layer in self.net.layers:
            for name in (_input(layer), _operand(layer)):
                if name is not None:
                    units.setdefault(resolve(self.net, name)[0], set()).add(type(layer))
        layers = enumerate(self.net.layers)
        return frozenset(i for i, x in layers if units.get(resolve(self.net, x.output)[0], set()) - {type(x), HostLayer})

    def _crosses(self, index: int) -> bool:
        """Whether another engine makes the input of a layer."""
        layer = self.net.layers[index]
        writer = self.writers.get(self.whole(_input(layer)) or "")
        return writer is not None and writer is not type(layer)

    @cached_property
    def writers(self) -> dict[str, type]:
        """Which kind of layer makes each whole."""
        return {resolve(self.net, layer.output)[0]: type(layer) for layer in self.net.layers}

    def whole(self, name: str | None) -> str | None:
        return None if name is None else resolve(self.net, name)[0]

    def homes(self, index: int) -> Homes:
        """Where the tensors of a layer are, given what is pinned."""
        layer = self.net.layers[index]
        output = self.whole(layer.output)
        stays = output in self.pinned
        return Homes(
            self.whole(_input(layer)) in self.pinned,
            self.whole(_operand(layer)) in self.pinned,
            stays,
            not stays or output in self.dram_readers,
            index in self.handovers,
            self.whole(_input(layer)) in self.by_channels and self._crosses(index),
            index == 0 or isinstance(self.net.layers[index - 1], HostLayer),
            isinstance((*self.net.layers, None)[index + 1], HostLayer | None),
        )

    def tilings(self, index: int) -> list[Tiling]:
        """A layer's tilings, cheapest first; only those for which no cheaper one takes fewer words."""
        key = index, self.homes(index)
        if key not in self._tilings:
            self._tilings[key] = self._enumerate(index, key[1])
        return self._tilings[key]

    def _enumerate(self, index: int, homes: Homes) -> list[Tiling]:
        layer = self.net.layers[index]
        if isinstance(layer, ArrayLayer):
            return array_tilings(array_shape(self.net, layer, self.params), self.params, homes)
        if isinstance(layer, VectorLayer):
            return vector_tilings(vector_shape(self.net, layer, self.params), self.params, homes)
        return []

    def cost(self, first: int, last: int) -> float:
        """Estimated cycles of layers first … last; infinite if one does not fit."""
        total = 0.0
        for index in range(first, last + 1):
            if isinstance(self.net.layers[index], HostLayer):
                continue
            if index in self.groups:
                total += self.group_cost(*self.groups[index]) if index == self.groups[index][0] else 0.0
                continue
            available = self.params.scratchpad_words - self.pinned_words(index)
            total += next((t.cost_cycles for t in self.tilings(index) if t.words <= available), float("inf"))
        return total

    def pinned_words(self, index: int) -> int:
        return sum(r.words for r in self.pinned.values() if r.first <= index <= r.last)

    def group_homes(self, first: int, last: int) -> FusedHomes:
        """Where the tensors around a group are, given what is pinned."""
        layers = self.net.layers
        output = self.whole(layers[last].output)
        stays = output in self.pinned
        operands = tuple(self.whole(_operand(layer)) in self.pinned for layer in layers[first : last + 1])
        store = not stays or output in self.dram_readers
        return FusedHomes(self.whole(_input(layers[first])) in self.pinned, operands, stays, store)

    def group_cost(self, first: int, last: int) -> float:
        """Estimated cycles of a group; infinite if it does not fit."""
        live = {r.name: r.words for r in self.pinned.values() if r.first <= last and r.last >= first}
        inside = {layer.output for layer in self.net.layers[first:last]}
        available = self.params.scratchpad_words - sum(words for name, words in live.items() if name not in inside)
        tilings = self.fusion.tilings(first, last, self.group_homes(first, last))
        return next((t.cost_cycles for t in tilings if t.words <= available), float("inf"))

    def candidates(self) -> list[_Resident]:
        """Tensors that could stay on chip whole: of those in groups none; a group uses those around it from its first layer to
        its last."""
        inside = {self.net.layers[index].output for index, (_, last) in self.groups.items() if index < last}
        alone = {index: (index, index) for index in range(len(self.net.layers))}
        span = {**alone, **self.groups}
        widened = [
            replace(r, first=span[r.first][0], last=span[r.last][1]) for r in _candidates(self.net, self.params)
            if r.name not in inside
        ]  # fmt: skip
        return sorted(widened, key=lambda r: (r.first, r.words))

    def pin_what_pays(self) -> None:
        for candidate in self.candidates():
            before = self.cost(candidate.first, candidate.last)
            self.pinned[candidate.name] = candidate
            if not self.cost(candidate.first, candidate.last) < before:
                del self.pinned[candidate.name]


def make_plan(net: Lowered, params: Params, *, keep_on_chip: bool = True) -> Plan:
    """The plan. Raises MappingError naming the layer that cannot fit whatever its tiling.

    ``keep_on_chip=False`` sends every tensor to DRAM, where it can be compared.
    """
    planner = _Planner(net, params)
    if keep_on_chip:
        planner.pin_what_pays()
        _fuse_what_pays(planner)
    while True:
        placed = _place_somehow(planner)
        if isinstance(placed, Plan):
            return placed
        live = [r for r in planner.pinned.values() if r.first <= placed <= r.last]
        if not live:
            if placed not in planner.groups:
                raise _does_not_fit(planner, placed)
            first, last = planner.groups[placed]
            for index in range(first, last + 1):
                del planner.groups[index]
            continue
        del planner.pinned[max(live, key=lambda r: r.words).name]


def _fuse_what_pays(planner: _Planner) -> None:
    """Groups, chosen against layers by themselves with what is pinned now; then what to pin is decided anew. All of it is kept
    only if it costs less in all."""
    layers = planner.net.layers
    pinned, before = dict(planner.pinned), planner.cost(0, len(layers) - 1)

    def alone(index: int) -> float:
        return planner.cost(index, index)

    def together(first: int, last: int) -> float:
        """With what is pinned around it, or without; for tensors that fit on chip whole it is not worth it."""
        if all(layer.output in pinned for layer in layers[first:last]):
            return float("inf")
        kept = planner.group_cost(first, last)
        names = (name for layer in layers[first : last + 1] for name in (_input(layer), _operand(layer), layer.output))
        around = {planner.whole(name) for name in names}
        planner.pinned = {name: r for name, r in pinned.items() if name not in around}
        streamed = planner.group_cost(first, last)
        planner.pinned = dict(pinned)
        return min(kept, streamed)

    groups = choose_groups(fusable(planner.net, planner.dram_readers), alone, together)
    if not groups:
        return
    planner.groups = {index: (first, last) for first, last in groups for index in range(first, last + 1)}
    planner.pinned = {}
    planner.pin_what_pays()
    if not planner.cost(0, len(layers) - 1) < before:
        planner.groups, planner.pinned = {}, pinned


def _does_not_fit(planner: _Planner, index: int) -> MappingError:
    layer, tilings = planner.net.layers[index], planner.tilings(index)
    least = min((t.words for t in tilings), default=0) * planner.params.lanes
    size = planner.params.config.memory
    need = f"its smallest tile takes {least} bytes of scratchpad" if least else "not one row of a tile fits the accumulators"
    return MappingError(
        f"layer '{layer.name}' does not fit accelerator '{planner.params.config.name}': {need}, which has "
        f"{size.scratchpad_bytes} bytes of scratchpad and {size.accumulator_bytes} of accumulators; "
        "raise memory.scratchpad_bytes or memory.accumulator_bytes"
    )


def _input(layer: Layer) -> str | None:
    return None if isinstance(layer, HostLayer) else layer.input


def _operand(layer: Layer) -> str | None:
    if isinstance(layer, HostLayer):
        return None
    if isinstance(layer, VectorLayer):
        return layer.operand
    return layer.stage_b.operand if layer.stage_b else None


def _candidates(net: Lowered, params: Params) -> list[_Resident]:
    """Tensors made by engines and read by engines, in the order of their making."""
    writers: dict[str, list[int]] = {}
    readers: dict[str, list[int]] = {}
    excluded = {resolve(net, name)[0] for name in (*net.inputs, *net.constants)}
    for index, layer in enumerate(net.layers):
        output = resolve(net, layer.output)[0]
        if isinstance(layer, HostLayer):
            excluded.add(output)
            continue
        writers.setdefault(output, []).append(index)
        for name in (_input(layer), _operand(layer)):
            if name is not None:
                readers.setdefault(resolve(net, name)[0], []).append(index)
    found = []
    for name, makers in writers.items():
        if name in excluded or name not in readers:
            continue
        words = Layout.of(net.shapes[name], params.lanes).words
        found.append(_Resident(name, words, min(makers), max(*makers, *readers[name])))
    return sorted(found, key=lambda r: (r.first, r.words))


# --- placement -----------------------------------------------------------------------------------------------------

Extent = tuple[int, int]
"""(first word, words)"""

_COMPACT = (False, False), (True, False), (True, True)
"""Ways of placing, tried in turn: tensors that stay, and buffers, at the lowest free address."""

_RECENT = 4
"""Layers for which words that a layer used are avoided: what is written there waits for that layer's readers."""


class _Scratchpad:
    """Finds room: where nothing live is in the way, preferring words that were not used of late, the later the less."""

    def __init__(self, params: Params) -> None:
        self._last_use = np.full(params.scratchpad_words, -_RECENT - 1, dtype=np.int64)  # layer

    def use(self, extent: Extent, last: int) -> None:
        """These words are used until layer ``last``."""
        self._last_use[extent[0] : extent[0] + extent[1]] = last

    def find(self, words: int, taken: list[Extent], first: int, compact: bool) -> int | None:
        """The best address for ``words`` from layer ``first`` on; None if there is no room between what is ``taken``.

        ``compact``: the lowest, whatever was there before.
        """
        size = self._last_use.size
        live = np.zeros(size, dtype=bool)
        for base, length in taken:
            live[base : base + length] = True
        edges = np.flatnonzero(np.diff(live) | (np.diff(self._last_use) != 0)) + 1
        starts = np.unique(np.concatenate([[0], edges, edges - words, [size - words]]))
        starts = starts[(starts >= 0) & (starts + words <= size)]
        sums = np.concatenate([[0], np.cumsum(live)])
        starts = starts[sums[starts + words] == sums[starts]]
        if not starts.size:
            return None
        if compact:
            return int(starts[0])
        age = np.clip(first - self._last_use, 1, _RECENT + 1)
        recent = np.concatenate([[0], np.cumsum((1 << (_RECENT + 1 - age)) - 1)])
        return int(starts[np.argmin(recent[starts + words] - recent[starts])])


def _place_somehow(planner: _Planner) -> Plan | int:
    """As _place, by the first way that leads to a plan."""
    placed: Plan | int = 0
    for compact in _COMPACT:
        placed = _place(planner, compact)
        if isinstance(placed, Plan):
            break
    return placed


def _place(planner: _Planner, compact: tuple[bool, bool]) -> Plan | int:
    """Addresses for everything, or the index of the layer whose buffers found no room. ``compact``: one of _COMPACT."""
    net, scratchpad = planner.net, _Scratchpad(planner.params)
    chip: dict[str, int] = {}
    plans: list[LayerPlan | None] = []
    groups: dict[int, FusedPlan] = {}
    planner.by_channels.clear()
    for index, layer in enumerate(net.layers):
        if isinstance(layer, HostLayer) or planner.groups.get(index, (index,))[0] < index:
            plans.append(None)
            continue
        live = [r for r in planner.pinned.values() if r.first <= index <= r.last]
        new = [resident for resident in live if resident.name not in chip]
        if not all(_place_resident(planner, scratchpad, resident, chip, compact[0]) for resident in new):
            return index
        taken = [(chip[r.name], r.words) for r in live]
        if index in planner.groups:
            group = _place_group(planner, scratchpad, planner.groups[index], taken, compact[1])
            if group is None:
                return index
            groups[index] = group
            plans.append(None)
            continue
        plan = _place_buffers(planner, scratchpad, index, taken, compact[1])
        if plan is None:
            return index
        if _by_channels(plan.tiling, layer, planner):
            planner.by_channels.add(resolve(net, layer.output)[0])
        plans.append(plan)
    return Plan(chip, tuple(plans), groups)


def _by_channels(tiling: Tiling, layer: Layer, planner: _Planner) -> bool:
    """Whether the outer loop of a layer goes over its output's channels, not over rows."""
    if isinstance(layer, VectorLayer):
        return tiling.planes < vector_shape(planner.net, layer, planner.params).input.planes
    if isinstance(layer, HostLayer):
        return False
    shape = array_shape(planner.net, layer, planner.params)
    blocks = max(run.blocks for run in shape.runs)
    if (tiling.rows, tiling.columns) == (shape.output.height, shape.output.width):
        return tiling.blocks < blocks
    return tiling.weights_outer and tiling.chunk_blocks < blocks


def _place_resident(
    planner: _Planner, scratchpad: _Scratchpad, new: _Resident, chip: dict[str, int], compact: bool
) -> bool:
    placed = [r for r in planner.pinned.values() if r.name in chip and r.first <= new.last and r.last >= new.first]
    address = scratchpad.find(new.words, [(chip[r.name], r.words) for r in placed], new.first, compact)
    if address is not None:
        chip[new.name] = address
        scratchpad.use((address, new.words), new.last)
    return address is not None


def _place_group(
    planner: _Planner, scratchpad: _Scratchpad, group: tuple[int, int], taken: list[Extent], compact: bool
) -> FusedPlan | None:
    """The cheapest tiling of a group whose buffers find room, if need be at the lowest addresses that are free."""
    first, last = group
    homes = planner.group_homes(first, last)
    for tiling in planner.fusion.tilings(first, last, homes):
        for tight in dict.fromkeys((compact, True)):
            used, addresses = list(taken), {}
            for key, words in sorted(tiling.buffers.items(), key=lambda item: -item[1] if tight else 0):
                address = scratchpad.find(words, used, first, tight)
                if address is None:
                    break
                addresses[key] = address
                used.append((address, words))
            else:
                for extent in used[len(taken) :]:
                    scratchpad.use(extent, last)
                return FusedPlan(first, last, homes, tiling, addresses)
    return None


def _place_buffers(
    planner: _Planner, scratchpad: _Scratchpad, index: int, taken: list[Extent], compact: bool
) -> LayerPlan | None:
    """The cheapest tiling whose buffers find room."""
    for tiling in planner.tilings(index):
        used, slots = list(taken), {}
        for kind in ("weights", "input", "operand", "output"):
            words = getattr(tiling, "weight_words" if kind == "weights" else f"{kind}_words")
            count = getattr(tiling, "weight_slots" if kind == "weights" else f"{kind}_slots") if words else 0
            addresses = []
            for _ in range(count):
                address = scratchpad.find(words, used, index, compact)
                if address is None:
                    break
                addresses.append(address)
                used.append((address, words))
            slots[kind] = tuple(addresses)
            if len(addresses) < count:
                break
        else:
            for extent in used[len(taken) :]:
                scratchpad.use(extent, index)
            return LayerPlan(planner.homes(index), tiling, replace(Buffers(), **slots))
    return None
