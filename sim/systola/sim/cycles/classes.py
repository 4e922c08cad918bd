"""The class of each engine in each cycle, as the counters have it."""

from __future__ import annotations

from systola.hw.registers import CycleClass
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = ["CLASS_COUNT", "CLEARING_CYCLES", "enter_class", "reported_class", "settle_class"]

CLASS_COUNT = 16

CLEARING_CYCLES = 16
"""The first cycles are IDLE for every engine: the counters are being cleared (``systola.hw.counters``)."""

IDLE, WAIT_LOAD = int(CycleClass.IDLE), int(CycleClass.WAIT_LOAD)
DRAM_LATENCY, DRAM_BANDWIDTH = int(CycleClass.DRAM_LATENCY), int(CycleClass.DRAM_BANDWIDTH)


@jit
def reported_class(own: int, blocked_engine: int, moving: bool, now: int) -> int:
    """What is counted for an engine of class ``own`` whose next instruction waits for ``blocked_engine`` (−1: for none), while
    the bus ``moving``."""
    if now < CLEARING_CYCLES:
        return IDLE
    if own == IDLE and blocked_engine >= 0:
        return WAIT_LOAD + blocked_engine
    if own == DRAM_LATENCY and moving:
        return DRAM_BANDWIDTH
    return own


@jit
def settle_class(m: Record, engine: int, now: int) -> None:
    """Count the cycles before ``now`` for the class that the engine is in."""
    m.classes[engine, m.class_now[engine]] += now - m.class_since[engine]
    m.class_since[engine] = now


@jit
def enter_class(m: Record, engine: int, kind: int, now: int) -> None:
    """From cycle ``now`` on the engine is of class ``kind``."""
    if m.class_now[engine] != kind:
        settle_class(m, engine, now)
        m.class_now[engine] = kind
