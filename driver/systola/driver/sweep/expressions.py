"""Conditions between fields, as users write them: arithmetic, comparisons, and/or/not, dotted names.

The text is parsed by Python's parser and computed by the functions here; nothing else of Python can be reached with it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

from systola.hw.errors import ConfigError

__all__ = ["Expression", "parse_expression"]

MOST_CHARACTERS = 1000
Fields = Mapping[str, Any]
_Compute = Callable[[Fields], Any]

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg}
_ALLOWED = "allowed are numbers, text in quotes, fields (array.rows), + - * / // %, == != < <= > >=, and, or, not, parentheses"


@dataclass(frozen=True)
class Expression:
    """A condition. ``names``: the fields that it reads."""

    text: str
    names: frozenset[str]
    _compute: _Compute

    def holds(self, fields: Fields) -> bool:
        """Whether it is true of these values, by dotted name; not where it divides by zero.

        Raises ConfigError where it mixes a text and a number.
        """
        try:
            return bool(self._compute(fields))
        except ArithmeticError:
            return False
        except TypeError as error:
            raise ConfigError(f"constraint '{self.text}' compares or adds a text and a number") from error


def parse_expression(text: str) -> Expression:
    """A condition from its text. Raises ConfigError for what is not one."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"the constraint has {len(text)} characters; the most is {MOST_CHARACTERS}")
    try:
        body = ast.parse(text.strip(), mode="eval").body
        return Expression(text, frozenset(_names(body)), _compile(body, text))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"constraint '{text}' is no condition; {_ALLOWED}") from error
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"constraint '{text[:40]}…' is nested too deeply") from error


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield _dotted(node)
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _names(child)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("an attribute of something that is no name")


def _compile(node: ast.expr, text: str) -> _Compute:
    """A function of the fields; ConfigError for a construct that is not allowed."""
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return lambda _: value
        case ast.Name() | ast.Attribute():
            name = _dotted(node)
            return lambda fields: fields[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            return _unary(_SIGNS[type(op)], _compile(operand, text))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _binary(_ARITHMETIC[type(op)], _compile(left, text), _compile(right, text))
        case ast.BoolOp(op=op, values=values):
            parts = [_compile(value, text) for value in values]
            return reduce(_both if isinstance(op, ast.And) else _either, parts)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            chain = [_compile(part, text) for part in (left, *others)]
            pairs = [_binary(_COMPARISONS[type(op)], a, b) for op, (a, b) in zip(ops, pairwise(chain), strict=True)]
            return reduce(_both, pairs)
    raise ConfigError(f"constraint '{text}' has '{ast.unparse(node)}' in it; {_ALLOWED}")


def _both(a: _Compute, b: _Compute) -> _Compute:
    return lambda fields: a(fields) and b(fields)


def _either(a: _Compute, b: _Compute) -> _Compute:
    return lambda fields: a(fields) or b(fields)


def _unary(function: Callable[[Any], Any], inner: _Compute) -> _Compute:
    return lambda fields: function(inner(fields))


def _binary(function: Callable[[Any, Any], Any], left: _Compute, right: _Compute) -> _Compute:
    def compute(fields: Fields) -> Any:
        a, b = left(fields), right(fields)
        if function not in (operator.eq, operator.ne) and isinstance(a, str) != isinstance(b, str):
            raise TypeError
        if function in _ARITHMETIC.values() and isinstance(a, str):
            raise TypeError
        return function(a, b)

    return compute
