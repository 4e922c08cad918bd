"""Instruction fetch: reads each engine's stream, ahead of use, straight into the engine's queue."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, cast

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from systola.hw.dma.bursts import BurstSplitter
from systola.hw.dma.packing import Unpack
from systola.hw.dma.ports import ReadPortSignature
from systola.hw.dma.queue import Queue
from systola.hw.isa import ENGINES, UNIT_BYTES, Engine, Opcode, instruction_units
from systola.hw.latencies import FETCH_CHUNK_BEATS, FETCH_CHUNK_BYTES, FETCH_OUTSTANDING
from systola.hw.params import Params

__all__ = ["WORD_BYTES", "ChunkPlanner", "Fetch", "chunk_bytes", "streams_layout"]

WORD_BYTES = 16
"""Instructions travel to the queues in words of this size, lowest first."""

_NUMBER_BITS = max(ENGINES).bit_length()

streams_layout = data.ArrayLayout(32, len(ENGINES))
"""A number of 32 bits for each engine's stream."""


def chunk_bytes(params: Params) -> int:
    """Bytes asked for at a time: at most half of a queue, so that the other half lasts until they come."""
    return max(params.stream_granule_bytes, min(FETCH_CHUNK_BYTES, FETCH_CHUNK_BEATS * params.bus_bytes, params.queue_bytes // 2))


def _chunk_bits(params: Params) -> int:
    return exact_log2(chunk_bytes(params) // WORD_BYTES)


def _flight_layout(params: Params) -> data.StructLayout:
    """A chunk that was asked for."""
    return data.StructLayout({"engine": len(ENGINES), "words_minus_one": _chunk_bits(params)})


class ChunkPlanner(wiring.Component):
    """Says which part of which stream is read next: in turn, a chunk of each stream whose queue has room for one; but if queues
    have less than a chunk, only of those.

    ``start``: one cycle, only after reset; ``addresses`` (byte offsets from ``dram_base``) and ``sizes`` (bytes) are multiples of
    ``stream_granule_bytes`` and constant from then on. ``freed`` bit e: a word has left queue e; what was asked for counts as in
    the queue. The first chunk of each stream is one granule: so every engine soon has an instruction, load first. A chunk more of
    each is asked for at once, the rest not before load has its first instruction: thus its data are not behind all of that.

    ``chunks``: bus ``address`` and ``words_minus_one``; with it, ``engine``: whose it is, one bit for each. The first one is
    valid 3 cycles after ``start``, then one every 4 cycles. ``urgent``: some queue has less than a chunk, and its stream more.
    """

    start: Any
    dram_base: Any
    addresses: Any
    sizes: Any
    freed: Any
    chunks: Any
    engine: Any
    urgent: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        self._granule_bits = exact_log2(params.stream_granule_bytes)
        self._words_bits = _chunk_bits(params)  # words of a chunk
        self._chunk_bits = self._words_bits + exact_log2(WORD_BYTES) - self._granule_bits  # granules of a chunk
        address_bits = params.config.bus.address_bits
        chunk = data.StructLayout({"address": address_bits, "words_minus_one": self._words_bits})
        super().__init__({
            "start": In(1),
            "dram_base": In(address_bits),
            "addresses": In(streams_layout),
            "sizes": In(streams_layout),
            "freed": In(len(ENGINES)),
            "chunks": Out(stream.Signature(cast("Any", chunk))),
            "engine": Out(len(ENGINES), init=1 << Engine.STORE),
            "urgent": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Choose a stream; find the chunk's size; hand it over; let the counts settle."""
        m = Module()
        granules = 32 - self._granule_bits
        # Of each stream: are there granules left; was there no chunk yet.
        more, fresh = Signal(len(ENGINES)), Signal(len(ENGINES), init=(1 << len(ENGINES)) - 1)
        wanting, taken = self._room(m, more)
        # Of the stream in hand: the next granule, the granules left minus one; but before its first chunk all of them.
        at, left, first = Signal(granules), Signal(granules), Signal()
        final = Signal()
        nearest = self._choose(m, wanting)
        kept_at, kept_left = self._progress(m, taken, (at, left, first))
        with m.If(self.start):
            m.d.sync += more.eq(self._sized())
        with m.FSM():
            with m.State("CHOOSE"), m.If(wanting.any()):
                m.d.sync += [self.engine.eq(nearest), first.eq((fresh & nearest).any())]
                m.next = "SIZE"
            with m.State("SIZE"):
                begin_at, begin_left = self._begins()
                now_at, now_left = Mux(first, begin_at, kept_at), Mux(first, begin_left, kept_left)
                self._size(m, now_at, now_left, first, final)
                m.d.sync += [at.eq(now_at), left.eq(now_left), self.chunks.valid.eq(1)]
                m.next = "HAND"
            with m.State("HAND"), m.If(self.chunks.ready):
                m.d.comb += taken.eq(1)
                m.d.sync += [
                    self.chunks.valid.eq(0),
                    fresh.eq(fresh & ~self.engine),
                    more.eq(more & ~(self.engine & final.replicate(len(ENGINES)))),
                ]
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "CHOOSE"
        return m

    def _sized(self) -> Value:
        """Bit e: stream e has bytes."""
        return Cat(size[self._granule_bits :].any() for size in self.sizes)

    def _choose(self, m: Module, wanting: Value) -> Signal:
        """The next engine after the last one that wants a chunk; none if none does."""
        count = len(ENGINES)
        nearest = Signal(count)
        with m.Switch(self.engine):
            for last in range(count):
                with m.Case(1 << last):
                    for distance in reversed(range(1, count + 1)):
                        with m.If(wanting[(last + distance) % count]):
                            m.d.comb += nearest.eq(1 << (last + distance) % count)
        return nearest

    def _progress(self, m: Module, taken: Signal, hand: tuple[Signal, Signal, Signal]) -> tuple[Value, Value]:
        """``at`` and ``left`` of ``engine``'s stream: from the streams' first chunks on they are kept in a memory."""
        at, left, first = hand
        granules = len(at)
        m.submodules.memory = memory = Memory(shape=2 * granules, depth=1 << _NUMBER_BITS, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        size = self.chunks.payload.words_minus_one[self._words_bits - self._chunk_bits :]
        m.d.comb += [
            read.addr.eq(_number(self.engine)),
            write.addr.eq(_number(self.engine)),
            write.data.eq(Cat((at + size + 1)[:granules], (left + ~_extend(Mux(first, 1, size), granules))[:granules])),
            write.en.eq(taken),
        ]
        return read.data[:granules], read.data[granules:]

    def _begins(self) -> tuple[Value, Value]:
        """Granule and granules of ``engine``'s stream as the registers have them."""
        low = self._granule_bits
        return _one_of(self.engine, [a[low:] for a in self.addresses]), _one_of(self.engine, [s[low:] for s in self.sizes])

    def _size(self, m: Module, at: Value, left: Value, first: Signal, final: Signal) -> None:
        """A granule at first, then a chunk, but no more than is left."""
        bits = self._chunk_bits
        low, high = left[:bits], left[bits:].any()
        size = Mux(first, 0, Mux(high, (1 << bits) - 1, low))[:bits]
        chunk = self.chunks.payload
        m.d.sync += [
            final.eq(Mux(first, ~left[1:].any(), ~high)),
            chunk.words_minus_one.eq(Cat(Const(-1, self._words_bits - bits), size)),
            chunk.address.eq(Cat(self.dram_base[: self._granule_bits], self.dram_base[self._granule_bits :] + at)),
        ]

    def _room(self, m: Module, more: Signal) -> tuple[Signal, Signal]:
        """Whose turn it may be, a cycle late; and a signal to be 1 when a chunk is taken."""
        room, low, taken = Signal(len(ENGINES)), Signal(len(ENGINES)), Signal()
        wanting, pressing = Signal(len(ENGINES)), Signal(len(ENGINES))
        depth = self._params.queue_bytes // WORD_BYTES
        chunk = 1 << self._words_bits
        for e in ENGINES:
            used = Signal(range(depth + 1), name=f"used_{e.name.lower()}")
            # What is asked for, minus one, or minus one: and one more by way of a carry.
            asked, freed = taken & self.engine[e], self.freed[e]
            change = Mux(asked, _extend(self.chunks.payload.words_minus_one, len(used)), freed.replicate(len(used)))
            with m.If(asked | freed):
                m.d.sync += used.eq((Cat(1, used) + Cat(asked & ~freed, change))[1:])
            m.d.comb += [room[e].eq(used <= depth - chunk), low[e].eq(used < chunk)]
        m.d.comb += pressing.eq(more & room & low)
        m.d.sync += [
            self.urgent.eq(pressing.any()),
            wanting.eq(Mux(pressing.any(), pressing, Mux(self._begun(m), more & room, 0))),
        ]
        with m.If(self.start):
            m.d.sync += wanting.eq(self._sized())
        return wanting, taken

    def _begun(self, m: Module) -> Value:
        """The load engine has its first instruction, so the word after it has left the queue; or it never gets one."""
        words = instruction_units(Opcode.LOAD) * UNIT_BYTES // WORD_BYTES
        left = Signal(range(words + 1), init=words)
        begun = Signal()
        with m.If(self.freed[Engine.LOAD] & ~begun):
            m.d.sync += [left.eq(left - 1), begun.eq(left == 0)]
        with m.If(self.start):
            m.d.sync += begun.eq(self.sizes[Engine.LOAD] == 0)
        return begun


def _number(one_hot: Value) -> Value:
    """Which bit is 1; 0 if none is."""
    return Cat(Cat(one_hot[e] for e in ENGINES if e >> place & 1).any() for place in range(_NUMBER_BITS))


def _one_of(one_hot: Value, values: list[Value]) -> Value:
    return reduce(or_, (value & one_hot[e].replicate(len(value)) for e, value in enumerate(values)))


def _extend(value: Value, width: int) -> Value:
    return Cat(value, Const(0, width - len(value)))


class Fetch(wiring.Component):
    """Reads every stream once after ``start``, each as far ahead as its queue has room, never past its end.

    ``stream_addresses``, ``stream_bytes``, ``dram_base``, ``start``, ``freed``: as ChunkPlanner says; ``dram_base`` is a multiple
    of ``stream_granule_bytes`` too. ``read``: to the guard; nothing is in flight at ``start``. ``urgent``: its request should not
    wait for others. ``word``, ``put``: in a cycle with bit e of ``put``, the next word of stream e, for which there is room.
    """

    stream_addresses: Any
    stream_bytes: Any
    dram_base: Any
    start: Any
    freed: Any
    read: Any
    urgent: Any
    word: Any
    put: Any

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "stream_addresses": In(streams_layout),
            "stream_bytes": In(streams_layout),
            "dram_base": In(params.config.bus.address_bits),
            "start": In(1),
            "freed": In(len(ENGINES)),
            "read": Out(ReadPortSignature(params)),
            "urgent": Out(1),
            "word": Out(8 * WORD_BYTES),
            "put": Out(len(ENGINES)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Chunks → bursts; beats → words, with the queue of who asked for them."""
        m = Module()
        params = self._params
        burst_beats = max(1, min(params.config.bus.burst_beats, chunk_bytes(params) // params.bus_bytes))
        m.submodules.planner = planner = ChunkPlanner(params)
        m.submodules.splitter = splitter = BurstSplitter(params, WORD_BYTES, _chunk_bits(params), burst_beats)
        # As many as there are bursts in flight, and those in the planner and the splitter: it is never full for long.
        m.submodules.flights = flights = Queue(_flight_layout(params).size, FETCH_OUTSTANDING + 2)
        row, chunk = splitter.rows, planner.chunks
        m.d.comb += [
            planner.start.eq(self.start),
            planner.dram_base.eq(self.dram_base),
            planner.addresses.eq(self.stream_addresses),
            planner.sizes.eq(self.stream_bytes),
            planner.freed.eq(self.freed),
            self.urgent.eq(planner.urgent),
            row.valid.eq(chunk.valid & flights.i.ready),
            row.payload.address.eq(chunk.payload.address),
            row.payload.words_minus_one.eq(chunk.payload.words_minus_one),
            chunk.ready.eq(row.ready & flights.i.ready),
            flights.i.valid.eq(chunk.valid & chunk.ready),
            flights.i.payload.eq(Cat(planner.engine, chunk.payload.words_minus_one)),
        ]
        wiring.connect(m, splitter.bursts, wiring.flipped(self.read.request))
        self._unpack(m, flights)
        return m

    def _unpack(self, m: Module, flights: Queue) -> None:
        """Words of one chunk after the other; ``engine`` is that of the chunk in hand."""
        flight = data.View(_flight_layout(self._params), flights.o.payload)
        m.submodules.unpack = unpack = Unpack(self._params.bus_bytes, WORD_BYTES, _chunk_bits(self._params))
        engine = Signal(len(ENGINES))
        m.d.comb += [
            unpack.rows.valid.eq(flights.o.valid),
            unpack.rows.payload.words_minus_one.eq(flight.words_minus_one),
            flights.o.ready.eq(unpack.rows.ready),
            unpack.words.ready.eq(1),
            self.word.eq(unpack.words.payload.data),
            self.put.eq(Mux(unpack.words.valid, engine, 0)),
        ]
        with m.If(flights.o.valid & unpack.rows.ready):
            m.d.sync += engine.eq(flight.engine)
        self._take_beats(m, unpack.beats)

    def _take_beats(self, m: Module, sink: Any) -> None:
        """Where a beat holds several words, two chunks are buffered: else the beats of loads behind them would wait."""
        beats = self.read.beats
        if self._params.bus_bytes <= WORD_BYTES:
            wiring.connect(m, wiring.flipped(beats), sink)
            return
        depth = max(2, 2 * chunk_bytes(self._params) // self._params.bus_bytes)
        m.submodules.buffer = buffer = SyncFIFOBuffered(width=8 * self._params.bus_bytes, depth=depth)
        m.d.comb += [
            buffer.w_data.eq(beats.payload),
            buffer.w_en.eq(beats.valid),
            beats.ready.eq(buffer.w_rdy),
            sink.payload.eq(buffer.r_data),
            sink.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(sink.ready),
        ]
