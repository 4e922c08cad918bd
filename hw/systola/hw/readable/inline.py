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
        if name not in self._bits:
            return text, _Kind.OTHER
        if (found := _REDUCTION.fullmatch(text)) and found[1] in "&|" and found[2].startswith("{"):
            parts = found[2][2:-2].split(", ")
            if all(map(self.is_bit, parts)):
                return f" {found[1]} ".join(parts), _Kind.BIT
        if found := _REDUCTION.fullmatch(text):
            return found[1] + found[2], _Kind.BIT
        if (found := _NOT.fullmatch(text)) and self.is_bit(found[1]):
            return f"!{found[1]}", _Kind.BIT
        if (found := _GATE.fullmatch(text)) and self.is_bit(found[1]) and self.is_bit(found[3]):
            return text, _Kind.BIT
        return text, _Kind.BIT if _COMPARISON.fullmatch(text) else _Kind.OTHER


def inlined(text: str) -> str:
    """The module with each made name (``made_1``) that is used once replaced, where the rules and the line's length allow it."""
    lines = text.splitlines()
    names = _Names(lines)
    uses = Counter(word for line in lines for word in _MADE.findall(line))
    given = {}
    for index, line in enumerate(lines):
        if (found := _ASSIGN.match(line)) and uses[found[1]] == 3:  # declaration, assignment, use
            given[found[1]] = (index, *names.rewritten(found[1], found[2]))
    own = {index: name for name, (index, _, _) in given.items()}
    waiting = [index for index in range(len(lines)) if index not in own]
    stay: set[str] = set()
    for index in waiting:
        if _NET.match(lines[index]):
            continue
        line, kept = _filled(lines[index], {name: item[1:] for name, item in given.items()})
        lines[index] = line
        stay.update(kept)
        waiting += [given[name][0] for name in kept]  # these stay, so their own lines are filled
    gone = given.keys() - stay
    dropped = {given[name][0] for name in gone}
    return "\n".join(
        line
        for index, line in enumerate(lines)
        if index not in dropped and not ((net := _NET.match(line)) and net[3] in gone)
    ) + "\n"


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
