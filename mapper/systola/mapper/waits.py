"""From an order of the instructions to the waits that keep it correct: the timeline semaphores of each instruction.

An instruction waits, for each other engine, until that engine has finished the last of the instructions that this one depends
on; its own engine works in order. A wait that is already implied by an earlier wait of the same engine is left out.

Counts are compared modulo 2**16, and engines may be far apart: one whose first work is in the last layer waits from the start
for an instruction that comes much later. So that any two counts can be compared, a program has at most MAX_INSTRUCTIONS of an
engine; what is longer becomes several programs, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from systola.hw.isa import ENGINES, MAX_INSTRUCTIONS, Engine, Opcode
from systola.hw.params import Params
from systola.mapper.accumulator_groups import Groups
from systola.mapper.edges import Edges
from systola.mapper.instruction_tables import Column, Table, column_numbers
from systola.mapper.jit import jit
from systola.mapper.program import Program
from systola.mapper.reorder import Order

__all__ = ["Ordered", "place_waits"]

_COUNT = len(ENGINES)


@dataclass(frozen=True, eq=False)
class Ordered:
    """Instructions with their waits and their places in the accumulators. ``engines``: of all of them, in an order in which every
    wait names an earlier one. ``tables``: of each engine that has any, its own, in order."""

    engines: Column
    tables: Mapping[Engine, Table]


def place_waits(program: Program, order: Order, params: Params, most: int = MAX_INSTRUCTIONS) -> Iterator[Ordered]:
    """The instructions in their new order, program by program, each with at most ``most`` instructions of an engine."""
    waits, parts = _place_waits(order.sequence, program.engines, order.edges, order.groups, order.begun, most)
    halves = _halves(order) * params.accumulator_half_words
    cuts = np.flatnonzero(np.diff(parts)) + 1
    for part in np.split(order.sequence, cuts):
        engines = program.engines[part]
        tables = {
            engine: _finished(engine, program, part[engines == engine], waits, halves)
            for engine in ENGINES if (engines == engine).any()
        }  # fmt: skip
        yield Ordered(engines, tables)


def _halves(order: Order) -> Column:
    """By instruction: the half of the accumulators that its group has."""
    half_of = np.zeros(len(order.begun) + 1, np.int64)  # the last one: of instructions without a group
    half_of[order.begun] = np.arange(len(order.begun)) % 2
    return half_of[order.groups.of]


def _finished(engine: Engine, program: Program, mine: Column, waits: Table, halves: Column) -> Table:
    """An engine's instructions, complete."""
    numbers = column_numbers(Opcode(engine + 1))
    table = program.tables[engine][program.rows[mine]]
    first = numbers["wait_enable"]
    table[:, first : first + 1 + _COUNT] = waits[mine]
    if "acc_address" in numbers:
        table[:, numbers["acc_address"]] += halves[mine]
    return table


@jit
def _place_waits(
    sequence: Column, engines: Column, edges: Edges, groups: Groups, begun: Column, most: int
) -> tuple[Table, Column]:
    """By instruction: which engines it waits for, as in the header, and for how many of each. By place in the sequence: the
    number of the program that it is in."""
    waits, parts = np.zeros((len(sequence), 1 + _COUNT), np.int64), np.zeros(len(sequence), np.int64)
    number = np.zeros(len(sequence), np.int64)  # by instruction: among its engine's of this program, from 1
    issued, needed, part, turn = np.zeros(_COUNT, np.int64), np.zeros(_COUNT, np.int64), 0, 0
    known = np.zeros((_COUNT, _COUNT), np.int64)
    for place, index in enumerate(sequence):
        engine = engines[index]
        if issued[engine] == most:
            number[:], issued[:], known[:] = 0, 0, 0
            part += 1
        needed[:] = 0
        link = edges.newest[index]
        while link >= 0:
            earlier, finished, link = edges.links[link]
            if finished:
                needed[engines[earlier]] = max(needed[engines[earlier]], number[earlier])
        if turn < len(begun) and index == groups.arrays[groups.array_begins[begun[turn]]]:
            if turn >= 2:  # the half of the group before the last
                before = begun[turn - 2]
                for drain in groups.drains[groups.drain_begins[before] : groups.drain_begins[before + 1]]:
                    needed[engines[drain]] = max(needed[engines[drain]], number[drain])
            turn += 1
        for other in range(_COUNT):
            if needed[other] > known[engine, other]:
                known[engine, other] = needed[other]
                waits[index, 0] |= 1 << other
                waits[index, 1 + other] = needed[other]
        issued[engine] += 1
        number[index] = issued[engine]
        parts[place] = part
    return waits, parts
