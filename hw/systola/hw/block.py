"""The base of the components whose ports are known only by their signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.lib.wiring import Component

__all__ = ["Block"]


class Block(Component):
    """A component whose signature is given to ``__init__``: the type checker takes its ports on trust."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A port."""
