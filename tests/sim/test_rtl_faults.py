"""Faults of the whole machine: after each there is a status, an interrupt, an address, and a machine that works again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fixed_networks import residual_network
from random_networks import network_input
from rtl import TIMEOUT_CYCLES, golden_values, settings_of

from systola.driver.runtime import Runtime
from systola.hw.config import load_config
from systola.hw.errors import DeviceError, ImageError
from systola.hw.isa import ENGINES, UNIT_BYTES, Engine, Opcode, encode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import REGISTERS, Control, Event, Fault, Irq, Status, event_address
from systola.mapper.compile import compile_network
from systola.mapper.image import Image, ProgramStep
from systola.mapper.quantgraph import QuantGraph
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.settings import BurstError, Response

ADDRESS = {register.name: register.address for register in REGISTERS}
FETCH = 7
PAGE_BYTES = 4096
pytestmark = pytest.mark.xdist_group("tiny")


@dataclass
class Bench:
    """A machine with a network's image, its program started by hand."""

    params: Params
    graph: QuantGraph
    image: Image
    session: RtlSession
    step: ProgramStep = field(init=False)
    base: int = 0

    def __post_init__(self) -> None:
        (self.step,) = (step for step in self.image.steps if isinstance(step, ProgramStep))
        self.inputs = network_input(self.graph)
        self.expected = golden_values(self.graph, self.inputs)

    def load(self) -> Runtime:
        """The image, whole again."""
        return Runtime(self.session, self.image, self.params)

    def assert_works(self) -> int:
        """The network runs and is right; its cycles."""
        self.session.memory[: self.image.memory_bytes] = 0
        runtime = self.load()
        result = runtime.infer(self.inputs, timeout_cycles=TIMEOUT_CYCLES)
        for name in set(self.graph.tensors) & set(self.image.tensors):
            assert np.array_equal(runtime.tensor(name), self.expected[name]), name
        return result.cycles

    def write(self, **values: int) -> None:
        self.session.write_registers([(ADDRESS[name], value) for name, value in values.items()])

    def read(self, name: str) -> int:
        return self.session.read_register(ADDRESS[name])

    def start(self, *, watchdog: int = 100_000, **changed: int) -> None:
        """``changed``: registers of streams that have another value than they should."""
        streams = {**self.step.registers(), **changed}
        self.write(IRQ_ENABLE=Irq.DONE | Irq.FAULT, WATCHDOG_CYCLES=watchdog, **streams, CONTROL=Control.START)

    def streams(self) -> list[tuple[int, int]]:
        """(first byte, byte after) of every stream."""
        return [(stream.address, stream.address + stream.bytes) for stream in self.step.streams.values()]

    def finish(self) -> int:
        """Sleep until the interrupt, take it back, and return STATUS."""
        self.session.wait_irq(2_000_000)
        status = self.read("STATUS")
        assert status & 0xFF in (Status.DONE, Status.FAULT), f"STATUS {status:#x}"
        assert self.read("IRQ_STATUS") == (Irq.FAULT if status & Status.FAULT else Irq.DONE)
        self.write(IRQ_STATUS=Irq.DONE | Irq.FAULT)
        with pytest.raises(DeviceError, match="no interrupt"):
            self.session.wait_irq(50)
        return status

    def fault(self) -> tuple[Fault, int, int]:
        """Sleep until the interrupt, which must tell of a fault: (fault, address, engine)."""
        status = self.finish()
        assert status & Status.FAULT, f"STATUS {status:#x}"
        return self.cause(status)

    def cause(self, status: int) -> tuple[Fault, int, int]:
        """(fault, address, engine)."""
        address = self.read("FAULT_ADDRESS_LOW") | self.read("FAULT_ADDRESS_HIGH") << 32
        return Fault(status >> 8), address, self.read("FAULT_ENGINE")

    def bursts(self) -> tuple[int, int]:
        """Bursts of the last program, (read, written)."""
        return tuple(self.session.read_registers([event_address(e) for e in (Event.READ_BURSTS, Event.WRITE_BURSTS)]))  # type: ignore[return-value]  # two of them

    def ranges(self, opcode: Opcode) -> list[tuple[int, int]]:
        """(first byte, byte after) of every row that the program's instructions of a kind move."""
        found = []
        for i in self.step.instructions:
            if i.opcode is opcode:
                for z in range(i["count_z"]):
                    for y in range(i["count_y"]):
                        begin = i["dram_address"] + z * i["dram_stride_z"] + y * i["dram_stride_y"]
                        found.append((begin, begin + i["count_x"] * self.params.lanes))
        return found


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A machine of its own: what a fault leaves in its scratchpad is in no interpreter."""
    params = Params(load_config("tiny"))
    graph = residual_network()
    image = compile_network(graph, params, keep_on_chip=False)
    with RtlSession(params, image.memory_bytes + PAGE_BYTES, settings_of(params)) as session:
        yield Bench(params, graph, image, session)


def inside(address: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(begin <= address < end for begin, end in ranges)


@pytest.mark.parametrize("response", list(Response))
def test_an_error_at_every_read_burst(bench: Bench, response: Response) -> None:
    cycles = bench.assert_works()
    reads, _ = bench.bursts()
    assert reads > 40
    seen: dict[int, set[int]] = {FETCH: set(), Engine.LOAD: set()}
    for burst in range(1, reads + 1):
        beat = None if response is Response.SLVERR else burst % 2
        bench.session.reload(settings_of(bench.params, read_error=BurstError(burst, response, beat=beat)))
        bench.start()
        status = bench.finish()
        if status == Status.DONE:
            assert beat == 1  # a burst of one beat has no second one to be wrong
            continue
        kind, address, engine = bench.cause(status)
        assert kind is Fault.READ_RESPONSE
        assert inside(address, bench.streams() if engine == FETCH else bench.ranges(Opcode.LOAD)), hex(address)
        seen[engine].add(address)
        if burst % 8 == 0:
            assert bench.assert_works() == cycles  # at once: START is all it takes
    bench.session.reload(settings_of(bench.params))
    assert bench.assert_works() == cycles
    assert {begin for begin, _ in bench.streams()} <= seen[FETCH]
    if response is Response.SLVERR:  # every row was asked for from its first byte, alone or within a longer burst
        assert min(seen[Engine.LOAD]) == min(begin for begin, _ in bench.ranges(Opcode.LOAD))
        assert len(seen[Engine.LOAD]) > len(bench.ranges(Opcode.LOAD)) // 4


@pytest.mark.parametrize("response", list(Response))
def test_an_error_at_every_write_burst(bench: Bench, response: Response) -> None:
    bench.session.reload(replace(settings_of(bench.params), trace_writes=True))
    before = len(bench.session.write_trace())
    cycles = bench.assert_works()
    clean = bench.session.write_trace()[before:]
    _, writes = bench.bursts()
    assert len(clean) == writes > 10
    for burst in range(1, writes + 1):
        bench.session.reload(settings_of(bench.params, write_error=BurstError(burst, response)))
        bench.start()
        kind, address, engine = bench.fault()
        assert (kind, engine) == (Fault.WRITE_RESPONSE, Engine.STORE)
        assert address == clean["address"][burst - 1]
        assert inside(address, bench.ranges(Opcode.STORE))
        if burst % 4 == 0:
            assert bench.assert_works() == cycles
    bench.session.reload(settings_of(bench.params))
    assert bench.assert_works() == cycles


def test_errors_amid_stalls_and_waits(bench: Bench) -> None:
    """The machine comes to rest whatever is in flight: slow responses, few bursts at once, stalled channels."""
    from systola.sim.rtl.settings import Stalls

    reads, writes = 0, 0
    for seed in range(1, 25):
        stalls = Stalls(ar=60, r=60, aw=60, w=200 if seed % 2 else 30, b=60)
        depth = (1, 2, 64)[seed % 3]
        wrong = {"read_error": BurstError(7 * seed % 40 + 1)} if seed % 2 else {"write_error": BurstError(seed % 10 + 1)}
        bench.session.reload(
            settings_of(
                bench.params, stalls=stalls, seed=seed, read_depth=depth, write_depth=depth, latency_cycles=31 * seed, **wrong
            )
        )
        bench.start()
        kind, _, _ = bench.fault()
        reads, writes = reads + (kind is Fault.READ_RESPONSE), writes + (kind is Fault.WRITE_RESPONSE)
    assert (reads, writes) == (12, 12)
    bench.session.reload(settings_of(bench.params))
    bench.assert_works()


def test_stop_at_any_time(bench: Bench) -> None:
    cycles = bench.assert_works()
    for moment in (1, 20, 90, 150, *range(200, cycles - 100, max(1, cycles // 25))):
        bench.load()
        bench.start()
        with pytest.raises(DeviceError, match="no interrupt"):
            bench.session.wait_irq(moment)
        bench.write(CONTROL=Control.STOP)
        kind, _, _ = bench.fault()
        assert kind is Fault.STOPPED
        assert bench.read("STATUS") & Status.BUSY == 0
    assert bench.assert_works() == cycles


def test_stop_and_start_mean_nothing_at_the_wrong_time(bench: Bench) -> None:
    cycles = bench.assert_works()
    bench.write(CONTROL=Control.STOP)
    assert bench.read("STATUS") == Status.DONE
    bench.load()
    bench.start()
    bench.write(CONTROL=Control.START)
    assert bench.finish() == Status.DONE
    assert bench.read("CYCLES_LOW") == cycles


def test_watchdog(bench: Bench) -> None:
    """A patience shorter than the memory's latency, then a program that waits for what never comes."""
    cycles = bench.assert_works()
    bench.start(watchdog=60)
    assert bench.fault()[0] is Fault.WATCHDOG
    first = next(i for i in bench.step.instructions if i.opcode is Opcode.STORE)
    position = bench.step.streams[Engine.STORE].address
    stuck = type(first)(first.opcode, {**first.fields, "wait_enable": 1 << Engine.ARRAY, "wait_array": 5000})
    code = np.frombuffer(encode(stuck), np.uint8)
    bench.load()
    bench.session.memory[position : position + code.size] = code
    bench.start(watchdog=20_000)
    assert bench.fault()[0] is Fault.WATCHDOG
    assert bench.read("FINISHED_STORE") == 0
    assert bench.assert_works() == cycles


def test_illegal_instructions(bench: Bench) -> None:
    """In each stream each opcode in turn, END too, replaced by ones that do not exist or are another engine's; streams that end
    too early, or are not there."""
    cycles = bench.assert_works()
    for engine, stream in bench.step.streams.items():
        size = instruction_units(Opcode(engine + 1)) * UNIT_BYTES
        for number in range(len(bench.step.of_engine(engine)) + 1):
            bench.load()
            bad = (0, 7, 15, (engine + 2) % 5 + 1)[number % 4]
            place = stream.address + number * size
            bench.session.memory[place] = bench.session.memory[place] & 0xF0 | bad
            bench.start()
            assert bench.fault() == (Fault.ILLEGAL_INSTRUCTION, number * size, engine)
        bench.load()
        for size in {64, stream.bytes // 128 * 64} - {0, stream.bytes}:
            bench.start(**{f"STREAM_BYTES_{engine.name}": size})
            assert bench.fault() == (Fault.ILLEGAL_INSTRUCTION, size, engine)
    nothing = {name: 0 for name in bench.step.registers() if name.startswith("STREAM_BYTES")}
    bench.start(**nothing)
    assert bench.fault() == (Fault.ILLEGAL_INSTRUCTION, 0, FETCH)
    assert bench.assert_works() == cycles


def test_damaged_programs_never_hang(bench: Bench) -> None:
    """Any bits may be wrong: there is always an end, and the machine works again."""
    cycles = bench.assert_works()
    rng = np.random.default_rng(11)
    ends = set()
    for _ in range(80):
        bench.load()
        places = np.concatenate([np.arange(begin, end) for begin, end in bench.streams()])
        for _ in range(int(rng.integers(1, 4))):
            bench.session.memory[rng.choice(places)] ^= np.uint8(1 << int(rng.integers(8)))
        bench.start(watchdog=5_000)
        ends.add(Fault(bench.finish() >> 8))
    assert {Fault.NONE, Fault.ILLEGAL_INSTRUCTION, Fault.WATCHDOG} <= ends
    assert bench.assert_works() == cycles


def test_memory_that_ends_too_early(bench: Bench) -> None:
    """The image at the very end of the memory: what lies beyond answers DECERR, in the fetch, a load or a store."""
    bench.load()
    size = bench.session.memory.size
    stores = bench.ranges(Opcode.STORE)
    bench.session.reload(settings_of(bench.params, base_address=1 << 20))
    bench.write(DRAM_BASE_LOW=0)
    bench.start()
    assert bench.fault() == (Fault.READ_RESPONSE, bench.step.streams[Engine.LOAD].address, FETCH)
    # The memory is moved up so that the last stored row is beyond its end.
    end = max(last for _, last in stores)
    kept = bench.session.memory.copy()
    shift = -(-(size - end + bench.params.lanes) // 64) * 64
    bench.session.memory[shift:] = kept[: size - shift]
    bench.write(DRAM_BASE_LOW=(1 << 20) + shift)
    bench.start()
    kind, address, _ = bench.fault()
    assert kind in (Fault.WRITE_RESPONSE, Fault.READ_RESPONSE)
    assert address + 256 > (1 << 20) + size
    bench.session.memory[:] = kept
    bench.session.reload(settings_of(bench.params))
    bench.write(DRAM_BASE_LOW=0)
    bench.assert_works()


def test_the_runtime_tells(bench: Bench) -> None:
    """The same faults as messages for a person."""
    bench.assert_works()
    runtime = bench.load()
    bench.session.reload(settings_of(bench.params, read_error=BurstError(1)))
    with pytest.raises(DeviceError, match=r"stopped \(READ_RESPONSE, fetch\).*read at address 0x"):
        runtime.infer(bench.inputs)
    bench.session.reload(settings_of(bench.params, write_error=BurstError(1)))
    with pytest.raises(DeviceError, match=r"stopped \(WRITE_RESPONSE, store\).*write at address 0x"):
        runtime.infer(bench.inputs)
    bench.session.memory[bench.step.streams[Engine.DRAIN].address] = 0
    with pytest.raises(DeviceError, match=r"ILLEGAL_INSTRUCTION, drain.*byte 0x0 .*damaged"):
        runtime.infer(bench.inputs)
    bench.session.reload(settings_of(bench.params))
    bench.assert_works()
    other = Params(load_config("wide"))
    with pytest.raises(ImageError, match="compile the network for this accelerator"):
        Runtime(bench.session, compile_network(bench.graph, other), bench.params)
    small = RtlSession(bench.params, 4096, settings_of(bench.params))
    with small, pytest.raises(DeviceError, match="bytes of memory; the device has"):
        Runtime(small, bench.image, bench.params)
    assert len(ENGINES) == 5
