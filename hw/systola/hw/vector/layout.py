"""What travels through the vector engine: steps, parameter words, and the configuration of an instruction."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from amaranth.hdl import Value, signed, unsigned
from amaranth.lib import data

from systola.hw.isa import VectorOp
from systola.hw.params import Params
from systola.hw.post import post_config_layout

__all__ = [
    "ParameterKind",
    "config_layout",
    "parameter_layout",
    "request_layout",
    "slots",
    "step_layout",
    "tap_address_bits",
    "tap_column_bits",
    "uses_parameters",
]


class ParameterKind(IntEnum):
    """What a parameter word is."""

    RECORD = 0
    WEIGHT = 1
    TABLE = 2


def slots(params: Params) -> int:
    """Partial sums per lane: one per tap, and one where there are no taps."""
    return max(params.taps, 1)


def tap_address_bits(params: Params) -> int:
    """Bits of a row of the tap store: two sets of ``tap_depth`` rows; the top bit is the set."""
    return params.config.vector.tap_depth.bit_length()


def tap_column_bits(params: Params) -> int:
    """Bits of a tap's number."""
    return max(1, (slots(params) - 1).bit_length())


def step_layout(params: Params) -> data.StructLayout:
    """One step, as it travels beside its word.

    read: the word is read (else it is padding, or a column that no output covers).
    operand: the word is a second operand, else a window position.
    active: a bit per partial sum that this step adds to.
    fresh: a bit per partial sum that begins with this step.
    shift: partial sums that do not begin come from the slot before (first step of a column).
    weighted, multiply, maximum, table: the product is with a weight; with the second operand; larger of both instead of the
    sum; the word is looked up first.
    row, column: the weights' place in the tap store.
    emit: the last slot is complete after this step.
    begin: first step of an instruction. swap: first step that uses newly loaded records (or of an instruction).
    release: last step of a table. parameters: the step begins a new set of parameters.
    """
    flags = (
        "read", "operand", "shift", "weighted", "multiply", "maximum", "table", "emit", "begin", "swap", "release", "parameters",
    )  # fmt: skip
    return data.StructLayout({
        **dict.fromkeys(flags, 1),
        "active": slots(params),
        "fresh": slots(params),
        "row": tap_address_bits(params),
        "column": tap_column_bits(params),
    })


def request_layout(params: Params) -> data.StructLayout:
    """A step before its word is read: the ``address`` to read; of its output, ``destination`` and ``final`` (the last of its
    instruction)."""
    address_bits = params.scratchpad_address_bits
    return data.StructLayout({
        "step": step_layout(params), "address": address_bits, "destination": address_bits, "final": 1,
    })  # fmt: skip


def parameter_layout(params: Params) -> data.StructLayout:
    """A word of parameters: its ``kind``, its ``index`` among the records' or the table's words, its place in the tap store."""
    return data.StructLayout({
        "kind": unsigned(2),
        "index": max(3, (params.table_words - 1).bit_length()),
        "row": tap_address_bits(params),
        "column": tap_column_bits(params),
    })


config_layout = data.StructLayout({
    "pad_value": signed(8),
    "zero_in": signed(8),
    "zero_factor": signed(8),
    "post": post_config_layout,
})
"""What the data path needs of an instruction: padding code, zero points of the factors (−128 where they are not multiplied or
summed: codes + 128 then), and stages A and B."""


def uses_parameters(instruction: Any) -> Value:
    """The instruction loads records, weights or a table."""
    op = instruction.op
    return (op == VectorOp.DEPTHWISE) | (op == VectorOp.SUM) | (op == VectorOp.MUL) | (op == VectorOp.TABLE)
