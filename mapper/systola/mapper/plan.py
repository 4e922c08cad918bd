"""What a plan is: which tensors stay on chip, the tiling of each layer, and where everything lies in the scratchpad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from systola.mapper.fusion import FusedHomes, FusedTiling
from systola.mapper.tiles import Homes, Tiling

__all__ = ["Buffers", "FusedPlan", "LayerPlan", "Plan"]


@dataclass(frozen=True)
class Buffers:
    """Scratchpad words of a layer's buffers, by kind; each slot's first word."""

    input: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    operand: tuple[int, ...] = ()
    output: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerPlan:
    """One layer's choice."""

    homes: Homes
    tiling: Tiling
    buffers: Buffers


@dataclass(frozen=True)
class FusedPlan:
    """The choice for layers ``first`` … ``last``, computed band by band. ``addresses``: first words of the tiling's buffers."""

    first: int
    last: int
    homes: FusedHomes
    tiling: FusedTiling
    addresses: Mapping[tuple[str, int, int], int]


@dataclass(frozen=True)
class Plan:
    """``chip``: first scratchpad word of each tensor that stays on chip (wholes only). ``layers``: None for host layers and for
    those in groups. ``groups``: by their first layer."""

    chip: Mapping[str, int]
    layers: tuple[LayerPlan | None, ...]
    groups: Mapping[int, FusedPlan]
