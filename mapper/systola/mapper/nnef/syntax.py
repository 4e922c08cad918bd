"""The syntax tree of an NNEF document.

Nodes hold ``pos``, the character offset in the text; ``Source`` turns it into file, line and column when an error or an
operation needs them. Chains of operators, of signs and of ``if … else`` are stored flat, so that the depth of the tree
is the depth of the brackets and no input can make it deeper.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from systola.hw.errors import ModelError, Place
from systola.mapper.nnef.types import Type

__all__ = [
    "Array",
    "Assignment",
    "Binary",
    "Builtin",
    "Call",
    "Comprehension",
    "Document",
    "Expression",
    "Fragment",
    "GraphDefinition",
    "Literal",
    "Name",
    "Parameter",
    "QuantLine",
    "Select",
    "Source",
    "Subscript",
    "TupleOf",
    "Unary",
]

_EXCERPT_CHARACTERS = 100


class Source:
    """A text and where it came from: makes places and excerpts out of character offsets."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        find = self.text.find
        while (end := find("\n", starts[-1])) >= 0:
            starts.append(end + 1)
        return starts

    def place(self, pos: int) -> Place:
        """File, line and column (from 1) of a character offset."""
        line = bisect_right(self._line_starts, pos)
        return Place(self.file, line, pos - self._line_starts[line - 1] + 1)

    def excerpt(self, pos: int) -> str:
        """The text of the line around ``pos``, at most 100 characters of it."""
        start = self.text.rfind("\n", 0, pos) + 1
        end = self.text.find("\n", pos)
        end = len(self.text) if end < 0 else end
        if end - start <= _EXCERPT_CHARACTERS:
            return self.text[start:end].strip()
        start = max(start, pos - _EXCERPT_CHARACTERS // 3)
        shown = self.text[start : min(end, start + _EXCERPT_CHARACTERS)]
        return f"…{shown.strip()}…"

    def error(self, kind: type[ModelError], message: str, pos: int) -> ModelError:
        """An error of class ``kind`` at ``pos``, ready to raise."""
        return kind(message, self.place(pos), self.excerpt(pos))


@dataclass(slots=True)
class Literal:
    """A number, logical, string, or an array or tuple of plain numbers."""

    value: object
    pos: int


@dataclass(slots=True)
class Name:
    """A use (or, on the left of ``=``, a definition) of a name."""

    id: str
    pos: int


@dataclass(slots=True)
class Array:
    """``[a, b, …]``."""

    items: list[Expression]
    pos: int


@dataclass(slots=True)
class TupleOf:
    """``(a, b, …)``."""

    items: list[Expression]
    pos: int


@dataclass(slots=True)
class Comprehension:
    """``[for name in iterable, … if condition yield body]``: the iterables are walked together."""

    loops: list[tuple[Name, Expression]]
    condition: Expression | None
    body: Expression
    pos: int


@dataclass(slots=True)
class Subscript:
    """``sequence[begin]`` or, if ``slice`` is set, ``sequence[begin:end]``."""

    sequence: Expression
    begin: Expression | None
    end: Expression | None
    slice: bool
    pos: int


@dataclass(slots=True)
class Unary:
    """Signs and negations in front of an operand, in the order of the text."""

    operators: list[str]
    operand: Expression
    pos: int


@dataclass(slots=True)
class Binary:
    """``first op a op b …``, operators of one precedence, evaluated from the left."""

    first: Expression
    rest: list[tuple[str, Expression]]
    pos: int


@dataclass(slots=True)
class Select:
    """``values[0] if conditions[0] else values[1] if conditions[1] else …``: one value more than conditions."""

    values: list[Expression]
    conditions: list[Expression]
    pos: int


@dataclass(slots=True)
class Call:
    """An invocation of an operation or fragment; ``dtype`` is the type in ``name<type>(…)``."""

    name: str
    dtype: str | None
    arguments: list[tuple[str | None, Expression]]
    pos: int


@dataclass(slots=True)
class Builtin:
    """``length_of``, ``range_of``, ``shape_of`` or a conversion (``integer``, ``scalar``, ``logical``, ``string``)."""

    name: str
    argument: Expression
    pos: int


Expression = (
    Literal | Name | Array | TupleOf | Comprehension | Subscript | Unary | Binary | Select | Call | Builtin
)


@dataclass(slots=True)
class Assignment:
    """``left = right;``: left is a name, or an array or tuple of names."""

    left: Expression
    right: Expression
    pos: int


@dataclass(slots=True)
class Parameter:
    """A parameter or result of a fragment. ``default`` is None where there is none."""

    name: str
    type: Type
    default: Literal | None
    pos: int


@dataclass(slots=True)
class Fragment:
    """A fragment; ``body`` is None for a declaration. ``generic`` is set for ``name<?>``."""

    name: str
    generic: bool
    generic_default: str | None
    parameters: list[Parameter]
    results: list[Parameter]
    body: list[Assignment] | None
    pos: int


@dataclass(slots=True)
class GraphDefinition:
    """The graph: its name, inputs, outputs and statements."""

    name: str
    inputs: list[Name]
    outputs: list[Name]
    body: list[Assignment]
    pos: int


@dataclass(slots=True)
class Document:
    """A whole graph.nnef."""

    version: str
    extensions: list[list[str]]
    fragments: list[Fragment]
    graph: GraphDefinition


@dataclass(slots=True)
class QuantLine:
    """One entry of graph.quant: ``"tensor": call;``."""

    tensor: str
    call: Call
    pos: int = field(default=0)
