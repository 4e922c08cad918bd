"""Text to syntax tree: graph.nnef, graph.quant and the standard's declarations."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from lark import Lark
from lark.exceptions import UnexpectedToken

from systola.hw.errors import DataModelError, Place, SyntaxModelError
from systola.mapper.nnef.lexer import GraphLexer, LexError, QuantLexer
from systola.mapper.nnef.limits import MAX_TEXT_BYTES
from systola.mapper.nnef.safefile import open_regular
from systola.mapper.nnef.syntax import Document, Fragment, QuantLine, Source
from systola.mapper.nnef.tree import TreeBuilder

__all__ = ["parse_declarations", "parse_document", "parse_quantization", "read_text"]

_READABLE: Final = {
    "_VERSION": "'version'", "_EXTENSION": "'extension'", "_FRAGMENT": "'fragment'", "_GRAPH": "'graph'",
    "_TENSOR": "'tensor'", "_IF": "'if'", "_ELSE": "'else'", "_FOR": "'for'", "_YIELD": "'yield'", "IN": "'in'",
    "NAME": "a name", "NUMBER": "a number", "STRING": "a string", "TYPE_NAME": "a type", "OPERATOR": "an operator",
    "TYPE_ARGUMENT": "<type>", "_ARROW": "'->'", "_LPAR": "'('", "_RPAR": "')'", "LBRACKET": "'['", "_RBRACKET": "']'",
    "_LBRACE": "'{'", "_RBRACE": "'}'", "_COMMA": "','", "_SEMICOLON": "';'", "_COLON": "':'", "_ASSIGN": "'='",
    "$END": "the end of the file",
}  # fmt: skip


@cache
def _parser(start: str) -> Lark:
    """The LALR parser for one start rule; the tree is built while parsing."""
    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    lexer = QuantLexer if start == "quantization" else GraphLexer
    return Lark(grammar, parser="lalr", lexer=lexer, start=start, transformer=cast(Any, TreeBuilder()))


def _parse(source: Source, start: str) -> Any:
    try:
        return _parser(start).parse(source.text)
    except LexError as error:
        raise source.error(SyntaxModelError, error.message, error.pos) from None
    except UnexpectedToken as error:
        _raise_unexpected(source, error)


def _raise_unexpected(source: Source, error: UnexpectedToken) -> NoReturn:
    """Say what was found and, where the choice is small, what could have stood there."""
    token = error.token
    if token.type == "$END":
        found, pos = "the file ends", max(len(source.text.rstrip()) - 1, 0)
    else:
        written = "an array" if token.type == "NUMBERS" else repr(token.value[:40])
        found, pos = f"{written} cannot stand here", token.start_pos or 0
    parser: Any = error.interactive_parser  # knows what really fits; ``expected`` lists more, as LALR merges states
    accepted = parser.accepts() if parser else error.expected
    wanted = sorted({_READABLE[each] for each in accepted if each in _READABLE})
    expected = f"; expected {' or '.join(wanted)}" if 0 < len(wanted) <= 5 else ""
    raise source.error(SyntaxModelError, f"{found}{expected}", pos) from None


def parse_document(source: Source) -> Document:
    """Parse graph.nnef.

    Raises:
        SyntaxModelError: the text is not NNEF.
    """
    return cast(Document, _parse(source, "document"))


def parse_declarations(source: Source) -> list[Fragment]:
    """Parse fragments that belong to no graph."""
    return cast(list[Fragment], _parse(source, "declarations"))


def parse_quantization(source: Source) -> list[QuantLine]:
    """Parse graph.quant.

    Raises:
        SyntaxModelError: the text is not of the form ``"tensor": operation(name = value, …);``.
    """
    return cast(list[QuantLine], _parse(source, "quantization"))


def read_text(path: Path) -> Source:
    """The text of a file, as a Source.

    Raises:
        DataModelError: there is no such regular file, or it is larger than ``limits.MAX_TEXT_BYTES``.
        SyntaxModelError: it is not UTF-8.
    """
    with open_regular(path) as stream:
        data = stream.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise DataModelError(f"the file is larger than {MAX_TEXT_BYTES >> 20} MiB", Place(str(path)))
    try:
        return Source(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SyntaxModelError("the text is not UTF-8", Place(str(path), line)) from None
