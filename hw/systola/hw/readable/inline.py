"""Expressions where they are used, in place of names that yosys made for them.

Verilog computes an expression in as many bits as what surrounds it asks for, so that not every expression may stand anywhere.
Here one replaces its name

- as the whole right side of an assignment, which is as wide as the name was; or
- as a branch of a choice (``a ? b : c``), if it is a choice itself, whose branches are as wide; or
- anywhere, if it has one bit and stays the same however many bits are asked for: comparisons, reductions, and ``&``, ``|``,
  ``^`` of single bits; ``~`` of a bit becomes ``!`` for that reason.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum

__all__ = ["inlined"]

LONGEST = 120
"""Characters that a line may get."""

_USED_ONCE = 3
"""Times that a name appears which is used once: where it is declared, assigned and used."""

_MADE = re.compile(r"(?<!\w)made_\d+(?!\w)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_NET = re.compile(r"^  (?:wire|reg) (signed )?(\[\d+:0\] )?(\w+)(?: = [^;]*)?;$")
_MEMORY = re.compile(r"^  reg (?:\[\d+:0\] )?(\w+) \[\d+:0\];$")
_ASSIGN = re.compile(r"^  assign (made_\d+) = (.*);$")
_COMPARISON = re.compile(r"[^?]* (?:==|!=|<|<=|>|>=) [^?]*")
_REDUCTION = re.compile(r"(!|&|\||\^) (\{ [^{}]* \}|\w+(?:\[[\d:]+\])?)")
_GATE = re.compile(r"(\S+) ([&|^]|&&|\|\|) (\S+)")
_CHAIN = re.compile(r"\S+(?: & \S+)+|\S+(?: \| \S+)+|\S+(?: \^ \S+)+")
_SINGLE = re.compile(r"!?[\w\[\]:]+")
_NOT = re.compile(r"~ (\S+)")
_RIGHT_SIDE = re.compile(r"  assign \w+ = |(?:.*\) |.*else | *)\w+(?:\[[\d:]+\])? <= ")
"""What comes before the right side of an assignment; the last of it in an always block's line may be an ``if``."""


class _Kind(Enum):
    """Where an expression may stand."""

    BIT = 1
    CHOICE = 2
    OTHER = 3


class _Names:
    """What is known of a module's names."""

    def __init__(self, lines: list[str]) -> None:
        memories = {found[1] for line in lines if (found := _MEMORY.match(line))}
        nets = [found for line in lines if (found := _NET.match(line))]
        self._bits = {net[3] for net in nets if not net[1] and not net[2]} - memories
        self._vectors = {net[3] for net in nets if net[2]} - memories

    def is_bit(self, text: str) -> bool:
        """Whether it is a name, a constant or a part of one bit."""
        if text in self._bits or re.fullmatch(r"1'h[01]", text):
            return True
        part = re.fullmatch(r"(\w+)\[\d+\]", text)
        return part is not None and part[1] in self._vectors

    def rewritten(self, name: str, text: str) -> tuple[str, _Kind]:
        """An expression, and where it may stand."""
        if " ? " in text:
            return text, _Kind.CHOICE
        bit = self._bit(text) if name in self._bits else None
        return (text, _Kind.OTHER) if bit is None else (bit, _Kind.BIT)

    def _bit(self, text: str) -> str | None:
        """An expression of one bit in a form that may stand anywhere; None if there is none."""
        if found := _REDUCTION.fullmatch(text):
            parts = found[2].strip("{ }").split(", ")
            joined = found[1] in "&|" and len(parts) > 1 and all(map(self.is_bit, parts))
            return f" {found[1]} ".join(parts) if joined else found[1] + found[2]
        if found := _NOT.fullmatch(text):
            return f"!{found[1]}" if self.is_bit(found[1]) else None
        if found := _GATE.fullmatch(text):
            return text if self.is_bit(found[1]) and self.is_bit(found[3]) else None
        return text if _COMPARISON.fullmatch(text) else None


def inlined(text: str) -> str:
    """The module with each made name (``made_1``) that is used once replaced, where the rules and the line's length allow it."""
    lines = text.splitlines()
    names = _Names(lines)
    uses = Counter(word for line in lines for word in _MADE.findall(line))
    places = {
        found[1]: index
        for index, line in enumerate(lines)
        if (found := _ASSIGN.match(line)) and uses[found[1]] == _USED_ONCE
    }
    given = {name: names.rewritten(*_parts(lines[index])) for name, index in places.items()}
    waiting = sorted(set(range(len(lines))) - set(places.values()))
    stay: set[str] = set()
    for index in waiting:
        if not _NET.match(lines[index]):
            lines[index], kept = _filled(lines[index], given)
            stay.update(kept)
            waiting += [places[name] for name in kept]  # what stays has a line of its own, to be filled as well
    gone = given.keys() - stay
    dropped = {places[name] for name in gone}
    rest = (line for index, line in enumerate(lines) if index not in dropped)
    return "\n".join(line for line in rest if not ((net := _NET.match(line)) and net[3] in gone)) + "\n"


def _parts(line: str) -> tuple[str, str]:
    """Name and expression of an assignment."""
    found = _ASSIGN.match(line)
    assert found is not None
    return found[1], found[2]


def _filled(line: str, given: dict[str, tuple[str, _Kind]]) -> tuple[str, list[str]]:
    """A line with expressions for names, and the names that must stay."""
    kept: list[str] = []
    start = re.match(r"  assign \w+ = ", line)
    position = start.end() if start else 0
    while found := _MADE.search(line, position):
        name = found[0]
        if name not in given:
            position = found.end()
            continue
        before, after = line[: found.start()], line[found.end() :]
        piece = _piece(*given[name], before, after)
        if piece is None or len(before) + len(piece) + len(after) > LONGEST:
            kept.append(name)
            position = found.end()
        else:
            line = before + piece + after
    return line, kept


def _piece(text: str, kind: _Kind, before: str, after: str) -> str | None:
    """The expression as it stands between ``before`` and ``after``, in parentheses where it needs them; None if it may not."""
    whole = _RIGHT_SIDE.fullmatch(before) is not None
    if whole and after == ";":
        return text
    if kind is _Kind.CHOICE and before.endswith(" : ") and after == ";":
        return text
    if kind is _Kind.CHOICE and before.endswith(" ? ") and after.startswith(" : "):
        return f"({text})"
    if kind is not _Kind.BIT:
        return None
    alone = before.endswith(("(", "{ ", ", ")) and after.startswith((")", ",", " }"))
    chain = _CHAIN.fullmatch(text)
    operator = f" {text.split()[1]} " if chain else "none"
    same = (whole or before.endswith((operator, "("))) and after.startswith((operator, ";", ")"))
    return text if alone or (chain and same) or _SINGLE.fullmatch(text) else f"({text})"
