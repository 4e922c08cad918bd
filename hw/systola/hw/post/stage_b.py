"""Stage B: two-slope rescaling of int8 codes and addition of a second operand, ``numerics.elementwise`` lane by lane."""

from __future__ import annotations

from typing import Any, cast

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from systola.hw.isa import INSTRUCTIONS, Opcode
from systola.hw.latencies import STAGE_B_LATENCY_CYCLES
from systola.hw.numerics import INT8_HIGH, INT8_LOW
from systola.hw.post.tail import COARSE_CHOICES, build_tail, copy_limits, delays

__all__ = ["StageB", "stage_b_layout"]

_FIELDS = (
    "zero_a", "stage_b", "multiplier_positive", "multiplier_negative", "multiplier_operand", "shift_b", "zero_operand",
    "zero_b", "low_b", "high_b", "operand",
)  # fmt: skip

stage_b_layout = data.StructLayout({
    f.name: signed(f.width_bits) if f.signed else f.width_bits
    for f in INSTRUCTIONS[Opcode.DRAIN][1]
    if f.name in _FIELDS
})


class StageB(Component):
    """Per-lane rescaling; a word a cycle, ``STAGE_B_LATENCY_CYCLES``, no stall.

    ``i_valid``/``i_codes``/``i_operand``/``i_meta``: a word of ``lanes`` int8 codes, one of second operands, and bits
    that travel with it.
    ``o_valid``/``o_codes``/``o_meta``: the result, STAGE_B_LATENCY_CYCLES later; codes and meta hold still between words.
    ``swap``: words after this cycle use ``config`` as it is in this cycle; swaps are at least SWAP_INTERVAL_CYCLES apart.
    ``config`` has the instruction's fields of these names. Where ``stage_b`` is 0 codes pass unchanged (as a rescaling by
    one); where ``operand`` is 0 the second operand does not matter.
    """

    swap: Signal
    config: Any
    i_valid: Signal
    i_codes: Signal
    i_operand: Signal
    i_meta: Signal
    o_valid: Signal
    o_codes: Signal
    o_meta: Signal

    def __init__(self, lanes: int, multiplier_bits: int, meta_bits: int = 0) -> None:
        self._lanes, self._factor_bits = lanes, multiplier_bits + 1
        super().__init__({
            "swap": In(1),
            "config": In(cast("Any", stage_b_layout)),
            "i_valid": In(1),
            "i_codes": In(8 * lanes),
            "i_operand": In(8 * lanes),
            "i_meta": In(meta_bits),
            "o_valid": Out(1),
            "o_codes": Out(8 * lanes),
            "o_meta": Out(meta_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Valid and swap travel; each lane follows them."""
        m = Module()
        valid = delays(m, self.i_valid, STAGE_B_LATENCY_CYCLES)
        swap = delays(m, self.swap, STAGE_B_LATENCY_CYCLES - 1)
        meta = self.i_meta
        for cycle in range(STAGE_B_LATENCY_CYCLES):
            before, meta = meta, Signal.like(self.i_meta, name=f"meta_{cycle + 1}", reset_less=True)
            with m.If(valid[cycle]):
                m.d.sync += meta.eq(before)
        used = self._used(m, swap)
        totals = [self._total(m, valid, lane, used) for lane in range(self._lanes)]
        shift = used["shift_b"]
        codes = build_tail(m, valid[3:], totals, [(shift["coarse"], shift["fine"])] * self._lanes, used["limits"])
        m.d.comb += [
            self.o_valid.eq(valid[-1]),
            self.o_meta.eq(meta),
            *(self.o_codes.word_select(lane, 8).eq(code) for lane, code in enumerate(codes)),
        ]
        return m

    def _used(self, m: Module, swap: list[Signal]) -> dict[str, Any]:
        """Each parameter, copied a cycle before the step that needs it; those of a stage that does nothing where it is off."""
        bits = self._factor_bits
        held: Any = Signal(stage_b_layout, reset_less=True)
        used: dict[str, Any] = {}

        def copy(name: str, cycle: int, value: Value, shape: Any) -> Signal:
            register = Signal(shape, name=f"used_{name}", reset_less=True)
            with m.If(swap[cycle]):
                m.d.sync += register.eq(value)
            return register

        with m.If(swap[0]):
            m.d.sync += held.eq(self.config)
            with m.If(~self.config.stage_b):
                m.d.sync += held.zero_b.eq(self.config.zero_a), held.low_b.eq(INT8_LOW), held.high_b.eq(INT8_HIGH)
        config = self.config
        for name in ("zero_a", "zero_operand"):
            used[name] = copy(name, 0, config[name], signed(8))
        for name in ("multiplier_positive", "multiplier_negative"):
            used[name] = copy(name, 0, Mux(config.stage_b, config[name], 1), signed(bits))
        factor = Mux(held.stage_b & held.operand, held.multiplier_operand, 0)
        used["multiplier_operand"] = copy("multiplier_operand", 1, factor, signed(bits))
        shift = Mux(held.stage_b, held.shift_b, 0)
        used["shift_b"] = {"coarse": copy("coarse", 3, 1 << shift[4:], COARSE_CHOICES), "fine": copy("fine", 4, shift[:4], 4)}
        used["limits"] = copy_limits(m, swap[5:], held.zero_b, held.low_b, held.high_b)
        return used

    def _total(self, m: Module, valid: list[Signal], lane: int, used: dict[str, Any]) -> Signal:
        """``d · factor of its sign + e · factor`` in three steps."""
        bits = self._factor_bits
        distance = Signal(signed(9), name=f"distance_{lane}")
        d, e = Signal(signed(9), name=f"d_{lane}", reset_less=True), Signal(signed(9), name=f"e_{lane}", reset_less=True)
        slope = Signal(signed(bits), name=f"slope_{lane}", reset_less=True)
        product_d = Signal(signed(9 + bits), name=f"product_d_{lane}", reset_less=True)
        product_e = Signal(signed(9 + bits), name=f"product_e_{lane}", reset_less=True)
        total = Signal(signed(10 + bits), name=f"total_{lane}", reset_less=True)
        m.d.comb += distance.eq(self.i_codes.word_select(lane, 8).as_signed() - used["zero_a"])
        with m.If(valid[0]):
            m.d.sync += [
                d.eq(distance),
                slope.eq(Mux(distance[-1], used["multiplier_negative"], used["multiplier_positive"])),
                e.eq(self.i_operand.word_select(lane, 8).as_signed() - used["zero_operand"]),
            ]
        with m.If(valid[1]):
            m.d.sync += product_d.eq(d * slope), product_e.eq(e * used["multiplier_operand"])
        with m.If(valid[2]):
            m.d.sync += total.eq(product_d + product_e)
        return total
