"""Where the pixels under way will be written."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from systola.hw.post.queue import BLOCK_MEMORY

__all__ = ["DESTINATION_LATENCY_CYCLES", "DestinationQueue"]

DESTINATION_LATENCY_CYCLES = 3
"""A destination that enters an empty queue in cycle n can be read in cycle n + 3: memory, its output, output register."""


class DestinationQueue(Component):
    """A queue in block memory with a register behind it: the scratchpad decides on a write by its address, and a block memory's
    output comes too late in a cycle for that. The cycle more is no delay: a pixel takes longer to be requantized.

    ``put``: ``entry`` enters; ``depth`` at most, a power of two, are in the queue. ``head``: the oldest, from
    DESTINATION_LATENCY_CYCLES after it entered on. ``take``: it leaves; only where it is there.
    """

    put: Signal
    entry: Signal
    take: Signal
    head: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._depth = depth
        super().__init__({"put": In(1), "entry": In(width), "take": In(1), "head": Out(width)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Memory, the word at its output, the register; the memory is empty where the pointers, a bit longer, are the same."""
        m = Module()
        memory = Memory(shape=len(self.entry), depth=self._depth, init=[], attrs=BLOCK_MEMORY)
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        entered, left = Signal(range(2 * self._depth)), Signal(range(2 * self._depth))
        fetched, present = Signal(), Signal()  # at the memory's output; in the register
        fetch, advance = Signal(), Signal()
        m.d.comb += [
            advance.eq(~present | self.take),
            fetch.eq((entered != left) & (~fetched | advance)),
            write.addr.eq(entered),
            write.data.eq(self.entry),
            write.en.eq(self.put),
            read.addr.eq(left),
            read.en.eq(fetch),
        ]
        with m.If(self.put):
            m.d.sync += entered.eq(entered + 1)
        with m.If(fetch):
            m.d.sync += left.eq(left + 1)
        with m.If(advance):
            m.d.sync += [present.eq(fetched), self.head.eq(read.data)]
        with m.If(fetch | advance):
            m.d.sync += fetched.eq(fetch)
        return m
