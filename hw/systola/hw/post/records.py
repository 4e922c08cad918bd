"""The requantization records of one block, as loaded: a register set that stage A copies from at a swap."""

from __future__ import annotations

from typing import Any, cast

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, Signature

from systola.hw.isa import RECORD, RECORD_BYTES

__all__ = ["RecordLoadSignature", "RecordSet", "record_words"]


def record_words(lanes: int, word_bytes: int) -> int:
    """Words of ``word_bytes`` bytes that the records of ``lanes`` channels take."""
    return -(-lanes * RECORD_BYTES // word_bytes)


class RecordLoadSignature(Signature):
    """A word of records; seen from its source.

    In a cycle with ``valid``, ``data`` is word number ``index`` of a block's records.
    """

    def __init__(self, lanes: int, word_bytes: int) -> None:
        super().__init__({
            "valid": Out(1),
            "index": Out(range(max(2, record_words(lanes, word_bytes)))),
            "data": Out(8 * word_bytes),
        })


def _layout(multiplier_bits: int) -> data.StructLayout:
    return data.StructLayout({"bias": signed(32), "multiplier": multiplier_bits, "shift": 6})


class RecordSet(Component):
    """Records of ``lanes`` channels, loaded a word at a time.

    ``records[lane]`` has ``bias``, ``multiplier`` and ``shift``; a word loaded in cycle n is seen from cycle n + 1.
    """

    load: Any
    records: Any

    def __init__(self, lanes: int, word_bytes: int, multiplier_bits: int) -> None:
        self._lanes, self._word_bytes, self._multiplier_bits = lanes, word_bytes, multiplier_bits
        super().__init__({
            "load": In(RecordLoadSignature(lanes, word_bytes)),
            "records": Out(cast("Any", data.ArrayLayout(_layout(multiplier_bits), lanes))),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The registers, and a write for each word."""
        m = Module()
        layout = _layout(self._multiplier_bits)
        stored: list[Any] = [Signal(layout, name=f"record_{lane}", reset_less=True) for lane in range(self._lanes)]
        m.d.comb += self.records.eq(Cat(*(record.as_value() for record in stored)))
        for index in range(record_words(self._lanes, self._word_bytes)):
            with m.If(self.load.valid & (self.load.index == index)):
                m.d.sync += self._written(stored, index)
        return m

    def _written(self, stored: list[Any], index: int) -> list[Any]:
        """What word ``index`` holds. No field straddles words: a word is 4 bytes or more and a field lies in one half record."""
        assignments = []
        for lane, record in enumerate(stored):
            offset_bits = 8 * (RECORD_BYTES * lane - self._word_bytes * index)
            for field in RECORD[:3]:
                if 0 <= offset_bits < 8 * self._word_bytes:
                    target = record[field.name]
                    width_bits = len(target)
                    assignments.append(target.eq(self.load.data[offset_bits : offset_bits + width_bits]))
                offset_bits += field.width_bits
        return assignments
