"""The vector engine's use of its read port: steps first, parameters in the cycles that steps leave free."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.block import Block
from systola.hw.interfaces import ScratchpadReadSignature, asked_bank
from systola.hw.latencies import SCRATCHPAD_READ_LATENCY_CYCLES, SWAP_INTERVAL_CYCLES, table_flush_cycles
from systola.hw.params import Params
from systola.hw.vector.layout import parameter_layout, request_layout, step_layout
from systola.hw.vector.table import table_cycles

__all__ = ["Fetch", "RequestBuffer"]


class RequestBuffer(Block):
    """Two requests: the walker moves on without knowing in the same cycle whether a bank refuses.

    A request that enters in cycle n is seen at ``o`` in cycle n + 1 or later. ``i.ready`` is a register.
    """

    def __init__(self, params: Params) -> None:
        layout = cast("Any", request_layout(params))
        self._layout = layout
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """An output register, and a spare one that is filled when the output is held up."""
        m = Module()
        spare, spare_valid = Signal(self._layout), Signal()
        moves = Signal()
        m.d.comb += [self.i.ready.eq(~spare_valid), moves.eq(~self.o.valid | self.o.ready)]
        with m.If(moves):
            m.d.sync += [self.o.valid.eq(spare_valid | self.i.valid), spare_valid.eq(0)]
            with m.If(spare_valid):
                m.d.sync += self.o.payload.eq(spare)
            with m.Elif(self.i.valid):
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [spare.eq(self.i.payload), spare_valid.eq(1)]
        return m


class Fetch(Block):
    """Issues steps and parameter words, and hands each on with its word.

    ``requests``: steps; one is issued when its word's read is accepted (at once where there is none), its output has room
    (``room``), SWAP_INTERVAL_CYCLES have passed since the last swap where it swaps, ``vector_word_cycles`` since the last output
    where it swaps or completes one, and no look-up is under way.
    ``issued``, ``issued_emit``: a step is issued in this cycle; it completes an output.
    ``pacing``: no step is issued because of a look-up; ``flushing``: it was the last of its table. ``requantizing``: the step
    waits because the output before it takes several cycles. ``refused``: a bank refused in this cycle. ``pad_value``: what
    padding steps get for a word.
    ``parameters``, ``address``: parameter words to read.
    ``early_begin``: the step that begins an instruction is a cycle before ``step``.
    ``step_valid``, ``step``, ``word``: the step and its word, SCRATCHPAD_READ_LATENCY_CYCLES after it was issued.
    ``parameter_valid``, ``parameter``: likewise of a parameter word. The two may share a cycle if the step's ``read`` is 0.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self._table_cycles = table_cycles(params)
        super().__init__({
            "read": Out(ScratchpadReadSignature(params)),
            "requests": In(stream.Signature(cast("Any", request_layout(params)))),
            "room": In(1),
            "issued": Out(1),
            "issued_emit": Out(1),
            "pacing": Out(1),
            "flushing": Out(1),
            "requantizing": Out(1),
            "pad_value": In(8),
            "refused": Out(1),
            "parameters": In(stream.Signature(cast("Any", parameter_layout(params)))),
            "address": In(params.scratchpad_address_bits),
            "early_begin": Out(1),
            "step_valid": Out(1),
            "step": Out(step_layout(params)),
            "word": Out(8 * params.lanes),
            "parameter_valid": Out(1),
            "parameter": Out(parameter_layout(params)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Arbiter, then two delay lines as long as the scratchpad's latency."""
        m = Module()
        request, step = self.requests.payload, self.requests.payload.step
        allowed, wants, granted, locked = Signal(), Signal(), Signal(), Signal()

        def free(address: Value) -> Value:
            return self.read.free.bit_select(address[: exact_log2(self._params.banks)], 1)

        swapping = self._after(m, self.issued & step.swap, SWAP_INTERVAL_CYCLES - 1, "swap")
        self._pace(m)
        self._requantize(m)
        m.d.comb += [
            allowed.eq(
                self.requests.valid & ~self.pacing & ~self.requantizing
                & (self.room | ~step.emit) & (~swapping | ~step.swap)
            ),
            # A parameter word that was refused keeps the port: requests are held until accepted.
            granted.eq(~locked),
            wants.eq(allowed & step.read),
            self.issued.eq(allowed & (~step.read | (granted & free(request.address)))),
            self.issued_emit.eq(self.issued & step.emit),
            self.requests.ready.eq(self.issued),
            self.parameters.ready.eq((locked | ~wants) & free(self.address)),
            self.read.valid.eq(wants | self.parameters.valid),
            self.read.address.eq(Mux(wants & granted, request.address, self.address)),
            self.read.request.eq(
                asked_bank(self._params, wants & granted, request.address)
                | asked_bank(self._params, self.parameters.valid & ~(wants & granted), self.address)
            ),
            self.refused.eq(self.read.valid & ~self.read.ready),
        ]
        m.d.sync += locked.eq(self.parameters.valid & (locked | ~wants) & ~self.read.ready)
        steps = _delay_line(m, self.issued, step, step_layout(self._params), "step")
        words = _delay_line(
            m, self.parameters.valid & self.parameters.ready, self.parameters.payload, parameter_layout(self._params), "parameter"
        )
        m.d.comb += [
            self.early_begin.eq(steps[-2][0] & steps[-2][1].begin),
            self.step_valid.eq(steps[-1][0]),
            self.step.eq(steps[-1][1]),
            self.word.eq(Mux(steps[-1][1].read, self.read.data, self.pad_value.replicate(self._params.lanes))),
            self.parameter_valid.eq(words[-1][0]),
            self.parameter.eq(words[-1][1]),
        ]
        return m

    def _pace(self, m: Module) -> None:
        """After a table step, waits for its look-up; after the last one also for the pipeline behind it."""
        step = self.requests.payload.step
        longest = self._table_cycles - 1 + table_flush_cycles(self._params)
        pace = Signal(range(longest + 1))
        with m.If(self.issued & step.table):
            m.d.sync += [
                pace.eq(Mux(step.release, longest, self._table_cycles - 1)),
                self.pacing.eq(step.release | (self._table_cycles > 1)),
                self.flushing.eq(step.release),
            ]
        with m.Elif(self.pacing):
            m.d.sync += [pace.eq(pace - 1), self.pacing.eq(pace != 1)]
        with m.Else():
            m.d.sync += self.flushing.eq(0)

    def _requantize(self, m: Module) -> None:
        """After a step that completes an output, those wait that complete another or change what it is requantized with."""
        cycles, step = self._params.vector_word_cycles, self.requests.payload.step
        if cycles > 1:
            occupied = self._after(m, self.issued_emit, cycles - 1, "requantize")
            m.d.comb += self.requantizing.eq(self.requests.valid & occupied & (step.emit | step.swap))

    @staticmethod
    def _after(m: Module, event: Value, cycles: int, name: str) -> Signal:
        """A register that is 1 in the ``cycles`` cycles after an event: nothing is compared in the cycle that asks."""
        left, active = Signal(range(cycles + 1), name=f"{name}_left"), Signal(name=f"{name}_active")
        with m.If(event):
            m.d.sync += [left.eq(cycles), active.eq(1)]
        with m.Elif(active):
            m.d.sync += [left.eq(left - 1), active.eq(left != 1)]
        return active


def _delay_line(m: Module, valid: Any, payload: Any, layout: data.StructLayout, name: str) -> list[tuple[Any, Any]]:
    """``valid`` and ``payload`` 0 … SCRATCHPAD_READ_LATENCY_CYCLES cycles later; payloads stay where nothing is valid."""
    line = [(valid, payload)]
    for cycle in range(1, SCRATCHPAD_READ_LATENCY_CYCLES + 1):
        next_valid, next_payload = Signal(name=f"{name}_valid_{cycle}"), Signal(layout, name=f"{name}_{cycle}")
        m.d.sync += next_valid.eq(line[-1][0])
        with m.If(line[-1][0]):
            m.d.sync += next_payload.eq(line[-1][1])
        line.append((next_valid, next_payload))
    return line
