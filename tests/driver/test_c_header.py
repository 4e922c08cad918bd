"""The C header: it compiles as C and as C++, and says what the tables say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from systola.driver.c_header import c_header
from systola.hw.isa import ENGINES, HEADER, INSTRUCTIONS, Engine, Instruction, Opcode, encode
from systola.hw.registers import REGISTERS, CycleClass, Event, class_address, event_address

CHECKS = """
#include "systola.h"
#define CHECK(name, condition) typedef char name[(condition) ? 1 : -1]
{checks}
int main(void) {{ return 0; }}
"""


def defined(name: str) -> int:
    """The number that the header gives a macro."""
    found = re.search(rf"^#define SYSTOLA_{name} (\w+)", c_header(), re.MULTILINE)
    assert found is not None, name
    return int(found[1].rstrip("u"), 0)


@pytest.mark.parametrize(("compiler", "language"), [("gcc", "c"), ("g++", "c++")])
def test_compiles(tmp_path: Path, compiler: str, language: str) -> None:
    """Without a warning; and its macros compute the tables' addresses."""
    program = shutil.which(compiler)
    if program is None:
        pytest.skip(f"{compiler} is not here")
    checks = [f"CHECK(register_{r.name}, SYSTOLA_REG_{r.name} == {r.address});" for r in REGISTERS]
    checks += [
        f"CHECK(class_{e.name}_{c.name}, "
        f"SYSTOLA_CLASS_COUNTER(SYSTOLA_ENGINE_{e.name}, SYSTOLA_CYCLE_CLASS_{c.name}) == {class_address(e, c)});"
        for e in Engine
        for c in CycleClass
    ]
    checks += [f"CHECK(event_{e.name}, SYSTOLA_EVENT_COUNTER(SYSTOLA_EVENT_{e.name}) == {event_address(e)});" for e in Event]
    (tmp_path / "systola.h").write_text(c_header(), encoding="utf-8")
    source = tmp_path / "check.c"
    source.write_text(CHECKS.format(checks="\n".join(checks)), encoding="utf-8")
    command = [program, "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("opcode", Opcode)
def test_fields_are_where_the_encoder_puts_them(opcode: Opcode) -> None:
    """An instruction with one field at its largest value has exactly the header's bits set."""
    _, body = INSTRUCTIONS[opcode]
    assert 8 * len(encode(Instruction(opcode, {}))) == 8 * defined(f"{opcode.name}_BYTES")
    empty = int.from_bytes(encode(Instruction(opcode, {})), "little")
    for item in (*HEADER[1:], *body):
        owner = "HEADER" if item in HEADER else opcode.name
        first, width = (defined(f"{owner}_{item.name.upper()}_{part}") for part in ("BIT", "WIDTH"))
        value = -1 if item.signed else item.high
        bits = int.from_bytes(encode(Instruction(opcode, {item.name: value})), "little")
        assert bits ^ empty == ((1 << width) - 1) << first, item.name


def test_constants() -> None:
    """Numbers that a driver begins with."""
    assert defined("IDENTITY") == int.from_bytes(b"SYST", "big")
    assert defined("ENGINES") == len(ENGINES)
    assert (defined("CYCLE_CLASSES"), defined("EVENTS")) == (len(CycleClass), len(Event))
