"""What the passes know of an operation; the table of all of them is in ``operations.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from systola.mapper.graph import Operation
from systola.mapper.quantize.graphs import Index

if TYPE_CHECKING:
    from systola.mapper.quantize.builder import Builder

__all__ = ["Rule", "never"]


def never(index: Index, operation: Operation) -> str:  # noqa: ARG001
    """For operations that the accelerator always computes."""
    return ""


@dataclass(frozen=True)
class Rule:
    """``build`` makes the nodes. ``host_reason``: why this one cannot be computed on int8 codes; empty if it can.

    ``keeps_codes``: results are input codes moved or selected, on the input's grid. ``clamps``: ``build`` honours the
    target's low and high, so that a following relu or clamp merges.
    """

    build: Callable[[Builder, Operation], None]
    host_reason: Callable[[Index, Operation], str] = never
    keeps_codes: bool = False
    clamps: bool = False
