"""Checks of an image, made after every compilation: what must hold whatever the passes before did."""

from __future__ import annotations

from systola.hw.errors import ImageError, MappingError
from systola.hw.isa import (
    ENGINES,
    MAX_INSTRUCTIONS,
    UNIT_BYTES,
    Engine,
    Instruction,
    Opcode,
    decode,
    encode,
    instruction_units,
)
from systola.hw.params import Params
from systola.mapper.image import Image, ProgramStep

__all__ = ["verify_image"]


def verify_image(image: Image, params: Params, *, contents: bool) -> None:
    """Raises MappingError (a defect of the mapper, not of the model) if an instruction or a tensor breaks a rule.

    ``contents``: the bytes of the streams are looked at, too.
    """
    for name, placed in image.tensors.items():
        if placed.address + placed.layout.bytes > image.memory_bytes:
            raise MappingError(f"internal: tensor '{name}' ends outside the image")
    for step in image.steps:
        if isinstance(step, ProgramStep):
            _verify_program(step, image, params)
            for engine in ENGINES if contents else ():
                _verify_stream(step, engine, image, params)


def _verify_program(step: ProgramStep, image: Image, params: Params) -> None:
    issued = [0] * len(ENGINES)
    for number, instruction in enumerate(step.instructions):
        try:
            _verify_waits(instruction, issued)
            _verify_body(instruction, image, params)
        except MappingError as error:
            raise MappingError(f"internal: instruction {number} ({instruction.opcode.name}): {error}") from None
        if instruction.engine is None:
            raise MappingError(f"internal: instruction {number} is END")
        issued[instruction.engine] += 1
    if max(issued) > MAX_INSTRUCTIONS:
        raise MappingError(f"internal: {max(issued)} instructions of an engine in a program; {MAX_INSTRUCTIONS} is the most")


def _verify_stream(step: ProgramStep, engine: Engine, image: Image, params: Params) -> None:
    """The bytes in memory are the engine's instructions, END that waits for all of them, and zeros."""
    own = step.of_engine(engine)
    if engine not in step.streams:
        if own:
            raise MappingError(f"internal: the {engine.name.lower()} engine's instructions have no stream")
        return
    stream = step.streams[engine]
    if (stream.address | stream.bytes) % params.stream_granule_bytes or stream.address + stream.bytes > image.memory.size:
        raise MappingError(f"internal: the {engine.name.lower()} engine's stream lies badly: {stream}")
    code = image.memory[stream.address : stream.address + stream.bytes].tobytes()
    body = b"".join(map(encode, own))
    if not own or code[: len(body)] != body:
        raise MappingError(f"internal: the {engine.name.lower()} engine's stream is not its instructions")
    try:
        end = decode(code[len(body) :])
    except ImageError as error:
        raise MappingError(f"internal: the {engine.name.lower()} engine's stream has no END: {error}") from None
    waits = end["wait_enable"], end[f"wait_{engine.name.lower()}"]
    rest = code[len(body) + instruction_units(Opcode.END) * UNIT_BYTES :]
    if end.opcode is not Opcode.END or waits != (1 << engine, len(own)) or any(rest):
        raise MappingError(f"internal: the {engine.name.lower()} engine's stream does not end with END and zeros")


def _verify_waits(instruction: Instruction, issued: list[int]) -> None:
    """Every wait is for an instruction that comes earlier."""
    for engine in ENGINES:
        if instruction["wait_enable"] >> engine & 1 and instruction[f"wait_{engine.name.lower()}"] > issued[engine]:
            raise MappingError(f"waits for an instruction of {engine.name.lower()} that comes later")


def _verify_body(instruction: Instruction, image: Image, params: Params) -> None:
    zero = [name for name in instruction.fields if name.startswith("count_") and instruction[name] == 0]
    if zero:
        raise MappingError(f"{zero[0]} is 0")
    if instruction.opcode in (Opcode.LOAD, Opcode.STORE):
        _verify_transfer(instruction, image, params)
    elif instruction.opcode in (Opcode.ARRAY, Opcode.DRAIN):
        block = instruction["count_x"] * instruction["count_y"]
        stride = instruction["acc_stride_n"] if instruction.opcode is Opcode.DRAIN else block
        if instruction["acc_address"] + (instruction["count_n"] - 1) * stride + block > params.accumulator_words:
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
