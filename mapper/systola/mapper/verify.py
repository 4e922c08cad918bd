"""Checks of an image, made after every compilation: what must hold whatever the passes before did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import ImageError, MappingError
from systola.hw.isa import (
    ENGINES,
    MAX_INSTRUCTIONS,
    UNIT_BYTES,
    Engine,
    Opcode,
    decode,
    encode,
    instruction_units,
)
from systola.hw.params import Params
from systola.mapper.image import Image, ProgramStep
from systola.mapper.instruction_tables import Column, columns_by_name

__all__ = ["verify_image"]

Flags = NDArray[np.bool_]
"""By instruction: whether it breaks a rule."""


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
    for engine in ENGINES:
        opcode, table = Opcode(engine + 1), step.table(engine)
        if len(table) > MAX_INSTRUCTIONS:
            raise MappingError(f"internal: {len(table)} instructions of an engine in a program; {MAX_INSTRUCTIONS} is the most")
        fields = columns_by_name(opcode, table)
        rules = {"is of another engine": fields["opcode"] != opcode, **_broken_waits(step, engine, fields)}
        rules |= {f"{name} is 0": column == 0 for name, column in fields.items() if name.startswith("count_")}
        if opcode in (Opcode.LOAD, Opcode.STORE):
            rules |= _broken_transfers(fields, image, params)
        if opcode in (Opcode.ARRAY, Opcode.DRAIN):
            rules["reaches past the accumulators"] = _accumulators_end(fields) > params.accumulator_words
        for what, broken in rules.items():
            if broken.any():
                raise MappingError(f"internal: {opcode.name} instruction {int(broken.argmax())} {what}")


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


def _broken_waits(step: ProgramStep, engine: Engine, fields: Mapping[str, Column]) -> dict[str, Flags]:
    """Every wait is for an instruction that comes earlier."""
    places = np.flatnonzero(step.engines == engine)
    found = {}
    for other in ENGINES:
        issued = np.cumsum(step.engines == other)[places] - (other == engine)
        late = fields[f"wait_{other.name.lower()}"] > issued
        enabled = fields["wait_enable"] >> other & 1 != 0
        found[f"waits for an instruction of {other.name.lower()} that comes later"] = enabled & late
    return found


def _accumulators_end(fields: Mapping[str, Column]) -> Column:
    """One past the last word that each instruction reaches."""
    block = fields["count_x"] * fields["count_y"]
    end: Column = fields["acc_address"] + (fields["count_n"] - 1) * fields.get("acc_stride_n", block) + block
    return end


def _broken_transfers(fields: Mapping[str, Column], image: Image, params: Params) -> dict[str, Flags]:
    """The corners of a transfer lie inside both memories (strides may be negative)."""
    found = {"has a DRAM address that is not a multiple of the word": fields["dram_address"] % params.lanes != 0}
    for prefix, unit, size in (("dram", params.lanes, image.memory_bytes), ("sp", 1, params.scratchpad_words)):
        reach = [(fields[f"count_{axis}"] - 1) * fields[f"{prefix}_stride_{axis}"] for axis in "yz"]
        low = fields[f"{prefix}_address"] + sum(np.minimum(r, 0) for r in reach)
        high = fields[f"{prefix}_address"] + sum(np.maximum(r, 0) for r in reach) + fields["count_x"] * unit
        found[f"has {prefix} addresses outside 0 … {size}"] = (low < 0) | (high > size)
    return found
