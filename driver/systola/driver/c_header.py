"""The C header of the accelerator: registers, bits, counters, instruction fields; from the tables of ``systola.hw``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum, IntFlag

from systola.hw.isa import (
    ENGINES,
    HEADER,
    INSTRUCTIONS,
    ISA_VERSION,
    RECORD,
    RECORD_BYTES,
    UNIT_BYTES,
    Engine,
    Field,
    Opcode,
    VectorOp,
)
from systola.hw.registers import (
    CLASS_BASE,
    EVENT_BASE,
    IDENTITY,
    REGISTERS,
    Control,
    CycleClass,
    Event,
    Fault,
    Irq,
    Register,
    Status,
    class_address,
    event_address,
)

__all__ = ["c_header"]

_HEAD = """\
/* Systola: control registers and instruction set, version {version}. Made from the tables of systola.hw; do not edit.
 *
 * Registers are 32 bits wide; addresses are byte offsets from the accelerator's AXI4-Lite base.
 * Plain C99, and C++: macros and enumerations only. */
#ifndef SYSTOLA_H
#define SYSTOLA_H
"""

_COUNTERS = """
/* Counters: cycles that an engine spent in a class, and events. */
#define SYSTOLA_CLASS_COUNTER(engine, cycle_class) \\
    ({classes:#05x}u + {engine_step}u * (unsigned)(engine) + {step}u * (unsigned)(cycle_class))
#define SYSTOLA_EVENT_COUNTER(event) ({events:#05x}u + {event_step}u * (unsigned)(event))
"""


def c_header() -> str:
    """The text of ``systola.h``."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield _HEAD.format(version=ISA_VERSION)
    yield _macros("Constants.", _constants())
    yield _macros("Registers.", ((f"REG_{r.name}", f"{r.address:#05x}u", _remark(r)) for r in REGISTERS))
    for flags in (Control, Status, Irq):
        yield _macros(f"Bits of {flags.__name__.upper()}.", _flags(flags))
    yield _macros("The Fault in STATUS.", (("STATUS_FAULT_SHIFT", "8u", ""), ("STATUS_FAULT_MASK", "0xff00u", "")))
    for enum in (Engine, Opcode, VectorOp, Fault, CycleClass, Event):
        yield _enumeration(enum)
    yield _COUNTERS.format(
        classes=CLASS_BASE,
        engine_step=class_address(Engine.ARRAY, CycleClass.IDLE) - class_address(Engine.LOAD, CycleClass.IDLE),
        step=class_address(Engine.LOAD, CycleClass.BUSY) - class_address(Engine.LOAD, CycleClass.IDLE),
        events=EVENT_BASE,
        event_step=event_address(Event.ARRAY_PADDING) - event_address(Event.ARRAY_PIXELS),
    )
    yield _macros("Header of every instruction: first bit and width of each field.", _fields("HEADER", HEADER))
    start = sum(item.width_bits for item in HEADER)
    for opcode, (units, fields) in INSTRUCTIONS.items():
        size = (f"{opcode.name}_BYTES", f"{units * UNIT_BYTES}u", "")
        entries = (size, *_fields(opcode.name, fields, start))
        yield _macros(f"{opcode.name}: size, then first bit and width of each field.", entries)
    yield _macros("Requantization record of a channel.", _fields("RECORD", RECORD))
    yield "\n#endif\n"


def _constants() -> Iterator[tuple[str, str, str]]:
    yield "IDENTITY", f"{IDENTITY:#010x}u", "value of REG_IDENTITY"
    yield "ISA_VERSION", f"{ISA_VERSION}u", ""
    yield "ENGINES", f"{len(ENGINES)}u", ""
    yield "CYCLE_CLASSES", f"{len(CycleClass)}u", ""
    yield "EVENTS", f"{len(Event)}u", ""
    yield "UNIT_BYTES", f"{UNIT_BYTES}u", "instructions are multiples of this"
    yield "RECORD_BYTES", f"{RECORD_BYTES}u", ""


def _remark(register: Register) -> str:
    return register.meaning if register.writable else f"read-only: {register.meaning}"


def _flags(flags: type[IntFlag]) -> Iterator[tuple[str, str, str]]:
    return ((f"{flags.__name__.upper()}_{flag.name}", f"{int(flag):#x}u", "") for flag in flags)


def _fields(owner: str, fields: Iterable[Field], position: int = 0) -> Iterator[tuple[str, str, str]]:
    for item in fields:
        name = f"{owner}_{item.name.upper()}"
        yield f"{name}_BIT", f"{position}u", ("signed: " if item.signed else "") + item.meaning
        yield f"{name}_WIDTH", f"{item.width_bits}u", ""
        position += item.width_bits


def _macros(title: str, entries: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"#define SYSTOLA_{name} {value}" + (f" /* {remark} */" if remark else "") for name, value, remark in entries]
    return "\n".join(["", f"/* {title} */", *lines, ""])


def _enumeration(enum: type[IntEnum]) -> str:
    prefix = "SYSTOLA_" + "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(enum.__name__)).upper()
    members = ",\n".join(f"    {prefix}_{member.name} = {int(member)}" for member in enum)
    return f"\nenum {prefix.lower()} {{\n{members}\n}};\n"
