"""The signatures between the parts of a board."""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, Signature

__all__ = ["BurstSignature", "WordSignature"]


class WordSignature(Signature):
    """Accesses to 32-bit words, one after the other; seen from who asks.

    ``valid`` and what is asked are held until ``done``, which is 1 for one cycle; ``read_data`` is valid in it. In the cycle
    after it the next access may be asked for. ``address`` is in bytes, a multiple of 4.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            "valid": Out(1), "write": Out(1), "address": Out(address_bits), "write_data": Out(32),
            "done": In(1), "read_data": In(32),
        })  # fmt: skip


class BurstSignature(Signature):
    """Bursts to a memory, one after the other; seen from who asks.

    A burst is taken in a cycle with ``valid`` and ``ready``: ``length`` + 1 beats of ``data_bytes`` bytes from the byte
    ``address`` on, a multiple of them. Then as many beats move over ``write`` (``data`` and a ``strobe`` for each byte) or over
    ``read``. No other burst is taken before they have.
    """

    def __init__(self, address_bits: int, data_bytes: int) -> None:
        super().__init__({
            "valid": Out(1), "ready": In(1), "is_write": Out(1), "address": Out(address_bits), "length": Out(8),
            "write_valid": Out(1), "write_ready": In(1), "write_data": Out(8 * data_bytes), "write_strobe": Out(data_bytes),
            "read": In(stream.Signature(unsigned(8 * data_bytes))),
        })  # fmt: skip
