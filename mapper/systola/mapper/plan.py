"""Which tensors stay on chip, the tiling of each layer, and where everything lies in the scratchpad.

Tensors are considered in the order in which they are made: one stays on chip from its first writer to its last reader if
the layers in between then cost less in all, with what is left of the scratchpad for their buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from systola.hw.errors import MappingError
from systola.hw.params import Params
from systola.mapper.layers import ArrayLayer, HostLayer, Layer, Lowered, VectorLayer
from systola.mapper.layout import Layout
from systola.mapper.shapes import array_shape, resolve, vector_shape
from systola.mapper.tiles import Homes, Tiling, array_tilings, vector_tilings

__all__ = ["Buffers", "LayerPlan", "Plan", "make_plan"]


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
class Plan:
    """``chip``: first scratchpad word of each tensor that stays on chip (wholes only). ``layers``: None for host layers."""

    chip: Mapping[str, int]
    layers: tuple[LayerPlan | None, ...]


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
    _tilings: dict[tuple[int, Homes], list[Tiling]] = field(default_factory=dict)

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
        )

    def tilings(self, index: int) -> list[Tiling]:
        """A layer's tilings, cheapest first; only those for which no cheaper one takes fewer words."""
        key = index, self.homes(index)
        if key not in self._tilings:
            found = sorted(self._enumerate(index, key[1]), key=lambda t: (t.cost_cycles, t.words))
            frontier: list[Tiling] = []
            for tiling in found:
                if not frontier or tiling.words < frontier[-1].words:
                    frontier.append(tiling)
            self._tilings[key] = frontier
        return self._tilings[key]

    def _enumerate(self, index: int, homes: Homes) -> Iterator[Tiling]:
        layer = self.net.layers[index]
        if isinstance(layer, ArrayLayer):
            return array_tilings(array_shape(self.net, layer, self.params), self.params, homes)
        if isinstance(layer, VectorLayer):
            return vector_tilings(vector_shape(self.net, layer, self.params), self.params, homes)
        return iter(())

    def cost(self, first: int, last: int) -> float:
        """Estimated cycles of layers first … last; infinite if one does not fit."""
        total = 0.0
        for index in range(first, last + 1):
            if isinstance(self.net.layers[index], HostLayer):
                continue
            available = self.params.scratchpad_words - self.pinned_words(index)
            total += next((t.cost_cycles for t in self.tilings(index) if t.words <= available), float("inf"))
        return total

    def pinned_words(self, index: int) -> int:
        return sum(r.words for r in self.pinned.values() if r.first <= index <= r.last)

    def pin_what_pays(self) -> None:
        for candidate in _candidates(self.net, self.params):
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
    while True:
        placed = _place(planner)
        if isinstance(placed, Plan):
            return placed
        live = [r for r in planner.pinned.values() if r.first <= placed <= r.last]
        if not live:
            raise _does_not_fit(planner, placed)
        del planner.pinned[max(live, key=lambda r: r.words).name]


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


@dataclass
class _Scratchpad:
    """Finds room: where nothing live is in the way, preferring banks that others use little, so that engines do not meet there,
    and words that the layer before does not use, so that loads need not wait for it."""

    params: Params

    def find(self, words: int, taken: list[Extent], recent: list[Extent]) -> int | None:
        """The best address for ``words``; None if there is no room between what is ``taken``."""
        size, bank = self.params.scratchpad_words, self.params.bank_words
        starts = {*range(0, size, bank), *(base + length for base, length in (*taken, *recent))}
        free = [a for a in starts if a + words <= size and not any(_overlap((a, words), extent) for extent in taken)]
        if not free:
            return None
        costs = [(self._cost((a, words), taken, recent), a) for a in free]
        best: int = min(costs)[1]
        return best

    def _cost(self, extent: Extent, taken: list[Extent], recent: list[Extent]) -> int:
        """Words shared with the layer before, counted much, and words of others in the banks of ``extent``."""
        bank = self.params.bank_words
        first, last = extent[0] // bank, (extent[0] + extent[1] - 1) // bank
        banks = first * bank, (last - first + 1) * bank
        crowd = sum(_overlap(banks, other) for other in (*taken, *recent))
        return crowd + 16 * sum(_overlap(extent, other) for other in recent)


def _overlap(one: Extent, other: Extent) -> int:
    """Words in both."""
    return max(0, min(one[0] + one[1], other[0] + other[1]) - max(one[0], other[0]))


def _place(planner: _Planner) -> Plan | int:
    """Addresses for everything, or the index of the layer whose buffers found no room."""
    net, scratchpad = planner.net, _Scratchpad(planner.params)
    chip: dict[str, int] = {}
    plans: list[LayerPlan | None] = []
    recent: list[Extent] = []
    for index, layer in enumerate(net.layers):
        if isinstance(layer, HostLayer):
            plans.append(None)
            continue
        live = [r for r in planner.pinned.values() if r.first <= index <= r.last]
        if not all(_place_resident(planner, scratchpad, resident, chip) for resident in live if resident.name not in chip):
            return index
        taken = [(chip[r.name], r.words) for r in live]
        placed = _place_buffers(planner, scratchpad, index, taken, recent)
        if placed is None:
            return index
        plan, recent = placed
        plans.append(plan)
    return Plan(chip, tuple(plans))


def _place_resident(planner: _Planner, scratchpad: _Scratchpad, new: _Resident, chip: dict[str, int]) -> bool:
    placed = [r for r in planner.pinned.values() if r.name in chip and r.first <= new.last and r.last >= new.first]
    address = scratchpad.find(new.words, [(chip[r.name], r.words) for r in placed], [])
    if address is not None:
        chip[new.name] = address
    return address is not None


def _place_buffers(
    planner: _Planner, scratchpad: _Scratchpad, index: int, taken: list[Extent], recent: list[Extent]
) -> tuple[LayerPlan, list[Extent]] | None:
    """The cheapest tiling whose buffers find room, and these buffers."""
    for tiling in planner.tilings(index):
        used, slots = list(taken), {}
        for kind in ("weights", "input", "operand", "output"):
            words = getattr(tiling, "weight_words" if kind == "weights" else f"{kind}_words")
            count = getattr(tiling, "weight_slots" if kind == "weights" else f"{kind}_slots") if words else 0
            addresses = []
            for _ in range(count):
                address = scratchpad.find(words, used, recent)
                if address is None:
                    break
                addresses.append(address)
                used.append((address, words))
            slots[kind] = tuple(addresses)
            if len(addresses) < count:
                break
        else:
            return LayerPlan(planner.homes(index), tiling, replace(Buffers(), **slots)), used[len(taken) :]
    return None
