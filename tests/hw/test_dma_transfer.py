"""Load and store engines behind the guard, against a random memory and a random scratchpad."""

from __future__ import annotations

import random

import pytest

from systola.hw.config import load_config
from systola.hw.dma.load import REQUEST_LATENCY_CYCLES
from systola.hw.dma.store import FIRST_BEAT_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.registers import CycleClass

from .axi_memory import RANDOM
from .dma_bench import AxiMemory, Bench, Fields, Timing, make_params, rows_of

DRAM_BYTES = 1 << 15
BASE = 0x8000_0F00  # not at a page: pages count on the bus, not from the base


def _draw(rng: random.Random, params: Params, low: int, high: int, sp_low: int, sp_high: int) -> Fields:
    """A transfer inside DRAM bytes low … high − 1 and scratchpad words sp_low … sp_high − 1."""
    lanes = params.lanes
    while True:
        x, y, z = rng.choice((1, 2, 3, rng.randint(1, 70))), rng.choice((1, 2, rng.randint(1, 6))), rng.choice((1, 1, 2, 3))
        fields = {
            "dram_address": rng.randrange(low, high, lanes), "sp_address": rng.randrange(sp_low, sp_high),
            "count_x": x, "count_y": y, "count_z": z,
            "dram_stride_y": rng.choice((1, -1)) * rng.randint(x, 2 * x) * lanes,
            "dram_stride_z": rng.choice((1, -1)) * rng.randint(0, 200) * lanes,
            "sp_stride_y": rng.choice((x, -x, x + rng.randint(0, 9))), "sp_stride_z": rng.randint(-100, 100),
        }  # fmt: skip
        dram = [fields["dram_address"] + dz * fields["dram_stride_z"] + dy * fields["dram_stride_y"]
                for dz in range(z) for dy in range(y)]  # fmt: skip
        sp = [fields["sp_address"] + dz * fields["sp_stride_z"] + dy * fields["sp_stride_y"]
              for dz in range(z) for dy in range(y)]  # fmt: skip
        if min(dram) >= low and max(dram) + x * lanes <= high and min(sp) >= sp_low and max(sp) + x <= sp_high:
            return fields


def _expect_load(params: Params, fields: Fields, dram: bytearray, words: list[bytes]) -> list[int]:
    order = []
    for offset, sp in rows_of(params, fields):
        for i in range(fields["count_x"]):
            address = (sp + i) % params.scratchpad_words
            words[address] = bytes(dram[offset + i * params.lanes :][: params.lanes])
            order.append(address)
    return order


def _expect_store(params: Params, fields: Fields, dram: bytearray, words: list[bytes]) -> None:
    for offset, sp in rows_of(params, fields):
        for i in range(fields["count_x"]):
            low = offset + i * params.lanes
            dram[low : low + params.lanes] = words[(sp + i) % params.scratchpad_words]


def _random_run(params: Params, timing: Timing, patience: float, seed: int, count: int = 5) -> Bench:
    """Loads and stores that do not touch each other's places, with expectations from nested loops."""
    rng = random.Random(seed)
    memory = AxiMemory(params, DRAM_BYTES, base=BASE, timing=timing, seed=seed)
    bench = Bench(params, memory, patience, seed)
    half, words = DRAM_BYTES // 2, params.scratchpad_words
    loads = [_draw(rng, params, 0, half, 0, words // 2) for _ in range(count)]
    stores = [_draw(rng, params, half, DRAM_BYTES, words // 2, words) for _ in range(count)]
    sp, dram = list(bench.words), bytearray(memory.bytes)
    order = [address for fields in loads for address in _expect_load(params, fields, dram, sp)]
    for fields in stores:
        _expect_store(params, fields, dram, sp)
    bench.transfer(loads, stores)
    assert [address for _, address in bench.writes] == order
    assert bench.words == sp
    assert memory.bytes == dram
    assert not bench.faults
    assert bench.events == {
        "read_beats": len(memory.read_beats), "write_beats": len(memory.write_beats),
        "read_bursts": len(memory.reads), "write_bursts": len(memory.writes), "fetch_beats": 0,
    }  # fmt: skip
    return bench


@pytest.mark.parametrize("lanes", [4, 8, 16, 32])
@pytest.mark.parametrize("bus_bytes", [4, 16, 64])
@pytest.mark.parametrize("busy", ["free", "blocked"])
def test_moves_every_byte(lanes: int, bus_bytes: int, busy: str) -> None:
    params = make_params(lanes, bus_bytes, burst_beats=8, read_outstanding=4, write_outstanding=4)
    _random_run(params, RANDOM if busy == "blocked" else Timing(latency=(5, 5)), 0.6 if busy == "blocked" else 1.0, seed=lanes)


@pytest.mark.parametrize("preset", ["tiny", "small", "tall", "wide"])
def test_moves_every_byte_on_presets(preset: str) -> None:
    _random_run(Params(load_config(preset)), RANDOM, 0.8, seed=5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("burst_beats", "outstanding"), [(1, 1), (2, 16), (256, 2)])
def test_bounds_of_bursts(burst_beats: int, outstanding: int, seed: int) -> None:
    params = make_params(8, 16, burst_beats=burst_beats, read_outstanding=outstanding, write_outstanding=outstanding)
    latency = 60 if outstanding == 16 else 8
    bench = _random_run(params, Timing(latency=(latency, latency), w_before_aw=bool(seed % 2)), 1.0, seed, count=3)
    assert bench.memory.most_reads == outstanding  # the bound is reached, and never passed


def test_bursts_are_as_long_as_they_may_be() -> None:
    params = make_params(16, 16, burst_beats=16)
    memory = AxiMemory(params, DRAM_BYTES, base=0x1000)
    bench = Bench(params, memory)
    row = {"dram_address": 4096 - 16 * 21, "sp_address": 0, "count_x": 40, "count_y": 1, "count_z": 1}
    bench.transfer([row | dict.fromkeys(("dram_stride_y", "dram_stride_z", "sp_stride_y", "sp_stride_z"), 0)], [])
    bursts = [(b.address, b.beats) for b in memory.reads]
    assert bursts == [(0x2000 - 16 * 21, 16), (0x2000 - 16 * 5, 5), (0x2000, 16), (0x2100, 3)]


def test_addresses_wrap_and_use_the_whole_base() -> None:
    """The scratchpad address is taken modulo its size, the base may lie above 4 GiB."""
    params = make_params(8, 8, address_bits=40)
    memory = AxiMemory(params, DRAM_BYTES, base=0xAB_0000_0000)
    bench = Bench(params, memory)
    words = params.scratchpad_words
    load = {"dram_address": 64, "sp_address": words - 3, "count_x": 6, "count_y": 2, "count_z": 1, "dram_stride_y": 80,
            "dram_stride_z": 0, "sp_stride_y": 8, "sp_stride_z": 0}  # fmt: skip
    sp = list(bench.words)
    order = _expect_load(params, load, memory.bytes, sp)
    assert max(order) == words - 1
    assert 0 in order
    bench.transfer([load], [])
    assert bench.words == sp


def _flat(count_x: int, count_y: int, lanes: int, sp: int = 0, dram: int = 0) -> Fields:
    return {"dram_address": dram, "sp_address": sp, "count_x": count_x, "count_y": count_y, "count_z": 1,
            "dram_stride_y": (count_x + 2) * lanes, "dram_stride_z": 0, "sp_stride_y": count_x, "sp_stride_z": 0}  # fmt: skip


@pytest.mark.parametrize(("count_x", "count_y"), [(16, 12), (48, 4), (19, 10)])
def test_load_moves_a_word_every_cycle(count_x: int, count_y: int) -> None:
    """With a latency of 100 and 16 bursts in flight there is no bubble between bursts, rows and instructions."""
    params = make_params(16, 16)
    memory = AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(100, 100)))
    bench = Bench(params, memory)
    bench.transfer([_flat(count_x, count_y, 16, sp) for sp in (0, 300, 600)], [])
    cycles = [cycle for cycle, _ in bench.writes]
    total = 3 * count_x * count_y
    assert len(cycles) == total
    assert cycles[-1] - cycles[0] == total - 1
    # Taken, rows, base, burst, AR | latency of the memory | R, write | retire.
    assert bench.load.retired[0] - bench.load.taken[0] < 100 + count_x * count_y + 10
    busy = bench.load.classes.count(CycleClass.BUSY)
    assert busy == total


@pytest.mark.parametrize("count_x", [1, 2, 5])
def test_load_short_rows(count_x: int) -> None:
    """A burst a cycle: rows of one beat follow each other without a bubble where the memory is near."""
    params = make_params(16, 16)
    bench = Bench(params, AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(1, 1))))
    bench.transfer([_flat(count_x, 60, 16, sp) for sp in (0, 400)], [])
    cycles = [cycle for cycle, _ in bench.writes]
    assert cycles[-1] - cycles[0] == 2 * 60 * count_x - 1


@pytest.mark.parametrize(("lanes", "bus_bytes"), [(16, 16), (32, 8), (4, 32)])
def test_load_and_store_keep_the_faster_side_waiting(lanes: int, bus_bytes: int) -> None:
    """One beat or one word a cycle, whichever are more."""
    params = make_params(lanes, bus_bytes, burst_beats=16)
    memory = AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(20, 20)))
    bench = Bench(params, memory)
    words = 128
    bench.transfer([_flat(words, 1, lanes), _flat(words, 1, lanes, 128)], [_flat(words, 1, lanes, 0, 16384)])
    cycles = [cycle for cycle, _ in bench.writes]
    slow = max(1, lanes // bus_bytes)
    assert cycles[-1] - cycles[0] == (2 * words - 1) * slow
    beats = memory.write_beats
    assert beats[-1] - beats[0] == (len(beats) - 1) * max(1, bus_bytes // lanes)


@pytest.mark.parametrize(("count_x", "count_y"), [(16, 12), (7, 20), (1, 60)])
def test_store_sends_a_beat_every_cycle(count_x: int, count_y: int) -> None:
    """Also over the ends of rows and instructions, while acknowledgements are 40 cycles away (rows of 7 and more)."""
    params = make_params(16, 16, write_outstanding=64)
    memory = AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(40, 40)))
    bench = Bench(params, memory)
    bench.transfer([], [_flat(count_x, count_y, 16, sp, 16384) for sp in (0, 300)])
    beats = memory.write_beats
    assert beats[-1] - beats[0] == 2 * count_x * count_y - 1
    assert bench.store.retired == sorted(bench.store.retired)
    assert bench.store.retired[0] - bench.store.taken[0] < 40 + count_x * count_y + 20


def test_partial_beats_have_strobes() -> None:
    params = make_params(4, 16)
    memory = AxiMemory(params, DRAM_BYTES)
    bench = Bench(params, memory)
    bench.transfer([], [_flat(7, 1, 4, 0, 8), _flat(1, 1, 4, 0, 100)])
    assert memory.strobes == [0xFF00, 0xFFFF, 0x000F, 0x00F0]


def test_retires_in_order_and_not_before_the_end() -> None:
    """A load is retired after its last word, a store after its last acknowledgement."""
    params = make_params(8, 8)
    memory = AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(30, 30)))
    bench = Bench(params, memory)
    bench.transfer([_flat(5, 3, 8), _flat(2, 1, 8, 50)], [_flat(5, 3, 8, 100, 16384), _flat(2, 1, 8, 200, 20000)])
    cycles = [cycle for cycle, _ in bench.writes]
    assert bench.load.retired == [cycles[14] + 1, cycles[16] + 1]
    # Acknowledged 30 cycles after the last beat, registered once.
    assert bench.store.retired == [memory.write_beats[14] + 31, memory.write_beats[16] + 31]


def test_classes_say_what_is_waited_for() -> None:
    params = make_params(8, 8)
    bench = Bench(params, AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(50, 50))), patience=0.5, seed=2)
    bench.transfer([_flat(16, 2, 8)], [_flat(16, 2, 8, 100, 16384)])
    for engine in (bench.load, bench.store):
        kinds = {kind: engine.classes.count(kind) for kind in CycleClass if kind in engine.classes}
        assert {CycleClass.IDLE, CycleClass.BUSY, CycleClass.BANK, CycleClass.DRAM_LATENCY, CycleClass.SETUP} <= set(kinds)
        assert kinds[CycleClass.BUSY] >= 32
        assert kinds[CycleClass.DRAM_LATENCY] >= 45
        assert kinds[CycleClass.BANK] >= 8
        assert engine.classes[-1] is CycleClass.IDLE
        assert all(kind is not CycleClass.IDLE for kind in engine.classes[engine.taken[0] + 1 : engine.retired[0]])


def test_latencies() -> None:
    """What the cycle model counts on; see the docstrings of the parts."""
    params = make_params(8, 8)
    memory = AxiMemory(params, DRAM_BYTES, timing=Timing(latency=(10, 10)))
    bench = Bench(params, memory)
    bench.transfer([_flat(3, 1, 8)], [_flat(3, 1, 8, 100, 16384)])
    taken = bench.load.taken[0]
    asked = memory.reads[0].due - 10
    assert asked == taken + REQUEST_LATENCY_CYCLES + 1  # the guard's register
    assert [cycle for cycle, _ in bench.writes] == [beat + 1 for beat in memory.read_beats]
    assert bench.load.retired == [memory.read_beats[-1] + 2]
    assert memory.write_beats[0] == bench.store.taken[0] + FIRST_BEAT_LATENCY_CYCLES + 1
    assert bench.store.retired == [memory.write_beats[-1] + 10 + 1]
