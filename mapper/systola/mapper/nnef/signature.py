"""Signatures of operations and fragments, and binding arguments to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from systola.mapper.nnef.parse import parse_declarations
from systola.mapper.nnef.syntax import Fragment, Source
from systola.mapper.nnef.types import Type, describe, fits, generic_dtype, is_tensor_type

__all__ = ["BindError", "Parameter", "Signature", "bind", "signature_of", "standard_signatures", "suggest"]


class BindError(Exception):
    """Arguments that do not fit a signature; the message ends up in a SemanticModelError."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or result: ``tensor`` tells tensors (and arrays of them) from attributes."""

    name: str
    type: Type
    tensor: bool
    required: bool = True
    default: Any = None


@dataclass(frozen=True, slots=True)
class Signature:
    """What an operation or fragment takes and gives."""

    name: str
    generic: bool
    generic_default: str | None
    parameters: tuple[Parameter, ...]
    results: tuple[Parameter, ...]
    index: Mapping[str, int] = field(default_factory=dict, compare=False)


def signature_of(fragment: Fragment) -> Signature:
    """The signature of a declaration.

    Raises:
        BindError: two parameters or results share a name.
    """
    parameters = tuple(
        Parameter(
            each.name,
            each.type,
            is_tensor_type(each.type),
            each.default is None,
            each.default.value if each.default is not None else None,
        )
        for each in fragment.parameters
    )
    results = tuple(Parameter(each.name, each.type, is_tensor_type(each.type)) for each in fragment.results)
    names = [each.name for each in (*parameters, *results)]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice:
        raise BindError(f"fragment {fragment.name!r} declares {twice!r} twice")
    index = {each.name: i for i, each in enumerate(parameters)}
    return Signature(fragment.name, fragment.generic, fragment.generic_default, parameters, results, index)


@cache
def standard_signatures() -> Mapping[str, Signature]:
    """The 121 standard operations by name, from standard.nnef."""
    text = files(__package__).joinpath("standard.nnef").read_text(encoding="utf-8")
    return {each.name: signature_of(each) for each in parse_declarations(Source(text, "standard.nnef"))}


def suggest(name: str, known: Sequence[str]) -> str:
    """``; did you mean …?`` for a name that is not known, or nothing."""
    close = get_close_matches(name, known, 3) if len(name) <= 64 and len(known) <= 5000 else []
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def bind(
    signature: Signature, dtype: str | None, arguments: Sequence[tuple[str | None, Any]]
) -> tuple[dict[str, Any], str | None]:
    """Bind arguments to parameters, fill in defaults, check types.

    Args:
        signature: what is invoked.
        dtype: the type written as ``name<type>``, if any.
        arguments: (name or None, value) in the order of the text.

    Returns:
        Values by parameter name in the signature's order, and what the generic type stands for.

    Raises:
        BindError: an argument is missing, unknown, given twice or has the wrong type.
    """
    given = _assign(signature, arguments)
    if dtype is not None and not signature.generic:
        raise BindError(f"{signature.name!r} is not generic: '<{dtype}>' has no meaning here")
    if signature.generic and dtype is None:
        found = (generic_dtype(given[p.name], p.type) for p in signature.parameters if p.name in given)
        dtype = next((each for each in found if each), signature.generic_default)
        if dtype is None:
            raise BindError(f"the type of generic {signature.name!r} cannot be told; write it as {signature.name}<scalar>")
    values: dict[str, Any] = {}
    for parameter in signature.parameters:
        name = parameter.name
        if name not in given:
            if parameter.required:
                raise BindError(f"{signature.name!r} needs its parameter {name!r} ({parameter.type})")
            values[name] = parameter.default
            continue
        value = values[name] = given[name]
        if not fits(value, parameter.type, dtype):
            wanted = str(parameter.type).replace("?", dtype) if dtype else str(parameter.type)
            hint = "; write it with a decimal point" if describe(value) == "integer" and "scalar" in wanted else ""
            raise BindError(f"{name!r} of {signature.name!r} is {wanted}, but {describe(value)} is given{hint}")
    return values, dtype


def _assign(signature: Signature, arguments: Sequence[tuple[str | None, Any]]) -> dict[str, Any]:
    """Arguments by parameter name."""
    parameters = signature.parameters
    given: dict[str, Any] = {}
    named = False
    for position, (key, value) in enumerate(arguments):
        if key is None:
            if named:
                raise BindError(f"a positional argument of {signature.name!r} follows a named one")
            if position >= len(parameters):
                raise BindError(f"{signature.name!r} takes {len(parameters)} arguments, not {len(arguments)}")
            key = parameters[position].name  # noqa: PLW2901
        else:
            named = True
            if key not in signature.index:
                raise BindError(f"{signature.name!r} has no parameter {key!r}{suggest(key, list(signature.index))}")
            if key in given:
                raise BindError(f"{signature.name!r} is given {key!r} twice")
        given[key] = value
    return given
