"""From grammar rules to the syntax tree: one method per rule of grammar.lark, called as the parser reduces it."""

from __future__ import annotations

import math
from typing import Any, Final

from systola.mapper.nnef import syntax
from systola.mapper.nnef.lexer import LexError, Word
from systola.mapper.nnef.limits import MAX_INTEGER, MAX_STRING_CHARACTERS
from systola.mapper.nnef.types import Type

__all__ = ["TreeBuilder"]

# From loose to tight; all associate to the left. Signs and subscripts bind tighter than any of these.
_PRECEDENCE: Final = {
    "in": 0, "&&": 1, "||": 1, "<": 2, ">": 2, "<=": 2, ">=": 2, "==": 2, "!=": 2, "+": 3, "-": 3, "*": 4, "/": 4, "^": 5,
}  # fmt: skip


def _primitive(word: Word) -> str | None:
    """The type named by ``<type>``; None for ``<>``."""
    return word.value[1:-1].strip() or None


class TreeBuilder:
    """Callbacks for lark. Each takes the rule's children and returns a node of ``syntax``."""

    # Document

    def document(self, c: list[Any]) -> syntax.Document:
        """The version, extensions, fragments and the graph."""
        fragments = [each for each in c[1:-1] if isinstance(each, syntax.Fragment)]
        extensions = [each for each in c[1:-1] if isinstance(each, list)]
        return syntax.Document(c[0].value, extensions, fragments, c[-1])

    def declarations(self, c: list[Any]) -> list[syntax.Fragment]:
        """Fragments without a graph: the standard operations' declarations."""
        return c

    def quantization(self, c: list[Any]) -> list[syntax.QuantLine]:
        """The lines of graph.quant."""
        return c

    def quant_line(self, c: list[Any]) -> syntax.QuantLine:
        """``"tensor": call;``."""
        return syntax.QuantLine(c[0].value[1:-1], c[1], c[0].start_pos)

    def extension(self, c: list[Word]) -> list[str]:
        """The words of one extension line."""
        return [word.value for word in c]

    def graph(self, c: list[Any]) -> syntax.GraphDefinition:
        """The graph definition."""
        return syntax.GraphDefinition(c[0].value, c[1], c[2], c[3], c[0].start_pos)

    def names(self, c: list[Word]) -> list[syntax.Name]:
        """Graph inputs or outputs."""
        return [syntax.Name(word.value, word.start_pos) for word in c]

    def body(self, c: list[Any]) -> list[syntax.Assignment]:
        """The statements between braces."""
        return c

    def assignment(self, c: list[Any]) -> syntax.Assignment:
        """``left = right;``."""
        return syntax.Assignment(c[0], c[1], c[0].pos)

    def left_tuple(self, c: list[Any]) -> Any:
        """Names assigned together; parentheses around one name mean nothing."""
        return c[0] if len(c) == 1 else syntax.TupleOf(c, c[0].pos)

    # Fragments

    def fragment(self, c: list[Any]) -> syntax.Fragment:
        """A definition, or without a body a declaration."""
        word, *rest = c
        generic, default = False, None
        if isinstance(rest[0], tuple):
            generic, default = True, rest.pop(0)[0]
        body = rest[2] if len(rest) > 2 else None
        return syntax.Fragment(word.value, generic, default, rest[0], rest[1], body, word.start_pos)

    def generic(self, c: list[Word]) -> tuple[str | None]:
        """``<?>`` or ``<? = type>`` after a fragment's name."""
        written = c[0].value[1:-1].replace(" ", "")
        if not written.startswith("?"):
            raise LexError("a generic fragment is declared with <?> or <? = type>", c[0].start_pos)
        return (written[2:] or None,)

    def parameters(self, c: list[Any]) -> list[syntax.Parameter]:
        """Parameters or results."""
        return c

    def parameter(self, c: list[Any]) -> syntax.Parameter:
        """``name: type`` or ``name: type = default``."""
        default = c[2] if len(c) > 2 else None
        if default is not None:
            value = _constant(default)
            default = syntax.Literal(value, default.pos)
        return syntax.Parameter(c[0].value, c[1], default, c[0].start_pos)

    def primitive_type(self, c: list[Word]) -> Type:
        """``scalar``."""
        return Type("primitive", c[0].value)

    def tensor_type(self, c: list[Word]) -> Type:
        """``tensor<scalar>``."""
        return Type("tensor", _primitive(c[0]) or "")

    def array_type(self, c: list[Type]) -> Type:
        """``scalar[]``."""
        return Type("array", items=(c[0],))

    def tuple_type(self, c: list[Type]) -> Type:
        """``(integer, integer)``."""
        return c[0] if len(c) == 1 else Type("tuple", items=tuple(c))

    # Expressions

    def name(self, c: list[Word]) -> syntax.Name:
        """A name used."""
        return syntax.Name(c[0].value, c[0].start_pos)

    def number(self, c: list[Word]) -> syntax.Literal:
        """A scalar has a point or an exponent; an integer has neither."""
        text, pos = c[0].value, c[0].start_pos
        if text.isdigit():
            if len(text) > 19 or int(text) > MAX_INTEGER:
                raise LexError(f"the integer {text[:24]} does not fit 64 bits", pos)
            return syntax.Literal(int(text), pos)
        value = float(text)
        if not math.isfinite(value):
            raise LexError(f"the number {text[:24]} is too large", pos)
        return syntax.Literal(value, pos)

    def numbers(self, c: list[Word]) -> syntax.Literal:
        """An array of plain numbers."""
        return syntax.Literal(c[0].value, c[0].start_pos)

    def no_items(self, c: list[Word]) -> syntax.Literal:  # noqa: ARG002
        """``[]``."""
        return syntax.Literal([], 0)

    def string(self, c: list[Word]) -> syntax.Literal:
        """Text between quotes; NNEF has no escapes."""
        text = c[0].value[1:-1]
        if len(text) > MAX_STRING_CHARACTERS:
            raise LexError(f"a string is longer than {MAX_STRING_CHARACTERS} characters", c[0].start_pos)
        return syntax.Literal(text, c[0].start_pos)

    def truth(self, c: list[Word]) -> syntax.Literal:
        """``true`` or ``false``."""
        return syntax.Literal(c[0].value == "true", c[0].start_pos)

    def array(self, c: list[Any]) -> syntax.Array:
        """``[a, b]``; the first child is the bracket."""
        return syntax.Array(c[1:], c[0].start_pos)

    def parenthesized(self, c: list[Any]) -> Any:
        """``(a, b)``, or one expression in parentheses."""
        return c[0] if len(c) == 1 else syntax.TupleOf(c, c[0].pos)

    def comprehension(self, c: list[Any]) -> syntax.Comprehension:
        """``[for a in x, b in y if condition yield body]``."""
        return syntax.Comprehension(c[1:-2], c[-2], c[-1], c[0].start_pos)

    def loop(self, c: list[Any]) -> tuple[syntax.Name, Any]:
        """``name in iterable``."""
        return syntax.Name(c[0].value, c[0].start_pos), c[2]

    def builtin(self, c: list[Any]) -> syntax.Builtin:
        """``length_of(x)``, ``scalar(x)``…."""
        return syntax.Builtin(c[0].value, c[1], c[0].start_pos)

    def call(self, c: list[Any]) -> syntax.Call:
        """``name<type>(arguments)``."""
        dtype = None
        first = 1
        if len(c) > 1 and isinstance(c[1], Word):
            dtype, first = _primitive(c[1]), 2
        return syntax.Call(c[0].value, dtype, c[first:], c[0].start_pos)

    def argument(self, c: list[Any]) -> tuple[str | None, Any]:
        """A positional or named argument."""
        return (None if c[0] is None else c[0].value), c[1]

    def subscript(self, c: list[Any]) -> syntax.Subscript:
        """``x[i]``."""
        return syntax.Subscript(c[0], c[2], None, False, c[0].pos)

    def subscript_number(self, c: list[Any]) -> syntax.Subscript:
        """``x[2]``, where the lexer made one token of the brackets and what is in them."""
        values = c[1].value
        if len(values) != 1:
            raise LexError(f"a subscript is one number, not {len(values)}", c[1].start_pos)
        return syntax.Subscript(c[0], syntax.Literal(values[0], c[1].start_pos), None, False, c[0].pos)

    def subscript_range(self, c: list[Any]) -> syntax.Subscript:
        """``x[a:b]``."""
        return syntax.Subscript(c[0], c[2], c[3], True, c[0].pos)

    def unary(self, c: list[Any]) -> Any:
        """Signs in front of an operand; a sign on a number makes a negative literal."""
        signs = [word.value for word in c[:-1]]
        operand = c[-1]
        if signs == ["-"] and isinstance(operand, syntax.Literal) and type(operand.value) in (int, float):
            return syntax.Literal(-operand.value, c[0].start_pos)  # type: ignore[operator]  # a number, just checked
        return syntax.Unary(signs, operand, c[0].start_pos)

    def select(self, c: list[Any]) -> syntax.Select:
        """``a if x else b if y else d``."""
        return syntax.Select([*c[0:-1:2], c[-1]], c[1::2], c[0].pos)

    def binary(self, c: list[Any]) -> Any:
        """A chain of operators, grouped by precedence."""
        return _group(c)


def _group(chain: list[Any]) -> Any:
    """Operator precedence on ``operand op operand op …``; operators of one level stay one flat node."""
    operands: list[Any] = [chain[0]]
    operators: list[str] = []

    def fold(level: int) -> None:
        while operators and _PRECEDENCE[operators[-1]] > level:
            current = _PRECEDENCE[operators[-1]]
            rest: list[tuple[str, Any]] = []
            while operators and _PRECEDENCE[operators[-1]] == current:
                rest.append((operators.pop(), operands.pop()))
            rest.reverse()
            first = operands.pop()
            operands.append(syntax.Binary(first, rest, first.pos))

    for word, operand in zip(chain[1::2], chain[2::2], strict=True):
        fold(_PRECEDENCE[word.value])
        operators.append(word.value)
        operands.append(operand)
    fold(-1)
    return operands[0]


def _constant(node: Any) -> Any:
    """The value of a parameter's default, which must be a literal."""
    if isinstance(node, syntax.Literal):
        return node.value
    if isinstance(node, syntax.Array):
        return [_constant(each) for each in node.items]
    if isinstance(node, syntax.TupleOf):
        return tuple(_constant(each) for each in node.items)
    raise LexError("a parameter's default must be a literal", node.pos)
