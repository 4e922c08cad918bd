"""What comes before each instruction, as lists that grow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from systola.mapper.instruction_tables import Column, Table
from systola.mapper.jit import jit

__all__ = ["Edges", "add_edge", "no_edges"]

_FIRST_ROOM = 1 << 12


class Edges(NamedTuple):
    """``links``: rows of an earlier instruction, by index in the program; whether it must have finished (1), or only be issued
    first (0: the same engine, which works in order, so that nothing needs to be waited for); and the next link of the same
    instruction, −1: none. ``newest``: each instruction's first link. ``used``: how many links there are.

    One may be listed twice.
    """

    newest: Column
    links: Table
    used: int


@jit
def no_edges(instructions: int) -> Edges:
    """Nothing comes before anything."""
    return Edges(np.full(instructions, -1, np.int64), np.empty((_FIRST_ROOM, 3), np.int64), 0)


@jit
def add_edge(edges: Edges, index: int, earlier: int, finished: int) -> Edges:
    """The edges and one more. What was given is used up."""
    newest, links, used = edges
    if used == len(links):
        grown = np.empty((2 * used, 3), np.int64)
        grown[:used] = links
        links = grown
    links[used, 0], links[used, 1], links[used, 2] = earlier, finished, newest[index]
    newest[index] = used
    return Edges(newest, links, used + 1)
