"""Arithmetic on attribute values: what NNEF's operators and conversions do with numbers, strings and arrays.

Integers have 64 bits, division of integers truncates, and nothing converts implicitly. The ``charge`` callback is told
how many items a result has before it is made, so that the caller can bound memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final

from systola.mapper.nnef.limits import MAX_ARRAY_ITEMS, MAX_INTEGER, MAX_STRING_CHARACTERS
from systola.mapper.nnef.types import TensorRef, describe

__all__ = ["AttributeRuleError", "binary", "builtin", "subscript", "unary"]

Charge = Callable[[int], None]


class AttributeRuleError(Exception):
    """An operation on attributes that has no meaning or no value."""


_COMPARE: Final = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def _number(value: Any) -> Any:
    """A result within NNEF's ranges."""
    if isinstance(value, complex):
        raise AttributeRuleError("the power of a negative number has no real value")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise AttributeRuleError("the integer result does not fit 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise AttributeRuleError("the result is not a finite number")
    return value


def _power(left: Any, right: Any) -> Any:
    if isinstance(right, int):
        if right < 0:
            raise AttributeRuleError("an integer cannot be raised to a negative power; write the numbers as scalars")
        if abs(left) > 1 and right > 64:
            raise AttributeRuleError("the integer result does not fit 64 bits")
    return left**right


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return left / right


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide, "^": _power,
}  # fmt: skip


def binary(sign: str, left: Any, right: Any, charge: Charge) -> Any:
    """The value of ``left sign right``.

    Raises:
        AttributeRuleError: the types do not go together, or there is no such number.
    """
    if sign == "in" and isinstance(right, list):
        charge(len(right))
        return any(type(each) is type(left) and each == left for each in right)
    if sign in ("&&", "||") and isinstance(left, bool) and isinstance(right, bool):
        return (left and right) if sign == "&&" else (left or right)
    if isinstance(left, (list, str)) or isinstance(right, list):
        return _sequence(sign, left, right, charge)
    if type(left) is not type(right) or isinstance(left, (tuple, TensorRef)):
        raise AttributeRuleError(f"{describe(left)} {sign} {describe(right)} has no meaning")
    if sign in ("==", "!=") or (sign in _COMPARE and not isinstance(left, bool)):
        return _COMPARE[sign](left, right)
    if sign not in _ARITHMETIC or isinstance(left, bool):
        raise AttributeRuleError(f"{describe(left)} {sign} {describe(right)} has no meaning")
    try:
        return _number(_ARITHMETIC[sign](left, right))
    except ZeroDivisionError:
        raise AttributeRuleError("division by zero") from None
    except OverflowError:
        raise AttributeRuleError("the result is too large") from None


def _sequence(sign: str, left: Any, right: Any, charge: Charge) -> Any:
    """Joining and repeating arrays and strings, and comparing them."""
    if sign in ("==", "!=") and type(left) is type(right):
        charge(len(left))
        return _COMPARE[sign](left, right)
    if sign == "+" and type(left) is type(right):
        _limit(left, len(left) + len(right), charge)
        return left + right
    if sign == "*" and isinstance(left, list) and type(right) is int:
        if right < 0:
            raise AttributeRuleError(f"an array cannot be repeated {right} times")
        _limit(left, len(left) * right, charge)
        return left * right
    raise AttributeRuleError(f"{describe(left)} {sign} {describe(right)} has no meaning")


def _limit(like: Any, length: int, charge: Charge) -> None:
    """Refuse results that are too long, before they are made."""
    limit, what = (MAX_STRING_CHARACTERS, "characters") if isinstance(like, str) else (MAX_ARRAY_ITEMS, "items")
    if length > limit:
        raise AttributeRuleError(f"the result would have {length} {what}; at most {limit} are allowed")
    charge(length)


def unary(sign: str, value: Any) -> Any:
    """The value of ``-value`` or ``!value``.

    Raises:
        AttributeRuleError: the type has no such operator.
    """
    if sign == "-" and type(value) in (int, float):
        return -value
    if sign == "!" and isinstance(value, bool):
        return not value
    raise AttributeRuleError(f"{sign}{describe(value)} has no meaning")


def subscript(sequence: Any, begin: Any, end: Any, is_slice: bool, charge: Charge) -> Any:
    """``sequence[begin]`` or ``sequence[begin:end]``.

    Raises:
        AttributeRuleError: no array, tuple or string, or an index outside of it.
    """
    if not isinstance(sequence, (list, tuple, str)):
        raise AttributeRuleError(f"{describe(sequence)} cannot be subscripted")
    if any(type(each) is not int for each in (begin, end) if each is not None):
        raise AttributeRuleError("a subscript must be an integer")
    if is_slice:
        begin, end = begin or 0, len(sequence) if end is None else end
        if not 0 <= begin <= end <= len(sequence):
            raise AttributeRuleError(f"the range {begin}:{end} is outside of 0:{len(sequence)}")
        charge(end - begin)
        return sequence[begin:end]
    if not 0 <= begin < len(sequence):
        raise AttributeRuleError(f"the subscript {begin} is outside of 0 to {len(sequence) - 1}")
    return sequence[begin]


def builtin(name: str, value: Any, charge: Charge) -> Any:
    """``length_of``, ``range_of`` and conversions between primitive types.

    Raises:
        AttributeRuleError: the value cannot be converted, or has no length.
    """
    if name in ("length_of", "range_of"):
        if not isinstance(value, (list, tuple, str)):
            raise AttributeRuleError(f"{describe(value)} has no length")
        charge(len(value) if name == "range_of" else 0)
        return len(value) if name == "length_of" else list(range(len(value)))
    if name == "shape_of":
        raise AttributeRuleError("'shape_of' was removed from NNEF 1.0: write the shape itself")
    if type(value) not in (bool, int, float, str):
        raise AttributeRuleError(f"{name}({describe(value)}) has no meaning")
    if name == "?":
        return value
    try:
        return _number(_CONVERT[name](value))
    except (ValueError, OverflowError):
        raise AttributeRuleError(f"{name}({value!r:.40}) has no value") from None


def _to_string(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "integer": int,
    "scalar": float,
    "logical": lambda value: value == "true" if isinstance(value, str) else bool(value),
    "string": _to_string,
}
