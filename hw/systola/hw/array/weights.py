"""The weight loader: fetches weight tiles, one ahead of the array."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES, ScratchpadReadSignature, asked_bank, instruction_layout
from systola.hw.isa import Opcode
from systola.hw.params import Params

__all__ = ["WeightLoader"]


class WeightLoader(Component):
    """Requests the words of each tile of an instruction in turn, then of the next instruction.

    A tile's first word is requested in the cycle in which the tile before it is swapped in, or later; ``tile_ready`` is 1
    from the cycle after its last word was accepted until (and in) the cycle in which it is swapped in itself.

    The loader does not count tiles. It is a pass ahead of the pixels, which know in which pass they are: as a tile is swapped in,
    they say whether the next one is the instruction's last. Only its first tile has no tile before it to say so.

    Members
    -------
    instruction : In(stream), taken when the words of the one before are all requested; requests start in the next cycle
    lone : In(1), the instruction has one tile; valid in the cycle after it was taken
    weights : Out(ScratchpadReadSignature)
    swap : In(1), the first pixel of a pass is issued in this cycle; only while ``tile_ready``
    final, next_final : In(1), with ``swap``: that pass is the last of its instruction; if it is not, the next one is
    tile_ready : Out(1)
    select : Out(weight_tile_words), bit k: ``weights.data`` is word k of the tile in this cycle
    """

    instruction: Any
    lone: Signal
    weights: Any
    swap: Signal
    final: Signal
    next_final: Signal
    tile_ready: Signal
    select: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        self.words = params.weight_tile_words
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(Opcode.ARRAY)))),
            "lone": In(1),
            "weights": Out(ScratchpadReadSignature(params)),
            "swap": In(1),
            "final": In(1),
            "next_final": In(1),
            "tile_ready": Out(1),
            "select": Out(self.words),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Whether a tile is to be requested, a ring of its words, and the pipeline that tells which word arrives."""
        m = Module()
        active, last_tile = Signal(), Signal()  # a tile is to be requested; it is its instruction's last
        word = Signal(self.words, init=1)  # one bit: the next word of the tile
        accepted, ends, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            self.weights.valid.eq(active & (~self.tile_ready | self.swap)),
            self.weights.request.eq(asked_bank(self.params, self.weights.valid, self.weights.address)),
            accepted.eq(self.weights.valid & self.weights.ready),
            ends.eq(accepted & word[-1]),
            self.instruction.ready.eq(~active | (ends & last_tile)),
            taken.eq(self.instruction.valid & self.instruction.ready),
        ]
        with m.If(self.instruction.ready):
            m.d.sync += active.eq(self.instruction.valid)
        self._foresee(m, taken, last_tile)
        with m.If(accepted):
            m.d.sync += [word.eq(word.rotate_left(1)), self.weights.address.eq(self.weights.address + 1)]
        with m.If(taken):
            m.d.sync += self.weights.address.eq(self.instruction.payload.weight_address)
        with m.If(ends):
            m.d.sync += self.tile_ready.eq(1)
        with m.Elif(self.swap):
            m.d.sync += self.tile_ready.eq(0)
        m.d.comb += self.select.eq(self._arrival(m, word & accepted.replicate(self.words)))
        return m

    def _foresee(self, m: Module, taken: Signal, last_tile: Signal) -> None:
        """Whether the tile that is requested is the last: known before its last word is, as a tile has 4 words or more.

        When an instruction is taken, all tiles before its own were requested, and all but the last swapped in: the swap that is
        left is that of a final pass, and says nothing of this instruction.
        """
        was_taken = Signal()
        m.d.sync += was_taken.eq(taken)
        with m.If(was_taken):
            m.d.sync += last_tile.eq(self.lone)
        with m.Elif(self.swap & ~self.final):
            m.d.sync += last_tile.eq(self.next_final)

    def _arrival(self, m: Module, requested: Value) -> Value:
        """The accepted word, when its data is there."""
        line = Signal(SCRATCHPAD_READ_LATENCY_CYCLES * self.words)
        m.d.sync += line.eq(Cat(requested, line))
        return line[-self.words :]
