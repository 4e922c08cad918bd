"""The order in which each engine gets its instructions: list scheduling over the dependencies.

The program comes layer by layer. Taken in that order, an engine would idle whenever the layer at hand has nothing for it,
although a later one has. So time is played forward (``list_scheduling``): whenever an engine is free it takes, of the
instructions whose dependencies will be over, the first in the program; if there is none, the one that can begin first. Loads go
by when they are needed. Durations are estimates (``timing``); whatever they are, the order is one that the dependencies allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from systola.hw.errors import MappingError
from systola.hw.isa import ENGINES, Engine, Opcode
from systola.hw.params import Params
from systola.mapper.accumulator_groups import Groups, find_groups, tied
from systola.mapper.edges import Edges
from systola.mapper.instruction_tables import Column, columns_by_name
from systola.mapper.jit import jit
from systola.mapper.list_scheduling import Cycles, play
from systola.mapper.program import Program
from systola.mapper.timing import Timing

__all__ = ["Order", "reorder"]


@dataclass(frozen=True, eq=False)
class Order:
    """``sequence``: indices of the program's instructions in the order of their beginning. ``edges``: what each must come after.

    ``begun``: accumulator groups in the order of their beginning; they take the two halves in turn.
    """

    sequence: Column
    edges: Edges
    groups: Groups
    begun: Column


def reorder(program: Program, edges: Edges, params: Params) -> Order:
    """The order, given each instruction's dependencies. Raises MappingError if there is none (a defect of the mapper)."""
    groups = find_groups(program)
    edges = tied(edges, groups)
    busy, latency, fetch = _durations(program, params)
    in_order, is_load = np.arange(len(program), dtype=np.float64), program.engines == Engine.LOAD
    at_once = np.where(is_load, 0.0, busy), np.where(is_load, 0.0, latency)
    ideal = play(program.engines, *at_once, fetch, in_order, edges, groups)
    ranks = np.where(is_load, _due(edges, ideal.begin_cycles), in_order)
    played = play(program.engines, busy, latency, fetch, ranks, edges, groups)
    if len(played.sequence) < len(program):
        raise MappingError(f"internal: {len(program) - len(played.sequence)} instructions wait for each other")
    return Order(played.sequence, edges, groups, played.begun)


def _durations(program: Program, params: Params) -> tuple[Cycles, Cycles, Cycles]:
    """Busy, latency and fetch cycles of each instruction."""
    timing = Timing(params)
    busy, latency, fetch = np.zeros((3, len(program)))
    for engine in ENGINES:
        mine, opcode = np.flatnonzero(program.engines == engine), Opcode(engine + 1)
        if len(mine):
            durations = timing.of(opcode, columns_by_name(opcode, program.tables[engine]))
            busy[mine], latency[mine] = durations.busy_cycles, durations.latency_cycles
            fetch[mine] = timing.fetch_cycles[opcode]
    return busy, latency, fetch


@jit
def _due(edges: Edges, begin_cycles: Cycles) -> Cycles:
    """When the first of those that need an instruction could begin."""
    due = np.full(len(begin_cycles), np.inf)
    for index in range(len(begin_cycles)):
        link = edges.newest[index]
        while link >= 0:
            earlier, finished, link = edges.links[link]
            if finished:
                due[earlier] = min(due[earlier], begin_cycles[index])
    return due
