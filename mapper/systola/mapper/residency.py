"""Which tensors stay on chip, and which layers are computed together: decided by cost.

Tensors are considered in the order in which they are made: one stays on chip from its first writer to its last reader if
the layers in between then cost less in all, with what is left of the scratchpad for their buffers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from systola.hw.params import Params
from systola.mapper.array_tilings import array_tilings
from systola.mapper.fusion import FusedHomes, Fusion, choose_groups, fusable
from systola.mapper.layers import HostLayer, Layer, Lowered, VectorLayer
from systola.mapper.layout import Layout
from systola.mapper.shapes import resolve
from systola.mapper.tiles import ArrayShape, Homes, Tilings, VectorShape
from systola.mapper.vector_tilings import vector_tilings

__all__ = ["Planner", "Resident", "fuse_what_pays"]


@dataclass(frozen=True)
class Resident:
    """A tensor that could stay, and for how long: from layer ``first`` to layer ``last``."""

    name: str
    words: int
    first: int
    last: int


@dataclass
class Planner:
    net: Lowered
    params: Params
    pinned: dict[str, Resident] = field(default_factory=dict)
    by_channels: set[str] = field(default_factory=set)  # wholes that the array makes channel block by channel block
    groups: dict[int, tuple[int, int]] = field(default_factory=dict)  # (first, last), by every layer in it
    _tilings: dict[tuple[int, Homes], Tilings] = field(default_factory=dict)

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

    def tilings(self, index: int) -> Tilings:
        """A layer's tilings; layers of the same shape share them."""
        key = self.shape_numbers[index], self.homes(index)
        if key not in self._tilings:
            shape = self.fusion.shape(index)
            if isinstance(shape, ArrayShape):
                self._tilings[key] = array_tilings(shape, self.params, key[1])
            else:
                self._tilings[key] = vector_tilings(shape, self.params, key[1])
        return self._tilings[key]

    @cached_property
    def shape_numbers(self) -> dict[int, int]:
        """By layer of the accelerator: a number for its shape."""
        numbers: dict[ArrayShape | VectorShape, int] = {}
        indices = [index for index, layer in enumerate(self.net.layers) if not isinstance(layer, HostLayer)]
        return {index: numbers.setdefault(self.fusion.shape(index), len(numbers)) for index in indices}

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
            total += self.tilings(index).cost_within(available)
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

    def candidates(self) -> list[Resident]:
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


def fuse_what_pays(planner: Planner) -> None:
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


def _input(layer: Layer) -> str | None:
    return None if isinstance(layer, HostLayer) else layer.input


def _operand(layer: Layer) -> str | None:
    if isinstance(layer, HostLayer):
        return None
    if isinstance(layer, VectorLayer):
        return layer.operand
    return layer.stage_b.operand if layer.stage_b else None


def _candidates(net: Lowered, params: Params) -> list[Resident]:
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
        found.append(Resident(name, words, min(makers), max(*makers, *readers[name])))
    return sorted(found, key=lambda r: (r.first, r.words))
