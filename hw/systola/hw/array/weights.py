"""The weight loader: fetches weight tiles, one ahead of the array."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES, ScratchpadReadSignature, instruction_layout
from systola.hw.isa import Opcode
from systola.hw.loops import LoopLevel, LoopNest
from systola.hw.params import Params

__all__ = ["WeightLoader"]


class WeightLoader(Component):
    """Requests the words of each tile of an instruction in turn, then of the next instruction.

    A tile's first word is requested in the cycle in which the tile before it is swapped in, or later; ``tile_ready`` is 1
    from the cycle after its last word was accepted until (and in) the cycle in which it is swapped in itself.

    Members
    -------
    instruction : In(stream), taken when the words of the one before are all requested; requests start in the next cycle
    weights : Out(ScratchpadReadSignature)
    swap : In(1), the first pixel of a pass is issued in this cycle; only while ``tile_ready``
    tile_ready : Out(1)
    select : Out(weight_tile_words), bit k: ``weights.data`` is word k of the tile in this cycle
    """

    instruction: Any
    weights: Any
    swap: Signal
    tile_ready: Signal
    select: Signal

    def __init__(self, params: Params) -> None:
        self.words = params.weight_tile_words
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(Opcode.ARRAY)))),
            "weights": Out(ScratchpadReadSignature(params)),
            "swap": In(1),
            "tile_ready": Out(1),
            "select": Out(self.words),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A nest of tiles, a ring of words, and the pipeline that tells which word arrives."""
        m = Module()
        m.submodules.tiles = tiles = LoopNest([LoopLevel(n, b) for n, b in (("n", 16), ("ky", 8), ("kx", 8), ("kb", 16))], [])
        word = Signal(self.words, init=1)  # one bit: the next word of the tile
        accepted = Signal()
        m.d.comb += [
            self.weights.valid.eq(tiles.active & (~self.tile_ready | self.swap)),
            accepted.eq(self.weights.valid & self.weights.ready),
            tiles.advance.eq(accepted & word[-1]),
            self.instruction.ready.eq(~tiles.active | (tiles.advance & tiles.done)),
            tiles.load.eq(self.instruction.valid & self.instruction.ready),
        ]
        fields = self.instruction.payload
        m.d.comb += [tiles.counts[level.name].eq(fields[f"count_{level.name}"]) for level in tiles.levels]
        with m.If(accepted):
            m.d.sync += [word.eq(word.rotate_left(1)), self.weights.address.eq(self.weights.address + 1)]
        with m.If(tiles.load):
            m.d.sync += self.weights.address.eq(fields.weight_address)
        with m.If(accepted & word[-1]):
            m.d.sync += self.tile_ready.eq(1)
        with m.Elif(self.swap):
            m.d.sync += self.tile_ready.eq(0)
        m.d.comb += self.select.eq(self._arrival(m, Mux(accepted, word, 0)))
        return m

    def _arrival(self, m: Module, requested: Value) -> Value:
        """The accepted word, when its data is there."""
        line = Signal(SCRATCHPAD_READ_LATENCY_CYCLES * self.words)
        m.d.sync += line.eq(Cat(requested, line))
        return line[-self.words :]
