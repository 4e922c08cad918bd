"""The tokens of NNEF.

One compiled expression finds the next token; an array of plain numbers (``[1, 3, 32, 32]``, ``[(0, 0), (1, 1)]``, in
graph.quant also nested) is a single token, read by the C number parser of ``json``. That makes long weight and
quantization arrays cost microseconds per thousand items instead of one grammar step per item.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from lark.lexer import Lexer

from systola.mapper.nnef.limits import MAX_ARRAY_ITEMS, MAX_BRACKETS, MAX_INTEGER, MAX_NAME_CHARACTERS

__all__ = ["GraphLexer", "LexError", "QuantLexer", "Word"]


class LexError(Exception):
    """Text that is no token; ``pos`` is the character offset."""

    def __init__(self, message: str, pos: int) -> None:
        super().__init__(message)
        self.message = message
        self.pos = pos


class Word:
    """A token. Lark's own class holds more and takes three times as long to make."""

    __slots__ = ("start_pos", "type", "value")
    # Lark copies these from the last token to its end marker; places come from start_pos instead.
    line = column = end_line = end_column = end_pos = 0

    def __init__(self, kind: str, value: Any, start_pos: int) -> None:
        self.type = kind
        self.value = value
        self.start_pos = start_pos


_TYPES: Final = "integer|scalar|logical|string"
_TOKEN: Final = re.compile(
    rf"""
      (?P<SPACE>    (?: [ \t\r\n]++ | \#[^\n]*+ )++ )
    | (?P<NAME>     [A-Za-z_][A-Za-z_0-9]*+ )
    | (?P<_NO_ITEMS> \[\s*+\] )
    | (?P<NUMBERS>  \[ (?=[-0-9(\s\[]) )
    | (?P<NUMBER>   [0-9]++ (?: \.[0-9]*+ )? (?: [eE][-+]?[0-9]++ )? )
    | (?P<STRING>   '[^'\n]*+' | "[^"\n]*+" )
    | (?P<TYPE_ARGUMENT> <\s*+ (?: \? | {_TYPES} )? \s*+ (?: =\s*+ (?: {_TYPES} ) \s*+ )? > )
    | (?P<SIGN>     -> | && | \|\| | [<>=!]= | [-+*/^<>!=(){{}}\[\],;:?] )
    """,
    re.VERBOSE,
)

_WORDS: Final = {
    "version": "_VERSION", "extension": "_EXTENSION", "fragment": "_FRAGMENT", "graph": "_GRAPH", "tensor": "_TENSOR",
    "if": "_IF", "else": "_ELSE", "for": "_FOR", "yield": "_YIELD", "in": "IN", "true": "TRUTH", "false": "TRUTH",
    "length_of": "BUILTIN", "range_of": "BUILTIN", "shape_of": "BUILTIN",
    "integer": "TYPE_NAME", "scalar": "TYPE_NAME", "logical": "TYPE_NAME", "string": "TYPE_NAME",
}  # fmt: skip
_SIGNS: Final = {
    "->": "_ARROW", "(": "_LPAR", ")": "_RPAR", "[": "LBRACKET", "]": "_RBRACKET", "{": "_LBRACE", "}": "_RBRACE",
    ",": "_COMMA", ";": "_SEMICOLON", ":": "_COLON", "=": "_ASSIGN", "-": "MINUS", "!": "NOT", "?": "TYPE_NAME",
}  # fmt: skip
_LONG_ARRAY: Final = 1 << 16  # characters; beyond it, reading an array item by item would take too long
_OPENING: Final = frozenset(("_LPAR", "LBRACKET", "_LBRACE"))
_CLOSING: Final = frozenset(("_RPAR", "_RBRACKET", "_RBRACE"))
_TO_JSON: Final = str.maketrans("()", "[]")


class GraphLexer(Lexer):
    """Tokens of graph.nnef, for lark's parser."""

    numbers: re.Pattern[str] = re.compile(r"\[[-0-9.eE,\s()]*+\]")
    run: re.Pattern[str] = re.compile(r"\[[-0-9.eE,\s()]*+")

    def __init__(self, lexer_conf: object) -> None:
        """Made by lark, which passes its configuration; nothing of it is needed."""

    def lex(self, text: str) -> Iterator[Word]:  # type: ignore[override]  # lark's simple custom-lexer interface
        """The tokens of ``text``, in order."""
        pos, depth, end = 0, 0, len(text)
        match = _TOKEN.match
        while pos < end:
            found = match(text, pos)
            if found is None:
                raise LexError(_describe_bad(text, pos), pos)
            kind, value, start = found.lastgroup, found.group(), pos
            pos = found.end()
            if kind == "SPACE":
                continue
            if kind == "NAME":
                kind = _WORDS.get(value, "NAME")
                if pos - start > MAX_NAME_CHARACTERS:
                    raise LexError(f"a name is longer than {MAX_NAME_CHARACTERS} characters", start)
            elif kind == "SIGN":
                kind = _SIGNS.get(value, "OPERATOR")
            elif kind == "NUMBERS":
                array, pos = self._numbers(text, start)
                if array is not None:
                    yield Word("NUMBERS", array, start)
                    continue
                kind = "LBRACKET"
            if kind in _OPENING:
                depth += 1
                if depth > MAX_BRACKETS:
                    raise LexError(f"brackets are nested deeper than {MAX_BRACKETS}", start)
            elif kind in _CLOSING:
                depth -= 1
            yield Word(kind or "", value, start)

    def _numbers(self, text: str, start: int) -> tuple[list[Any] | None, int]:
        """The array of plain numbers at ``start`` and where it ends, or (None, after the bracket)."""
        found = self.numbers.match(text, start)
        if found is None:
            if self.run.match(text, start).end() - start > _LONG_ARRAY:  # type: ignore[union-attr]  # matches the bracket
                raise LexError("this long array is not closed, or holds more than plain numbers", start)
            return None, start + 1
        written = found.group()
        if written.count(",") >= MAX_ARRAY_ITEMS:
            raise LexError(f"an array has more than {MAX_ARRAY_ITEMS} items; put such data in a tensor file", start)
        try:
            values = json.loads(written.translate(_TO_JSON))
        except (ValueError, RecursionError):
            return None, start + 1  # not only numbers: the grammar reads it item by item
        if not self._plain(values):
            return None, start + 1
        return values, found.end()

    def _plain(self, values: list[Any]) -> bool:
        """Whether every item is a number or a tuple of numbers within limits; lists are made tuples in place."""
        for i, value in enumerate(values):
            if isinstance(value, list):
                if len(value) < 2 or any(isinstance(each, list) for each in value) or not _within_limits(value):
                    return False
                values[i] = tuple(value)
        return _within_limits([each for each in values if not isinstance(each, tuple)])


class QuantLexer(GraphLexer):
    """Tokens of graph.quant: as in a graph, and arrays of numbers may be nested."""

    # Every argument is named, so a run of brackets and numbers never spans two arguments.
    numbers = re.compile(r"\[[-0-9.eE,\s\[\]]*\]")

    def _plain(self, values: list[Any]) -> bool:
        flat: list[Any] = []
        for value in values:
            if isinstance(value, list):
                if not self._plain(value):
                    return False
            else:
                flat.append(value)
        return _within_limits(flat)


def _within_limits(values: list[Any]) -> bool:
    """Whether every number is finite and every integer within 64 bits."""
    if not values:
        return True
    low, high = min(values), max(values)
    return math.isfinite(low) and math.isfinite(high) and low >= -MAX_INTEGER and high <= MAX_INTEGER


def _describe_bad(text: str, pos: int) -> str:
    """Why there is no token at ``pos``."""
    character = text[pos]
    if character in "'\"":
        return "a string is not closed on its line"
    return f"the character {character!r} means nothing in NNEF"
