"""Markdown from tables and docstrings: for the reference pages, and for what is delivered with Verilog."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag

__all__ = ["Enumeration", "member_meanings", "paragraph", "plain", "table"]

Enumeration = type[IntEnum] | type[IntFlag]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(plain(str(cell)).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def paragraph(thing: object) -> str:
    """The first paragraph of a docstring, as one line; code marks as Markdown has them."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return plain(" ".join(text.split()))


def plain(text: str) -> str:
    """A docstring's marks as Markdown has them."""
    powers = re.sub(r"(?<=2)\*\*(\d+)", lambda found: found[1].translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")), text)
    return powers.replace("``", "`")


def member_meanings(enum: Enumeration) -> dict[int, str]:
    """The comment beside each member; one without has the meaning of the one before, for its own part."""
    found = dict(re.findall(r"^    ([A-Z][A-Z0-9_]*) = .*?#\s*(.+)$", inspect.getsource(enum), re.MULTILINE))
    meanings: dict[int, str] = {}
    last = ""
    for member in enum:
        last = found.get(str(member.name), "likewise" if last else "")
        meanings[member] = last
    return meanings
