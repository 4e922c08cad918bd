"""NNEF's types, and which value fits which.

A value is a Python ``bool`` (logical), ``int`` (integer), ``float`` (scalar), ``str`` (string), ``list`` (array),
``tuple`` (tuple) or ``TensorRef``. NNEF converts nothing by itself: 1 is not a scalar, 1.0 is; the one exception is
that a number may stand where a tensor of its type is expected.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRIMITIVES", "TensorRef", "Type", "describe", "fits", "generic_dtype", "is_tensor_type"]

PRIMITIVES = ("integer", "scalar", "logical", "string")


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor used as a value: its name, NNEF type and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """A type: ``kind`` is "primitive", "tensor", "array" or "tuple".

    ``name`` is the primitive's name, "?" for the generic type, "" for ``tensor<>``; ``items`` are the item types of an
    array (one) or tuple.
    """

    kind: str
    name: str = ""
    items: tuple[Type, ...] = ()

    def __str__(self) -> str:
        """As written in NNEF."""
        if self.kind == "tensor":
            return f"tensor<{self.name}>"
        if self.kind == "array":
            return f"{self.items[0]}[]"
        if self.kind == "tuple":
            return f"({', '.join(map(str, self.items))})"
        return self.name


def is_tensor_type(kind: Type) -> bool:
    """Whether values of this type are tensors (or arrays or tuples of tensors), not attributes."""
    return kind.kind == "tensor" or any(map(is_tensor_type, kind.items))


_PYTHON_NAMES = {bool: "logical", int: "integer", float: "scalar", str: "string"}


def describe(value: object) -> str:
    """The type of a value, in NNEF's words."""
    if isinstance(value, TensorRef):
        return f"tensor<{value.dtype}>"
    if isinstance(value, list):
        return f"{describe(value[0])}[]" if value else "empty array"
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    return _PYTHON_NAMES.get(type(value), type(value).__name__)


def fits(value: object, wanted: Type, dtype: str | None) -> bool:
    """Whether ``value`` may be given where ``wanted`` is expected; ``dtype`` is what the generic type stands for."""
    kind = wanted.kind
    if kind == "array":
        if not isinstance(value, list):
            return False
        item = wanted.items[0]
        if item.kind == "primitive":  # the common case, and the long one
            name = dtype if item.name == "?" else item.name
            return all(_PYTHON_NAMES.get(type(each)) == name for each in value)
        return all(fits(each, item, dtype) for each in value)
    if kind == "tuple":
        return (
            isinstance(value, tuple)
            and len(value) == len(wanted.items)
            and all(fits(each, item, dtype) for each, item in zip(value, wanted.items, strict=True))
        )
    name = dtype if wanted.name == "?" else wanted.name
    if kind == "tensor" and isinstance(value, TensorRef):
        return not name or value.dtype == name
    found = _PYTHON_NAMES.get(type(value))
    return found is not None and (found == name or not name)


def generic_dtype(value: object, wanted: Type) -> str | None:
    """The primitive type that ``value`` gives to the generic type in ``wanted``, None if it says nothing."""
    if wanted.kind in ("array", "tuple"):
        if not isinstance(value, (list, tuple)):
            return None
        items = wanted.items * len(value) if wanted.kind == "array" else wanted.items
        found = (generic_dtype(each, item) for each, item in zip(value[:1], items, strict=False))
        return next((each for each in found if each), None)
    if wanted.name != "?":
        return None
    return value.dtype if isinstance(value, TensorRef) else _PYTHON_NAMES.get(type(value))
