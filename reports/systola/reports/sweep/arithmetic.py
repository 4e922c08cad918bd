"""Lane operations of an image, in all: what ``actions.layer_actions`` counts by layer, without what the counters have."""

from __future__ import annotations

from collections.abc import Iterator

from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.mapper.image import Image, ProgramStep
from systola.reports.actions import Arithmetic, LayerActions, instruction_actions

__all__ = ["arithmetic_actions"]


def arithmetic_actions(image: Image, params: Params) -> LayerActions:
    """The lane operations of drain and vector instructions, summed into one layer. Instructions that count alike are counted
    once, times their number."""
    alike: dict[tuple[int, ...], tuple[Instruction, int]] = {}
    for instruction in _instructions(image):
        key = _key(instruction)
        first, number = alike.get(key, (instruction, 0))
        alike[key] = (first, number + 1)
    result = LayerActions(1)
    for instruction, number in alike.values():
        counts = instruction_actions(instruction, params)
        result.add(0, {name: number * count for name, count in counts.items() if isinstance(name, Arithmetic)})
    return result


def _instructions(image: Image) -> Iterator[Instruction]:
    for step in image.steps:
        if isinstance(step, ProgramStep):
            yield from (i for i in step.instructions if i.opcode in (Opcode.DRAIN, Opcode.VECTOR))


_FIELDS = ("op", "count_n", "count_y", "count_x", "count_ky", "count_kx", "step_x", "column_mode", "stage_b", "operand")


def _key(instruction: Instruction) -> tuple[int, ...]:
    """What the number of lane operations depends on."""
    get = instruction.fields.get
    return (instruction.opcode, *[get(name, 0) for name in _FIELDS])
