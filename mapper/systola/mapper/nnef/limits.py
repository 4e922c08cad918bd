"""What a model file may ask for at most.

The limits keep a hostile or broken file from using unbounded time or memory; each is far above what real networks need.
Going over one is an ordinary ``ModelError`` that names the limit.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "MAX_ARRAY_ITEMS",
    "MAX_BRACKETS",
    "MAX_EVALUATIONS",
    "MAX_EXPANDED_OPERATIONS",
    "MAX_EXTENT",
    "MAX_INTEGER",
    "MAX_NAME_CHARACTERS",
    "MAX_NESTING",
    "MAX_RANK",
    "MAX_STRING_CHARACTERS",
    "MAX_TEXT_BYTES",
    "MAX_VOLUME",
]

MAX_TEXT_BYTES: Final = 256 << 20
"""Size of graph.nnef or graph.quant: a million operations of text are about 100 MB."""

MAX_BRACKETS: Final = 64
"""Nesting of brackets in the text."""

MAX_NESTING: Final = 96
"""Nesting of expressions and fragments while expanding: recursion that does not end stops here."""

MAX_ARRAY_ITEMS: Final = 1 << 20
"""Items of one array value, literal or computed; larger data belongs in a tensor file."""

MAX_STRING_CHARACTERS: Final = 1 << 16
"""Characters of one string value."""

MAX_EXPANDED_OPERATIONS: Final = 20_000
"""Operations that fragments and operator expressions may make, on top of one per statement of the text."""

MAX_EVALUATIONS: Final = 200_000
"""Expressions evaluated inside fragments and comprehensions, on top of those written in the graph itself."""

MAX_INTEGER: Final = (1 << 63) - 1
"""Largest magnitude of an integer literal or result."""

MAX_NAME_CHARACTERS: Final = 1024
"""Length of a name."""

MAX_RANK: Final = 16
"""Dimensions of a tensor (a tensor file holds at most 8)."""

MAX_EXTENT: Final = (1 << 32) - 1
"""Extent of one dimension: a tensor file has 32 bits for it."""

MAX_VOLUME: Final = 1 << 40
"""Elements of one tensor."""
