"""The plan of a network: what stays on chip is decided, then everything is placed; what finds no room is given up."""

from __future__ import annotations

from systola.hw.errors import MappingError
from systola.hw.params import Params
from systola.mapper.layers import Lowered
from systola.mapper.placement import place
from systola.mapper.plan import Plan
from systola.mapper.residency import Planner, fuse_what_pays

__all__ = ["make_plan"]


def make_plan(net: Lowered, params: Params, *, keep_on_chip: bool = True) -> Plan:
    """The plan. Raises MappingError naming the layer that cannot fit whatever its tiling.

    ``keep_on_chip=False`` sends every tensor to DRAM, where it can be compared.
    """
    planner = Planner(net, params)
    if keep_on_chip:
        planner.pin_what_pays()
        fuse_what_pays(planner)
    while True:
        placed = place(planner)
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


def _does_not_fit(planner: Planner, index: int) -> MappingError:
    layer, tilings = planner.net.layers[index], planner.tilings(index)
    least = tilings.least_words * planner.params.lanes
    size = planner.params.config.memory
    need = f"its smallest tile takes {least} bytes of scratchpad" if least else "not one row of a tile fits the accumulators"
    return MappingError(
        f"layer '{layer.name}' does not fit accelerator '{planner.params.config.name}': {need}, which has "
        f"{size.scratchpad_bytes} bytes of scratchpad and {size.accumulator_bytes} of accumulators; "
        "raise memory.scratchpad_bytes or memory.accumulator_bytes"
    )
