"""From an order of the instructions to the waits that keep it correct: the timeline semaphores of each instruction.

An instruction waits, for each other engine, until that engine has finished the last of the instructions that this one depends
on; its own engine works in order. A wait that is already implied by an earlier wait of the same engine is left out.

Counts are compared modulo 2**16, and engines may be far apart: one whose first work is in the last layer waits from the start
for an instruction that comes much later. So that any two counts can be compared, a program has at most MAX_INSTRUCTIONS of an
engine; what is longer becomes several programs, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from systola.hw.isa import ENGINES, MAX_INSTRUCTIONS, Engine, Instruction
from systola.hw.params import Params
from systola.mapper.operations import Work
from systola.mapper.reorder import Order

__all__ = ["place_waits"]


def place_waits(
    program: Sequence[Work], order: Order, params: Params, most: int = MAX_INSTRUCTIONS
) -> Iterator[tuple[Instruction, ...]]:
    """The instructions in their new order, with waits and with their places in the accumulators; program by program, each with
    at most ``most`` instructions of an engine."""
    number: dict[int, int] = {}  # by index: among its engine's of this program, from 1
    issued = [0] * len(ENGINES)
    known = [[0] * len(ENGINES) for _ in ENGINES]
    result: list[Instruction] = []
    for index in order.sequence:
        work = program[index]
        engine = work.engine
        if issued[engine] == most:
            yield tuple(result)
            number, issued, known, result = {}, [0] * len(ENGINES), [[0] * len(ENGINES) for _ in ENGINES], []
        needed = [0] * len(ENGINES)
        for other in order.after[index]:
            needed[program[other].engine] = max(needed[program[other].engine], number.get(other, 0))
        waits = {}
        for other_engine in ENGINES:
            if needed[other_engine] > known[engine][other_engine]:
                known[engine][other_engine] = waits[other_engine] = needed[other_engine]
        fields = work.fields
        if work.group is not None:
            fields = {**fields, "acc_address": fields["acc_address"] + order.halves[work.group] * params.accumulator_half_words}
        result.append(Instruction(work.opcode, {**fields, **_wait_fields(waits), "tag": work.tag}))
        issued[engine] += 1
        number[index] = issued[engine]
    yield tuple(result)


def _wait_fields(waits: Mapping[Engine, int]) -> dict[str, int]:
    fields = {"wait_enable": sum(1 << engine for engine in waits)}
    fields.update({f"wait_{engine.name.lower()}": count for engine, count in waits.items()})
    return fields
