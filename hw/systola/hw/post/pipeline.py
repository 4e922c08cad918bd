"""Stage A followed by stage B, configured by one instruction."""

from __future__ import annotations

from typing import Any, cast

from amaranth import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from systola.hw.post.records import RecordLoadSignature
from systola.hw.post.split import Joiner, Splitter
from systola.hw.post.stage_a import StageA, stage_a_layout
from systola.hw.post.stage_b import StageB, stage_b_layout

__all__ = ["PostPipeline", "connect_post_config", "post_config_layout"]

post_config_layout = data.StructLayout({
    name: field.shape for layout in (stage_a_layout, stage_b_layout) for name, field in layout
})
"""``stage_a`` (0: the sums are codes + 128 and skip it) and the instruction's fields of these names."""


def connect_post_config(config: Any, instruction: Any, stage_a: Any) -> list[Any]:
    """Assignments of an instruction's fields to a ``post_config_layout``."""
    fields = [config[name].eq(instruction[name]) for name, _ in post_config_layout if name != "stage_a"]
    return [config.stage_a.eq(stage_a), *fields]


class PostPipeline(Component):
    """Sums to codes through both stages, ``lanes_at_once`` in a cycle, without a stall.

    ``load``, ``swap``, ``i_valid``, ``i_sums``, ``i_meta``: as StageA, of all ``lanes``; ``config`` is taken at ``swap``. A word
    takes ``lanes / lanes_at_once`` cycles: the next word, or a swap's effect on it, comes that much later or after that.
    ``i_operand``: the second operand of the word that entered STAGE_A_LATENCY_CYCLES before; ``operand_take`` is 1 in the
    cycles in which there is such a word, whether or not its instruction uses the operand (``operand_used``).
    ``o_valid``, ``o_codes``, ``o_meta``: the result, POST_LATENCY_CYCLES after the sums; a cycle later for each cycle more that a
    word takes, and then for one cycle.
    """

    load: Any
    swap: Signal
    config: Any
    i_valid: Signal
    i_sums: Signal
    i_meta: Signal
    i_operand: Signal
    operand_take: Signal
    operand_used: Signal
    o_valid: Signal
    o_codes: Signal
    o_meta: Signal

    def __init__(
        self, lanes: int, word_bytes: int, multiplier_bits: int, meta_bits: int = 0, lanes_at_once: int | None = None
    ) -> None:
        at_once = lanes if lanes_at_once is None else lanes_at_once
        self._parts = lanes // at_once
        self._stage_a = StageA(at_once, word_bytes, multiplier_bits, meta_bits, self._parts)
        self._stage_b = StageB(at_once, multiplier_bits, meta_bits)
        super().__init__({
            "load": In(RecordLoadSignature(lanes, word_bytes)),
            "swap": In(1),
            "config": In(cast("Any", post_config_layout)),
            "i_valid": In(1),
            "i_sums": In(32 * lanes),
            "i_meta": In(meta_bits),
            "i_operand": In(8 * lanes),
            "operand_take": Out(1),
            "operand_used": Out(1),
            "o_valid": Out(1),
            "o_codes": Out(8 * lanes),
            "o_meta": Out(meta_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Connects the stages; stage B's configuration waits for the swap to arrive."""
        m = Module()
        m.submodules.stage_a = a = self._stage_a
        m.submodules.stage_b = b = self._stage_b
        connect(m, flipped(self.load), a.load)
        held: Any = Signal(stage_b_layout, reset_less=True)  # from stage A's swap to stage B's
        with m.If(self.swap):
            m.d.sync += [held[name].eq(self.config[name]) for name, _ in stage_b_layout]
        with m.If(b.swap):
            m.d.sync += self.operand_used.eq(held.stage_b & held.operand)
        m.d.comb += [
            a.swap.eq(self.swap),
            *(a.config[name].eq(self.config[name]) for name, _ in stage_a_layout),
            b.swap.eq(a.o_swap),
            b.config.eq(held),
            b.i_valid.eq(a.o_valid),
            b.i_codes.eq(a.o_codes),
            b.i_meta.eq(a.o_meta),
            self.o_meta.eq(b.o_meta),
        ]
        if self._parts == 1:
            m.d.comb += [
                a.i_valid.eq(self.i_valid),
                a.i_sums.eq(self.i_sums),
                a.i_meta.eq(self.i_meta),
                b.i_operand.eq(self.i_operand),
                self.operand_take.eq(a.o_valid),
                self.o_valid.eq(b.o_valid),
                self.o_codes.eq(b.o_codes),
            ]
        else:
            self._in_parts(m, a, b)
        return m

    def _in_parts(self, m: Module, a: StageA, b: StageB) -> None:
        """Sums and second operands are taken apart, codes put together."""
        m.submodules.sums = sums = Splitter(self._parts, len(a.i_sums))
        m.submodules.operands = operands = Splitter(self._parts, len(b.i_operand))
        m.submodules.codes = codes = Joiner(self._parts, len(b.o_codes))
        part = Signal(range(self._parts))
        if len(self.i_meta):
            meta = Signal.like(self.i_meta, reset_less=True)
            with m.If(self.i_valid):
                m.d.sync += meta.eq(self.i_meta)
            m.d.comb += a.i_meta.eq(Mux(self.i_valid, self.i_meta, meta))
        with m.If(a.o_valid):
            m.d.sync += part.eq(part + 1)
        m.d.comb += [
            sums.i_valid.eq(self.i_valid),
            sums.i_word.eq(self.i_sums),
            a.i_valid.eq(sums.o_valid),
            a.i_sums.eq(sums.o_part),
            a.i_group.eq(sums.o_index),
            self.operand_take.eq(a.o_valid & (part == 0)),
            operands.i_valid.eq(self.operand_take),
            operands.i_word.eq(self.i_operand),
            b.i_operand.eq(operands.o_part),
            codes.i_valid.eq(b.o_valid),
            codes.i_part.eq(b.o_codes),
            self.o_valid.eq(codes.o_valid),
            self.o_codes.eq(codes.o_word),
        ]
