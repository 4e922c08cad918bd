"""The accelerator: every part, connected."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, Module, ResetInserter, Signal, Value
from amaranth.lib.wiring import In, Out, connect

from systola.hw.array.engine import ArrayEngine
from systola.hw.block import Block
from systola.hw.control import Controller
from systola.hw.counters import Counters
from systola.hw.dma.axi import AxiGuard
from systola.hw.dma.fetch import Fetch
from systola.hw.dma.load import LoadEngine
from systola.hw.dma.store import StoreEngine
from systola.hw.dma.waits import MemoryWaits
from systola.hw.drain import DrainEngine
from systola.hw.frontend import Frontend, ProgramEnd, Timeline
from systola.hw.interfaces import AxiLiteSignature, cycle_class_shape
from systola.hw.isa import ENGINES, Engine, Opcode
from systola.hw.params import Params
from systola.hw.registers import Event
from systola.hw.scratchpad import Reader, Scratchpad, Writer
from systola.hw.vector.engine import VectorEngine

__all__ = ["Accelerator"]

CACHE_MODIFIABLE_BUFFERABLE = 0b0011
"""AxCACHE: normal memory, not cached (ARM IHI 0022, A4.4)."""

PROTECTION_DATA = 0b000
"""AxPROT: unprivileged, secure, data."""


class Accelerator(Block):
    """The whole machine. All ports belong to the rising edge of ``domain``, the clock that it brings along.

    ``rst``: two cycles or more; in effect a cycle later. It is registered, and everything is reset from registers: the clock
    domain has no reset of its own, so that reset does not take part in the logic before every register.

    ``m_axi_*``: AXI4 manager (ARM IHI 0022): INCR bursts of full beats. ``s_axil_*``: AXI4-Lite subordinate, the control
    registers. ``irq``: level.

    ``trace_*``, for simulation and debugging: in a cycle with ``trace_running``, which are CYCLES many, ``trace_class`` has the
    ``CycleClass`` of engine e in bits 4·e … 4·e + 3; bit e of ``trace_taken`` and ``trace_retire``: the engine took, or finished,
    an instruction in this cycle. All of it is a cycle late, alike.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self.domain = ClockDomain("sync", reset_less=True)
        super().__init__({
            "rst": In(1),
            **_axi4_ports(params),
            **_axi_lite_ports(),
            "irq": Out(1),
            "trace_running": Out(1),
            "trace_class": Out(len(ENGINES) * cycle_class_shape),
            "trace_taken": Out(len(ENGINES)),
            "trace_retire": Out(len(ENGINES)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The control side outlives a program; the engines are reset wherever none runs."""
        m = Module()
        m.domains.sync = self.domain
        reset = Signal(init=1)
        m.d.sync += reset.eq(self.rst)
        parts = _Parts(m, self._params, reset)
        self._connect_control_port(m, parts)
        self._connect_bus(m, parts)
        _connect_data(m, parts)
        _connect_instructions(m, parts)
        _connect_sequencing(m, parts)
        _connect_counters(m, parts)
        self._connect_trace(m, parts)
        return m

    def _connect_control_port(self, m: Module, parts: _Parts) -> None:
        bus = parts.controller.bus
        for name, member in AxiLiteSignature().members.items():
            port = getattr(self, f"s_axil_{name.replace('_', '')}")
            m.d.comb += getattr(bus, name).eq(port) if member.flow is In else port.eq(getattr(bus, name))
        m.d.comb += self.irq.eq(parts.controller.irq)

    def _connect_bus(self, m: Module, parts: _Parts) -> None:
        """The guard's channels, and what never changes: full beats, INCR, one id for writes."""
        for bus in (parts.guard.read_bus, parts.guard.write_bus):
            for name, member in bus.signature.members.items():
                inner, port = getattr(bus, name), getattr(self, f"m_axi_{name.replace('_', '')}")
                m.d.comb += inner.eq(port) if member.flow is In else port.eq(inner)
        size = (self._params.bus_bytes - 1).bit_length()
        for channel in ("ar", "aw"):
            for name, value in (("size", size), ("burst", 1), ("cache", CACHE_MODIFIABLE_BUFFERABLE), ("prot", PROTECTION_DATA)):
                m.d.comb += getattr(self, f"m_axi_{channel}{name}").eq(value)
        m.d.comb += self.m_axi_awid.eq(0)

    def _connect_trace(self, m: Module, parts: _Parts) -> None:
        """In step with the counters."""
        taken = [e.control.instruction.valid & e.control.instruction.ready for e in parts.engines]
        m.d.comb += [
            self.trace_running.eq(parts.counters.trace_running),
            self.trace_class.eq(parts.counters.trace_classes),
        ]
        m.d.sync += [self.trace_taken.eq(Cat(taken)), self.trace_retire.eq(parts.retire)]


class _Parts:
    """The submodules, by name. The control side has ``reset``; the controller holds all others in reset while no program runs."""

    def __init__(self, m: Module, params: Params, reset: Signal) -> None:
        self._m = m
        self.controller = self._add(reset, "controller", Controller(params))
        self.guard = self._add(reset, "guard", AxiGuard(params))
        self.counters = self._add(reset, "counters", Counters())
        self.waits = self._add(reset, "waits", MemoryWaits(params))
        self.timeline = self._add(reset, "timeline", Timeline())
        stopped = self.controller.reset
        self.scratchpad = self._add(stopped, "scratchpad", Scratchpad(params))
        self.fetch = self._add(stopped, "fetch", Fetch(params))
        self.end = self._add(stopped, "end", ProgramEnd())
        self.load = self._add(stopped, "load", LoadEngine(params))
        self.array = self._add(stopped, "array", ArrayEngine(params))
        self.drain = self._add(stopped, "drain", DrainEngine(params))
        self.vector = self._add(stopped, "vector", VectorEngine(params))
        self.store = self._add(stopped, "store", StoreEngine(params))
        self.engines: list[Any] = [self.load, self.array, self.drain, self.vector, self.store]
        self.frontends = [
            self._add(stopped, f"frontend_{engine.name.lower()}", Frontend(params, Opcode(engine + 1))) for engine in ENGINES
        ]
        self.retire = Cat(engine.control.retire for engine in self.engines)

    def _add(self, reset: Signal, name: str, part: Any) -> Any:
        self._m.submodules[name] = ResetInserter(reset)(part)
        return part


def _connect_data(m: Module, parts: _Parts) -> None:
    """Engines, scratchpad and the guard."""
    readers = {
        Reader.ACT: parts.array.act,
        Reader.WEIGHTS: parts.array.weights,
        Reader.DRAIN: parts.drain.read,
        Reader.VECTOR: parts.vector.read,
        Reader.STORE: parts.store.read,
    }
    for reader, client in readers.items():
        connect(m, client, parts.scratchpad.read[reader])
    writers = {Writer.DRAIN: parts.drain.write, Writer.VECTOR: parts.vector.write, Writer.LOAD: parts.load.write}
    for writer, client in writers.items():
        connect(m, client, parts.scratchpad.write[writer])
    connect(m, parts.drain.acc, parts.array.acc_read)
    connect(m, parts.fetch.read, parts.guard.fetch)
    connect(m, parts.load.read, parts.guard.load)
    connect(m, parts.store.bus, parts.guard.store)


def _connect_instructions(m: Module, parts: _Parts) -> None:
    """Fetch → front ends → engines; what the front ends say of their streams' ends."""
    fetch, end = parts.fetch, parts.end
    for number, engine, frontend in zip(ENGINES, parts.engines, parts.frontends, strict=True):
        connect(m, frontend.engine, engine.control)
        m.d.comb += [
            frontend.counts.eq(parts.timeline.counts),
            frontend.stream_bytes.eq(parts.controller.stream_bytes[number]),
            frontend.word.eq(fetch.word),
            frontend.put.eq(fetch.put[number]),
            fetch.freed[number].eq(frontend.freed),
            end.ended[number].eq(frontend.ended),
            end.empty[number].eq(frontend.empty),
            end.illegal[number].eq(frontend.illegal),
            end.offsets[number].eq(frontend.offset),
        ]


def _connect_sequencing(m: Module, parts: _Parts) -> None:
    """The controller's view of the machine, and what it tells the others."""
    controller, guard, fetch = parts.controller, parts.guard, parts.fetch
    m.d.comb += [
        controller.end.eq(parts.end.end),
        controller.retire.eq(parts.retire),
        controller.finished.eq(parts.timeline.counts),
        controller.bus_fault.eq(guard.fault),
        controller.bus_fault_kind.eq(guard.fault_kind),
        controller.bus_fault_address.eq(guard.fault_address),
        controller.bus_fault_engine.eq(guard.fault_engine),
        controller.illegal.eq(parts.end.fault),
        controller.illegal_address.eq(parts.end.fault_offset),
        controller.illegal_engine.eq(parts.end.fault_engine),
        controller.quiet.eq(guard.quiet),
        guard.abort.eq(controller.aborting),
        parts.timeline.retire.eq(parts.retire),
        parts.timeline.clear.eq(controller.launch),
        fetch.start.eq(controller.launch),
        fetch.stream_addresses.eq(controller.stream_addresses),
        fetch.stream_bytes.eq(controller.stream_bytes),
        guard.fetch_urgent.eq(fetch.urgent),
    ]
    for part in (fetch, parts.load, parts.store):
        m.d.comb += part.dram_base.eq(controller.dram_base)


def _connect_counters(m: Module, parts: _Parts) -> None:
    """Classes from the front ends, those of load and store by way of ``waits``; events from where they happen."""
    counters, controller, waits, guard = parts.counters, parts.controller, parts.waits, parts.guard
    classes = [frontend.cycle_class for frontend in parts.frontends]
    m.d.comb += [
        waits.beats.eq(Cat(guard.read_beats, guard.write_beats)),
        waits.load_own.eq(classes[Engine.LOAD]),
        waits.store_own.eq(classes[Engine.STORE]),
    ]
    classes[Engine.LOAD], classes[Engine.STORE] = waits.load_class, waits.store_class
    m.d.comb += [
        counters.running.eq(controller.running),
        counters.clear.eq(controller.launch),
        counters.read.eq(controller.counter_read),
        counters.read_address.eq(controller.counter_address),
        controller.counter_data.eq(counters.read_data),
        *(counters.classes[engine].eq(classes[engine]) for engine in ENGINES),
        *(counters.events[event].eq(value) for event, value in _events(parts).items()),
    ]


def _events(parts: _Parts) -> dict[Event, Value]:
    """Every event, in the cycle it is counted in."""
    array, guard = parts.array.events, parts.guard
    return {
        Event.ARRAY_PIXELS: array.pixels,
        Event.ARRAY_PADDING: array.padding,
        Event.WEIGHT_READS: _accepted(parts.array.weights),
        Event.ACT_READS: _accepted(parts.array.act),
        Event.DRAIN_READS: _accepted(parts.drain.read),
        Event.VECTOR_READS: _accepted(parts.vector.read),
        Event.STORE_READS: _accepted(parts.store.read),
        Event.LOAD_WRITES: _accepted(parts.load.write),
        Event.DRAIN_WRITES: _accepted(parts.drain.write),
        Event.VECTOR_WRITES: _accepted(parts.vector.write),
        Event.ACC_READS: array.acc_reads,
        Event.ACC_WRITES: array.acc_writes,
        Event.VECTOR_STEPS: parts.vector.events.steps,
        Event.READ_BEATS: guard.read_beats,
        Event.WRITE_BEATS: guard.write_beats,
        Event.READ_BURSTS: guard.read_bursts,
        Event.WRITE_BURSTS: guard.write_bursts,
        Event.FETCH_BEATS: guard.fetch_beats,
    }


def _accepted(port: Any) -> Value:
    return port.valid & port.ready


def _axi4_ports(params: Params) -> dict[str, Any]:
    """The manager's ports, named as AXI names them."""
    address, data = params.config.bus.address_bits, 8 * params.bus_bytes
    ports: dict[str, Any] = {}
    for channel in ("ar", "aw"):
        ports |= {
            f"m_axi_{channel}{name}": Out(width)
            for name, width in (
                ("addr", address), ("len", 8), ("size", 3), ("burst", 2), ("id", 1), ("cache", 4), ("prot", 3), ("valid", 1),
            )
        }  # fmt: skip
        ports[f"m_axi_{channel}ready"] = In(1)
    return ports | {
        "m_axi_rdata": In(data), "m_axi_rresp": In(2), "m_axi_rlast": In(1), "m_axi_rid": In(1), "m_axi_rvalid": In(1),
        "m_axi_rready": Out(1),
        "m_axi_wdata": Out(data), "m_axi_wstrb": Out(data // 8), "m_axi_wlast": Out(1), "m_axi_wvalid": Out(1),
        "m_axi_wready": In(1),
        "m_axi_bresp": In(2), "m_axi_bid": In(1), "m_axi_bvalid": In(1), "m_axi_bready": Out(1),
    }  # fmt: skip


def _axi_lite_ports() -> dict[str, Any]:
    """The subordinate's ports: AxiLiteSignature without its underscores."""
    return {f"s_axil_{name.replace('_', '')}": member for name, member in AxiLiteSignature().members.items()}
