"""The queues around the post pipeline, in block memory."""

from __future__ import annotations

from typing import Any

from amaranth import Module
from amaranth.lib.fifo import SyncFIFOBuffered

__all__ = ["BLOCK_MEMORY", "BlockQueue"]

BLOCK_MEMORY = {"ram_style": "block", "no_rw_check": 1}
"""Attributes of a memory that synthesis is to make of block memory, however small: logic is what runs out first. Only for one
of which no word is read in the cycle in which it is written: block memory then needs no logic to read what was there before."""


class BlockQueue(SyncFIFOBuffered):
    """A ``SyncFIFOBuffered``, which reads a cycle ahead and never the word that is being written, in block memory."""

    def elaborate(self, platform: Any) -> Module:
        """The library's queue; its memory gets the attribute."""
        m: Module = super().elaborate(platform)
        m.submodules.storage.attrs.update(BLOCK_MEMORY)
        return m
