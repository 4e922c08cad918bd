"""The vector engine's way out: results wait here for the write port, their place reserved when their last step is issued."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import ScratchpadWriteSignature, asked_bank
from systola.hw.latencies import VECTOR_OUTPUT_PLACES
from systola.hw.params import Params
from systola.hw.post import BlockQueue, RegisteredQueue

__all__ = ["OutputQueue"]


class OutputQueue(Block):
    """Places for VECTOR_OUTPUT_PLACES results.

    ``reserve``, ``destination``, ``final``: a result is under way to that word; it is its instruction's last. Only while
    ``room``. ``valid``, ``word``: the results, in the order of their places. ``write``: the scratchpad. ``retire``: the last
    result of an instruction is accepted in this cycle. ``empty``: no place is reserved.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "reserve": In(1),
            "destination": In(params.scratchpad_address_bits),
            "final": In(1),
            "room": Out(1, init=1),
            "empty": Out(1, init=1),
            "valid": In(1),
            "word": In(8 * params.lanes),
            "write": Out(ScratchpadWriteSignature(params)),
            "retire": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A queue of places, a queue of words, and a count of places."""
        m = Module()
        m.submodules.places = places = RegisteredQueue(width=1 + len(self.destination), depth=VECTOR_OUTPUT_PLACES)
        m.submodules.words = words = BlockQueue(width=len(self.word), depth=VECTOR_OUTPUT_PLACES)
        count, written = Signal(range(VECTOR_OUTPUT_PLACES + 1)), Signal()
        m.d.comb += [
            places.w_en.eq(self.reserve),
            places.w_data[0].eq(self.final),
            places.w_data[1:].eq(self.destination),
            words.w_en.eq(self.valid),
            words.w_data.eq(self.word),
            self.write.valid.eq(words.r_rdy),
            self.write.data.eq(words.r_data),
            self.write.address.eq(places.r_data[1:]),
            self.write.request.eq(asked_bank(self._params, self.write.valid, self.write.address)),
            self.write.mask.eq(-1),
            written.eq(self.write.valid & self.write.ready),
            words.r_en.eq(written),
            places.r_en.eq(written),
            self.retire.eq(written & places.r_data[0]),
        ]
        # Whether a write is accepted is known late in a cycle: it only chooses.
        with m.If(self.reserve & ~written):
            m.d.sync += [count.eq(count + 1), self.room.eq(count != VECTOR_OUTPUT_PLACES - 1), self.empty.eq(0)]
        with m.Elif(written & ~self.reserve):
            m.d.sync += [count.eq(count - 1), self.room.eq(1), self.empty.eq(count == 1)]
        return m
