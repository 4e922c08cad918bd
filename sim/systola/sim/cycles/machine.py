"""All units, connected as ``systola.hw.accelerator`` connects them, and the loop over a program's cycles.

In a cycle every unit first offers what follows from its registers; then the scratchpad and the bus decide; then every unit
ticks. Units that sleep are passed over, and where nobody but the array moves, it runs ahead on its own.
"""

from __future__ import annotations

from typing import Any

from systola.hw.isa import ENGINES, Engine
from systola.hw.registers import CycleClass
from systola.sim.cycles.array import ARRAY_STATE, array_offer, array_run, array_tick
from systola.sim.cycles.bus import BUS_STATE, bus_grant, bus_offer, bus_tick
from systola.sim.cycles.classes import CLASS_COUNT, CLEARING_CYCLES, enter_class, reported_class, settle_class
from systola.sim.cycles.drain import DRAIN_STATE, drain_offer, drain_tick
from systola.sim.cycles.fetch import FETCH_STATE, fetch_offer, fetch_reset, fetch_tick
from systola.sim.cycles.frontend import FRONTEND_STATE, frontend_offer, frontend_tick
from systola.sim.cycles.jit import jit, jit_inlined
from systola.sim.cycles.load import LOAD_STATE, load_offer, load_reset, load_tick
from systola.sim.cycles.records import NEVER, Record, state_dtype
from systola.sim.cycles.store import STORE_STATE, store_offer, store_reset, store_tick
from systola.sim.cycles.streams import stream_cycles, stream_on
from systola.sim.cycles.vector import VECTOR_STATE, vector_offer, vector_tick

__all__ = ["MACHINE", "run_machine"]

LOAD, ARRAY, DRAIN, VECTOR, STORE = (int(engine) for engine in Engine)
ENGINE_COUNT = len(ENGINES)
IDLE, DRAM_LATENCY = int(CycleClass.IDLE), int(CycleClass.DRAM_LATENCY)
RUN_CLASSES = tuple(int(kind) for kind in (CycleClass.BUSY, CycleClass.WEIGHTS, CycleClass.SETUP, CycleClass.FLUSH))
"""Classes of the cycles that ``array_run`` runs."""

MACHINE = state_dtype(
    "moving_until",  # the last cycle in which the bus counts as moving
    "freed",  # bits: a word leaves the queue in this cycle
    "looked",  # front ends were awake in this cycle
    "ended",  # every stream is at its end
    "frontend_wake",  # the first cycle in which a front end has something to do
    "class_key",  # the engines' own classes when they were looked at last
    # Awake in this cycle
    "memory_awake",
    "array_awake",
    "drain_awake",
    "vector_awake",
    # The scratchpad's answers in this cycle
    "weights_ready",
    "drain_read_ready",
    "vector_read_ready",
    "store_read_ready",
    "vector_write_ready",
    "load_write_ready",
    "logged",
    counts=ENGINE_COUNT,  # instructions finished
    taken=ENGINE_COUNT,  # instructions taken
    was_valid=ENGINE_COUNT,
    class_now=ENGINE_COUNT,
    class_since=ENGINE_COUNT,
    classes=(ENGINE_COUNT, CLASS_COUNT),
    frontends=(FRONTEND_STATE, ENGINE_COUNT),
    load=LOAD_STATE,
    array=ARRAY_STATE,
    drain=DRAIN_STATE,
    vector=VECTOR_STATE,
    store=STORE_STATE,
    fetch=FETCH_STATE,
    bus=BUS_STATE,
)


@jit_inlined
def _memory_wake(m: Record, now: int) -> int:
    """The first cycle, ``now`` or later, in which load, store, fetch or bus has something to do. A request to the scratchpad may
    be granted in any cycle; here and for the other units."""
    if m.load.write_valid | m.store.read_valid:
        return now
    wake: int = min(m.bus.wake, m.fetch.wake, m.load.wake, m.store.wake)
    return wake


@jit_inlined
def _array_wake(m: Record, now: int) -> int:
    wake: int = m.array.wake
    return now if m.array.weights_valid else wake


@jit_inlined
def _drain_wake(m: Record, now: int) -> int:
    wake: int = m.drain.wake
    return now if m.drain.acc_valid | m.drain.read_valid | m.drain.write_valid else wake


@jit_inlined
def _vector_wake(m: Record, now: int) -> int:
    wake: int = m.vector.wake
    return now if m.vector.read_valid | m.vector.write_valid else wake


@jit_inlined
def _offer_frontends(m: Record, now: int, skip: int, headers: Any) -> int:
    """Front ends that are awake offer; bits of the engines whose ``valid`` changed. Nothing changes while all sleep."""
    m.freed = 0
    m.looked = now >= m.frontend_wake or skip == 0
    if m.looked == 0:
        return 0
    changed = 0
    m.ended = 1
    for engine in range(ENGINE_COUNT):
        frontend = m.frontends[engine]
        if now >= frontend.wake or skip == 0:
            frontend_offer(frontend, headers[engine], m.counts)
        if frontend.valid != m.was_valid[engine]:
            m.was_valid[engine] = frontend.valid
            changed |= 1 << engine
        m.freed |= frontend.freed << engine
        m.ended &= frontend.ended | (1 - frontend.has_stream)
    return changed


@jit_inlined
def _wake(m: Record, now: int, skip: int, changed: int) -> None:
    """Which units are awake in this cycle; ``changed``: of ``_offer_frontends``."""
    every = skip == 0
    m.memory_awake = every or changed & (1 << LOAD | 1 << STORE) != 0 or m.freed != 0 or now >= _memory_wake(m, now)
    m.array_awake = every or changed & 1 << ARRAY != 0 or now >= _array_wake(m, now)
    m.drain_awake = every or changed & 1 << DRAIN != 0 or now >= _drain_wake(m, now)
    m.vector_awake = every or changed & 1 << VECTOR != 0 or now >= _vector_wake(m, now)


@jit_inlined
def _offer(hw: Record, m: Record, now: int) -> None:
    """The outputs of the units that are awake; those of the others are as they were."""
    if m.memory_awake:
        bus_offer(hw, m.bus, now)
        load_offer(hw, m.load, now, m.bus.beat_to_load)
        fetch_offer(hw, m.fetch, now, m.bus.beat_to_fetch)
        store_offer(hw, m.store, now)
        bus_grant(hw, m.bus, now, m.fetch.request_valid, m.fetch.urgent, m.load.request_valid)
    if m.array_awake:
        array_offer(hw, m.array, now)
    if m.drain_awake:
        drain_offer(hw, m.drain, now, m.array.acc_half_read)
    if m.vector_awake:
        vector_offer(hw, m.vector, now)


@jit_inlined
def _arbitrate(hw: Record, m: Record) -> None:
    """A bank serves the first of its requesters; a bit for each bank."""
    banks = hw.banks - 1
    taken = m.array.act_valid << (m.array.act_address & banks)
    request = m.array.weights_valid << (m.array.weights_address & banks)
    m.weights_ready = request & ~taken != 0
    taken |= request
    request = m.drain.read_valid << (m.drain.read_address & banks)
    m.drain_read_ready = request & ~taken != 0
    taken |= request
    request = m.vector.read_valid << (m.vector.read_address & banks)
    m.vector_read_ready = request & ~taken != 0
    taken |= request
    m.store_read_ready = (m.store.read_valid << (m.store.read_address & banks)) & ~taken != 0
    taken = m.drain.write_valid << (m.drain.write_address & banks)
    request = m.vector.write_valid << (m.vector.write_address & banks)
    m.vector_write_ready = request & ~taken != 0
    taken |= request
    m.load_write_ready = (m.load.write_valid << (m.load.write_address & banks)) & ~taken != 0


@jit_inlined
def _tick_memory(hw: Record, m: Record, now: int, load_program: Any, store_program: Any) -> None:
    bus, fetch, load, store, frontends = m.bus, m.fetch, m.load, m.store, m.frontends
    load_tick(hw, load, now, frontends[LOAD].valid, load_program, bus.load_ready, bus.beat_to_load, m.load_write_ready)
    store_tick(
        hw, store, now, frontends[STORE].valid, store_program, bus.store_request_ready, m.store_read_ready,
        bus.store_beat_ready, bus.acknowledged_last,
    )  # fmt: skip
    fetch_tick(hw, fetch, now, 1 if now == 0 else 0, m.freed, bus.fetch_ready, bus.beat_to_fetch)
    bus_tick(
        hw, bus, now, fetch.request_valid, fetch.request_length, load.request_valid, load.request_length, fetch.beat_ready,
        load.beat_ready, store.request_valid, store.request_length, store.request_last, store.beat_valid,
    )  # fmt: skip
    if bus.moved:
        m.moving_until = now + hw.bus_bytes - 1


@jit_inlined
def _tick_engines(hw: Record, m: Record, now: int, programs: Any) -> None:
    """Ticks of those awake; those asleep take and finish nothing."""
    frontends = m.frontends
    if m.memory_awake:
        _tick_memory(hw, m, now, programs[0], programs[4])
    else:
        m.load.taken = m.load.retire = m.store.taken = m.store.retire = m.fetch.puts = 0
    if m.drain_awake:
        drain_tick(hw, m.drain, now, frontends[DRAIN].valid, programs[2], m.drain_read_ready, 1)
    else:
        m.drain.taken = m.drain.retire = 0
    if m.vector_awake:
        vector_tick(hw, m.vector, now, frontends[VECTOR].valid, programs[3], m.vector_read_ready, m.vector_write_ready)
    else:
        m.vector.taken = m.vector.retire = 0
    if m.array_awake:
        array_tick(hw, m.array, now, frontends[ARRAY].valid, programs[1], m.weights_ready, 0)  # the drain counts its own
    else:
        m.array.taken = m.array.retire = 0


@jit_inlined
def _sequence(m: Record, now: int, skip: int, begun: Any, finished: Any) -> None:
    """What was taken and finished is noted, and front ends tick. The counts change for the next cycle."""
    taken = m.load.taken | m.array.taken << 1 | m.drain.taken << 2 | m.vector.taken << 3 | m.store.taken << 4
    retire = m.load.retire | m.array.retire << 1 | m.drain.retire << 2 | m.vector.retire << 3 | m.store.retire << 4
    if (taken | retire | m.fetch.puts | m.looked) == 0 and skip:
        return
    m.frontend_wake = NEVER
    for engine in range(ENGINE_COUNT):
        frontend = m.frontends[engine]
        takes = taken >> engine & 1
        if takes:
            begun[engine][m.taken[engine]] = now
            m.taken[engine] += 1
        frontend.arrives = m.fetch.puts >> engine & 1
        if takes or frontend.arrives or now >= frontend.wake or skip == 0:
            frontend_tick(frontend, now, takes)
        m.frontend_wake = min(m.frontend_wake, frontend.wake)
    if retire:
        _count_finished(m, now, retire, finished)


@jit
def _count_finished(m: Record, now: int, retire: int, finished: Any) -> None:
    """The timeline at the end of cycle ``now``; every front end compares again."""
    m.frontend_wake = now + 1
    for engine in range(ENGINE_COUNT):
        m.frontends[engine].wake = now + 1
        if retire >> engine & 1:
            finished[engine][m.counts[engine]] = now
            m.counts[engine] += 1


@jit_inlined
def _classify(m: Record, now: int, log: Any) -> None:
    """The classes of this cycle; a change goes to ``log``, as long as that has room."""
    moving = now <= m.moving_until
    key = m.load.cycle_class | m.array.cycle_class << 4 | m.drain.cycle_class << 8 | m.vector.cycle_class << 12
    key |= m.store.cycle_class << 16 | moving << 20
    if key == m.class_key and m.looked == 0 and now != CLEARING_CYCLES:
        return
    m.class_key = key
    for engine in range(ENGINE_COUNT):
        kind = reported_class(key >> 4 * engine & 15, m.frontends[engine].blocked_engine, moving, now)
        if kind != m.class_now[engine]:
            enter_class(m, engine, kind, now)
            if m.logged < len(log):
                log[m.logged, 0] = now
                log[m.logged, 1] = engine
                log[m.logged, 2] = kind
            m.logged += 1


@jit_inlined
def _quiet_until(m: Record, now: int) -> int:
    """The first cycle, ``now`` or later, in which other units than the array and the memory's have something to do, or a class
    changes of itself."""
    first: int = min(_drain_wake(m, now), _vector_wake(m, now), m.frontend_wake)
    waits = (m.load.cycle_class == DRAM_LATENCY) | (m.store.cycle_class == DRAM_LATENCY)
    if now <= m.moving_until + 1 and waits:
        first = min(first, m.moving_until + 1)
    return first if now > CLEARING_CYCLES else min(first, CLEARING_CYCLES)


@jit_inlined
def _skip(hw: Record, m: Record, now: int, until: int, programs: Any, begun: Any, finished: Any) -> int:
    """From cycle ``now`` to before ``until`` only the array and a burst that is loaded can move. Returns the cycle to go on
    with."""
    streams = 0
    memory_wake = _memory_wake(m, now)
    if memory_wake <= now and _only_loads(m, now):
        streams = stream_cycles(hw, m.bus, m.load, now, m.frontends[LOAD].valid)
    until = min(until, now + streams, m.fetch.wake, m.store.wake) if streams else min(until, memory_wake)
    if until <= now:
        return now
    end = _run_array(hw, m, now, until, programs, begun, finished)
    if streams and end > now:
        stream_on(hw, m.bus, m.load, now, end - now)
        m.moving_until = end - 1 + hw.bus_bytes - 1
    return end


@jit_inlined
def _only_loads(m: Record, now: int) -> bool:
    """Whether on the memory's side, unless that does something new, only the load engine can move: others sleep, or fetch waits
    behind load's own request."""
    if m.fetch.wake <= now or m.store.wake <= now or m.store.request_valid | m.store.beat_valid | m.store.read_valid:
        return False
    return bool(m.fetch.request_valid == 0 or (m.fetch.urgent == 0 and m.load.fork.splitter.valid != 0))


@jit_inlined
def _run_array(hw: Record, m: Record, now: int, until: int, programs: Any, begun: Any, finished: Any) -> int:
    """The array, alone: from cycle ``now`` to before ``until``, or to after what it takes or finishes."""
    array_wake = _array_wake(m, now)
    if array_wake > now:
        return min(until, array_wake)
    if m.array.cycle_class == IDLE:
        return now
    settle_class(m, ARRAY, now)
    end = array_run(hw, m.array, now, until, m.frontends[ARRAY].valid, programs[1])
    if end == now:
        return now
    for kind in RUN_CLASSES:
        m.classes[ARRAY, kind] += m.array.class_cycles[kind]
        m.array.class_cycles[kind] = 0
    m.class_since[ARRAY] = end
    m.class_now[ARRAY] = m.array.cycle_class
    m.class_key = -1
    if m.array.taken or m.array.retire:
        m.load.taken = m.load.retire = m.drain.taken = m.drain.retire = 0
        m.vector.taken = m.vector.retire = m.store.taken = m.store.retire = m.fetch.puts = 0
        _sequence(m, end - 1, 1, begun, finished)
    return end


@jit
def run_machine(
    hw: Record, m: Record, programs: Any, headers: Any, begun: Any, finished: Any, log: Any, skip: int, limit: int
) -> int:
    """Run a program from its first cycle to its last; returns the number of cycles, or −1 if it takes more than ``limit``.

    ``m`` is fresh but for the front ends' and the fetch unit's settings. ``programs``: each engine's instructions; ``headers``:
    theirs as frontend.py has them. ``begun`` and ``finished``, an array for each engine, get the cycle in which each instruction
    was taken and finished. ``log``: rows (cycle, engine, class) of class changes. ``skip`` 0: every unit ticks in every cycle.
    """
    load_reset(hw, m.load)
    store_reset(hw, m.store)
    fetch_reset(hw, m.fetch)
    now = 0
    while now < limit:
        changed = _offer_frontends(m, now, skip, headers)
        _wake(m, now, skip, changed)
        _offer(hw, m, now)
        _arbitrate(hw, m)
        _tick_engines(hw, m, now, programs)
        _sequence(m, now, skip, begun, finished)
        _classify(m, now, log)
        if m.ended:
            for engine in range(ENGINE_COUNT):
                settle_class(m, engine, now + 1)
            return now + 1
        now += 1
        if skip:
            until = _quiet_until(m, now)
            if until > now:
                now = _skip(hw, m, now, min(until, limit), programs, begun, finished)
    return -1
