"""The whole machine: a hand-made program from START to interrupt, faults, and restarts."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.accelerator import Accelerator
from systola.hw.config import load_config
from systola.hw.interfaces import Axi4ReadSignature, Axi4WriteSignature, AxiLiteSignature
from systola.hw.isa import ENGINES, UNIT_BYTES, Engine, Instruction, Opcode, VectorOp, encode, instruction_units
from systola.hw.numerics import elementwise, requantize
from systola.hw.params import Params
from systola.hw.registers import (
    REGISTERS,
    Control,
    CycleClass,
    Event,
    Fault,
    Irq,
    Status,
    class_address,
    event_address,
)

from .axi_lite import AxiLiteManager
from .axi_memory import RANDOM, AxiMemory, Timing

ADDRESS = {register.name: register.address for register in REGISTERS}
BASE = 0x4000_0000
MEMORY_BYTES = 1 << 16
STREAMS = {engine: 0x1000 + 0x200 * engine for engine in ENGINES}  # offsets in DRAM
INPUT, WEIGHTS, RECORDS, OUTPUT = 0x4000, 0x6000, 0x8000, 0xA000

HEIGHT, WIDTH, KERNEL = 3, 4, 3
BLOCKS = 2  # of input channels and of output channels


@dataclass
class Network:
    """One 3×3 convolution, padded by one, of ``BLOCKS`` blocks of channels on both sides; then a factor, by the vector engine."""

    params: Params
    seed: int
    act: list[list[list[int]]] = field(init=False)  # [channel][y][x]
    weight: list[list[list[list[int]]]] = field(init=False)  # [output][channel][ky][kx]
    records: list[tuple[int, int, int]] = field(init=False)  # bias, multiplier, shift

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.channels = BLOCKS * self.params.rows
        self.outputs = BLOCKS * self.params.columns
        code = functools.partial(rng.randint, -128, 127)
        self.act = [[[code() for _ in range(WIDTH)] for _ in range(HEIGHT)] for _ in range(self.channels)]
        self.weight = [
            [[[code() for _ in range(KERNEL)] for _ in range(KERNEL)] for _ in range(self.channels)] for _ in range(self.outputs)
        ]
        bits = self.params.multiplier_bits
        self.records = [
            (rng.randint(-9999, 9999), rng.randrange(1 << bits - 1, 1 << bits), bits + 9) for _ in range(self.outputs)
        ]
        self.pad = code()

    def result(self, output: int, y: int, x: int) -> int:
        """What reaches memory."""
        total = 0
        for ky in range(KERNEL):
            for kx in range(KERNEL):
                iy, ix = y + ky - 1, x + kx - 1
                inside = 0 <= iy < HEIGHT and 0 <= ix < WIDTH
                for channel in range(self.channels):
                    total += (self.act[channel][iy][ix] if inside else self.pad) * self.weight[output][channel][ky][kx]
        first = requantize(total, *self.records[output], 3, -100, 101)
        return elementwise(first, 3, 300, -200, 0, 0, 0, 8, -5, -128, 90)

    def expected(self) -> bytes:
        """The output tensor: planes of words."""
        lanes = self.params.lanes
        return bytes(
            self.result(channel, y, x) & 255
            for plane in range(-(-self.outputs // lanes))
            for y in range(HEIGHT)
            for x in range(WIDTH)
            for channel in range(plane * lanes, (plane + 1) * lanes)
        )

    def inputs(self) -> dict[int, bytes]:
        """What the program reads, by DRAM offset."""
        p = self.params
        act = bytes(
            self.act[channel][y][x] & 255
            for plane in range(self.channels // p.lanes)
            for y in range(HEIGHT)
            for x in range(WIDTH)
            for channel in range(plane * p.lanes, (plane + 1) * p.lanes)
        )
        weights = bytes(
            self.weight[n * p.columns + column][kb * p.rows + row][ky][kx] & 255
            for n in range(BLOCKS)
            for ky in range(KERNEL)
            for kx in range(KERNEL)
            for kb in range(BLOCKS)
            for row in range(p.rows)
            for column in range(p.columns)
        )
        records = b"".join(
            (bias & 0xFFFF_FFFF | factor << 32 | shift << 56).to_bytes(8, "little") for bias, factor, shift in self.records
        )
        streams = {STREAMS[engine]: code for engine, code in self.streams().items()}
        return {**streams, INPUT: act, WEIGHTS: weights, RECORDS: records}

    def instructions(self) -> list[Instruction]:
        """Three loads, array, drain, vector, store; each waits for what it reads."""
        p = self.params
        plane = HEIGHT * WIDTH
        planes_in, planes_out = self.channels // p.lanes, self.outputs // p.lanes
        tiles = BLOCKS * KERNEL * KERNEL * BLOCKS * p.weight_tile_words
        act, weight = 0, planes_in * plane
        record = weight + tiles
        drained = record + BLOCKS * p.drain_record_words
        final = drained + planes_out * plane
        window = {"origin_x": -1, "origin_y": -1, "step_x": 1, "step_y": 1, "dilation_x": 1, "dilation_y": 1, "limit_x": WIDTH,
                  "limit_y": HEIGHT, "pad_value": self.pad}  # fmt: skip
        size = {"count_x": WIDTH, "count_y": HEIGHT}

        def transfer(opcode: Opcode, dram: int, sp: int, rows: int, words: int, **more: int) -> Instruction:
            strides = {"dram_stride_y": words * p.lanes, "sp_stride_y": words}
            return Instruction(opcode, {
                "dram_address": dram, "sp_address": sp, "count_x": words, "count_y": rows, "count_z": 1, **strides, **more,
            })  # fmt: skip

        return [
            transfer(Opcode.LOAD, INPUT, act, planes_in * HEIGHT, WIDTH),
            transfer(Opcode.LOAD, WEIGHTS, weight, 1, tiles),
            transfer(Opcode.LOAD, RECORDS, record, 1, BLOCKS * p.drain_record_words),
            Instruction(Opcode.ARRAY, {
                "wait_enable": 1 << Engine.LOAD, "wait_load": 2, **window, **size,
                "act_address": (act - WIDTH - 1) % (1 << 24), "stride_x": 1, "stride_y": WIDTH, "stride_kx": 1,
                "stride_ky": WIDTH, "stride_kb": plane, "count_kb": BLOCKS, "count_kx": KERNEL, "count_ky": KERNEL,
                "count_n": BLOCKS, "weight_address": weight, "acc_address": 0, "accumulate": 0,
            }),
            Instruction(Opcode.DRAIN, {
                "wait_enable": 1 << Engine.LOAD | 1 << Engine.ARRAY, "wait_load": 3, "wait_array": 1, **size, "count_n": BLOCKS,
                "acc_address": 0, "acc_stride_n": plane,
                "dst_address": drained, "dst_stride_x": 1, "dst_stride_y": WIDTH, "dst_stride_n": plane,
                "param_address": record, "zero_a": 3, "low_a": -100, "high_a": 101,
            }),
            Instruction(Opcode.VECTOR, {
                "wait_enable": 1 << Engine.DRAIN, "wait_drain": 1, "op": VectorOp.COPY, **size, "count_n": planes_out,
                "count_kx": 1, "count_ky": 1, "a_address": drained, "a_stride_x": 1, "a_stride_y": WIDTH, "a_stride_n": plane,
                **window, "origin_x": 0, "origin_y": 0, "dst_address": final, "dst_stride_x": 1, "dst_stride_y": WIDTH,
                "dst_stride_n": plane, "zero_a": 3, "stage_b": 1, "multiplier_positive": 300, "multiplier_negative": -200,
                "shift_b": 8, "zero_b": -5, "low_b": -128, "high_b": 90,
            }),
            transfer(Opcode.STORE, OUTPUT, final, planes_out, plane, wait_enable=1 << Engine.VECTOR, wait_vector=1),
        ]  # fmt: skip

    def streams(self) -> dict[Engine, bytes]:
        """Each engine's instructions and END, padded."""
        result = {}
        for engine in ENGINES:
            own = [i for i in self.instructions() if i.engine is engine]
            end = Instruction(Opcode.END, {"wait_enable": 1 << engine, f"wait_{engine.name.lower()}": len(own)})
            raw = b"".join(map(encode, (*own, end)))
            result[engine] = raw + bytes(-len(raw) % 64)
        return result


class Machine(AxiLiteManager):
    """The accelerator with a memory and a host."""

    def __init__(self, preset: str, timing: Timing, seed: int = 1) -> None:
        self.params = Params(load_config(preset))
        self.dut = Accelerator(self.params)
        self.network = Network(self.params, seed)
        self.memory = AxiMemory(self.params, MEMORY_BYTES, BASE, timing, seed)
        self.trace: list[tuple[int, int, int]] = []
        super().__init__(_port(self.dut, "s_axil", AxiLiteSignature()), random.Random(seed))
        for offset, content in self.network.inputs().items():
            self.memory.bytes[offset : offset + len(content)] = content

    def run(self, test: Callable[[Any, Machine], Any]) -> None:
        """``test`` as the host, beside memory and trace."""
        read = _port(self.dut, "m_axi", Axi4ReadSignature(self.params))
        write = _port(self.dut, "m_axi", Axi4WriteSignature(self.params))

        async def memory(ctx: Any) -> None:
            await self.memory.run(ctx, read, write)

        async def trace(ctx: Any) -> None:
            dut = self.dut
            while True:
                *_, running, classes, taken, retired = await ctx.tick().sample(
                    dut.trace_running, dut.trace_class, dut.trace_taken, dut.trace_retire
                )
                if running:
                    self.trace.append((classes, taken, retired))

        async def host(ctx: Any) -> None:
            await test(ctx, self)

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(host)
        simulator.add_process(memory)
        simulator.add_process(trace)
        simulator.run()

    async def named(self, ctx: Any, name: str) -> int:
        """A register."""
        return await self.read(ctx, ADDRESS[name])

    async def start(self, ctx: Any, watchdog: int = 3000, sizes: dict[Engine, int] | None = None) -> None:
        """All registers written, then START. ``sizes``: of streams, where they are not the right ones."""
        self.trace.clear()
        streams = {}
        for engine, code in self.network.streams().items():
            streams[f"STREAM_ADDRESS_{engine.name}"] = STREAMS[engine]
            streams[f"STREAM_BYTES_{engine.name}"] = (sizes or {}).get(engine, len(code))
        for name, value in {
            **streams, "DRAM_BASE_LOW": BASE, "WATCHDOG_CYCLES": watchdog, "IRQ_ENABLE": Irq.DONE | Irq.FAULT,
            "CONTROL": Control.START,
        }.items():  # fmt: skip
            await self.write(ctx, ADDRESS[name], value)

    async def finish(self, ctx: Any, limit: int = 20_000) -> int:
        """STATUS after the interrupt, which is acknowledged."""
        for _ in range(limit):
            if ctx.get(self.dut.irq):
                break
            await ctx.tick()
        assert ctx.get(self.dut.irq), "no interrupt"
        pending = await self.named(ctx, "IRQ_STATUS")
        status = await self.named(ctx, "STATUS")
        assert pending == (Irq.DONE if status == Status.DONE else Irq.FAULT)
        await self.write(ctx, ADDRESS["IRQ_STATUS"], pending)
        assert not ctx.get(self.dut.irq)
        return status

    def clear_output(self) -> None:
        """Nothing that an earlier run wrote can pass for this one's."""
        size = len(self.network.expected())
        self.memory.bytes[OUTPUT : OUTPUT + size] = bytes(size)

    def output(self) -> bytes:
        """What the program wrote."""
        return bytes(self.memory.bytes[OUTPUT : OUTPUT + len(self.network.expected())])


def _port(dut: Accelerator, prefix: str, signature: Any) -> SimpleNamespace:
    """Top-level ports under the names of ``signature``."""
    return SimpleNamespace(**{name: getattr(dut, f"{prefix}_{name.replace('_', '')}") for name in signature.members})


async def check_counters(ctx: Any, machine: Machine) -> None:
    """Every cycle is explained, and the trace says the same."""
    cycles = await machine.named(ctx, "CYCLES_LOW")
    assert len(machine.trace) == cycles
    for engine in ENGINES:
        counted = {c: await machine.read(ctx, class_address(engine, c)) for c in CycleClass}
        traced = Counter(classes >> 4 * engine & 15 for classes, _, _ in machine.trace)
        assert sum(counted.values()) == cycles
        assert counted == {c: traced[c] for c in CycleClass}
        taken = sum(word >> engine & 1 for _, word, _ in machine.trace)
        retired = sum(word >> engine & 1 for _, _, word in machine.trace)
        of_engine = sum(i.engine is engine for i in machine.network.instructions())
        assert taken == retired == of_engine == await machine.named(ctx, f"FINISHED_{engine.name}")


async def check_events(ctx: Any, machine: Machine) -> None:
    """The counts that follow from the program."""
    p, network, memory = machine.params, machine.network, machine.memory
    plane = HEIGHT * WIDTH
    pixels = BLOCKS * BLOCKS * KERNEL * KERNEL * plane
    # Of the nine kernel positions, those over the border: one row and one column less for each of the outer ones.
    inside = sum((HEIGHT - abs(ky - 1)) * (WIDTH - abs(kx - 1)) for ky in range(KERNEL) for kx in range(KERNEL))
    planes_out = network.outputs // p.lanes
    tiles = BLOCKS * KERNEL * KERNEL * BLOCKS * p.weight_tile_words
    expected = {
        Event.ARRAY_PIXELS: pixels,
        Event.ARRAY_PADDING: pixels - BLOCKS * BLOCKS * inside,
        Event.ACT_READS: BLOCKS * BLOCKS * inside,
        Event.WEIGHT_READS: tiles,
        Event.DRAIN_READS: BLOCKS * p.drain_record_words,
        Event.VECTOR_READS: planes_out * plane,
        Event.STORE_READS: planes_out * plane,
        Event.LOAD_WRITES: network.channels // p.lanes * plane + tiles + BLOCKS * p.drain_record_words,
        Event.DRAIN_WRITES: BLOCKS * plane,
        Event.VECTOR_WRITES: planes_out * plane,
        Event.ACC_WRITES: pixels,
        Event.ACC_READS: pixels - BLOCKS * plane + BLOCKS * plane,  # the array's but for the first passes; the drain's
        Event.VECTOR_STEPS: planes_out * plane,
        Event.READ_BEATS: len(memory.read_beats),
        Event.WRITE_BEATS: len(memory.write_beats),
        Event.READ_BURSTS: len(memory.reads),
        Event.WRITE_BURSTS: len(memory.writes),
        Event.FETCH_BEATS: sum(burst.beats for burst in memory.reads if burst.id == 0),
    }
    assert {event: await machine.read(ctx, event_address(event)) for event in Event} == expected


@pytest.mark.parametrize(("preset", "timing"), [("tiny", Timing()), ("tall", RANDOM), ("wide", Timing())])
def test_a_program(preset: str, timing: Timing) -> None:
    async def test(ctx: Any, machine: Machine) -> None:
        await machine.start(ctx)
        assert await machine.finish(ctx) == Status.DONE
        assert machine.output() == machine.network.expected()
        await check_counters(ctx, machine)
        await check_events(ctx, machine)

    Machine(preset, timing).run(test)


def test_twice_takes_the_same_cycles() -> None:
    """A second START begins from a clean machine."""

    async def test(ctx: Any, machine: Machine) -> None:
        cycles = []
        for _ in range(2):
            machine.clear_output()
            await machine.start(ctx)
            assert await machine.finish(ctx) == Status.DONE
            assert machine.output() == machine.network.expected()
            cycles.append(await machine.named(ctx, "CYCLES_LOW"))
            await check_counters(ctx, machine)
        assert cycles[0] == cycles[1]

    Machine("tiny", Timing()).run(test)


async def rerun(ctx: Any, machine: Machine) -> None:
    """The program again, without a fault."""
    machine.memory.read_faults = machine.memory.write_faults = frozenset()
    machine.clear_output()
    await machine.start(ctx)
    assert await machine.finish(ctx) == Status.DONE
    assert machine.output() == machine.network.expected()
    await check_counters(ctx, machine)


def test_error_responses() -> None:
    """At several bursts, one after the other on the same machine, each ends in status, address and engine."""

    async def test(ctx: Any, machine: Machine) -> None:
        memory = machine.memory
        for burst in (0, 1, 3, 8, 20):
            first = len(memory.reads)
            memory.read_faults = frozenset({first + burst})
            await machine.start(ctx)
            assert await machine.finish(ctx) == Status.FAULT | Fault.READ_RESPONSE << 8
            assert memory.idle
            bad = memory.reads[first + burst]
            assert await machine.named(ctx, "FAULT_ADDRESS_LOW") == bad.address
            assert await machine.named(ctx, "FAULT_ENGINE") == (7 if bad.id == 0 else Engine.LOAD)
        for burst in (0, 1):
            first = len(memory.writes)
            memory.write_faults = frozenset({first + burst})
            await machine.start(ctx)
            assert await machine.finish(ctx) == Status.FAULT | Fault.WRITE_RESPONSE << 8
            assert memory.idle
            assert await machine.named(ctx, "FAULT_ADDRESS_LOW") == memory.writes[first + burst].address
            assert await machine.named(ctx, "FAULT_ENGINE") == Engine.STORE
        await rerun(ctx, machine)

    Machine("tiny", RANDOM).run(test)


def test_stop() -> None:
    """At any time: before the first instruction, in the midst of loads, of work, of the store."""

    async def test(ctx: Any, machine: Machine) -> None:
        await rerun(ctx, machine)
        length = await machine.named(ctx, "CYCLES_LOW")
        for part in (0.0, 0.1, 0.3, 0.6, 0.85, 0.95):
            await machine.start(ctx)
            await ctx.tick().repeat(1 + int(part * length))
            await machine.write(ctx, ADDRESS["CONTROL"], Control.STOP)
            assert await machine.finish(ctx) == Status.FAULT | Fault.STOPPED << 8
            assert machine.memory.idle
        await rerun(ctx, machine)

    Machine("tiny", RANDOM).run(test)


def test_bad_programs() -> None:
    """Streams that are none, each engine's in turn; then a first load that waits for a store that never comes."""

    async def illegal(ctx: Any, machine: Machine, engine: int, offset: int, **more: Any) -> None:
        await machine.start(ctx, **more)
        assert await machine.finish(ctx) == Status.FAULT | Fault.ILLEGAL_INSTRUCTION << 8
        assert await machine.named(ctx, "FAULT_ADDRESS_LOW") == offset
        assert await machine.named(ctx, "FAULT_ENGINE") == engine
        assert machine.memory.idle

    async def test(ctx: Any, machine: Machine) -> None:
        memory = machine.memory.bytes
        streams = machine.network.streams()
        for engine in ENGINES:
            own = sum(i.engine is engine for i in machine.network.instructions())
            offset = own * UNIT_BYTES * instruction_units(Opcode(engine + 1))  # END's place
            for opcode in {0, 9, (engine + 1) % 5 + 1}:
                memory[STREAMS[engine] + offset] = opcode
                await illegal(ctx, machine, engine, offset)
            memory[STREAMS[engine] : STREAMS[engine] + len(streams[engine])] = streams[engine]
        await illegal(ctx, machine, Engine.LOAD, 128, sizes={Engine.LOAD: 128})
        await illegal(ctx, machine, 7, 0, sizes=dict.fromkeys(ENGINES, 0))
        good = bytes(memory[STREAMS[Engine.LOAD] : STREAMS[Engine.LOAD] + 16])
        header = int.from_bytes(good, "little") | 1 << 4 + Engine.STORE | 5 << 9 + 16 * Engine.STORE
        memory[STREAMS[Engine.LOAD] : STREAMS[Engine.LOAD] + 16] = header.to_bytes(16, "little")
        await machine.start(ctx, watchdog=400)
        assert await machine.finish(ctx) == Status.FAULT | Fault.WATCHDOG << 8
        assert await machine.read(ctx, class_address(Engine.LOAD, CycleClass.WAIT_STORE)) > 250
        memory[STREAMS[Engine.LOAD] : STREAMS[Engine.LOAD] + 16] = good
        await rerun(ctx, machine)

    Machine("tiny", Timing()).run(test)


def test_engines_without_instructions() -> None:
    """A program of loads only: the other streams are empty, and nothing of them is read."""

    async def test(ctx: Any, machine: Machine) -> None:
        await machine.start(ctx, sizes={engine: 0 for engine in ENGINES if engine is not Engine.LOAD})
        assert await machine.finish(ctx) == Status.DONE
        finished = [await machine.named(ctx, f"FINISHED_{engine.name}") for engine in ENGINES]
        assert finished == [3, 0, 0, 0, 0]
        fetched = sum(burst.beats for burst in machine.memory.reads if burst.id == 0)
        assert fetched * machine.params.bus_bytes == len(machine.network.streams()[Engine.LOAD])
        await rerun(ctx, machine)

    Machine("tiny", Timing()).run(test)
