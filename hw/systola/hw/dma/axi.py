"""The guard before the AXI4 bus: arbitration, what is in flight, errors, and the orderly end."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from systola.hw.dma.ports import ReadPortSignature, WritePortSignature
from systola.hw.dma.queue import Queue
from systola.hw.dma.slices import RegisteredSkid, Skid
from systola.hw.interfaces import Axi4ReadSignature, Axi4WriteSignature
from systola.hw.isa import Engine
from systola.hw.latencies import FETCH_OUTSTANDING
from systola.hw.params import Params
from systola.hw.registers import Fault

__all__ = ["FETCH_ID", "FETCH_OUTSTANDING", "LOAD_ID", "NO_ENGINE", "AxiGuard", "ReadChannel", "WriteChannel"]

FETCH_ID = 0
LOAD_ID = 1

NO_ENGINE = 7
"""FAULT_ENGINE of the fetch unit."""


class ReadChannel(wiring.Component):
    """AR and R: two users, told apart by their id.

    A request taken in cycle n is on the bus in cycle n + 1. Where both users have one, load goes first, or fetch with
    ``fetch_urgent``. A beat accepted from the bus in cycle n is offered to its user in cycle n + 1. ``abort``: requests are not
    taken, beats are dropped. ``idle``: no request is offered to the bus and no beat is owed. ``error``: 1 for one cycle, the
    cycle after a beat with an error response was offered, with the burst's address and engine. ``request``, ``beat``,
    ``fetch_beat``: 1 in the cycle after one was accepted.
    """

    fetch: Any
    fetch_urgent: Any
    load: Any
    bus: Any
    abort: Any
    idle: Any
    error: Any
    error_address: Any
    error_engine: Any
    request: Any
    beat: Any
    fetch_beat: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "fetch": In(ReadPortSignature(params)),
            "fetch_urgent": In(1),
            "load": In(ReadPortSignature(params)),
            "bus": Out(Axi4ReadSignature(params)),
            "abort": In(1),
            "idle": Out(1),
            "error": Out(1),
            "error_address": Out(params.config.bus.address_bits),
            "error_engine": Out(3),
            "request": Out(1),
            "beat": Out(1),
            "fetch_beat": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A queue of the addresses in flight per user; their room is what bounds the bursts in flight."""
        m = Module()
        bus = self._params.config.bus
        m.submodules.fetch_queue = fetch_queue = Queue(bus.address_bits, FETCH_OUTSTANDING)
        m.submodules.load_queue = load_queue = Queue(bus.address_bits, bus.read_outstanding)
        self._request(m, fetch_queue, load_queue)
        self._respond(m, fetch_queue, load_queue)
        m.d.comb += self.idle.eq(~fetch_queue.o.valid & ~load_queue.o.valid)
        return m

    def _request(self, m: Module, fetch_queue: Queue, load_queue: Queue) -> None:
        """The register of AR, filled when it is empty or accepted."""
        free, take_fetch, take_load = Signal(), Signal(), Signal()
        fetch, load, bus = self.fetch.request, self.load.request, self.bus
        m.d.comb += [
            free.eq((~bus.ar_valid | bus.ar_ready) & ~self.abort),
            fetch.ready.eq(free & fetch_queue.i.ready & (self.fetch_urgent | ~load.valid)),
            take_fetch.eq(fetch.valid & fetch.ready),
            load.ready.eq(free & load_queue.i.ready & ~(self.fetch_urgent & fetch.valid & fetch_queue.i.ready)),
            take_load.eq(load.valid & load.ready),
        ]
        with m.If(~bus.ar_valid | bus.ar_ready):
            m.d.sync += bus.ar_valid.eq(take_fetch | take_load)
        for take, user, queue, number in (
            (take_fetch, fetch, fetch_queue, FETCH_ID),
            (take_load, load, load_queue, LOAD_ID),
        ):
            m.d.comb += [queue.i.payload.eq(user.payload.address), queue.i.valid.eq(take)]
            with m.If(take):
                m.d.sync += [
                    bus.ar_addr.eq(user.payload.address),
                    bus.ar_len.eq(user.payload.length),
                    bus.ar_id.eq(number),
                ]
        m.d.sync += self.request.eq(bus.ar_valid & bus.ar_ready)

    def _respond(self, m: Module, fetch_queue: Queue, load_queue: Queue) -> None:
        """Beats go to the user that their id names; the last one ends the oldest burst of that user. What is decided upon and
        the data go through stages of their own, in step."""
        m.submodules.marks = skid = RegisteredSkid(data.StructLayout({"last": 1, "bad": 1, "id": 1}))
        m.submodules.words = words = Skid(8 * self._params.bus_bytes)
        bus, beat = self.bus, skid.o.payload
        to_load, moves = Signal(), Signal()
        m.d.comb += [
            skid.i.valid.eq(bus.r_valid),
            skid.i.payload.as_value().eq(Cat(bus.r_last, bus.r_resp[1], bus.r_id)),
            words.i.valid.eq(bus.r_valid),
            words.i.payload.eq(bus.r_data),
            words.o.ready.eq(skid.o.ready),
            bus.r_ready.eq(skid.i.ready),
            to_load.eq(beat.id == LOAD_ID),
            self.load.beats.valid.eq(skid.o.valid & to_load & ~self.abort),
            self.fetch.beats.valid.eq(skid.o.valid & ~to_load & ~self.abort),
            self.load.beats.payload.eq(words.o.payload),
            self.fetch.beats.payload.eq(words.o.payload),
            skid.o.ready.eq(self.abort | Mux(to_load, self.load.beats.ready, self.fetch.beats.ready)),
            moves.eq(skid.o.valid & skid.o.ready),
            load_queue.o.ready.eq(moves & beat.last & to_load),
            fetch_queue.o.ready.eq(moves & beat.last & ~to_load),
        ]
        bad = moves & beat.bad & ~self.abort
        m.d.sync += [self.error.eq(bad), self.beat.eq(moves), self.fetch_beat.eq(moves & ~to_load)]
        with m.If(bad):
            m.d.sync += [
                self.error_address.eq(Mux(to_load, load_queue.o.payload, fetch_queue.o.payload)),
                self.error_engine.eq(Mux(to_load, Engine.LOAD, NO_ENGINE)),
            ]


class WriteChannel(wiring.Component):
    """AW, W and B of one user.

    A request taken in cycle n is on the bus in cycle n + 1, its first beat in cycle n + 2 or later. ``abort``: requests are
    not taken; the beats still owed are sent without strobes. ``idle``: nothing is offered to the bus, no beat and no response
    is owed. ``error``: 1 for one cycle, two cycles after an error response was accepted, with the burst's address; a response
    without error is handed on after one cycle. ``request``, ``beat``: 1 in the cycle after one was accepted by the bus.
    """

    store: Any
    bus: Any
    abort: Any
    idle: Any
    error: Any
    error_address: Any
    request: Any
    beat: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "store": In(WritePortSignature(params)),
            "bus": Out(Axi4WriteSignature(params)),
            "abort": In(1),
            "idle": Out(1),
            "error": Out(1),
            "error_address": Out(params.config.bus.address_bits),
            "request": Out(1),
            "beat": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Two queues: bursts whose response is owed, and of these the lengths of those whose beats are."""
        m = Module()
        bus = self._params.config.bus
        flight = data.StructLayout({"address": bus.address_bits, "last": 1})
        m.submodules.flights = flights = Queue(flight.size, bus.write_outstanding)
        m.submodules.lengths = lengths = Queue(8, bus.write_outstanding)
        self._request(m, flights, lengths)
        self._send(m, lengths)
        self._respond(m, data.View(flight, flights.o.payload), flights)
        m.d.comb += self.idle.eq(~flights.o.valid & ~lengths.o.valid & ~self.bus.aw_valid & ~self.bus.w_valid)
        return m

    def _request(self, m: Module, flights: Queue, lengths: Queue) -> None:
        """The register of AW. ``lengths`` is emptied before ``flights``, so it has room where that has."""
        request, bus = self.store.request, self.bus
        free, take = Signal(), Signal()
        m.d.comb += [
            free.eq(~bus.aw_valid | bus.aw_ready),
            request.ready.eq(free & flights.i.ready & ~self.abort),
            take.eq(request.valid & request.ready),
            flights.i.payload.eq(Cat(request.payload.address, request.payload.last)),
            flights.i.valid.eq(take),
            lengths.i.payload.eq(request.payload.length),
            lengths.i.valid.eq(take),
        ]
        with m.If(free):
            m.d.sync += bus.aw_valid.eq(take)
        with m.If(take):
            m.d.sync += [bus.aw_addr.eq(request.payload.address), bus.aw_len.eq(request.payload.length)]
        m.d.sync += self.request.eq(bus.aw_valid & bus.aw_ready)

    def _send(self, m: Module, lengths: Queue) -> None:
        """The register of W; the guard counts the beats of a burst itself, so it knows what is owed."""
        beats, bus = self.store.beats, self.bus
        sent = Signal(8)  # beats of the oldest burst in ``lengths``
        free, send, last = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq((~bus.w_valid | bus.w_ready) & lengths.o.valid),
            beats.ready.eq(free & ~self.abort),
            send.eq(free & (beats.valid | self.abort)),
            last.eq(sent == lengths.o.payload),
            lengths.o.ready.eq(send & last),
        ]
        with m.If(~bus.w_valid | bus.w_ready):
            m.d.sync += bus.w_valid.eq(send)
        with m.If(send):
            m.d.sync += [
                bus.w_last.eq(last),
                bus.w_strb.eq(Mux(self.abort, 0, beats.payload.strobe)),
                sent.eq(Mux(last, 0, sent + 1)),
            ]
        with m.If(send & ~self.abort):
            m.d.sync += bus.w_data.eq(beats.payload.data)
        m.d.sync += self.beat.eq(bus.w_valid & bus.w_ready)

    def _respond(self, m: Module, flight: Any, flights: Queue) -> None:
        """B is always taken, and looked at a cycle later."""
        arrived, bad = Signal(), Signal()
        m.d.comb += [
            self.bus.b_ready.eq(1),
            flights.o.ready.eq(arrived),
            self.store.acknowledged.eq(arrived & ~bad),
            self.store.acknowledged_last.eq(arrived & ~bad & flight.last),
        ]
        m.d.sync += [arrived.eq(self.bus.b_valid), self.error.eq(arrived & bad & ~self.abort)]
        with m.If(self.bus.b_valid):
            m.d.sync += bad.eq(self.bus.b_resp[1])
        with m.If(arrived & bad):
            m.d.sync += self.error_address.eq(flight.address)


class AxiGuard(wiring.Component):
    """Everything between the users of the bus and the bus; the only part that outlives an engine's reset.

    ``abort`` (level): no new burst is begun, and what is in flight is brought to its end as AXI demands, whatever the users
    do. ``quiet``: ``abort`` is 1 and nothing is in flight; when ``abort`` falls after that, all is as after reset. To be held
    also after a program's normal end until ``quiet``: the last beats that fetch asked for may still come.

    ``fault``: 1 for one cycle for an error response, with its kind (``Fault``), the address of the burst and the engine
    (NO_ENGINE: fetch); in the unlikely case of a read and a write error in one cycle, the read's. After the first fault more may
    follow until ``abort``. The events are 1 for one cycle each.
    """

    fetch: Any
    fetch_urgent: Any
    load: Any
    store: Any
    read_bus: Any
    write_bus: Any
    abort: Any
    quiet: Any
    fault: Any
    fault_kind: Any
    fault_address: Any
    fault_engine: Any
    read_beats: Any
    write_beats: Any
    read_bursts: Any
    write_bursts: Any
    fetch_beats: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "fetch": In(ReadPortSignature(params)),
            "fetch_urgent": In(1),
            "load": In(ReadPortSignature(params)),
            "store": In(WritePortSignature(params)),
            "read_bus": Out(Axi4ReadSignature(params)),
            "write_bus": Out(Axi4WriteSignature(params)),
            "abort": In(1),
            "quiet": Out(1),
            "fault": Out(1),
            "fault_kind": Out(Fault),
            "fault_address": Out(params.config.bus.address_bits),
            "fault_engine": Out(3),
            "read_beats": Out(1),
            "write_beats": Out(1),
            "read_bursts": Out(1),
            "write_bursts": Out(1),
            "fetch_beats": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Reading and writing have nothing in common but ``abort`` and ``fault``."""
        m = Module()
        m.submodules.reads = reads = ReadChannel(self._params)
        m.submodules.writes = writes = WriteChannel(self._params)
        wiring.connect(m, wiring.flipped(self.fetch), reads.fetch)
        wiring.connect(m, wiring.flipped(self.load), reads.load)
        wiring.connect(m, wiring.flipped(self.store), writes.store)
        wiring.connect(m, reads.bus, wiring.flipped(self.read_bus))
        wiring.connect(m, writes.bus, wiring.flipped(self.write_bus))
        m.d.comb += [
            reads.abort.eq(self.abort),
            reads.fetch_urgent.eq(self.fetch_urgent),
            writes.abort.eq(self.abort),
            self.quiet.eq(self.abort & reads.idle & writes.idle),
            self.fault.eq(reads.error | writes.error),
            self.fault_kind.eq(Mux(reads.error, Fault.READ_RESPONSE, Fault.WRITE_RESPONSE)),
            self.fault_address.eq(Mux(reads.error, reads.error_address, writes.error_address)),
            self.fault_engine.eq(Mux(reads.error, reads.error_engine, Engine.STORE)),
            self.read_beats.eq(reads.beat),
            self.write_beats.eq(writes.beat),
            self.read_bursts.eq(reads.request),
            self.write_bursts.eq(writes.request),
            self.fetch_beats.eq(reads.fetch_beat),
        ]
        return m
