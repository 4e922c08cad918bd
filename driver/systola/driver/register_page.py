"""The page of the control registers, from the tables of ``systola.hw.registers``."""

from __future__ import annotations

from systola.driver.markdown import Enumeration, member_meanings, paragraph, table
from systola.hw import isa, registers

__all__ = ["register_parts"]


def register_parts() -> tuple[str, ...]:
    """The title, then the page's other paragraphs: registers, their bits and the counters' addresses."""
    listed = [(f"`{r.address:#05x}`", r.name, "read, write" if r.writable else "read", r.meaning) for r in registers.REGISTERS]
    classes = [
        (c.name, *(f"`{registers.class_address(e, c):#05x}`" for e in isa.ENGINES), member_meanings(registers.CycleClass)[c])
        for c in registers.CycleClass
    ]
    events = [
        (f"`{registers.event_address(e):#05x}`", e.name, member_meanings(registers.Event)[e]) for e in registers.Event
    ]
    return (
        "# The control registers",
        f"On AXI4-Lite: 32-bit registers in a window of {1 << registers.ADDRESS_BITS} bytes. Addresses are byte offsets. "
        "`systola.driver.c_header` writes the same as a C header.",
        table(("address", "register", "access", "meaning"), listed),
        "## Bits",
        *_enum_part(registers.Control, value="bit mask"),
        *_enum_part(registers.Status, value="bit mask"),
        *_enum_part(registers.Irq, value="bit mask"),
        "## Why a program stopped",
        *_enum_part(registers.Fault),
        "## Counters",
        "Read-only; they hold from the end of a program until the next start.",
        "### CycleClass",
        paragraph(registers.CycleClass) + " The addresses of each engine's counters:",
        table(("class", *(e.name.lower() for e in isa.ENGINES), "meaning"), classes),
        "### Event",
        paragraph(registers.Event),
        table(("address", "event", "meaning"), events),
    )


def _enum_part(enum: Enumeration, *, value: str = "value") -> tuple[str, str, str]:
    """Heading, first paragraph and table of an enumeration."""
    rows = [(int(member), member.name, member_meanings(enum)[member]) for member in enum]
    return f"### {enum.__name__}", paragraph(enum), table((value, "name", "meaning"), rows)
