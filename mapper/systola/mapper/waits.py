"""From an order of the instructions to the waits that keep it correct: the timeline semaphores of each instruction.

An instruction waits, for each other engine, until that engine has finished the last of the instructions that this one depends
on; its own engine works in order. A wait that is already implied by an earlier wait of the same engine is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.hw.params import Params
from systola.mapper.operations import Work
from systola.mapper.reorder import Order

__all__ = ["place_waits"]

COUNT_BITS = 16
_WINDOW = 1 << COUNT_BITS - 2
"""A wait names one of the engine's last 2**14 instructions; an older one is replaced by the oldest of these. The comparison in
hardware is good for differences below 2**15."""


def place_waits(
    program: Sequence[Work], order: Order, params: Params
) -> tuple[Instruction, ...]:
    """The instructions in their new order, with waits and with their places in the accumulators."""
    issued = [0] * len(ENGINES)
    number = [0] * len(program)  # of each instruction among its engine's, from 1
    known = [[0] * len(ENGINES) for _ in ENGINES]
    result = []
    for index in order.sequence:
        work = program[index]
        engine = work.engine
        needed = [0] * len(ENGINES)
        for other in order.after[index]:
            needed[program[other].engine] = max(needed[program[other].engine], number[other])
        waits = {}
        for other_engine in ENGINES:
            if needed[other_engine] > known[engine][other_engine]:
                known[engine][other_engine] = needed[other_engine]
                waits[other_engine] = max(needed[other_engine], issued[other_engine] - _WINDOW)
        fields = work.fields
        if work.group is not None:
            fields = {**fields, "acc_address": fields["acc_address"] + order.halves[work.group] * params.accumulator_half_words}
        result.append(Instruction(work.opcode, {**fields, **_wait_fields(waits), "tag": work.tag}))
        issued[engine] += 1
        number[index] = issued[engine]
    last = {engine: count for engine, count in zip(ENGINES, issued, strict=True) if count}
    result.append(Instruction(Opcode.END, _wait_fields(last)))
    return tuple(result)


def _wait_fields(waits: Mapping[Engine, int]) -> dict[str, int]:
    fields = {"wait_enable": sum(1 << engine for engine in waits)}
    fields.update({f"wait_{engine.name.lower()}": count % (1 << COUNT_BITS) for engine, count in waits.items()})
    return fields
