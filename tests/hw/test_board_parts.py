"""What is around the accelerator on a board, part by part."""

from __future__ import annotations

import random
import struct
import zlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from systola.hw.board.hub import DECERR, Hub
from systola.hw.board.link import Link
from systola.hw.board.pll import choose_pll
from systola.hw.board.protocol import BLOCK_BYTES, MAGIC, Info, Operation, Outcome
from systola.hw.board.sdram import CAPTURE_CYCLES, Command, SdramController, SdramPart
from systola.hw.board.uart import UartReceiver, UartTransmitter, bit_cycles
from systola.hw.config import load_config
from systola.hw.errors import ConfigError
from systola.hw.params import Params

Bench = Callable[[Any], Coroutine[Any, Any, None]]
MEMORY_BYTES = 4 * BLOCK_BYTES
CLOCK_HZ = 100_000
"""So slow that the quiet time is 2000 cycles."""

PART = SdramPart(data_bits=16, row_bits=4, column_bits=4, power_up=1000.0)
"""Rows of 16 words: bursts cross them."""


def simulate(design: Elaboratable, bench: Bench, *background: Bench) -> None:
    """Run a bench to its end, beside processes without one."""
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    for process in background:
        simulator.add_testbench(process, background=True)
    simulator.run()


# ---- The serial line ----


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_bytes_over_a_line(off: int) -> None:
    """Also where one side's bit is a cycle longer than the other's."""
    cycles = 40
    m = Module()
    m.submodules.transmitter = transmitter = UartTransmitter(cycles + off)
    m.submodules.receiver = receiver = UartReceiver(cycles)
    m.d.comb += receiver.line.eq(transmitter.line)
    data = bytes([0x00, 0xFF, 0x55, 0xA7, 0x01, 0x80])
    found = []

    async def send(ctx: Any) -> None:
        ctx.set(transmitter.bytes.valid, 1)
        for byte in data:
            ctx.set(transmitter.bytes.payload, byte)
            await ctx.tick().until(transmitter.bytes.ready)
        ctx.set(transmitter.bytes.valid, 0)

    async def receive(ctx: Any) -> None:
        while len(found) < len(data):
            (byte,) = await ctx.tick().sample(receiver.data).until(receiver.valid)
            found.append(byte)

    simulate(m, receive, send)
    assert bytes(found) == data


def test_clocks_of_lines() -> None:
    assert bit_cycles(50e6, 1_000_000) == 50
    with pytest.raises(ConfigError, match=r"2\.6 MHz cannot be divided to 1000000 baud"):
        bit_cycles(2.6e6, 1_000_000)


# ---- The link ----


def framed(operation: int, address: int, words: int = 1, data: bytes = b"") -> bytes:
    """A request as it is sent."""
    body = struct.pack("<BBI", operation, words - 1, address) + data
    return body + struct.pack("<I", zlib.crc32(body))


class LinkBench:
    """A link with a memory and registers that answer after a few cycles."""

    def __init__(self) -> None:
        self.link = Link(MEMORY_BYTES, CLOCK_HZ)
        self.memory = bytearray(random.Random(5).randbytes(MEMORY_BYTES))
        self.registers = bytearray(4096)

    async def serve(self, ctx: Any, port: Any, store: bytearray) -> None:
        """Answer accesses."""
        rng = random.Random(6)
        while True:
            asked = ctx.tick().sample(port.valid, port.write, port.address, port.write_data)
            _, _, valid, write, address, data = await asked  # until() would complain at the end of the simulation
            if not valid:
                continue
            for _ in range(rng.randrange(3)):
                await ctx.tick()
            if write:
                store[address : address + 4] = data.to_bytes(4, "little")
            ctx.set(port.read_data, int.from_bytes(store[address : address + 4], "little"))
            ctx.set(port.done, 1)
            await ctx.tick()
            ctx.set(port.done, 0)

    def run(self, bench: Bench) -> None:
        """Run a bench."""

        async def memory(ctx: Any) -> None:
            await self.serve(ctx, self.link.memory, self.memory)

        async def registers(ctx: Any) -> None:
            await self.serve(ctx, self.link.registers, self.registers)

        simulate(self.link, bench, memory, registers)

    async def send(self, ctx: Any, data: bytes) -> None:
        """Bytes to the link."""
        for byte in data:
            ctx.set(self.link.received.payload, byte)
            ctx.set(self.link.received.valid, 1)
            await ctx.tick().until(self.link.received.ready)
        ctx.set(self.link.received.valid, 0)

    async def ask(self, ctx: Any, request: bytes, size: int) -> bytes:
        """A request, and ``size`` bytes of words in its answer, whose outcome and CRC are checked."""
        answer = await self.answer(ctx, request, 1 + size + 4)
        assert answer[0] == Outcome.DONE
        return answer[1:-4]

    async def answer(self, ctx: Any, request: bytes, size: int) -> bytes:
        """A request, and ``size`` bytes that come back."""
        await self.send(ctx, request)
        found = bytearray()
        ctx.set(self.link.sent.ready, 1)
        while len(found) < size:
            (byte,) = await ctx.tick().sample(self.link.sent.payload).until(self.link.sent.valid)
            found.append(byte)
        ctx.set(self.link.sent.ready, 0)
        assert struct.pack("<I", zlib.crc32(bytes(found[:-4]))) == found[-4:]
        return bytes(found)


def test_link_reads_and_writes() -> None:
    bench = LinkBench()

    async def test(ctx: Any) -> None:
        data = random.Random(1).randbytes(40)
        before = bytes(bench.memory)
        assert await bench.ask(ctx, framed(Operation.WRITE_MEMORY, 1000, 10, data), 0) == b""
        assert bench.memory == before[:1000] + data + before[1040:]
        assert await bench.ask(ctx, framed(Operation.READ_MEMORY, 996, 12), 48) == bytes(bench.memory[996:1044])
        await bench.ask(ctx, framed(Operation.WRITE_REGISTERS, 0x28, 2, data[:8]), 0)
        assert bench.registers[0x28:0x30] == data[:8] and bench.memory[0x28:0x30] == before[0x28:0x30]
        assert await bench.ask(ctx, framed(Operation.READ_REGISTERS, 0x2C, 1), 4) == data[4:8]
        assert (await bench.ask(ctx, framed(Operation.INFO, 4 * Info.MEMORY_BYTES), 4)) == struct.pack("<I", MEMORY_BYTES)
        assert (await bench.ask(ctx, framed(Operation.INFO, 0, 4), 16))[:4] == struct.pack("<I", MAGIC)

    bench.run(test)


def test_link_digests() -> None:
    """zlib's CRC-32 of each block."""
    bench = LinkBench()

    async def test(ctx: Any) -> None:
        answer = await bench.ask(ctx, framed(Operation.DIGEST, BLOCK_BYTES, 3), 12)
        blocks = [bytes(bench.memory[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES]) for n in (1, 2, 3)]
        assert list(struct.unpack("<3I", answer)) == [zlib.crc32(block) for block in blocks]

    bench.run(test)


def test_link_refuses() -> None:
    """Damaged, unknown and misplaced requests change nothing, and the next one is done."""
    bench = LinkBench()
    before = bytes(bench.memory)
    damaged = bytearray(framed(Operation.WRITE_MEMORY, 0, 2, b"abcdefgh"))
    damaged[8] ^= 1
    refused = {
        bytes(damaged): Outcome.DAMAGED,
        framed(9, 0): Outcome.UNKNOWN,
        framed(Operation.WRITE_MEMORY, MEMORY_BYTES - 4, 2, b"abcdefgh"): Outcome.OUTSIDE,
        framed(Operation.READ_MEMORY, 2): Outcome.OUTSIDE,
        framed(Operation.READ_MEMORY, 0xFFFF_FFFC): Outcome.OUTSIDE,
        framed(Operation.DIGEST, BLOCK_BYTES, 4): Outcome.OUTSIDE,
        framed(Operation.READ_REGISTERS, 4096): Outcome.OUTSIDE,
        framed(Operation.INFO, 4, 4): Outcome.OUTSIDE,
    }

    async def test(ctx: Any) -> None:
        for request, outcome in refused.items():
            assert (await bench.answer(ctx, request, 5))[0] == outcome
        assert bytes(bench.memory) == before
        assert await bench.ask(ctx, framed(Operation.READ_MEMORY, MEMORY_BYTES - 4), 4) == before[-4:]

    bench.run(test)


@pytest.mark.parametrize("size", [1, 5, 7, 12, 15])
def test_link_forgets_what_stops_in_the_middle(size: int) -> None:
    bench = LinkBench()
    before = bytes(bench.memory)

    async def test(ctx: Any) -> None:
        await bench.send(ctx, framed(Operation.WRITE_MEMORY, 0, 2, b"abcdefgh")[:size])
        assert ctx.get(bench.link.working)
        await ctx.tick().repeat(2100)
        assert not ctx.get(bench.link.working)
        assert await bench.ask(ctx, framed(Operation.READ_MEMORY, 0, 2), 8) == before[:8]

    bench.run(test)


# ---- The memory ----


class SdramModel:
    """Words behind the registers at the pins; rows must be open."""

    def __init__(self, pins: Any) -> None:
        self.pins = pins
        self.words: dict[int, int] = {}
        self.rows: dict[int, int] = {}
        self.refreshes = 0
        self.activations = 0

    async def run(self, ctx: Any) -> None:
        """Take a command a cycle."""
        pins = self.pins
        coming: deque[int] = deque([0xDEAD] * (CAPTURE_CYCLES - 1))
        while True:
            _, _, command, bank, address, mask, data = await ctx.tick().sample(
                pins.command, pins.bank, pins.address, pins.mask, pins.write_data
            )
            if command == Command.ACTIVATE:
                assert bank not in self.rows
                self.rows[bank] = address
                self.activations += 1
            elif command == Command.PRECHARGE:
                self.rows.clear()
            elif command == Command.REFRESH:
                assert not self.rows
                self.refreshes += 1
            word = 0xDEAD
            if command in (Command.READ, Command.WRITE):
                assert address < 1 << PART.column_bits
                place = (self.rows[bank] << PART.bank_bits | bank) << PART.column_bits | address
                word = self.words.get(place, 0)
                if command == Command.WRITE:
                    keep = (0xFF if mask & 1 else 0) | (0xFF00 if mask & 2 else 0)
                    self.words[place] = word & keep | data & ~keep & 0xFFFF
            coming.append(word)
            ctx.set(pins.read_data, coming.popleft())


@pytest.mark.parametrize("data_bytes", [4, 8, 16])
def test_sdram_bursts(data_bytes: int) -> None:
    """Random bursts over rows, with pauses and strobes, past many refreshes."""
    controller = SdramController(PART, data_bytes, 50e6)
    model = SdramModel(controller.pins)
    rng = random.Random(data_bytes)
    expected = bytearray(PART.size_bytes)
    bursts = controller.bursts

    async def burst(ctx: Any, is_write: int, address: int, beats: int) -> None:
        ctx.set(bursts.address, address)
        ctx.set(bursts.length, beats - 1)
        ctx.set(bursts.is_write, is_write)
        ctx.set(bursts.valid, 1)
        await ctx.tick().until(bursts.ready)
        ctx.set(bursts.valid, 0)

    async def test(ctx: Any) -> None:
        cycles = 0
        for _ in range(120):
            beats = rng.randint(1, 24)
            address = rng.randrange(PART.size_bytes // data_bytes - beats) * data_bytes
            is_write = rng.random() < 0.5
            await burst(ctx, is_write, address, beats)
            for beat in range(beats):
                place = address + beat * data_bytes
                for _ in range(rng.choice([0, 0, 0, 1, 5])):
                    await ctx.tick()
                if is_write:
                    data, strobe = rng.randbytes(data_bytes), rng.getrandbits(data_bytes)
                    ctx.set(bursts.write_data, int.from_bytes(data, "little"))
                    ctx.set(bursts.write_strobe, strobe)
                    ctx.set(bursts.write_valid, 1)
                    await ctx.tick().until(bursts.write_ready)
                    ctx.set(bursts.write_valid, 0)
                    for byte in range(data_bytes):
                        if strobe >> byte & 1:
                            expected[place + byte] = data[byte]
                else:
                    ctx.set(bursts.read.ready, 1)
                    (found,) = await ctx.tick().sample(bursts.read.payload).until(bursts.read.valid)
                    ctx.set(bursts.read.ready, 0)
                    assert found == int.from_bytes(expected[place : place + data_bytes], "little"), hex(place)
            cycles += beats
        assert model.refreshes > 10 and model.activations > 150 and cycles > 1000

    simulate(controller, test, model.run)


def test_sdram_clock() -> None:
    with pytest.raises(ConfigError, match=r"memory is driven with 60 MHz at most, not 75.*--clock"):
        PART.check_clock(75e6)


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_hub(preset: str) -> None:
    """The accelerator's bursts and the link's words in one memory; beyond it, DECERR, and the memory untouched."""
    params = Params(load_config(preset))
    size, wide = PART.size_bytes, params.bus_bytes
    m = Module()
    m.submodules.hub = hub = Hub(params, size)
    m.submodules.controller = controller = SdramController(PART, wide, 50e6)
    connect(m, hub.memory, controller.bursts)
    model = SdramModel(controller.pins)
    read, write, words = hub.axi_read, hub.axi_write, hub.words

    async def word(ctx: Any, address: int, value: int | None = None) -> int:
        ctx.set(words.address, address)
        ctx.set(words.write, value is not None)
        ctx.set(words.write_data, value or 0)
        ctx.set(words.valid, 1)
        (found,) = await ctx.tick().sample(words.read_data).until(words.done)
        ctx.set(words.valid, 0)
        return int(found)

    async def write_burst(ctx: Any, address: int, beats: list[int]) -> int:
        ctx.set(write.aw_addr, address)
        ctx.set(write.aw_len, len(beats) - 1)
        ctx.set(write.aw_valid, 1)
        await ctx.tick().until(write.aw_ready)
        ctx.set(write.aw_valid, 0)
        ctx.set(write.w_strb, (1 << wide) - 1)
        for number, beat in enumerate(beats):
            ctx.set(write.w_data, beat)
            ctx.set(write.w_last, number == len(beats) - 1)
            ctx.set(write.w_valid, 1)
            await ctx.tick().until(write.w_ready)
        ctx.set(write.w_valid, 0)
        ctx.set(write.b_ready, 1)
        (response,) = await ctx.tick().sample(write.b_resp).until(write.b_valid)
        return int(response)

    async def read_burst(ctx: Any, address: int, count: int) -> list[tuple[int, int, int, int]]:
        ctx.set(read.ar_addr, address)
        ctx.set(read.ar_len, count - 1)
        ctx.set(read.ar_id, 1)
        ctx.set(read.ar_valid, 1)
        await ctx.tick().until(read.ar_ready)
        ctx.set(read.ar_valid, 0)
        ctx.set(read.r_ready, 1)
        return [
            await ctx.tick().sample(read.r_data, read.r_resp, read.r_last, read.r_id).until(read.r_valid) for _ in range(count)
        ]

    async def test(ctx: Any) -> None:
        rng = random.Random(3)
        beats = [rng.getrandbits(8 * wide) for _ in range(12)]
        assert await write_burst(ctx, 5 * wide, beats) == 0
        whole = b"".join(beat.to_bytes(wide, "little") for beat in beats)
        found = [await word(ctx, 5 * wide + place) for place in range(0, len(whole), 4)]
        assert struct.pack(f"<{len(found)}I", *found) == whole
        await word(ctx, 6 * wide + 4 * (wide // 4 - 1), 0x1234_5678)
        beats[1] = int.from_bytes(beats[1].to_bytes(wide, "little")[:-4] + struct.pack("<I", 0x1234_5678), "little")
        answers = await read_burst(ctx, 5 * wide, 12)
        assert answers == [(beat, 0, number == 11, 1) for number, beat in enumerate(beats)]
        held = dict(model.words)
        assert await write_burst(ctx, size - wide, [1, 2]) == DECERR and model.words == held
        assert [answer[1:] for answer in await read_burst(ctx, size, 2)] == [(DECERR, 0, 1), (DECERR, 1, 1)]
        assert await write_burst(ctx, size - wide, [7]) == 0 and await word(ctx, size - wide) == 7

    simulate(m, test, model.run)


# ---- The clock ----


@pytest.mark.parametrize("clock_mhz", [10, 25, 40, 48, 50, 60, 62.5, 100])
def test_pll(clock_mhz: float) -> None:
    pll = choose_pll(25e6, clock_mhz * 1e6)
    assert pll.clock_hz == pytest.approx(clock_mhz * 1e6, rel=0.05) and 400e6 <= pll.vco_hz <= 800e6
    coarse, fine = pll.quarter
    assert (coarse + fine / 8 - pll.phase) / pll.output == pytest.approx(0.25)


@pytest.mark.parametrize("clock_mhz", [0.5, 900])
def test_no_pll(clock_mhz: float) -> None:
    with pytest.raises(ConfigError, match=r"the PLL makes no clock of .* MHz from 25 MHz"):
        choose_pll(25e6, clock_mhz * 1e6)
