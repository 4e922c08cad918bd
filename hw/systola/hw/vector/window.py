"""The multiply-add lanes: from words to sums, a step a cycle, never stalling."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.latencies import WINDOW_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.vector.layout import slots, step_layout
from systola.hw.vector.product import product_in_logic

__all__ = ["Window", "sum_bits"]

_CODE_BITS = 8
_FACTOR_BITS = 9  # a − zero_in, b − zero_operand: −255 … 255
_WINDOW_POSITIONS = 255 * 255  # the largest window that an instruction can name
_WINDOW_ROWS = 255


def sum_bits(params: Params, slot: int) -> int:
    """Bits of the partial sum of ``slot``: the largest |sum| of SUM, 255 a position, or of DEPTHWISE, 255 · 128 a weight held.

    Only in column mode is there one before the last slot, and then of as many columns at most as there are slots up to it.
    """
    columns = slot + 1
    if columns == slots(params):
        largest = max(255 * _WINDOW_POSITIONS, 255 * 128 * params.tap_entries)
    else:
        largest = columns * max(255 * _WINDOW_ROWS, 255 * 128 * params.config.vector.tap_depth)
    return largest.bit_length() + 1


class Window(Block):
    """Factors, products and partial sums of ``lanes`` lanes.

    ``i_valid``, ``i_step``, ``i_word``: a step and its word. ``zero_in``, ``zero_factor``: sampled a cycle later; of a maximum
    ``zero_in`` is −128: its factors, and so its sums, are then codes + 128, never negative.
    ``weights``: the row of weights of the step, a cycle later (``column`` then selects the last tap's).
    ``operand_valid``, ``operand``: a second operand for stage B, a cycle after it came in.
    ``swap``: WINDOW_LATENCY_CYCLES − 1 cycles after a step that swaps, so a cycle before its sum.
    ``parameters_taken``: a cycle after the swap to a new set of records.
    ``o_valid``, ``o_sums``: the sums, int32, WINDOW_LATENCY_CYCLES after the step that completes them, for one cycle.
    ``busy``: a step is inside.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        layout = step_layout(params)
        word_bits = 8 * params.lanes
        super().__init__({
            "i_valid": In(1),
            "i_step": In(layout),
            "i_word": In(word_bits),
            "zero_in": In(signed(8)),
            "zero_factor": In(signed(8)),
            "weights": In(word_bits * slots(params)),
            "column": Out(layout["column"].shape),
            "operand_valid": Out(1),
            "operand": Out(word_bits),
            "swap": Out(1),
            "parameters_taken": Out(1),
            "o_valid": Out(1),
            "o_sums": Out(32 * params.lanes),
            "busy": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The steps' way, then each lane."""
        m = Module()
        valid = [self.i_valid, *(Signal(name=f"valid_{cycle}") for cycle in range(1, WINDOW_LATENCY_CYCLES + 1))]
        step: list[Any] = [self.i_step]
        step += [Signal.like(self.i_step, name=f"step_{cycle}", reset_less=True) for cycle in range(1, WINDOW_LATENCY_CYCLES + 1)]
        for cycle in range(WINDOW_LATENCY_CYCLES):
            m.d.sync += valid[cycle + 1].eq(valid[cycle])
            with m.If(valid[cycle]):
                m.d.sync += step[cycle + 1].eq(step[cycle])
        word = Signal.like(self.i_word, reset_less=True)
        with m.If(valid[0]):
            m.d.sync += word.eq(self.i_word)
        sums = [self._lane(m, lane, word, valid, step) for lane in range(self._params.lanes)]
        m.d.comb += [
            self.column.eq(step[1].column),
            self.operand_valid.eq(valid[1] & step[1].operand & ~step[1].multiply),
            self.operand.eq(word),
            self.swap.eq(valid[3] & step[3].swap),
            self.parameters_taken.eq(valid[4] & step[4].parameters & ~step[4].table),
            self.o_valid.eq(valid[4] & step[4].emit),
            *(self.o_sums.word_select(lane, 32).eq(total) for lane, total in enumerate(sums)),
            self.busy.eq(Cat(valid[1:]).any()),
        ]
        return m

    def _lane(self, m: Module, lane: int, word: Signal, valid: list[Signal], step: list[Any]) -> Signal:
        """One lane's partial sums; returns the last."""
        code = word.word_select(lane, 8).as_signed()
        distance = Signal(signed(_FACTOR_BITS), name=f"distance_{lane}")
        factor = Signal(signed(_FACTOR_BITS), name=f"factor_{lane}", reset_less=True)
        m.d.comb += distance.eq(code - Mux(step[1].operand, self.zero_factor, self.zero_in))
        with m.If(valid[1] & ~step[1].operand):
            m.d.sync += factor.eq(distance)
        partial: list[Signal] = []
        for slot in range(slots(self._params)):
            product = self._product(m, lane, slot, distance, factor, valid, step)
            total = Signal(signed(sum_bits(self._params, slot)), name=f"sum_{slot}_{lane}", reset_less=True)
            before: Value = Mux(step[3].shift, partial[slot - 1], total) if slot else total
            enable = valid[3] & step[3].active[slot]
            if slot:
                combined = _combined(m, before, product, step[3].fresh[slot], step[3].maximum, f"{slot}_{lane}")
            else:
                # No slot before it: the larger of two codes is the sum as it is, or the product alone.
                combined = Mux(step[3].fresh[slot] | step[3].maximum, 0, before) + product
                enable = enable & (step[3].fresh[slot] | ~step[3].maximum | _larger(product, before))
            with m.If(enable):
                m.d.sync += total.eq(combined)
            partial.append(total)
        return partial[-1]

    def _product(
        self, m: Module, lane: int, slot: int, distance: Signal, factor: Signal, valid: list[Signal], step: list[Any]
    ) -> Signal:
        """The factor times a weight, the second operand's distance (last slot) or one."""
        name = f"{slot}_{lane}"
        active = valid[2] & step[2].active[slot]
        if not self._params.taps:
            product = Signal.like(factor, name=f"product_{name}", reset_less=True)
            with m.If(active):
                m.d.sync += product.eq(factor)
            return product
        last = slot == slots(self._params) - 1
        weight = Signal(signed(_FACTOR_BITS if last else 8), name=f"weight_{name}", reset_less=True)
        stored = self.weights.word_select(slot * self._params.lanes + lane, 8).as_signed()
        product = Signal(signed(_FACTOR_BITS + len(weight)), name=f"product_{name}", reset_less=True)
        with m.If(valid[1] & step[1].active[slot]):
            m.d.sync += weight.eq(Mux(step[1].multiply, distance, stored) if last else stored)
            with m.If(~step[1].weighted & ~step[1].multiply if last else ~step[1].weighted):
                m.d.sync += weight.eq(1)
        with m.If(active):
            m.d.sync += product.eq(product_in_logic(factor, weight) if self._params.taps_in_logic else factor * weight)
        return product


def _larger(product: Value, before: Value) -> Value:
    """Of a maximum, whose codes are not negative: the new one is the larger. By a sign, which takes one carry chain."""
    return (before[:_CODE_BITS] - product[:_CODE_BITS])[-1]


def _combined(m: Module, before: Value, product: Signal, fresh: Value, maximum: Value, name: str) -> Value:
    """Partial sum (or larger code) and product; only the product where the sum is fresh.

    Of a maximum, the sum is the code before; the larger new one takes its place behind the adder, so that no comparison is
    before an addition. Bits above a code's are 0 in both.
    """
    compared, total = Signal(name=f"compared_{name}"), Signal.like(before, name=f"total_{name}")
    added = Cat(Mux(compared, 0, product[:_CODE_BITS]), product[_CODE_BITS:]).as_signed()
    m.d.comb += [compared.eq(maximum & ~fresh), total.eq(Mux(fresh, 0, before) + added)]
    replaced = compared & _larger(product, before)
    return Cat(Mux(replaced, product[:_CODE_BITS], total[:_CODE_BITS]), total[_CODE_BITS:])
