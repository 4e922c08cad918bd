"""Performance counters: where each engine's cycles went, and how often memories and buses were used.

A counter is in two parts. Its *count* is short and always right: modulo 2**8 or less. Its *total* is long, in a block memory
that all counters share, and right as of its last visit. A visit adds to the total what the count has grown by since::

    total += (count − total) modulo 2**bits of the count

So counts need no adder of 32 bits and are never set back, and a visit too many does no harm. All counters are visited in turn,
each before its count can have come round; a read is a visit, too: what the bus reads is exact, also while a program runs.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import cycle_class_shape
from systola.hw.isa import ENGINES
from systola.hw.registers import ADDRESS_BITS, CLASS_BASE, EVENT_BASE, CycleClass, Event

__all__ = [
    "CLEAR_CYCLES",
    "READ_LATENCY_CYCLES",
    "READ_PERIOD_CYCLES",
    "SETTLE_CYCLES",
    "ClassCounts",
    "Counters",
    "EventCounts",
    "Totals",
    "Turns",
    "classes_layout",
    "events_layout",
]

CLASSES = 1 << cycle_class_shape
CLEAR_CYCLES = CLASSES
"""Cycles that clearing takes, from the first counted one on; meanwhile all engines count as IDLE."""

WRITE_CYCLES = 4
"""From a visit to the write of the total; an even number, so that none falls on a visit of the same counter."""

READ_LATENCY_CYCLES = WRITE_CYCLES + 2
"""From an address to the counter's value."""

READ_PERIOD_CYCLES = 8
"""Cycles from one read to the next, at least: reads take turns that others have waited for."""

SETTLE_CYCLES = 36
"""Cycles after the last counted one in which the bus is let run dry, at least. Counters are right a few cycles after it."""

EVENT_BITS = 2
TWICE = (Event.ACC_READS,)
"""Events that may happen twice in a cycle."""

CLASS_COUNT_BITS = 8
"""A class is visited every 2 · 80 cycles, or 216 with reads, and the first time CLEAR_CYCLES later."""

EVENT_COUNT_BITS = 6
"""An event is visited every 2 · 18 cycles, or 48 with reads. Those of TWICE have a bit more."""

classes_layout = data.ArrayLayout(unsigned(cycle_class_shape), len(ENGINES))
events_layout = data.ArrayLayout(unsigned(EVENT_BITS), len(Event))
"""How often each event happened in a cycle."""

# Counters are named by the place of their word in the register map.
_PLACE_BITS = 8
_FIRST_CLASS, _FIRST_EVENT = CLASS_BASE >> 2, EVENT_BASE >> 2
_LAST_CLASS = _FIRST_CLASS + CLASSES * len(ENGINES) - 1
_SLOT_BITS = 5  # of the place of an event


class ClassCounts(Block):
    """The counts of one engine: its cycles, by class, modulo 2**CLASS_COUNT_BITS.

    In a cycle with ``count``, the count of ``cycle_class`` grows by one. With ``clear``, count ``clear_index`` is set to
    ``clear_value`` instead. ``read_data`` is the count of ``read_class``, in the same cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "count": In(1),
            "cycle_class": In(cycle_class_shape),
            "clear": In(1),
            "clear_index": In(cycle_class_shape),
            "clear_value": In(CLASS_COUNT_BITS),
            "read_class": In(cycle_class_shape),
            "read_data": Out(CLASS_COUNT_BITS),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A memory that is read, incremented and written in one cycle: an engine is in one class a cycle."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=CLASS_COUNT_BITS, depth=CLASSES, init=[])
        now = memory.read_port(domain="comb")
        write = memory.write_port()
        shown = memory.read_port(domain="comb")
        m.d.comb += [
            now.addr.eq(self.cycle_class),
            write.addr.eq(Mux(self.clear, self.clear_index, self.cycle_class)),
            write.data.eq(Mux(self.clear, self.clear_value, _incremented(now.data))),
            write.en.eq(self.clear | self.count),
            shown.addr.eq(self.read_class),
            self.read_data.eq(shown.data),
        ]
        return m


class EventCounts(Block):
    """The counts of the events, modulo 2**EVENT_COUNT_BITS, or twice that for those of TWICE.

    In each cycle, each count grows by its ``events``: 0 or 1, those of TWICE up to 2. ``clear`` (nothing is counted meanwhile):
    zero. With ``read``, ``read_data`` is the count of ``read_event``, a cycle later; else, or if there is no such event, 0.
    """

    def __init__(self) -> None:
        super().__init__({
            "clear": In(1),
            "events": In(events_layout),
            "read": In(1),
            "read_event": In(_SLOT_BITS),
            "read_data": Out(EVENT_COUNT_BITS + 1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Shift registers, whose states one table makes numbers; what happens twice needs an adder."""
        m = Module()
        counts = [self._count(m, event) for event in Event]
        state, twice = Signal(EVENT_COUNT_BITS), Signal(EVENT_COUNT_BITS + 1)
        # All places of a power of two: a tree of multiplexers, not a comparison for each.
        states = [Const(0, EVENT_COUNT_BITS) if event in TWICE else counts[event] for event in Event]
        states += [Const(0, EVENT_COUNT_BITS)] * ((1 << _SLOT_BITS) - len(Event))
        m.d.sync += [state.eq(0), twice.eq(0)]
        with m.If(self.read):
            m.d.sync += state.eq(Cat(*states).word_select(self.read_event, EVENT_COUNT_BITS))
        for event in TWICE:
            with m.If(self.read & (self.read_event == event)):
                m.d.sync += twice.eq(counts[event])
        m.submodules.numbers = numbers = Memory(shape=EVENT_COUNT_BITS, depth=1 << EVENT_COUNT_BITS, init=_numbers())
        number = numbers.read_port(domain="comb")
        m.d.comb += [number.addr.eq(state), self.read_data.eq(number.data | twice)]
        return m

    def _count(self, m: Module, event: Event) -> Signal:
        twice, amount = event in TWICE, self.events[event]
        count = Signal(EVENT_COUNT_BITS + twice, name=f"count_{event.name.lower()}")
        with m.If(self.clear):
            m.d.sync += count.eq(0)
        with m.Elif(amount.any() if twice else amount[0]):
            m.d.sync += count.eq(count + amount if twice else Cat(_fed_back(count), count))
        return count


class Turns(Block):
    """Whose turn it is to be visited: a class and an event alternately. What is read takes a turn of the other kind.

    ``read``: for one cycle, every READ_PERIOD_CYCLES or less often; the word's ``read_place`` stays in the next. ``visit``: the
    place of the counter to be visited in this cycle. ``first``: it was not visited in its turn since ``clear_events`` or
    ``clear_classes``, in which turns begin anew. ``reads``: it is the one to be read, in the cycle of ``read`` or the next.
    """

    def __init__(self) -> None:
        super().__init__({
            "read": In(1),
            "read_place": In(_PLACE_BITS),
            "clear_events": In(1),
            "clear_classes": In(1),
            "visit": Out(_PLACE_BITS),
            "first": Out(1),
            "reads": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A counter each for the places of classes and of events."""
        m = Module()
        event_next, waiting = Signal(), Signal()
        cycle_class, event = Signal(_PLACE_BITS, init=_FIRST_CLASS), Signal(_SLOT_BITS)
        first_class, first_event = Signal(), Signal()
        event_place = Cat(event, Const(_FIRST_EVENT >> _SLOT_BITS, _PLACE_BITS - _SLOT_BITS))
        m.d.comb += [
            self.reads.eq((self.read | waiting) & (event_next != _is_event(self.read_place))),
            self.visit.eq(Mux(self.reads, self.read_place, Mux(event_next, event_place, cycle_class))),
            self.first.eq(Mux(event_next ^ self.reads, first_event, first_class)),
        ]
        m.d.sync += [event_next.eq(~event_next), waiting.eq(self.read & ~self.reads)]
        for turn, begin, last, first, clear, now in (
            (cycle_class, _FIRST_CLASS, _LAST_CLASS, first_class, self.clear_classes, ~event_next),
            (event, 0, len(Event) - 1, first_event, self.clear_events, event_next),
        ):
            with m.If(clear):
                m.d.sync += [turn.eq(begin), first.eq(1)]
            with m.Elif(now & ~self.reads):
                m.d.sync += turn.eq(_incremented(turn))
                with m.If(turn == last):
                    m.d.sync += [turn.eq(begin), first.eq(0)]
        return m


class Totals(Block):
    """The totals of all counters.

    In each cycle the counter at ``visit`` is visited, if it was not WRITE_CYCLES before. Its ``count`` follows two cycles later,
    and WRITE_CYCLES after ``visit`` its value is in ``total``. ``first``: what the total was is forgotten.
    """

    def __init__(self) -> None:
        super().__init__({
            "visit": In(_PLACE_BITS),
            "first": In(1),
            "count": In(CLASS_COUNT_BITS),
            "total": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Read; hold, twice; add; write. A visit that does not see yet what one before it adds adds it again: no harm."""
        m = Module()
        # No word is read in the cycle in which it is written.
        memory = Memory(shape=32, depth=1 << _PLACE_BITS, init=[], attrs={"no_rw_check": 1})
        m.submodules.memory = memory
        read, write = memory.read_port(), memory.write_port()
        places, firsts = _delayed(m, WRITE_CYCLES, self.visit), _delayed(m, 1, self.first)
        held, before, count = Signal(32), Signal(32), Signal(CLASS_COUNT_BITS)
        m.d.sync += [held.eq(Mux(firsts[1], 0, read.data)), before.eq(held), count.eq(self.count)]
        grown = (count - before[:CLASS_COUNT_BITS])[:CLASS_COUNT_BITS] & _count_mask(places[3])
        m.d.sync += self.total.eq(before + grown)
        m.d.comb += [
            read.addr.eq(self.visit),
            write.addr.eq(places[WRITE_CYCLES]),
            write.data.eq(self.total),
            write.en.eq(1),
        ]
        return m


class Counters(Block):
    """All performance counters, by the byte address of the register map.

    ``running``: the cycle is counted, with its ``classes`` and ``events``. ``clear``: the first of the running cycles. From then
    on all counters are set anew, which takes CLEAR_CYCLES; meanwhile classes are not looked at, the cycles count as IDLE (only
    from a memory that answers at once can an instruction have come). A read that begins two cycles after
    the last running one, or later, sees all of them.
    ``trace_running`` and ``trace_classes`` are what is counted, a cycle later.

    ``read``: 1 for a cycle, every READ_PERIOD_CYCLES or less often. ``read_data`` is READ_LATENCY_CYCLES later the counter at
    ``read_address`` (bytes, the register map's), which stays until then; addresses of no counter read 0.
    """

    def __init__(self) -> None:
        super().__init__({
            "running": In(1),
            "clear": In(1),
            "classes": In(classes_layout),
            "events": In(events_layout),
            "trace_running": Out(1),
            "trace_classes": Out(classes_layout),
            "read": In(1),
            "read_address": In(ADDRESS_BITS),
            "read_data": Out(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The inputs are registered once: they come from all over the machine."""
        m = Module()
        clearing, count, visited = Signal(), Signal(CLASS_COUNT_BITS), Signal(_PLACE_BITS)
        m.d.sync += self.trace_running.eq(self.running)
        with m.If(clearing):
            m.d.sync += self.trace_classes.eq(0)
        with m.Elif(self.running):
            m.d.sync += self.trace_classes.eq(self.classes)
        m.submodules.turns = turns = Turns()
        m.submodules.totals = totals = Totals()
        m.d.sync += visited.eq(turns.visit)
        m.d.comb += [
            count.eq(self._count_classes(m, clearing, visited) | self._count_events(m, visited)),
            turns.read.eq(self.read),
            turns.read_place.eq(self.read_address[2:]),
            turns.clear_events.eq(self.clear),
            turns.clear_classes.eq(clearing),
            totals.visit.eq(turns.visit),
            totals.first.eq(turns.first),
            totals.count.eq(count),
        ]
        arrives = _delayed(m, WRITE_CYCLES, turns.reads)[-1]
        with m.If(~_is_counter(self.read_address[2:])):
            m.d.sync += self.read_data.eq(0)
        with m.Elif(arrives):
            m.d.sync += self.read_data.eq(totals.total)
        return m

    def _count_classes(self, m: Module, clearing: Signal, visited: Signal) -> Value:
        """One count a cycle is set, IDLE the last of them: to the number of cycles that were counted since the first."""
        index, elapsed = Signal(range(CLEAR_CYCLES), init=CLEAR_CYCLES - 1), Signal(range(CLEAR_CYCLES + 1))
        counting, value = Signal(), Signal(range(CLEAR_CYCLES + 1))
        m.d.comb += [
            clearing.eq(self.clear | (index != CLEAR_CYCLES - 1)),
            value.eq(Mux(index == CycleClass.IDLE, elapsed + self.running, 0)),
        ]
        m.d.sync += counting.eq(self.running & ~clearing)
        with m.If(clearing):
            m.d.sync += [index.eq(index - 1), elapsed.eq(elapsed + self.running)]
        with m.Else():
            m.d.sync += elapsed.eq(0)
        shown = Signal(CLASS_COUNT_BITS)
        m.d.sync += shown.eq(0)
        for engine in ENGINES:
            m.submodules[f"classes_{engine.name.lower()}"] = counts = ClassCounts()
            m.d.comb += [
                counts.count.eq(counting),
                counts.cycle_class.eq(self.trace_classes[engine]),
                counts.clear.eq(clearing),
                counts.clear_index.eq(index),
                counts.clear_value.eq(value),
                counts.read_class.eq(visited),
            ]
            with m.If(visited[cycle_class_shape:] == (_FIRST_CLASS >> cycle_class_shape) + engine):
                m.d.sync += shown.eq(counts.read_data)
        return shown

    def _count_events(self, m: Module, visited: Signal) -> Value:
        m.submodules.events = counts = EventCounts()
        events = Signal(events_layout)
        m.d.sync += events.eq(Mux(self.running, self.events, 0))
        m.d.comb += [
            counts.clear.eq(self.clear),
            counts.events.eq(events),
            counts.read.eq(_is_event(visited)),
            counts.read_event.eq(visited),
        ]
        return counts.read_data


def _incremented(value: Value) -> Value:
    """A bit changes where all below it are 1: a few bits take less logic so than by a carry chain."""
    return Cat(value[index] ^ value[:index].all() for index in range(len(value)))


def _fed_back(state: Value) -> Value:
    """What is shifted into the lowest bit of a count of events: thus it passes all its states, from 0 on, before it repeats.

    A feedback shift register of x⁶ + x⁵ + 1 passes all but 0; that one is put in where the lower five bits are 0 (N. G. de
    Bruijn's sequences: S. W. Golomb, Shift Register Sequences, 1967).
    """
    return state[5] ^ state[4] ^ ~state[:5].any()


def _numbers() -> list[int]:
    """How many events each state of a shift register stands for."""
    numbers, state = [0] * (1 << EVENT_COUNT_BITS), 0
    for number in range(len(numbers)):
        numbers[state] = number
        fed_back = (state >> 5 ^ state >> 4 ^ (state % 32 == 0)) & 1
        state = (state << 1 | fed_back) % len(numbers)
    return numbers


def _delayed(m: Module, cycles: int, value: Value) -> list[Value]:
    """``value``, and what it was 1 … ``cycles`` cycles ago."""
    values = [value]
    for _ in range(cycles):
        later = Signal.like(values[-1])
        m.d.sync += later.eq(values[-1])
        values.append(later)
    return values


def _is_event(place: Value) -> Value:
    return place[_SLOT_BITS:] == _FIRST_EVENT >> _SLOT_BITS


def _is_counter(word: Value) -> Value:
    is_class = (word >= _FIRST_CLASS) & (word <= _LAST_CLASS)
    return is_class | (word[_SLOT_BITS:] == _FIRST_EVENT >> _SLOT_BITS)


def _count_mask(place: Value) -> Value:
    """The bits that the count at ``place`` has."""
    is_class, twice = ~_is_event(place), Const(0, 1)
    for event in TWICE:
        twice = twice | (place[:_SLOT_BITS] == event)
    return Cat(Const(-1, EVENT_COUNT_BITS), is_class | twice, is_class)
