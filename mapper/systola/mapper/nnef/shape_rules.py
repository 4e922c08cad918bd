"""What all shape functions share: the error, checks, and NNEF's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Shape", "ShapeError", "broadcast", "check_axes", "check_broadcastable", "require"]

Shape = tuple[int, ...]


class ShapeError(Exception):
    """Shapes or attributes that do not go together; the message ends up in a SemanticModelError."""


def require(condition: bool, message: str) -> None:
    """Raise ``ShapeError(message)`` unless ``condition`` holds."""
    if not condition:
        raise ShapeError(message)


def check_axes(axes: Sequence[int], rank: int, name: str = "axes") -> None:
    """Axes must be distinct and inside the rank."""
    require(all(0 <= axis < rank for axis in axes), f"{name!r} must be from 0 to {rank - 1}: {list(axes)[:16]}")
    require(len(set(axes)) == len(axes), f"{name!r} has an axis twice: {list(axes)[:16]}")


def broadcast(*shapes: Shape) -> Shape:
    """The common shape: NNEF aligns the *leading* dimensions and fills with 1 at the end (unlike NumPy)."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape):
            if extent != 1 and result[axis] not in (1, extent):
                shown = " and ".join(str(list(each)) for each in shapes)
                raise ShapeError(
                    f"shapes {shown} do not go together: dimension {axis} differs (NNEF aligns leading dimensions)"
                )
            result[axis] = max(result[axis], extent)
    return tuple(result)


def check_broadcastable(shape: Shape, to: Shape, name: str) -> None:
    """``shape`` must broadcast to exactly ``to``."""
    fit = len(shape) <= len(to) and all(x in (1, y) for x, y in zip(shape, to, strict=False))
    require(fit, f"{name!r} of shape {list(shape)} does not broadcast to {list(to)} (leading dimensions are aligned)")
