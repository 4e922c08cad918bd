"""The code in the documentation: fenced blocks, and what is expected of them.

In a ``console`` block, lines that begin with ``$`` are commands; the lines below each are in its output in this order, spaces
counted as one and ``...`` as anything. A ``python`` block runs as it is; ``python rtl`` says that it needs the RTL
simulation. A block whose first line is ``# NAME.toml`` or ``# NAME.nnef`` is a file that the reader is told to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "Command", "blocks", "commands", "documents", "matches", "needs_rtl"]

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)( rtl)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.(?:toml|nnef|py))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its text; ``marked``: it says that it needs the RTL simulation."""

    page: Path
    line: int
    language: str
    text: str
    marked: bool = False

    @property
    def file(self) -> str | None:
        """The name of the file that the block is; None if it is none."""
        found = _FILE.match(self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """A command line and the lines that its output has."""

    line: str
    expected: tuple[str, ...]


def documents() -> tuple[Path, ...]:
    """Every page of the documentation, the folders' READMEs among them."""
    readmes = (ROOT / "README.md", *ROOT.glob("*/README.md"))
    return tuple(sorted({*readmes, *(ROOT / "docs").rglob("*.md")}))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[3], found[2] is not None)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, *expected = part.splitlines()
        yield Command(line, tuple(text for text in expected if text.strip()))


def needs_rtl(block: Block) -> bool:
    """Whether the block builds or runs the RTL simulation."""
    lines = [command.line for command in commands(block)] if block.language == "console" else []
    runs = [line for line in lines if line.startswith("systola run")]
    return block.marked or any(not re.search(r"--backend (interp|golden)\b", line) for line in runs)


def matches(expected: tuple[str, ...], output: str) -> str | None:
    """The first expected line that the output does not have after those before it; None if it has all."""
    text, position = " ".join(output.split()), 0
    for line in expected:
        pieces = [re.escape(" ".join(piece.split())) for piece in line.split("...")]
        found = re.compile(r"\s?.*?\s?".join(pieces)).search(text, position)
        if found is None:
            return line
        position = found.end()
    return None
