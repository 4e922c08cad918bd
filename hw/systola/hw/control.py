"""Control: the register file on AXI4-Lite, and the sequencer that starts, watches and ends a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.counters import READ_LATENCY_CYCLES, READ_PERIOD_CYCLES, SETTLE_CYCLES
from systola.hw.dma.axi import NO_ENGINE
from systola.hw.dma.fetch import streams_layout
from systola.hw.frontend import counts_layout
from systola.hw.interfaces import AxiLiteSignature
from systola.hw.isa import ENGINES, ISA_VERSION
from systola.hw.params import Params
from systola.hw.registers import ADDRESS_BITS, IDENTITY, REGISTERS, Control, Fault, Irq, Register, Status

__all__ = ["AxiLiteSlave", "Controller", "KeptWords", "RegisterFile", "Sequencer", "Watchdog"]

FAULT_BITS = 8

_READ_STATES = 3
"""Cycles of a read beside those of the counters: taken, answered, accepted."""
assert READ_LATENCY_CYCLES + _READ_STATES >= READ_PERIOD_CYCLES


class AxiLiteSlave(Block):
    """One access at a time on AXI4-Lite (ARM IHI 0022, B1).

    A write is taken when address and data are both there; in the next cycle ``write`` is 1 with ``write_address``,
    ``write_strobes`` and ``write_data``, whose bytes without a strobe are 0. A read sets ``read_address``, and in the
    next cycle ``read`` is 1; ``read_data`` is sampled READ_LATENCY_CYCLES after that. Every response is OKAY.
    In reset, and in the cycle after power-on, nothing is taken.
    """

    def __init__(self) -> None:
        super().__init__({
            "bus": Out(AxiLiteSignature()),
            "write": Out(1),
            "write_address": Out(ADDRESS_BITS),
            "write_data": Out(32),
            "write_strobes": Out(4),
            "read": Out(1),
            "read_address": Out(ADDRESS_BITS),
            "read_data": In(32),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Two small handshakes."""
        m = Module()
        bus, reading, awake = self.bus, Signal(1 + READ_LATENCY_CYCLES), Signal()
        take = awake & bus.aw_valid & bus.w_valid & ~bus.b_valid
        m.d.comb += [bus.aw_ready.eq(take), bus.w_ready.eq(take), bus.ar_ready.eq(awake & ~reading.any() & ~bus.r_valid)]
        m.d.sync += [self.write.eq(take), awake.eq(1)]
        with m.If(take):
            m.d.sync += [
                self.write_address.eq(bus.aw_addr),
                self.write_data.eq(Cat(bus.w_data.word_select(b, 8) & bus.w_strb[b].replicate(8) for b in range(4))),
                self.write_strobes.eq(bus.w_strb),
                bus.b_valid.eq(1),
            ]
        with m.Elif(bus.b_ready):
            m.d.sync += bus.b_valid.eq(0)
        m.d.comb += self.read.eq(reading[0])
        m.d.sync += reading.eq(Cat(bus.ar_valid & bus.ar_ready, reading))
        with m.If(bus.ar_valid & bus.ar_ready):
            m.d.sync += self.read_address.eq(bus.ar_addr)
        with m.If(reading[-1]):
            m.d.sync += [bus.r_data.eq(self.read_data), bus.r_valid.eq(1)]
        with m.Elif(bus.r_ready):
            m.d.sync += bus.r_valid.eq(0)
        return m


class KeptWords(Block):
    """The writable registers as the bus reads them, in a memory: less logic than to choose one of their flip-flops.

    ``write``: the bytes with a strobe of the register at ``write_address``, if it is one of ``names``; the other bytes of
    ``write_data`` are 0. ``read_data``: the register at ``read_address`` in the same cycle, 0 if it is none of ``names``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._addresses = [_register(name).address for name in names]
        super().__init__({
            "write": In(1), "write_address": In(ADDRESS_BITS), "write_data": In(32), "write_strobes": In(4),
            "read_address": In(ADDRESS_BITS), "read_data": Out(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A word is known once it was written after a reset: the first write sets all its bytes, and until then it reads 0."""
        m = Module()
        bits = _telling_bits(self._addresses)
        m.submodules.memory = memory = Memory(shape=32, depth=1 << len(bits), init=[])
        write, read = memory.write_port(granularity=8), memory.read_port(domain="comb")
        known = Signal(1 << len(bits))
        to, of = Signal(len(bits)), Signal(len(bits))
        is_write, is_read = Signal(), Signal()
        m.d.comb += [
            to.eq(Cat(self.write_address[bit] for bit in bits)),
            of.eq(Cat(self.read_address[bit] for bit in bits)),
            is_write.eq(self.write & self._among(self.write_address)),
            is_read.eq(self._among(self.read_address) & known.bit_select(of, 1)),
            write.addr.eq(to),
            write.data.eq(self.write_data),
            write.en.eq(Mux(is_write, self.write_strobes | (~known.bit_select(to, 1)).replicate(4), 0)),
            read.addr.eq(of),
            self.read_data.eq(Mux(is_read, read.data, 0)),
        ]
        with m.If(is_write):
            m.d.sync += known.bit_select(to, 1).eq(1)
        return m

    def _among(self, address: Value) -> Value:
        return reduce(or_, (address[2:] == of >> 2 for of in self._addresses))


def _telling_bits(addresses: Sequence[int]) -> tuple[int, ...]:
    """The fewest address bits that tell these registers from each other."""
    every = (bits for count in range(ADDRESS_BITS) for bits in combinations(range(2, ADDRESS_BITS), count))
    return next(bits for bits in every if len({tuple(a >> b & 1 for b in bits) for a in addresses}) == len(addresses))


class RegisterFile(Block):
    """The registers of ``REGISTERS``; other addresses read ``counter_data``, which is 0 at those of registers when it is sampled.

    Reading and writing as AxiLiteSlave says. ``start`` and ``stop`` are 1 in the cycle after a 1 was written to their bit.
    ``set_done`` and ``set_fault`` raise their bits of IRQ_STATUS; ``irq`` is the level of the enabled ones.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "write": In(1), "write_address": In(ADDRESS_BITS), "write_data": In(32), "write_strobes": In(4),
            "read_address": In(ADDRESS_BITS), "read_data": Out(32), "counter_data": In(32),
            "start": Out(1), "stop": Out(1), "irq": Out(1), "set_done": In(1), "set_fault": In(1),
            "stream_addresses": Out(streams_layout), "stream_bytes": Out(streams_layout),
            "dram_base": Out(params.config.bus.address_bits), "watchdog_cycles": Out(32),
            "busy": In(1), "done": In(1), "fault": In(FAULT_BITS), "fault_address": In(params.config.bus.address_bits),
            "fault_engine": In(3), "cycles": In(64), "finished": In(counts_layout),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Writable registers: those parts of them that drive the machine, and all for reading. Then the state."""
        m = Module()
        address_high = len(self.dram_base) - 32
        widths = {"IRQ_ENABLE": len(Irq), "DRAM_BASE_LOW": 32, "DRAM_BASE_HIGH": max(0, address_high), "WATCHDOG_CYCLES": 32}
        stored = {name: self._stored(m, name, width) for name, width in widths.items()}
        for engine in ENGINES:
            for name, port in (("STREAM_ADDRESS", self.stream_addresses), ("STREAM_BYTES", self.stream_bytes)):
                stored[f"{name}_{engine.name}"] = register = self._stored(m, f"{name}_{engine.name}", 32)
                m.d.comb += port[engine].eq(register)
        pending = self._interrupt(m, stored["IRQ_ENABLE"])
        control = self._written("CONTROL") & self.write_strobes[0]
        m.d.sync += [
            self.start.eq(control & self.write_data[_bit(Control.START)]),
            self.stop.eq(control & self.write_data[_bit(Control.STOP)]),
        ]
        m.d.comb += [
            self.dram_base.eq(Cat(stored["DRAM_BASE_LOW"], stored["DRAM_BASE_HIGH"])),
            self.watchdog_cycles.eq(stored["WATCHDOG_CYCLES"]),
        ]
        m.submodules.kept = kept = KeptWords(stored)
        _connect_names(m, self, kept, ("write", "write_address", "write_data", "write_strobes", "read_address"))
        self._read(m, kept.read_data, {**self._constants(), **self._state(), "IRQ_STATUS": pending})
        return m

    def _written(self, name: str) -> Value:
        return self.write & (self.write_address[2:] == _register(name).address >> 2)

    def _stored(self, m: Module, name: str, width: int) -> Signal:
        """The lowest bits of a register, written by bytes."""
        register = Signal(width, name=name.lower())
        with m.If(self._written(name)):
            for low in range(0, width, 8):
                with m.If(self.write_strobes[low // 8]):
                    m.d.sync += register[low : low + 8].eq(self.write_data[low : min(low + 8, width)])
        return register

    def _interrupt(self, m: Module, enable: Signal) -> Signal:
        """IRQ_STATUS: set by the machine, cleared by writing 1; an event in the same cycle wins."""
        pending = Signal(len(Irq), name="irq_status")
        event = Cat(self.set_done, self.set_fault)
        clear = Mux(self._written("IRQ_STATUS") & self.write_strobes[0], self.write_data[: len(Irq)], 0)
        m.d.sync += pending.eq((pending & ~clear) | event)
        m.d.comb += self.irq.eq((pending & enable[: len(Irq)]).any())
        return pending

    def _constants(self) -> dict[str, Value]:
        p = self._params
        geometry = p.rows | p.columns << 8 | p.lanes << 16 | p.bus_bytes << 24
        return {
            "IDENTITY": Const(IDENTITY, 32),
            "ISA_VERSION": Const(ISA_VERSION, 32),
            "FINGERPRINT": Const(p.fingerprint, 32),
            "GEOMETRY": Const(geometry, 32),
            "CONTROL": Const(0, 32),
        }

    def _state(self) -> dict[str, Value]:
        faulty = self.fault != Fault.NONE
        flags = {Status.BUSY: self.busy, Status.DONE: self.done, Status.FAULT: faulty}
        status = Cat(*(flags[flag] for flag in sorted(Status)), Const(0, 8 - len(Status)), self.fault)
        return {
            "STATUS": status,
            "FAULT_ADDRESS_LOW": self.fault_address[:32],
            "FAULT_ADDRESS_HIGH": self.fault_address[32:],
            "FAULT_ENGINE": self.fault_engine,
            "CYCLES_LOW": self.cycles[:32],
            "CYCLES_HIGH": self.cycles[32:],
            **{f"FINISHED_{engine.name}": self.finished[engine] for engine in ENGINES},
        }

    def _read(self, m: Module, kept: Value, values: dict[str, Value]) -> None:
        """What is none of its own registers each part says to be 0: so they are joined by OR. The counters come late: the others
        are held in between."""
        state, held = Signal(32), Signal(32)
        with m.Switch(self.read_address[2:]):
            for name, value in values.items():
                with m.Case(_register(name).address >> 2):
                    m.d.comb += state.eq(value)
        m.d.sync += held.eq(state | kept)
        m.d.comb += self.read_data.eq(held | self.counter_data)


class Watchdog(Block):
    """``expired`` is 1 when no instruction finished (``retire``) for ``cycles`` cycles of ``enable``; never if that is 0.

    ``enable`` and ``retire`` are looked at a cycle late, because ``retire`` comes late in its cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "enable": In(1),
            "cycles": In(32),
            "retire": In(1),
            "expired": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """A down counter, reloaded by every finished instruction."""
        m = Module()
        left, high, enable, retire = Signal(32), Signal(), Signal(), Signal()
        m.d.sync += [enable.eq(self.enable), retire.eq(self.retire)]
        m.d.comb += high.eq(left[1:].any())
        with m.If(~enable | retire):
            m.d.sync += left.eq(self.cycles)
        with m.Elif(high | left[0]):
            m.d.sync += left.eq(left - 1)
        m.d.sync += self.expired.eq(enable & ~retire & ~high & left[0])
        return m


class Sequencer(Block):
    """From START to the end of a program.

    ``reset`` holds the engines wherever no program runs. ``running``: a counted cycle; in the first of them ``launch`` is 1. The
    program runs until ``end`` (every stream's END is over) or a fault. ``aborting`` follows for SETTLE_CYCLES at least and until
    the bus is ``quiet``; then ``set_done`` or ``set_fault`` is 1 for one cycle and ``busy`` falls.

    ``bus_fault``: an error response, its Fault, address and engine. ``illegal``: what an engine's stream holds is no program,
    with the offset. Each is 1 for a cycle or more; the first fault counts.
    """

    def __init__(self, params: Params) -> None:
        address = params.config.bus.address_bits
        super().__init__({
            "start": In(1), "stop": In(1), "end": In(1), "retire": In(len(ENGINES)), "watchdog_cycles": In(32),
            "bus_fault": In(1), "bus_fault_kind": In(Fault), "bus_fault_address": In(address), "bus_fault_engine": In(3),
            "illegal": In(1), "illegal_address": In(32), "illegal_engine": In(3), "quiet": In(1),
            "running": Out(1), "launch": Out(1), "reset": Out(1, init=1), "aborting": Out(1),
            "busy": Out(1), "done": Out(1), "set_done": Out(1), "set_fault": Out(1),
            "fault": Out(FAULT_BITS), "fault_address": Out(address), "fault_engine": Out(3, init=NO_ENGINE),
            "cycles": Out(64),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The states, the watchdog, the cycle counter."""
        m = Module()
        m.submodules.watchdog = watchdog = Watchdog()
        timer, ending = Signal(range(SETTLE_CYCLES)), Signal()
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.launch.eq(1), self.reset.eq(0), self.done.eq(0), self.fault.eq(Fault.NONE)]
                m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += [timer.eq(SETTLE_CYCLES - 1), self.launch.eq(0), self.reset.eq(ending)]
                m.d.comb += ending.eq(self._watch(m, watchdog.expired))
                with m.If(ending):
                    m.next = "ABORT"
            with m.State("ABORT"):
                m.d.sync += timer.eq(Mux(timer == 0, 0, timer - 1))
                with m.If((timer == 0) & self.quiet):
                    m.d.comb += [self.set_done.eq(self.fault == Fault.NONE), self.set_fault.eq(self.fault != Fault.NONE)]
                    m.d.sync += self.done.eq(self.fault == Fault.NONE)
                    m.next = "IDLE"
        m.d.comb += [
            self.running.eq(fsm.ongoing("RUN")),
            self.aborting.eq(fsm.ongoing("ABORT")),
            self.busy.eq(~fsm.ongoing("IDLE")),
            watchdog.enable.eq(fsm.ongoing("RUN")),
            watchdog.cycles.eq(self.watchdog_cycles),
            watchdog.retire.eq(self.retire.any()),
        ]
        self._count(m)
        return m

    def _watch(self, m: Module, expired: Value) -> Value:
        """The first fault, or the end. A bad response comes before an END that it would have held up."""
        faults = [
            (self.bus_fault, self.bus_fault_kind, self.bus_fault_address, self.bus_fault_engine),
            (self.illegal, Fault.ILLEGAL_INSTRUCTION, self.illegal_address, self.illegal_engine),
            (expired & ~self.end, Fault.WATCHDOG, 0, NO_ENGINE),
            (self.stop & ~self.end, Fault.STOPPED, 0, NO_ENGINE),
        ]
        for index, (happened, fault, address, engine) in enumerate(faults):
            with m.If(happened) if index == 0 else m.Elif(happened):
                m.d.sync += [self.fault.eq(fault), self.fault_address.eq(address), self.fault_engine.eq(engine)]
        return Cat(self.end, *(fault[0] for fault in faults)).any()

    def _count(self, m: Module) -> None:
        """CYCLES in two halves with a registered carry: no 64-bit carry chain."""
        low, high, carry = Signal(32), Signal(32), Signal()
        m.d.comb += self.cycles.eq(Cat(low, high))
        with m.If(self.running):
            m.d.sync += Cat(low, carry).eq(low + 1)
        with m.Else():
            m.d.sync += carry.eq(0)
        with m.If(carry):
            m.d.sync += high.eq(high + 1)
        with m.If(self.start & ~self.busy):
            m.d.sync += [low.eq(0), high.eq(0), carry.eq(0)]


class Controller(Block):
    """Register file and sequencer behind the AXI4-Lite port. Ports as theirs. In a cycle with ``counter_read`` the counter at
    ``counter_address`` is read: ``counter_data`` is its value READ_LATENCY_CYCLES later.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        address = params.config.bus.address_bits
        super().__init__({
            "bus": Out(AxiLiteSignature()), "irq": Out(1),
            "stream_addresses": Out(streams_layout), "stream_bytes": Out(streams_layout), "dram_base": Out(address),
            "end": In(1), "retire": In(len(ENGINES)), "finished": In(counts_layout),
            "bus_fault": In(1), "bus_fault_kind": In(Fault), "bus_fault_address": In(address), "bus_fault_engine": In(3),
            "illegal": In(1), "illegal_address": In(32), "illegal_engine": In(3), "quiet": In(1),
            "running": Out(1), "launch": Out(1), "reset": Out(1), "aborting": Out(1),
            "counter_read": Out(1), "counter_address": Out(ADDRESS_BITS), "counter_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Connections only."""
        m = Module()
        m.submodules.bus = bus = AxiLiteSlave()
        m.submodules.registers = registers = RegisterFile(self._params)
        m.submodules.sequencer = sequencer = Sequencer(self._params)
        wiring.connect(m, wiring.flipped(self.bus), bus.bus)
        _connect_names(m, bus, registers, ("write", "write_address", "write_data", "write_strobes", "read_address"))
        _connect_names(m, registers, bus, ("read_data",))
        _connect_names(m, registers, sequencer, ("start", "stop", "watchdog_cycles"))
        _connect_names(m, sequencer, registers, ("busy", "done", "fault", "fault_address", "fault_engine", "cycles",
                                                 "set_done", "set_fault"))  # fmt: skip
        _connect_names(m, self, registers, ("counter_data", "finished"))
        _connect_names(m, registers, self, ("irq", "stream_addresses", "stream_bytes", "dram_base"))
        _connect_names(m, self, sequencer, (
            "end", "retire", "bus_fault", "bus_fault_kind", "bus_fault_address", "bus_fault_engine", "illegal",
            "illegal_address", "illegal_engine", "quiet",
        ))  # fmt: skip
        _connect_names(m, sequencer, self, ("running", "launch", "reset", "aborting"))
        m.d.comb += [self.counter_read.eq(bus.read), self.counter_address.eq(bus.read_address)]
        return m


def _connect_names(m: Module, source: Block, sink: Block, names: tuple[str, ...]) -> None:
    """Drives the sink's ports of these names from the source's."""
    for name in names:
        m.d.comb += getattr(sink, name).eq(getattr(source, name))


def _register(name: str) -> Register:
    return next(register for register in REGISTERS if register.name == name)


def _bit(flag: Control) -> int:
    return int(flag).bit_length() - 1
