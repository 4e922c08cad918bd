"""List scheduling: time played forward, instruction by instruction. Compiled; ``reorder`` says what it is for.

What an unknown time is to others is infinity here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine
from systola.mapper.accumulator_groups import Groups
from systola.mapper.edges import Edges
from systola.mapper.heaps import pop, push
from systola.mapper.instruction_tables import Column, Table
from systola.mapper.jit import jit, jit_borrowing
from systola.mapper.timing import WAIT_CYCLES

__all__ = ["Played", "play"]

Cycles = NDArray[np.float64]

_COUNT = len(ENGINES)
_LOAD, _ARRAY, _DRAIN, _STORE = (int(engine) for engine in (Engine.LOAD, Engine.ARRAY, Engine.DRAIN, Engine.STORE))
_MEMORY_FREE_AT, _MEMBER_READY_AT, _HALF_FREE_AT = range(3)  # of State.times
_PLACED, _BEGUN, _NEXT_MEMBER, _END_OF_MEMBERS = range(4)  # of State.counts


class Played(NamedTuple):
    """``sequence``: instructions in the order of their beginning; fewer than all if the rest can never begin.

    ``begin_cycles``: by instruction. ``begun``: groups in the order of theirs."""

    sequence: Column
    begin_cycles: Cycles
    begun: Column


class _Problem(NamedTuple):
    """By instruction: engine; cycles; what is taken first of those that can begin. ``after``: successors of instruction i are
    ``successors[after[i] : after[i + 1]]``."""

    engines: Column
    busy: Cycles
    latency: Cycles
    fetch: Cycles
    ranks: Cycles
    edges: Edges
    groups: Groups
    after: Column
    successors: Column


class _State(NamedTuple):
    """By instruction: ``missing`` edges to what is not yet placed, times. ``heaps``, ``sizes``: of each engine, the instructions
    that can begin later, by time; then those that can begin when the engine is free, by rank. ``undrained``: by group, drains to
    be placed. ``times``, ``counts``: single numbers.

    A group once begun is finished before another: its array instructions still to come are
    ``groups.arrays[counts[_NEXT_MEMBER] : counts[_END_OF_MEMBERS]]``, and only its first was queued.
    """

    missing: Column
    ready: Cycles
    begin: Cycles
    finish: Cycles
    sequence: Column
    begun: Column
    heaps: Table
    sizes: Column
    free_at: Cycles
    undrained: Column
    times: Cycles
    counts: Column


@jit
def play(
    engines: Column, busy: Cycles, latency: Cycles, fetch: Cycles, ranks: Cycles, edges: Edges, groups: Groups
) -> Played:
    """Whenever an engine is free it takes, of the instructions whose dependencies will be over, the one of lowest rank; if there
    is none, the one that can begin first.

    ``busy``, ``latency``: of each instruction, until its engine can begin another, and from then until all is written. ``fetch``:
    what the memory takes for the instruction itself.
    """
    missing, after, successors = _successors(edges)
    problem = _Problem(engines, busy, latency, fetch, ranks, edges, groups, after, successors)
    state = _new_state(missing, groups)
    for index in range(len(engines)):
        if not missing[index]:
            _offer(problem, state, index)
    while True:
        engine, start = 0, np.inf
        for each in range(_COUNT):
            could = _next_start(state, each)
            if could < start:
                engine, start = each, could
        if start == np.inf:
            break
        _place(problem, state, _take(problem, state, engine, start), engine, start)
    return Played(state.sequence[: state.counts[_PLACED]], state.begin, state.begun[: state.counts[_BEGUN]])


@jit
def _successors(edges: Edges) -> tuple[Column, Column, Column]:
    """Edges of each instruction; where its successors begin, and the successors."""
    count = len(edges.newest)
    missing, after = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    for index in range(count):
        link = edges.newest[index]
        while link >= 0:
            missing[index] += 1
            after[edges.links[link, 0] + 1] += 1
            link = edges.links[link, 2]
    after = np.cumsum(after)
    filled, successors = after.copy(), np.empty(edges.used, np.int64)
    for index in range(count):
        link = edges.newest[index]
        while link >= 0:
            earlier, link = edges.links[link, 0], edges.links[link, 2]
            successors[filled[earlier]] = index
            filled[earlier] += 1
    return missing, after, successors


@jit
def _new_state(missing: Column, groups: Groups) -> _State:
    count, group_count = len(missing), len(groups.array_begins) - 1
    times, counts = np.zeros(3), np.zeros(4, np.int64)
    return _State(
        missing, np.zeros(count), np.zeros(count), np.zeros(count), np.empty(count, np.int64), np.empty(group_count, np.int64),
        np.empty((2 * _COUNT, count), np.int64), np.zeros(2 * _COUNT, np.int64), np.zeros(_COUNT),
        groups.drain_begins[1:] - groups.drain_begins[:-1], times, counts,
    )  # fmt: skip


@jit_borrowing
def _offer(problem: _Problem, state: _State, index: int) -> None:
    """All dependencies of an instruction are placed."""
    ready = _latest_finish(problem.edges.newest[index], problem.edges.links, state.finish) + WAIT_CYCLES
    engine, groups, group = problem.engines[index], problem.groups, problem.groups.of[index]
    if engine != _ARRAY or group < 0 or groups.arrays[groups.array_begins[group]] == index:
        state.ready[index] = ready
        push(state.heaps[engine], state.sizes[engine], index, state.ready, problem.ranks)
        state.sizes[engine] += 1
    elif _members_left(state) and groups.arrays[state.counts[_NEXT_MEMBER]] == index:
        state.times[_MEMBER_READY_AT] = ready


@jit_borrowing
def _latest_finish(link: int, links: Table, finish: Cycles) -> float:
    """Of the instructions that ``link`` and those after it say must have finished."""
    latest = -float(WAIT_CYCLES)
    while link >= 0:
        if links[link, 1]:
            latest = max(latest, finish[links[link, 0]])
        link = links[link, 2]
    return latest


@jit_borrowing
def _members_left(state: _State) -> bool:
    """Whether the group at hand has array instructions to come."""
    return bool(state.counts[_NEXT_MEMBER] < state.counts[_END_OF_MEMBERS])


@jit_borrowing
def _next_start(state: _State, engine: int) -> float:
    """When an engine begins its next instruction."""
    earliest = state.free_at[engine]
    if engine == _ARRAY:
        if _members_left(state):
            return float(max(earliest, state.times[_MEMBER_READY_AT]))
        earliest = max(earliest, state.times[_HALF_FREE_AT])
    if state.sizes[_COUNT + engine]:
        return float(earliest)
    return float(max(earliest, state.ready[state.heaps[engine, 0]])) if state.sizes[engine] else np.inf


@jit_borrowing
def _take(problem: _Problem, state: _State, engine: int, start: float) -> int:
    """The lowest in rank of those that can begin at ``start``."""
    if engine == _ARRAY and _members_left(state):
        state.times[_MEMBER_READY_AT] = np.inf
        state.counts[_NEXT_MEMBER] += 1
        return int(problem.groups.arrays[state.counts[_NEXT_MEMBER] - 1])
    later, now, sizes, ranks = engine, _COUNT + engine, state.sizes, problem.ranks
    while sizes[later] and state.ready[state.heaps[later, 0]] <= start:
        index = pop(state.heaps[later], sizes[later], state.ready, ranks)
        push(state.heaps[now], sizes[now], index, ranks, ranks)
        sizes[later] -= 1
        sizes[now] += 1
    sizes[now] -= 1
    return pop(state.heaps[now], sizes[now] + 1, ranks, ranks)


@jit_borrowing
def _place(problem: _Problem, state: _State, index: int, engine: int, start: float) -> None:
    times, counts = state.times, state.counts
    if engine in (_LOAD, _STORE):  # they share the memory
        start = max(start, times[_MEMORY_FREE_AT])
        times[_MEMORY_FREE_AT] = start + problem.busy[index]
    times[_MEMORY_FREE_AT] += problem.fetch[index]
    state.begin[index] = start
    state.free_at[engine] = start + problem.busy[index]
    state.finish[index] = state.free_at[engine] + problem.latency[index]
    state.sequence[counts[_PLACED]] = index
    counts[_PLACED] += 1
    if problem.groups.of[index] >= 0:
        _place_member(problem.groups, state, index, engine)
    missing, successors = state.missing, problem.successors
    for number in range(problem.after[index], problem.after[index + 1]):
        other = successors[number]
        missing[other] -= 1
        if not missing[other]:
            _offer(problem, state, other)


@jit_borrowing
def _place_member(groups: Groups, state: _State, index: int, engine: int) -> None:
    """A group is begun, or goes on; its half of the accumulators is free when all its drains are placed and over."""
    group, counts = groups.of[index], state.counts
    if engine == _DRAIN:
        state.undrained[group] -= 1
    elif index == groups.arrays[groups.array_begins[group]]:
        state.begun[counts[_BEGUN]] = group
        counts[_BEGUN] += 1
        counts[_NEXT_MEMBER], counts[_END_OF_MEMBERS] = groups.array_begins[group] + 1, groups.array_begins[group + 1]
        state.times[_MEMBER_READY_AT] = np.inf
    free_at = 0.0
    if counts[_BEGUN] >= 2:
        before = state.begun[counts[_BEGUN] - 2]
        for drain in groups.drains[groups.drain_begins[before] : groups.drain_begins[before + 1]]:
            free_at = max(free_at, state.finish[drain] + WAIT_CYCLES)
        if state.undrained[before]:
            free_at = np.inf
    state.times[_HALF_FREE_AT] = free_at
