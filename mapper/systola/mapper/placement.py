"""Where everything lies in the scratchpad, layer by layer; with it, the tiling of each layer: the cheapest that finds room."""

from __future__ import annotations

from systola.mapper.layers import HostLayer, Layer, VectorLayer
from systola.mapper.plan import Buffers, FusedPlan, LayerPlan, Plan
from systola.mapper.residency import Planner, Resident
from systola.mapper.scratchpad_room import Extent, ScratchpadRoom
from systola.mapper.shapes import array_shape, resolve, vector_shape
from systola.mapper.tiles import Tiling

__all__ = ["place"]

_COMPACT = (False, False), (True, False), (True, True)
"""Ways of placing, tried in turn: tensors that stay, and buffers, at the lowest free address."""


def place(planner: Planner) -> Plan | int:
    """Addresses for everything, or the index of the layer whose buffers found no room."""
    placed: Plan | int = 0
    for compact in _COMPACT:
        placed = _placed(planner, compact)
        if isinstance(placed, Plan):
            break
    return placed


def _placed(planner: Planner, compact: tuple[bool, bool]) -> Plan | int:
    """As place, in one way: ``compact`` is one of _COMPACT."""
    net, scratchpad = planner.net, ScratchpadRoom(planner.params)
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


def _by_channels(tiling: Tiling, layer: Layer, planner: Planner) -> bool:
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


def _place_resident(planner: Planner, scratchpad: ScratchpadRoom, new: Resident, chip: dict[str, int], compact: bool) -> bool:
    placed = [r for r in planner.pinned.values() if r.name in chip and r.first <= new.last and r.last >= new.first]
    found = scratchpad.find([new.words], [(chip[r.name], r.words) for r in placed], new.first, compact=compact)
    if found is None:
        return False
    chip[new.name] = found[0]
    scratchpad.use((found[0], new.words), new.last)
    return True


def _place_group(
    planner: Planner, scratchpad: ScratchpadRoom, group: tuple[int, int], taken: list[Extent], compact: bool
) -> FusedPlan | None:
    """The cheapest tiling of a group whose buffers find room, if need be at the lowest addresses that are free."""
    first, last = group
    homes = planner.group_homes(first, last)
    for tiling in planner.fusion.tilings(first, last, homes):
        for tight in dict.fromkeys((compact, True)):
            buffers = sorted(tiling.buffers.items(), key=lambda item: -item[1]) if tight else list(tiling.buffers.items())
            sizes = [words for _, words in buffers]
            found = scratchpad.find(sizes, taken, first, compact=tight)
            if found is not None:
                for extent in zip(found, sizes, strict=True):
                    scratchpad.use(extent, last)
                addresses = {key: address for (key, _), address in zip(buffers, found, strict=True)}
                return FusedPlan(first, last, homes, tiling, addresses)
    return None


def _place_buffers(
    planner: Planner, scratchpad: ScratchpadRoom, index: int, taken: list[Extent], compact: bool
) -> LayerPlan | None:
    """The cheapest tiling whose buffers find room."""
    free = planner.params.scratchpad_words - sum(words for _, words in taken)
    tilings = planner.tilings(index)
    for number in range(tilings.first_within(free), len(tilings)):
        tiling = tilings[number]
        kinds = [kind for kind, (_, count) in tiling.buffers.items() for _ in range(count)]
        sizes = [words for words, count in tiling.buffers.values() for _ in range(count)]
        found = scratchpad.find(sizes, taken, index, compact=compact)
        if found is not None:
            for extent in zip(found, sizes, strict=True):
                scratchpad.use(extent, index)
            slots = {kind: tuple(a for a, k in zip(found, kinds, strict=True) if k == kind) for kind in tiling.buffers}
            return LayerPlan(planner.homes(index), tiling, Buffers(**slots))
    return None
