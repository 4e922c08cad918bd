"""Waiting for the memory: for its answer, or for its turn."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import cycle_class_shape
from systola.hw.isa import Engine
from systola.hw.params import Params
from systola.hw.registers import CycleClass

__all__ = ["BUS_ENGINES", "MemoryWaits"]

BUS_ENGINES = (Engine.LOAD, Engine.STORE)


class MemoryWaits(Block):
    """Parts the cycles in which an engine waits for the memory.

    ``beats``: bits that are 1 in a cycle in which a data beat moved (of any user, either way; a cycle or two late does no harm).
    ``load_own``, ``store_own``: the engines' classes, DRAM_LATENCY for any wait for bus or memory. ``load_class``,
    ``store_class``: the same in the same cycle, but DRAM_BANDWIDTH in its place where a beat moved in this cycle or one of the
    ``bus_bytes − 1`` before it. So a memory that moves a byte a cycle or more, a beat every ``bus_bytes`` cycles, is told from
    one that has yet to answer. After a transfer's last beat, ``bus_bytes − 1`` cycles of waiting still count as bandwidth.
    """

    def __init__(self, params: Params) -> None:
        self._window_cycles = params.bus_bytes
        super().__init__({
            "beats": In(2),
            **{f"{engine.name.lower()}_own": In(cycle_class_shape) for engine in BUS_ENGINES},
            **{f"{engine.name.lower()}_class": Out(cycle_class_shape) for engine in BUS_ENGINES},
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A counter of the cycles for which the bus still counts as moving."""
        m = Module()
        left, moving = Signal(range(self._window_cycles)), Signal()
        m.d.comb += moving.eq(self.beats.any() | (left != 0))
        with m.If(self.beats.any()):
            m.d.sync += left.eq(self._window_cycles - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        for own, seen in ((self.load_own, self.load_class), (self.store_own, self.store_class)):
            waits = moving & (own == CycleClass.DRAM_LATENCY)
            m.d.comb += seen.eq(Mux(waits, CycleClass.DRAM_BANDWIDTH, own))
        return m
