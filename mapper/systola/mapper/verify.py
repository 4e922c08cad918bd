"""Checks of an image, made after every compilation: what must hold whatever the passes before did."""

from __future__ import annotations

from systola.hw.errors import MappingError
from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.hw.params import Params
from systola.mapper.image import Image, ProgramStep

__all__ = ["verify_image"]


def verify_image(image: Image, params: Params) -> None:
    """Raises MappingError (a defect of the mapper, not of the model) if an instruction or a tensor breaks a rule."""
    for name, placed in image.tensors.items():
        if placed.address + placed.layout.bytes > image.memory_bytes:
            raise MappingError(f"internal: tensor '{name}' ends outside the image")
    for step in image.steps:
        if isinstance(step, ProgramStep):
            _verify_program(step, image, params)


def _verify_program(step: ProgramStep, image: Image, params: Params) -> None:
    issued = [0] * len(ENGINES)
    for number, instruction in enumerate(step.instructions):
        try:
            _verify_waits(instruction, issued)
            _verify_body(instruction, image, params)
        except MappingError as error:
            raise MappingError(f"internal: instruction {number} ({instruction.opcode.name}): {error}") from None
        if instruction.engine is not None:
            issued[instruction.engine] += 1
    if step.instructions[-1].opcode is not Opcode.END:
        raise MappingError("internal: a program does not end with END")


def _verify_waits(instruction: Instruction, issued: list[int]) -> None:
    """Every wait is for an instruction that comes earlier, and near enough for the comparison to be right."""
    for engine in ENGINES:
        if instruction["wait_enable"] >> engine & 1:
            behind = issued[engine] - instruction[f"wait_{engine.name.lower()}"] & 0xFFFF
            if behind >= 1 << 15:
                raise MappingError(f"waits for an instruction of {Engine(engine).name.lower()} that comes later")


def _verify_body(instruction: Instruction, image: Image, params: Params) -> None:
    zero = [name for name in instruction.fields if name.startswith("count_") and instruction[name] == 0]
    if zero:
        raise MappingError(f"{zero[0]} is 0")
    if instruction.opcode in (Opcode.LOAD, Opcode.STORE):
        _verify_transfer(instruction, image, params)
    elif instruction.opcode in (Opcode.ARRAY, Opcode.DRAIN):
        words = instruction["count_x"] * instruction["count_y"] * instruction["count_n"]
        if instruction["acc_address"] + words > params.accumulator_words:
            raise MappingError(f"reaches past the {params.accumulator_words} accumulator words")


def _verify_transfer(instruction: Instruction, image: Image, params: Params) -> None:
    """The corners of the transfer lie inside both memories (strides may be negative)."""
    for prefix, unit, size in (("dram", params.lanes, image.memory_bytes), ("sp", 1, params.scratchpad_words)):
        first = instruction[f"{prefix}_address"]
        reach = [(instruction[f"count_{a}"] - 1) * instruction[f"{prefix}_stride_{a}"] for a in "yz"]
        low = first + sum(min(r, 0) for r in reach)
        high = first + sum(max(r, 0) for r in reach) + instruction["count_x"] * unit
        if low < 0 or high > size:
            raise MappingError(f"{prefix} addresses {low} … {high} lie outside 0 … {size}")
        if prefix == "dram" and first % params.lanes:
            raise MappingError("its DRAM address is not a multiple of the word")
