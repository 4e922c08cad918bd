"""A burst that streams from the memory into the scratchpad, many cycles at once.

In the middle of a burst, where every cycle brings a beat and nothing else moves on the bus, a cycle differs from the one before
it in counts alone.
"""

from __future__ import annotations

from systola.sim.cycles.bursts import binary_log
from systola.sim.cycles.dram import LOAD, RING
from systola.sim.cycles.fork import fork_moves
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = ["stream_cycles", "stream_on"]

_BEAT = 1 | LOAD
"""A read beat of the load engine that is not its burst's last."""


@jit
def stream_cycles(hw: Record, bus: Record, load: Record, now: int, instruction_valid: int) -> int:
    """How many cycles from ``now`` on the load engine takes a beat in each and nothing else moves; 0 where that is not so.

    ``bus`` and ``load`` have ticked in the cycle before; fetch and store have nothing to do. ``instruction_valid``: of load.
    """
    unpack = load.unpack
    if bus.user_beat != _BEAT or bus.bus_beat != _BEAT or bus.spare_beat != 0 or bus.events != 1:
        return 0
    if unpack.active == 0 or unpack.last_place != 0 or load.retiring != 0 or bus.read_beat == 0:
        return 0
    rate = hw.dram_bytes_per_cycle
    if bus.debt_cycle != now - 1 or bus.debt > 2 * rate or hw.bus_bytes > rate:
        return 0
    if bus.reads_requested != bus.reads_held or bus.writes_requested != bus.writes_ended:
        return 0
    if fork_moves(load.fork, instruction_valid, bus.load_in_flight < hw.read_outstanding):
        return 0
    in_burst: int = (bus.read_burst[bus.reads_served & (RING - 1)] >> 1) - bus.read_beat
    in_row: int = (unpack.left << binary_log(unpack.last_part + 1)) + unpack.last_part - unpack.part
    return min(in_burst, in_row)


@jit
def stream_on(hw: Record, bus: Record, load: Record, now: int, cycles: int) -> None:
    """``cycles`` cycles from ``now`` on, 1 or more and at most ``stream_cycles``."""
    unpack = load.unpack
    beats = unpack.part + cycles
    words = beats >> binary_log(unpack.last_part + 1)
    unpack.part = beats & unpack.last_part
    unpack.left -= words
    load.write_address = (load.write_address + words) & (hw.scratchpad_words - 1)
    load.load_writes += words
    load.taken = load.retire = 0
    bus.read_beat += cycles
    bus.read_beats += cycles
    bus.debt = max(hw.bus_bytes, bus.debt - cycles * (hw.dram_bytes_per_cycle - hw.bus_bytes))
    bus.debt_cycle = now + cycles - 1
    load.wake = bus.wake = now + cycles
