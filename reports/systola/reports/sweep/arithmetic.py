"""Lane operations of an image, in all: what ``actions.layer_actions`` counts by layer, without what the counters have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from systola.hw.isa import ENGINES, HEADER, INSTRUCTIONS, Instruction, Opcode
from systola.hw.params import Params
from systola.mapper.image import Image, ProgramStep
from systola.reports.actions import Arithmetic, LayerActions, instruction_actions

__all__ = ["arithmetic_actions"]

FIELDS = ("op", "count_n", "count_y", "count_x", "count_ky", "count_kx", "step_x", "column_mode", "stage_b", "operand")
"""What the number of lane operations depends on."""


def arithmetic_actions(image: Image, params: Params) -> LayerActions:
    """The lane operations of drain and vector instructions, summed into one layer. Instructions that count alike are counted
    once, times their number."""
    result = LayerActions(1)
    for instruction, number in _alike(image):
        counts = instruction_actions(instruction, params)
        result.add(0, {name: number * count for name, count in counts.items() if isinstance(name, Arithmetic)})
    return result


def _alike(image: Image) -> Iterator[tuple[Instruction, int]]:
    """Kinds of instructions with FIELDS alone, and how many there are of each."""
    programs = [step for step in image.steps if isinstance(step, ProgramStep)]
    for step in programs:
        for opcode in (Opcode.DRAIN, Opcode.VECTOR):
            columns = {item.name: number for number, item in enumerate((*HEADER, *INSTRUCTIONS[opcode][1]))}
            names = [name for name in FIELDS if name in columns]
            table = step.table(ENGINES[opcode - 1])[:, [columns[name] for name in names]]
            rows, numbers = np.unique(table, axis=0, return_counts=True)
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
                yield Instruction(opcode, dict(zip(names, row, strict=True))), number
