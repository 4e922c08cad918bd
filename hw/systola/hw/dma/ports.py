"""Signatures and layouts inside the manager's side: users of the bus on one hand, the guard before the bus on the other."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from systola.hw.params import Params

__all__ = [
    "PAGE_BYTES",
    "ReadPortSignature",
    "WritePortSignature",
    "burst_layout",
    "positions",
    "row_layout",
    "write_beat_layout",
]

PAGE_BYTES = 4096
"""No AXI burst crosses a multiple of this (ARM IHI 0022, A3.4.1)."""


def positions(bus_bytes: int, word_bytes: int) -> int:
    """Places in a beat at which a word can begin; 1 where a word fills a beat or more."""
    return max(1, bus_bytes // word_bytes)


def burst_layout(params: Params) -> data.StructLayout:
    """An INCR burst: byte ``address`` of its first beat, ``length`` in beats minus one, ``last`` of its user's transfer."""
    return data.StructLayout({"address": params.config.bus.address_bits, "length": 8, "last": 1})


def row_layout(params: Params) -> data.StructLayout:
    """A row of a transfer: bus ``address`` of its first byte, ``sp_address`` of its first word, ``words`` minus one, and
    ``last`` for the last row of an instruction.
    """
    return data.StructLayout({
        "address": params.config.bus.address_bits,
        "sp_address": params.scratchpad_address_bits,
        "words_minus_one": 16,
        "last": 1,
    })


def write_beat_layout(params: Params) -> data.StructLayout:
    """A beat to write; ``strobe`` has a bit per byte."""
    return data.StructLayout({"data": 8 * params.bus_bytes, "strobe": params.bus_bytes})


class ReadPortSignature(Signature):
    """A user of the read channels; seen from the user.

    ``request``: bursts; once one is taken, its beats come, in the order of requests, as ``beats``.
    """

    def __init__(self, params: Params) -> None:
        super().__init__({
            "request": Out(stream.Signature(cast("Any", burst_layout(params)))),
            "beats": In(stream.Signature(unsigned(8 * params.bus_bytes))),
        })


class WritePortSignature(Signature):
    """The user of the write channels; seen from the user.

    ``request``: bursts. ``beats``: their data, in the order of requests; a beat is taken only after the request of its
    burst. ``acknowledged``: 1 for one cycle for each burst that the memory has answered without an error, in order;
    ``acknowledged_last`` too if the burst's ``last`` was 1.
    """

    def __init__(self, params: Params) -> None:
        super().__init__({
            "request": Out(stream.Signature(cast("Any", burst_layout(params)))),
            "beats": Out(stream.Signature(cast("Any", write_beat_layout(params)))),
            "acknowledged": In(1),
            "acknowledged_last": In(1),
        })
