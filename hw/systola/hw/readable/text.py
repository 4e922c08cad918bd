"""A module of yosys's Verilog, as a person would rather read it.

Ports are declared in the header, names that yosys made are ``n1``, ``n2``, … in the order in which they appear, what is used
once stands where it is used (``inline``), and a choice by a value is one (``choices``).
"""

from __future__ import annotations

import re

from systola.hw.readable.choices import chosen_by_value
from systola.hw.readable.inline import inlined

__all__ = ["readable"]

_ESCAPED = re.compile(r"\\(\S+) ")
_READ_DATA = re.compile(r"(?<!\w)_\d+_(?!\w)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_ATTRIBUTE = re.compile(r"^  \(\* (?!parallel_case).*\*\)\n", re.MULTILINE)
_ZEROS = re.compile(r"(\d+'h)0{2,}(?![0-9a-f])")
_HEAD = re.compile(r"module (\w+) ?\(.*?\);\n", re.DOTALL)
_PORT = re.compile(r"^  (input|output) (?:\[\d+:0\] )?(\w+);\n", re.MULTILINE)
_NET = re.compile(r"^  (wire|reg) (signed )?(\[\d+:0\] )?(\w+)( = [^;]*)?;\n", re.MULTILINE)
_FUNCTION = re.compile(r"^  function (?:\[\d+:0\] )?(made_\d+);", re.MULTILINE)
_MADE = re.compile(r"(?<!\w)made_\d+(?!\w)")


def readable(text: str) -> str:
    """The module's text, which means the same. ``text``: as ``write_verilog -norename`` gives it, from ``module`` on."""
    text = _ZEROS.sub(r"\g<1>0", _ATTRIBUTE.sub("", text))
    text = _with_ports_in_header(inlined(chosen_by_value(_plain(text))))
    return _numbered(text)


def _plain(text: str) -> str:
    """Nothing escaped: names that yosys made are ``made_1``, …; one that is a keyword gets an underscore."""
    names: dict[str, str] = {}
    for name in dict.fromkeys((*_ESCAPED.findall(text), *_READ_DATA.findall(text))):
        keyword = _WORD.fullmatch(name) is not None and not name.startswith("_")
        names[name] = f"{name}_" if keyword else f"made_{len(names)}"
    text = _ESCAPED.sub(lambda found: names[found[1]], text)
    return _READ_DATA.sub(lambda found: names[found[0]], text)


def _with_ports_in_header(text: str) -> str:
    """``module x(input wire a, …)``, a port a line, clock and reset first, then inputs and outputs by name."""
    ports = {name: direction for direction, name in _PORT.findall(text)}
    nets = {found[4]: found for found in _NET.finditer(text) if found[4] in ports}
    head = _HEAD.match(text)
    assert head is not None

    def rank(name: str) -> tuple[int, str]:
        return {"clk": 0, "rst": 1, "reset": 1}.get(name, 2 if ports[name] == "input" else 3), name

    lines = []
    for name in sorted(ports, key=rank):
        kind, signed, width, _, value = nets[name].groups(default="")
        lines.append(f"  {ports[name]} {kind} {signed}{width}{name}{value}")
    rest = _PORT.sub("", text[head.end() :])
    rest = _NET.sub(lambda found: "" if found[4] in ports else found[0], rest)
    return f"module {head[1]} (\n" + ",\n".join(lines) + f"\n);\n{rest}"


def _numbered(text: str) -> str:
    """Made names by the order of their places in the statements; functions are ``select1``, …, since that is what they do."""
    taken = set(_WORD.findall(text))
    last = max((found.end() for found in _NET.finditer(text)), default=0)
    functions = set(_FUNCTION.findall(text))
    counts = {"n": 0, "select": 0}
    names: dict[str, str] = {}
    for made in dict.fromkeys((*_MADE.findall(text[last:]), *_MADE.findall(text))):
        kind = "select" if made in functions else "n"
        counts[kind] += 1
        while f"{kind}{counts[kind]}" in taken:
            counts[kind] += 1
        names[made] = f"{kind}{counts[kind]}"
    text = _MADE.sub(lambda found: names[found[0]], text)
    declared = sorted(_NET.finditer(text), key=lambda found: (bool(re.fullmatch(r"n\d+", found[4])), _natural(found[4])))
    if not declared:
        return text
    first, last = min(found.start() for found in declared), max(found.end() for found in declared)
    others = _NET.sub("", text[first:last])
    return text[:first] + "".join(found[0] for found in declared) + others + text[last:]


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
