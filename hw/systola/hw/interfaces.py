"""The signatures between the blocks. Each says in which cycle what is valid."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Mux, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from systola.hw.isa import HEADER, INSTRUCTIONS, Opcode
from systola.hw.latencies import ACCUMULATOR_READ_LATENCY_CYCLES, SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = [
    "ACCUMULATOR_READ_LATENCY_CYCLES",
    "SCRATCHPAD_READ_LATENCY_CYCLES",
    "AccumulatorReadSignature",
    "Axi4ReadSignature",
    "Axi4WriteSignature",
    "AxiLiteSignature",
    "EngineSignature",
    "ScratchpadReadSignature",
    "ScratchpadWriteSignature",
    "asked_bank",
    "cycle_class_shape",
    "instruction_layout",
]

cycle_class_shape = 4
"""Bits of a ``CycleClass``."""
assert max(CycleClass) < 1 << cycle_class_shape


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """The bits of an instruction, header first, as the ISA table packs them (without the unused rest)."""
    from amaranth.hdl import signed, unsigned  # noqa: PLC0415 - keeps the module's names to signatures

    fields = (*HEADER, *INSTRUCTIONS[opcode][1])
    return data.StructLayout({f.name: (signed if f.signed else unsigned)(f.width_bits) for f in fields})


class EngineSignature(Signature):
    """Between an engine's front end (queue, decoder, semaphores) and the engine; seen from the engine.

    ``instruction``: the next instruction, its waits satisfied; taken in the cycle where ``valid`` and ``ready`` are 1.
    An engine takes the next one as early as it can use it, while it still works on the one before.
    ``retire``: 1 for one cycle for each instruction, in order, when all it wrote can be read by others.
    ``cycle_class``: the engine's own class in this cycle (BUSY, BANK, DRAM_LATENCY, WEIGHTS, SETUP, FLUSH), or IDLE where it has
    no instruction in hand; the front end then says what is waited for. DRAM_LATENCY stands for every wait for bus or memory here.
    """

    def __init__(self, opcode: Opcode) -> None:
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(opcode)))),
            "retire": Out(1),
            "cycle_class": Out(cycle_class_shape),
        })


def asked_bank(params: Params, valid: Value, address: Value) -> Value:
    """A bit per bank: 1 for the one that a request for a word of the scratchpad is to; none if it is not ``valid``."""
    return Mux(valid, 1 << address[: (params.banks - 1).bit_length()], 0)[: params.banks]


class ScratchpadReadSignature(Signature):
    """A reader of the scratchpad; seen from the reader.

    ``valid``/``address``: a request for a word; held until ``ready``. ``ready`` answers in the same cycle (it depends on
    the address). ``data`` holds the word SCRATCHPAD_READ_LATENCY_CYCLES after acceptance, for one cycle; it cannot be refused.
    ``request`` is ``asked_bank`` of the request. ``free`` has a bit per bank, too: nobody before this reader asks for it, and
    ``ready`` is that of the address's bank. Who chooses between addresses late need not wait to ask, or to know.
    """

    def __init__(self, params: Params) -> None:
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "address": Out(params.scratchpad_address_bits),
            "request": Out(params.banks),
            "free": In(params.banks),
            "data": In(8 * params.lanes),
        })


class ScratchpadWriteSignature(Signature):
    """A writer of the scratchpad; seen from the writer.

    Request as in ScratchpadReadSignature. ``mask`` has a bit per column group (bit g: lanes g·columns … (g+1)·columns − 1); where
    a word has one group it is one bit. A write accepted in cycle n is seen by reads accepted in cycle n + 2 or later.
    """

    def __init__(self, params: Params) -> None:
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "address": Out(params.scratchpad_address_bits),
            "request": Out(params.banks),
            "free": In(params.banks),
            "data": Out(8 * params.lanes),
            "mask": Out(params.column_groups),
        })


class AccumulatorReadSignature(Signature):
    """The drain's read of the accumulators; seen from the drain. Request as in ScratchpadReadSignature; ``ready`` is 0 in a
    cycle in which the array reads the same half. ``data`` (columns × int32, column 0 lowest) is valid
    ACCUMULATOR_READ_LATENCY_CYCLES after acceptance, for one cycle.
    """

    def __init__(self, params: Params) -> None:
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "address": Out(params.accumulator_address_bits),
            "data": In(32 * params.columns),
        })


class Axi4ReadSignature(Signature):
    """AXI4 read channels, manager's side (ARM IHI 0022). INCR bursts of full beats; one id per user: 0 fetch, 1 load."""

    def __init__(self, params: Params) -> None:
        super().__init__({
            "ar_valid": Out(1), "ar_ready": In(1), "ar_addr": Out(params.config.bus.address_bits),
            "ar_len": Out(8), "ar_id": Out(1),
            "r_valid": In(1), "r_ready": Out(1), "r_data": In(8 * params.bus_bytes), "r_resp": In(2), "r_last": In(1),
            "r_id": In(1),
        })  # fmt: skip


class Axi4WriteSignature(Signature):
    """AXI4 write channels, manager's side. INCR bursts of full beats, one id."""

    def __init__(self, params: Params) -> None:
        super().__init__({
            "aw_valid": Out(1), "aw_ready": In(1), "aw_addr": Out(params.config.bus.address_bits), "aw_len": Out(8),
            "w_valid": Out(1), "w_ready": In(1), "w_data": Out(8 * params.bus_bytes), "w_strb": Out(params.bus_bytes),
            "w_last": Out(1),
            "b_valid": In(1), "b_ready": Out(1), "b_resp": In(2),
        })  # fmt: skip


class AxiLiteSignature(Signature):
    """AXI4-Lite, subordinate's side: 32-bit data, 12-bit byte addresses."""

    def __init__(self) -> None:
        super().__init__({
            "aw_valid": In(1), "aw_ready": Out(1), "aw_addr": In(12),
            "w_valid": In(1), "w_ready": Out(1), "w_data": In(32), "w_strb": In(4),
            "b_valid": Out(1), "b_ready": In(1), "b_resp": Out(2),
            "ar_valid": In(1), "ar_ready": Out(1), "ar_addr": In(12),
            "r_valid": Out(1), "r_ready": In(1), "r_data": Out(32), "r_resp": Out(2),
        })  # fmt: skip
