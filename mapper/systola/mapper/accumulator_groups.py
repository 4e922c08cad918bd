"""Accumulator groups: instructions that share accumulators, those of the array that make a tile's sums and the drains that take
them.

They are the exception to "one instruction at a time": the array does not begin another group before it has finished the one it
is at, and groups take the two halves of the accumulators in turn. So a group begins only when the drains of the group before
the last are placed, and when nothing but its own array instructions stands before its own drains: then drains never wait for the
array to take something else first, and the program cannot block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from systola.hw.isa import Engine
from systola.mapper.edges import Edges, add_edge
from systola.mapper.instruction_tables import Column
from systola.mapper.jit import jit, jit_borrowing
from systola.mapper.program import Program

__all__ = ["Groups", "find_groups", "tied"]


class Groups(NamedTuple):
    """Groups numbered by their first instruction. ``of``: by instruction, −1: none. Instructions of group g, by index:
    ``arrays[array_begins[g] : array_begins[g + 1]]``, and likewise its drains."""

    of: Column
    array_begins: Column
    arrays: Column
    drain_begins: Column
    drains: Column


def find_groups(program: Program) -> Groups:
    """The groups of a program."""
    members = np.flatnonzero(program.groups >= 0)
    _, first, inverse = np.unique(program.groups[members], return_index=True, return_inverse=True)
    number = np.empty_like(first)
    number[np.argsort(first)] = np.arange(len(first))
    of = np.full(len(program), -1, np.int64)
    of[members] = number[inverse]
    is_array = program.engines[members] == Engine.ARRAY
    arrays, array_begins = _by_group(of, members[is_array], len(first))
    drains, drain_begins = _by_group(of, members[~is_array], len(first))
    return Groups(of, array_begins, arrays, drain_begins, drains)


def _by_group(of: Column, members: Column, count: int) -> tuple[Column, Column]:
    """The members, group after group, and where each group's begin."""
    groups = of[members]
    begins = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=count))])
    return members[np.argsort(groups, kind="stable")], begins


@jit
def tied(edges: Edges, groups: Groups) -> Edges:
    """The edges, and those inside groups, and before each group's first instruction what its other members need."""
    seen = np.full(len(groups.of), -1, np.int64)
    stack, found = np.empty(len(groups.of), np.int64), np.empty(len(groups.of), np.int64)
    for group in range(len(groups.array_begins) - 1):
        arrays = groups.arrays[groups.array_begins[group] : groups.array_begins[group + 1]]
        drains = groups.drains[groups.drain_begins[group] : groups.drain_begins[group + 1]]
        for number in range(1, len(arrays)):
            edges = add_edge(edges, arrays[number], arrays[number - 1], 0)
        for drain in drains:
            edges = add_edge(edges, drain, arrays[-1], 1)
        for other in found[: _before_head(edges, group, arrays, drains, seen, stack, found)]:
            edges = add_edge(edges, arrays[0], other, 0)
    return edges


@jit_borrowing
def _before_head(
    edges: Edges, group: int, arrays: Column, drains: Column, seen: Column, stack: Column, found: Column
) -> int:
    """What must be placed before the group's head so that the rest of the group cannot get stuck: how many are ``found``.

    Everything its members depend on, directly or over instructions that come after the head, that itself comes before it.
    ``seen``: by instruction, the last group that it was seen for.
    """
    size, count = 0, 0
    for members in (arrays, drains):
        for index in members:
            seen[index] = group
            stack[size] = index
            size += 1
    head = arrays[0]
    while size:
        size -= 1
        link = edges.newest[stack[size]]
        while link >= 0:
            other, link = edges.links[link, 0], edges.links[link, 2]
            if seen[other] == group:
                continue
            seen[other] = group
            if other < head:
                found[count] = other
                count += 1
            else:
                stack[size] = other
                size += 1
    return count
