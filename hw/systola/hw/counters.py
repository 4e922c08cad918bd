"""Performance counters: where each engine's cycles went, and how often memories and buses were used.

Counters live in small memories with an asynchronous read (distributed RAM on an FPGA): an engine is in one class a cycle,
so one adder serves all its classes; events are gathered in short registers that one adder empties in turn.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import cycle_class_shape
from systola.hw.isa import ENGINES
from systola.hw.registers import CLASS_BASE, EVENT_BASE, CycleClass, Event

__all__ = ["CLEAR_CYCLES", "SETTLE_CYCLES", "ClassCounter", "Counters", "EventCounters", "classes_layout", "events_layout"]

CLASSES = 1 << cycle_class_shape
CLEAR_CYCLES = CLASSES
"""Cycles that clearing takes, from the first counted one on; meanwhile all engines count as IDLE."""

EVENT_BITS = 2
TWICE = (Event.ACC_READS,)
"""Events that may happen twice in a cycle."""

EVENT_SLOTS = 32
GATHERED_BITS = (2 * EVENT_SLOTS).bit_length()
SETTLE_CYCLES = EVENT_SLOTS + 4
"""Cycles after the last counted one until every event is in its counter."""

classes_layout = data.ArrayLayout(unsigned(cycle_class_shape), len(ENGINES))
events_layout = data.ArrayLayout(unsigned(EVENT_BITS), len(Event))
"""How often each event happened in a cycle."""


class ClassCounter(Block):
    """The cycles of one engine, by class.

    In a cycle with ``count``, the counter of ``cycle_class`` grows by one. With ``clear``, counter ``clear_index`` is set to
    ``clear_value`` instead. ``read_data`` is the counter ``read_class``, in the same cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "count": In(1),
            "cycle_class": In(cycle_class_shape),
            "clear": In(1),
            "clear_index": In(cycle_class_shape),
            "clear_value": In(32),
            "read_class": In(cycle_class_shape),
            "read_data": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A memory that is read, incremented and written in one cycle."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=CLASSES, init=[])
        now = memory.read_port(domain="comb")
        write = memory.write_port()
        shown = memory.read_port(domain="comb")
        m.d.comb += [
            now.addr.eq(self.cycle_class),
            write.addr.eq(Mux(self.clear, self.clear_index, self.cycle_class)),
            write.data.eq(Mux(self.clear, self.clear_value, now.data + 1)),
            write.en.eq(self.clear | self.count),
            shown.addr.eq(self.read_class),
            self.read_data.eq(shown.data),
        ]
        return m


class EventCounters(Block):
    """A 32-bit counter for each ``Event``.

    In a cycle with ``count``, each counter grows by its ``events``: 0 or 1, those of TWICE up to 2. ``active`` must be 1 in
    these cycles and for SETTLE_CYCLES after the last of them. ``clear`` (for one cycle or more, nothing counted meanwhile): zero.
    ``read_data`` is the counter ``read_event``, in the same cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "count": In(1),
            "active": In(1),
            "clear": In(1),
            "events": In(events_layout),
            "read_event": In(range(EVENT_SLOTS)),
            "read_data": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Short counters → what the one whose turn it is has grown by since its last turn → memory."""
        m = Module()
        turn, first_round = Signal(range(EVENT_SLOTS)), Signal()
        with m.If(self.clear):
            m.d.sync += [turn.eq(0), first_round.eq(1)]
        with m.Elif(self.active):
            m.d.sync += turn.eq(turn + 1)
            with m.If(turn == EVENT_SLOTS - 1):
                m.d.sync += first_round.eq(0)
        grown = self._grown(m, turn, first_round)
        amount, slot, due = Signal(GATHERED_BITS), Signal(range(EVENT_SLOTS)), Signal()
        m.d.sync += due.eq(self.active & ~self.clear)
        with m.If(self.active):
            m.d.sync += [amount.eq(grown), slot.eq(turn)]
        self._add(m, turn, first_round, due, slot, amount)
        return m

    def _gather(self, m: Module) -> list[Signal]:
        """Counts each event since ``clear``; never set back meanwhile, which costs an adder without a multiplexer."""
        gathered = []
        for event in Event:
            register = Signal(GATHERED_BITS if event in TWICE else GATHERED_BITS - 1, name=f"gathered_{event.name.lower()}")
            amount = self.events[event] if event in TWICE else self.events[event][0]
            with m.If(self.clear):
                m.d.sync += register.eq(0)
            with m.Elif(self.count & (amount != 0)):
                m.d.sync += register.eq(register + (amount if event in TWICE else 1))
            gathered.append(register)
        return gathered

    def _grown(self, m: Module, turn: Signal, first_round: Signal) -> Signal:
        """The growth of the event whose turn it is since its last turn: EVENT_SLOTS cycles, or since ``clear``."""
        m.submodules.seen = seen = Memory(shape=GATHERED_BITS, depth=EVENT_SLOTS, init=[])
        before, write = seen.read_port(domain="comb"), seen.write_port()
        now, grown, twice = Signal(GATHERED_BITS), Signal(GATHERED_BITS), Signal()
        gathered = self._gather(m)
        with m.Switch(turn):
            for event, register in zip(Event, gathered, strict=True):
                with m.Case(event):
                    m.d.comb += [now.eq(register), twice.eq(event in TWICE)]
        m.d.comb += [
            grown.eq(now - Mux(first_round, 0, before.data) & Cat(Const(-1, GATHERED_BITS - 1), twice)),
            before.addr.eq(turn),
            write.addr.eq(turn),
            write.data.eq(now),
            write.en.eq(self.active),
        ]
        return grown

    def _add(self, m: Module, turn: Signal, first_round: Signal, due: Signal, slot: Signal, amount: Signal) -> None:
        """The first round after ``clear`` overwrites what the memory held; a slot is read in its turn, written a cycle later."""
        m.submodules.memory = memory = Memory(shape=32, depth=EVENT_SLOTS, init=[])
        now = memory.read_port(domain="comb")
        write = memory.write_port()
        shown = memory.read_port(domain="comb")
        total = Signal(32)
        m.d.sync += total.eq(Mux(first_round, 0, now.data))
        m.d.comb += [
            now.addr.eq(turn),
            write.addr.eq(slot),
            write.data.eq(total + amount),
            write.en.eq(due),
            shown.addr.eq(self.read_event),
            self.read_data.eq(shown.data),
        ]


class Counters(Block):
    """All performance counters, by the byte address of the register map.

    ``running``: the cycle is counted, with its ``classes`` and ``events``. ``clear``: the first of the running cycles. From then
    on all counters are set anew, which takes CLEAR_CYCLES; meanwhile classes are not looked at, the cycles count as IDLE (only
    from a memory that answers at once can an instruction have come). ``settling``: running is over, for SETTLE_CYCLES at least.
    ``trace_running`` and ``trace_classes`` are what is counted, a cycle later. ``read_data`` follows ``read_address`` (bytes, the
    register map's) in the same cycle; addresses of no counter read 0.
    """

    def __init__(self) -> None:
        super().__init__({
            "running": In(1),
            "clear": In(1),
            "settling": In(1),
            "classes": In(classes_layout),
            "events": In(events_layout),
            "trace_running": Out(1),
            "trace_classes": Out(classes_layout),
            "read_address": In(12),
            "read_data": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The inputs are registered once: they come from all over the machine."""
        m = Module()
        clearing = Signal()
        m.d.sync += self.trace_running.eq(self.running)
        with m.If(clearing):
            m.d.sync += self.trace_classes.eq(0)
        with m.Elif(self.running):
            m.d.sync += self.trace_classes.eq(self.classes)
        self._read(m, self._count_classes(m, clearing), self._count_events(m))
        return m

    def _count_classes(self, m: Module, clearing: Signal) -> list[ClassCounter]:
        """One counter a cycle is set, IDLE the last of them: to the number of cycles that were counted since the first."""
        index, elapsed = Signal(range(CLEAR_CYCLES), init=CLEAR_CYCLES - 1), Signal(range(CLEAR_CYCLES + 1))
        counting = Signal()
        m.d.comb += clearing.eq(self.clear | (index != CLEAR_CYCLES - 1))
        m.d.sync += counting.eq(self.running & ~clearing)
        with m.If(clearing):
            m.d.sync += [index.eq(index - 1), elapsed.eq(elapsed + self.running)]
        with m.Else():
            m.d.sync += elapsed.eq(0)
        counters = []
        for engine in ENGINES:
            m.submodules[f"classes_{engine.name.lower()}"] = counter = ClassCounter()
            m.d.comb += [
                counter.count.eq(counting),
                counter.cycle_class.eq(self.trace_classes[engine]),
                counter.clear.eq(clearing),
                counter.clear_index.eq(index),
                counter.clear_value.eq(Mux(index == CycleClass.IDLE, elapsed + self.running, 0)),
                counter.read_class.eq(self.read_address[2:]),
            ]
            counters.append(counter)
        return counters

    def _count_events(self, m: Module) -> EventCounters:
        m.submodules.events = counter = EventCounters()
        events = Signal(events_layout)
        with m.If(self.running):
            m.d.sync += events.eq(self.events)
        m.d.comb += [
            counter.count.eq(self.trace_running),
            counter.active.eq(self.trace_running | self.settling),
            counter.clear.eq(self.clear),
            counter.events.eq(events),
            counter.read_event.eq(self.read_address[2:]),
        ]
        return counter

    def _read(self, m: Module, classes: list[ClassCounter], events: EventCounters) -> None:
        """Each engine has 64 bytes of addresses, the events 128."""
        block = self.read_address[6:]
        with m.Switch(block):
            for index, counter in enumerate(classes):
                with m.Case((CLASS_BASE >> 6) + index):
                    m.d.comb += self.read_data.eq(counter.read_data)
            with m.Case(EVENT_BASE >> 6, (EVENT_BASE >> 6) + 1), m.If(self.read_address[2:7] < len(Event)):
                m.d.comb += self.read_data.eq(events.read_data)
