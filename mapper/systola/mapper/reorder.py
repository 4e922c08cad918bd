"""The order in which each engine gets its instructions: list scheduling over the dependencies.

The program comes layer by layer. Taken in that order, an engine would idle whenever the layer at hand has nothing for it,
although a later one has. So time is played forward: whenever an engine is free it takes, of the instructions whose
dependencies will be over, the first in the program; if there is none, the one that can begin first. Durations are estimates
(``timing``); whatever they are, the order is one that the dependencies allow.

Accumulator groups are the exception to "one instruction at a time": the array does not begin another group before it has
finished the one it is at, and groups take the two halves of the accumulators in turn. So a group begins only when the drains
of the group before the last are placed, and when nothing but its own array instructions stands before its own drains: then
drains never wait for the array to take something else first, and the program cannot block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from systola.hw.isa import ENGINES, Engine, Opcode
from systola.hw.params import Params
from systola.mapper.hazards import Dependencies
from systola.mapper.operations import Work
from systola.mapper.timing import WAIT_CYCLES, Duration, Timing

__all__ = ["Order", "reorder"]


@dataclass(frozen=True)
class Order:
    """``sequence``: indices of the program's instructions in the order of their beginning.

    By place in the program: ``after``: the instructions that each must wait for; ``begin_cycles``, ``finish_cycles``: the
    estimated times. ``halves``: the accumulator half of each group.
    """

    sequence: list[int]
    after: list[set[int]]
    halves: dict[int, int]
    begin_cycles: list[float]
    finish_cycles: list[float]


@dataclass
class _Group:
    """Array instructions and drains of an accumulator group, by index."""

    arrays: list[int] = field(default_factory=list)
    drains: list[int] = field(default_factory=list)


class _Queue:
    """The instructions of one engine whose dependencies are placed."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self._later: list[tuple[float, float, int]] = []  # by the time at which they can begin
        self._now: list[tuple[float, int]] = []  # can begin when the engine is free, by place in the program

    def add(self, index: int, ready_at: float, rank: float) -> None:
        heappush(self._later, (ready_at, rank, index))

    def next_start(self, not_before: float = 0.0) -> float | None:
        """When the engine begins its next instruction; None if none is known."""
        earliest = max(self.free_at, not_before)
        if self._now or (self._later and self._later[0][0] <= earliest):
            return earliest
        return self._later[0][0] if self._later else None

    def take(self, start: float) -> int:
        """The first in the program of those that can begin at ``start``."""
        while self._later and self._later[0][0] <= start:
            heappush(self._now, heappop(self._later)[1:])
        return heappop(self._now)[1]


class _ArrayQueue(_Queue):
    """Of groups, only the first instruction is queued; a group once begun is finished before another."""

    def __init__(self) -> None:
        super().__init__()
        self.members: list[int] = []  # of the group at hand, still to come
        self.member_ready_at: float | None = None  # when the next of them can begin; None: not known
        self.halves_free_at: float | None = 0.0  # when the half for the next group is drained; None: not known

    def next_start(self, not_before: float = 0.0) -> float | None:
        """As for any queue, within the rules for groups."""
        if self.members:
            return None if self.member_ready_at is None else max(self.free_at, self.member_ready_at)
        return None if self.halves_free_at is None else super().next_start(max(not_before, self.halves_free_at))

    def take(self, start: float) -> int:
        """As for any queue, within the rules for groups."""
        if self.members:
            self.member_ready_at = None
            return self.members.pop(0)
        return super().take(start)


class _Scheduler:
    """``due``: by instruction, for loads: when the first that needs it could begin; None: memory takes no time."""

    def __init__(
        self, program: Sequence[Work], edges: Sequence[Dependencies], durations: Sequence[Duration],
        fetch_cycles: Mapping[Opcode, float], due: Sequence[float] | None,
    ) -> None:
        self.program, self.durations, self.due = program, durations, due
        self.after = [set(e.after) for e in edges]
        self.behind = [set(e.behind) for e in edges]
        self.groups = _groups(program)
        for group in self.groups.values():
            self._tie(group)
        before = [after | behind for after, behind in zip(self.after, self.behind, strict=True)]
        self.missing = [len(others) for others in before]
        self.successors: list[list[int]] = [[] for _ in program]
        for index, others in enumerate(before):
            for other in others:
                self.successors[other].append(index)
        self.begin = [0.0] * len(program)
        self.finish = [0.0] * len(program)
        self.fetch_cycles = fetch_cycles
        self.sequence: list[int] = []
        self.array = _ArrayQueue()
        self.queues = [self.array if engine is Engine.ARRAY else _Queue() for engine in ENGINES]
        self.memory_free_at = 0.0
        self.begun: list[int] = []  # groups
        self.undrained = {number: len(group.drains) for number, group in self.groups.items()}  # drains still to be placed

    def _tie(self, group: _Group) -> None:
        """Edges inside a group, and before its head what its other members need."""
        head = group.arrays[0]
        for previous, index in zip(group.arrays, group.arrays[1:], strict=False):
            self.behind[index].add(previous)
        for index in group.drains:
            self.after[index].add(group.arrays[-1])
        self.behind[head] |= self._outside(head, {*group.arrays, *group.drains})

    def _outside(self, head: int, members: set[int]) -> set[int]:
        """What must be placed before the group's head so that the rest of the group cannot get stuck.

        Everything its members depend on, directly or over instructions that come after the head, that itself comes before it.
        """
        found: set[int] = set()
        seen = set(members)
        stack = list(members)
        while stack:
            index = stack.pop()
            for other in (*self.after[index], *self.behind[index]):
                if other < head:
                    found.add(other)
                elif other not in seen:
                    seen.add(other)
                    stack.append(other)
        return found

    def run(self) -> Order:
        for index, count in enumerate(self.missing):
            if count == 0:
                self._offer(index)
        while len(self.sequence) < len(self.program):
            starts = [(start, engine) for engine in ENGINES if (start := self.queues[engine].next_start()) is not None]
            start, engine = min(starts)
            self._place(self.queues[engine].take(start), engine, start)
        halves = {group: number % 2 for number, group in enumerate(self.begun)}
        return Order(self.sequence, self.after, halves, self.begin, self.finish)

    def _offer(self, index: int) -> None:
        """All dependencies of an instruction are placed."""
        work = self.program[index]
        ready = max((self.finish[other] for other in self.after[index]), default=-WAIT_CYCLES) + WAIT_CYCLES
        if work.engine is not Engine.ARRAY or work.group is None or self.groups[work.group].arrays[0] == index:
            rank = self.due[index] if self.due and work.engine is Engine.LOAD else float(index)
            self.queues[work.engine].add(index, ready, rank)
        elif self.array.members and self.array.members[0] == index:
            self.array.member_ready_at = ready

    def _place(self, index: int, engine: Engine, start: float) -> None:
        work, duration, queue = self.program[index], self.durations[index], self.queues[engine]
        if engine in (Engine.LOAD, Engine.STORE):  # they share the memory
            start = max(start, self.memory_free_at)
            self.memory_free_at = start + duration.busy_cycles
        self.memory_free_at += self.fetch_cycles[work.opcode]
        self.begin[index] = start
        queue.free_at = start + duration.busy_cycles
        self.finish[index] = queue.free_at + duration.latency_cycles
        self.sequence.append(index)
        if work.group is not None:
            self._place_member(index, work, work.group)
        for other in self.successors[index]:
            self.missing[other] -= 1
            if self.missing[other] == 0:
                self._offer(other)

    def _place_member(self, index: int, work: Work, number: int) -> None:
        group = self.groups[number]
        if work.opcode is Opcode.DRAIN:
            self.undrained[number] -= 1
        elif index == group.arrays[0]:
            if len(self.begun) >= 2:
                self.after[index].update(self.groups[self.begun[-2]].drains)
            self.begun.append(number)
            self.array.members = group.arrays[1:]
        before = self.begun[-2] if len(self.begun) >= 2 else None
        if before is None:
            self.array.halves_free_at = 0.0
        elif self.undrained[before]:
            self.array.halves_free_at = None
        else:
            self.array.halves_free_at = max(self.finish[drain] for drain in self.groups[before].drains) + WAIT_CYCLES


def _groups(program: Sequence[Work]) -> dict[int, _Group]:
    groups: dict[int, _Group] = {}
    for index, work in enumerate(program):
        if work.group is not None:
            group = groups.setdefault(work.group, _Group())
            (group.arrays if work.opcode is Opcode.ARRAY else group.drains).append(index)
    return groups


def reorder(program: Sequence[Work], edges: Sequence[Dependencies], params: Params) -> Order:
    """The order, given each instruction's dependencies."""
    timing = Timing(params)
    durations = [timing.of(work) for work in program]
    at_once = Duration(0.0, 0)
    ideal = [at_once if work.engine is Engine.LOAD else duration for work, duration in zip(program, durations, strict=True)]
    times = _Scheduler(program, edges, ideal, timing.fetch_cycles, None).run().begin_cycles
    due = [float("inf")] * len(program)
    for index, mine in enumerate(edges):
        for other in mine.after:
            due[other] = min(due[other], times[index])
    return _Scheduler(program, edges, durations, timing.fetch_cycles, due).run()
