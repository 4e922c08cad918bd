"""Plain names in Amaranth's RTLIL: no ``$``, no ``.``, nothing that Verilog would have to escape.

Amaranth makes names unique with numbers of the whole design (``offset$22``), names fields (``payload.tag``) and elements
(``counts[2]``), and calls a port that is part of a signal by its place in the netlist (``port$441$0``). Here such a name follows
from the module alone, so that a change elsewhere does not change it, and alike modules become equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Cell", "Module", "parse_modules", "rename_module"]

_MODULE = re.compile(r"^module (\S+)\n(.*?)^end$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?<!\S)[\\$]\S+")
_DECLARED = re.compile(r"^  (?:wire|memory) .*?(\\\S+)$", re.MULTILINE)
_CELL = re.compile(r"^  cell (\S+) (\S+)$", re.MULTILINE)
_CONNECT = re.compile(r"^connect (\S+) \{ (.*) \}$", re.MULTILINE)
_MEMORY_OF_PORT = re.compile(r'(parameter \\MEMID )"\\\\(.+)"$')
_PLAIN = re.compile(r"\\[A-Za-z][A-Za-z0-9_]*(?<!_)")


@dataclass(frozen=True)
class Cell:
    """An instance of a module: the module's name and the instance's, both as RTLIL has them."""

    kind: str
    name: str


@dataclass
class Module:
    """A module of RTLIL. ``names``: the new name of each name in it that gets one; both with RTLIL's backslash."""

    name: str
    body: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> Iterator[Cell]:
        """Instances of other modules, in order; operators are not among them."""
        return (Cell(kind, name) for kind, name in _CELL.findall(self.body) if kind.startswith("\\"))


def parse_modules(rtlil: str) -> dict[str, Module]:
    """The modules by name, each with plain names for all that is in it."""
    found = {name: Module(name, body) for name, body in _MODULE.findall(rtlil)}
    parts = {name: _parts(module.body) for name, module in found.items()}
    anywhere: dict[str, str] = {}  # what a net is part of elsewhere, for modules that only pass it on
    for each in parts.values():
        anywhere = each | anywhere
    for module in found.values():
        module.names = _plain_names(module, anywhere | parts[module.name])
    return found


def rename_module(module: Module, modules: Mapping[str, Module], kinds: Mapping[str, str]) -> str:
    """The module's text with its new names. ``kinds``: the new names of modules by their old ones."""
    lines = [f"module {kinds[module.name]}"]
    inside: Module | None = None  # of the cell that the line is in, if that is an instance
    in_cell = False
    for line in module.body.splitlines():
        words = line.split(maxsplit=2)
        if not words or words[0] == "attribute":
            lines.append(line)
        elif words[0] == "cell":
            inside, in_cell = modules.get(words[1]), True
            lines.append(f"  cell {kinds.get(words[1], words[1])} {module.names.get(words[2], words[2])}")
        elif in_cell and words[0] == "parameter":
            lines.append(_memory_renamed(line, module.names))
        elif in_cell and words[0] == "connect":
            port = inside.names[words[1]] if inside is not None else words[1]
            lines.append(f"    connect {port} {_renamed(words[2], module.names)}")
        else:
            in_cell = in_cell and words[0] != "end"
            lines.append(_renamed(line, module.names))
    return "\n".join([*lines, "end", ""])


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda found: names.get(found[0], found[0]), text)


def _memory_renamed(line: str, names: Mapping[str, str]) -> str:
    """A cell's parameter; where it names a memory, that has a new name. (In a string, RTLIL doubles the backslash.)"""
    found = _MEMORY_OF_PORT.search(line)
    if found is None:
        return line
    return line[: found.start()] + found[1] + '"\\' + names["\\" + found[2]] + '"'


def _plain_names(module: Module, parts: Mapping[str, str]) -> dict[str, str]:
    """Plain names stay; the others get what ``parts`` has, or the plain part of theirs; and a number if that is taken."""
    declared = [name for _, name in _CELL.findall(module.body) if name.startswith("\\")] + _DECLARED.findall(module.body)
    names = {name: name for name in declared if _PLAIN.fullmatch(name)}
    taken = set(names.values())
    for name in declared:
        if name in names:
            continue
        base = parts.get(name) or _plain(name)
        chosen, number = base, 1
        while chosen in taken:
            number += 1
            chosen = f"{base}_{number}"
        names[name] = chosen
        taken.add(chosen)
    return names


def _plain(name: str) -> str:
    """Without unique numbers; fields and elements after an underscore."""
    text = re.sub(r"(?<=.)\$\d+", "", name.removeprefix("\\").removeprefix("$"))
    text = re.sub(r"\W+", "_", text).strip("_")
    return "\\" + (text if text[:1].isalpha() else f"signal_{text}".rstrip("_"))


def _parts(body: str) -> dict[str, str]:
    """For nets that are parts of a signal: the signal's name and which part of it, the lowest 0."""
    found: dict[str, str] = {}
    for signal, parts in _CONNECT.findall(body):
        whole = [part for part in parts.split() if not part.startswith("[")]
        for index, part in enumerate(reversed(whole)):
            if part.startswith("\\port$"):
                found.setdefault(part, f"{_plain(signal)}_{index}")
    return found
