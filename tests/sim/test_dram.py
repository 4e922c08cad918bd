"""The DRAM model: its timing to the cycle, its data, its faults."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from systola.hw.errors import ConfigError, DeviceError
from systola.sim.rtl.settings import BurstError, DramSettings, Response, RtlSettings, Stalls

READ, WRITE, COPY, EARLY_LAST = 1, 2, 3, 4  # the copier's MODE bits


def dram(**settings: Any) -> RtlSettings:
    return RtlSettings(DramSettings(**settings))


def random_bytes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


# ---- The definition of docs/reference/dram.md, in Python ----


@dataclass
class DramReference:
    """The timing rules, one call a cycle; ``beat_bytes`` is D, ``rate`` is B, ``latency`` is L."""

    beat_bytes: int
    rate: float
    latency: int
    depth: int = 64
    now: int = 0
    credit: float = 0
    write_first: bool = False
    reads: deque[list[int]] = field(default_factory=deque)  # [due, beats left]
    writes: deque[int] = field(default_factory=deque)  # beats left
    answers: deque[int] = field(default_factory=deque)  # due
    rvalid: bool = False
    bvalid: bool = False
    held: bool = False
    arready: bool = True
    awready: bool = True
    wready: bool = True

    def edge(self, ar_beats: int, aw_beats: int, w: bool, r_ready: bool = True) -> None:
        """The end of a cycle in which those were handed over (0: none); B is always taken."""
        if ar_beats:
            self.reads.append([self.now + self.latency - 1, ar_beats])
        if aw_beats:
            self.writes.append(aw_beats)
        self.held |= w
        self.rvalid = self.rvalid and not r_ready
        self.bvalid = False
        self.credit = min(self.credit + self.rate, self.beat_bytes + self.rate)
        wanted = not self.rvalid and bool(self.reads) and self.reads[0][0] <= self.now
        self._grant(wanted, self.held and bool(self.writes))
        if self.answers and self.answers[0] <= self.now:
            self.answers.popleft()
            self.bvalid = True
        self.arready = len(self.reads) < self.depth
        self.awready = len(self.writes) + len(self.answers) < self.depth
        self.wready = not self.held
        self.now += 1

    def _grant(self, read: bool, write: bool) -> None:
        cost = self.beat_bytes
        if read and write and self.credit < 2 * cost:
            if self.credit < cost:
                return
            read, write = not self.write_first, self.write_first
            self.write_first = not self.write_first
        if read and self.credit >= cost:
            self._read()
        if write and self.credit >= cost:
            self._write()

    def _read(self) -> None:
        self.credit -= self.beat_bytes
        self.rvalid = True
        self.reads[0][1] -= 1
        if self.reads[0][1] == 0:
            self.reads.popleft()

    def _write(self) -> None:
        self.credit -= self.beat_bytes
        self.held = False
        self.writes[0] -= 1
        if self.writes[0] == 0:
            self.writes.popleft()
            self.answers.append(self.now + self.latency - 1)


def copier_reference(memory: DramReference, mode: int, bursts: int, beats: int) -> SimpleNamespace:
    """The copier's cycles with that memory, which rested before (its credit is full)."""
    memory.credit = memory.beat_bytes + memory.rate
    seen: dict[str, list[int]] = {name: [] for name in ("ar", "r", "aw", "w", "b")}
    total, cycle = bursts * beats, 0
    reading, writing = bool(mode & READ), bool(mode & WRITE)
    while len(seen["b"] if writing else seen["r"]) < (bursts if writing else total):
        read_so_far, used = len(seen["r"]), len(seen["w"] if writing else seen["r"])
        room = len(seen["ar"]) * beats - used + beats <= 1024
        ar = reading and len(seen["ar"]) < bursts and room and memory.arready
        aw_ready = not reading or read_so_far > len(seen["aw"]) * beats
        aw = writing and len(seen["aw"]) < bursts and aw_ready and memory.awready
        w = writing and len(seen["w"]) < total and (not reading or read_so_far > len(seen["w"])) and memory.wready
        for name, happened in (("ar", ar), ("r", memory.rvalid), ("aw", aw), ("w", w), ("b", memory.bvalid)):
            if happened:
                seen[name].append(cycle)
        memory.edge(beats if ar else 0, beats if aw else 0, bool(w))
        cycle += 1
    return SimpleNamespace(**seen)


@pytest.mark.parametrize("mode", [READ, WRITE, COPY])
def test_timing_follows_the_definition_to_the_cycle(open_copier, mode):
    settings = [(1, 16, 64), (1, 1.5, 64), (7, 8, 2), (100, 16, 64), (100, 32, 64), (100, 12, 3), (100, 20, 64), (250, 64, 1)]
    with open_copier() as copier:
        for latency, rate, depth in settings:
            copier.session.reset(dram(latency_cycles=latency, bytes_per_cycle=rate, read_depth=depth, write_depth=depth))
            for bursts, beats in [(1, 1), (5, 16), (3, 256), (40, 8)]:  # what ran before leaves no trace in the cycles
                times = copier.run(mode, bursts, beats)
                reference = DramReference(copier.data_bytes, rate, latency, depth)
                expected = copier_reference(reference, mode, bursts, beats)
                if mode & READ:
                    assert (times.ar, times.first_r, times.last_r) == (expected.ar[0], expected.r[0], expected.r[-1])
                if mode & WRITE:
                    assert (times.aw, times.first_w, times.last_w) == (expected.aw[0], expected.w[0], expected.w[-1])
                    assert (times.first_b, times.last_b) == (expected.b[0], expected.b[-1])


@pytest.mark.parametrize(
    ("latency", "rate", "beats", "burst_cycles"),
    [(1, 16, 16, 15), (100, 16, 16, 15), (100, 64, 16, 15), (30, 8, 16, 29), (30, 4, 16, 59), (4096, 16, 1, 0)],
)
def test_one_read_burst_by_hand(open_copier, latency, rate, beats, burst_cycles):
    with open_copier(dram(latency_cycles=latency, bytes_per_cycle=rate)) as copier:
        times = copier.run(READ, 1, beats)
    assert times.first_r - times.ar == latency
    assert times.last_r - times.first_r == burst_cycles


@pytest.mark.parametrize("latency", [1, 2, 100])
def test_one_write_burst_by_hand(open_copier, latency):
    with open_copier(dram(latency_cycles=latency)) as copier:
        times = copier.run(WRITE, 1)
    assert times.last_w - times.first_w == 15
    assert times.first_b - times.last_w == latency


@pytest.mark.parametrize("rate", [0.7, 5.5, 12, 15.9])
def test_bandwidth_of_a_long_stream(open_copier, rate):
    with open_copier(dram(bytes_per_cycle=rate)) as copier:
        times = copier.run(READ, 64)
    expected = 1023 * 16 / rate
    assert abs(times.last_r - times.first_r - expected) <= 16 / rate + 1


def test_reads_and_writes_share_the_bandwidth(open_copier):
    with open_copier(dram(bytes_per_cycle=16)) as copier:
        shared = copier.run(COPY, 256).last_b
        copier.session.reset(dram(bytes_per_cycle=32))
        double = copier.run(COPY, 256).last_b
    assert 2 * 4096 <= shared <= 2 * 4096 + 300
    assert 4096 <= double <= 4096 + 300


def test_depth_of_one_serves_bursts_one_by_one(open_copier):
    with open_copier(dram(latency_cycles=50, read_depth=1)) as copier:
        times = copier.run(READ, 10)
    assert times.last_r - times.ar == 10 * (50 + 15)  # the next address goes out with the last beat


@pytest.mark.parametrize("data_bytes", [16, 64])
def test_data_and_strobes(open_copier, data_bytes):
    with open_copier(data_bytes=data_bytes) as copier:
        memory = copier.session.memory
        memory[:0x40000] = random_bytes(0x40000)
        copier.run(COPY, 32, beats=16)
        size = 32 * 16 * data_bytes
        assert (memory[0x80000 : 0x80000 + size] == memory[:size]).all()
        assert not memory[0x80000 + size :].any()

        memory[0x80000:] = 0xEE
        copier.run(WRITE, 2, beats=8)
        beats = memory[0x80000 : 0x80000 + 16 * data_bytes].reshape(16, data_bytes)
        for number, beat in enumerate(beats):
            expected = np.full(data_bytes // 4, number, "<u4").view(np.uint8)
            written = np.isin(np.arange(data_bytes), (0, 2)) if number % 4 == 3 else np.ones(data_bytes, bool)
            assert (beat == np.where(written, expected, 0xEE)).all()


def test_stalls_change_cycles_and_nothing_else(open_copier):
    plain = Stalls()
    heavy = Stalls(ar=200, r=128, aw=200, w=128, b=200)
    seen: list[int] = []
    with open_copier() as copier:
        memory = copier.session.memory
        memory[:0x4000] = random_bytes(0x4000)
        runs = [(plain, 1), (Stalls(ar=250), 1), (Stalls(r=64), 1), (Stalls(aw=250), 1), (Stalls(w=64), 1), (Stalls(b=250), 1)]
        for stalls, seed in [*runs, (heavy, 1), (heavy, 2), (heavy, 1)]:
            copier.session.reset(dram(stalls=stalls, seed=seed, latency_cycles=20, bytes_per_cycle=32))
            memory[0x80000:] = 0
            seen.append(copier.run(COPY, 64).last_b)
            assert (memory[0x80000:0x84000] == memory[:0x4000]).all()
    assert all(cycles > seen[0] for cycles in seen[1:])
    assert seen[-3] != seen[-2]
    assert seen[-3] == seen[-1]  # the same seed, the same cycles


@pytest.mark.parametrize("response", list(Response))
def test_read_error_at_each_burst(open_copier, response):
    with open_copier() as copier:
        for burst in (1, 2, 7, 16):
            copier.session.reload(dram(read_error=BurstError(burst, response)))
            times = copier.run(READ, 16)
            assert (times.read_response, times.read_errors) == (response, 16)
            again = copier.run(READ, 16)  # bursts go on counting: the error comes once
            assert (again.read_response, again.read_errors) == (0, 0)


def test_read_error_on_one_beat(open_copier):
    with open_copier(dram(read_error=BurstError(3, Response.SLVERR, beat=5))) as copier:
        copier.session.memory[:0x1000] = 0x55
        times = copier.run(COPY, 4)
        written = copier.session.memory[0x80000:0x80400].reshape(64, 16)
    assert (times.read_response, times.read_errors) == (Response.SLVERR, 1)
    assert [i for i, beat in enumerate(written) if not beat.any()] == [2 * 16 + 5]


@pytest.mark.parametrize("response", list(Response))
def test_write_error_leaves_memory_alone(open_copier, response):
    with open_copier(dram(write_error=BurstError(2, response))) as copier:
        copier.session.memory[:] = 0x11
        times = copier.run(COPY, 3, destination=0x80000)
        assert times.write_response == response
        copier.session.memory[:0x1000] = 0x22
        copier.session.reload(dram(write_error=BurstError(2, response)))
        copier.run(COPY, 3)
        blocks = copier.session.memory[0x80000:0x80300].reshape(3, 256)
    assert [set(block.tolist()) for block in blocks] == [{0x22}, {0x11}, {0x22}]


def test_outside_the_memory_answers_decerr(open_copier):
    base = 0x4000_0000
    with open_copier(dram(base_address=base), dram_bytes=1 << 20) as copier:
        copier.session.memory[-256:] = 7
        inside = copier.run(COPY, 1, source=base + (1 << 20) - 256, destination=base)
        assert (inside.read_response, inside.write_response) == (0, 0)
        assert (copier.session.memory[:256] == 7).all()
        for source, destination, read, write in [
            (base + (1 << 20), base, 3, 0), (base - 256, base, 3, 0), (base, base + (1 << 20), 0, 3), (base, 0, 0, 3),
        ]:  # fmt: skip
            times = copier.run(COPY, 1, source=source, destination=destination)
            assert (times.read_response, times.write_response) == (read, write)


@pytest.mark.parametrize(
    ("mode", "source", "destination", "rule"),
    [
        (READ, 0x0F80, 0x80000, "AR: a burst crosses a 4 KiB boundary"),
        (WRITE, 0, 0x80F80, "AW: a burst crosses a 4 KiB boundary"),
        (WRITE | EARLY_LAST, 0, 0x80000, "WLAST is not on the last beat"),
    ],
)
def test_protocol_violation_ends_the_simulation(open_copier, mode, source, destination, rule):
    with open_copier() as copier, pytest.raises(DeviceError, match=f"AXI4 protocol violation: {rule}"):
        copier.run(mode, 1, 16, source, destination)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latency_cycles": 0}, "latency_cycles is 0, but it must be within 1 … 65536"),
        ({"bytes_per_cycle": 0}, "bytes_per_cycle is 0"),
        ({"read_depth": 257}, "read_depth is 257"),
        ({"base_address": 100}, "base_address is 0x64, but it must be a multiple of 4096"),
        ({"stalls": Stalls(w=256)}, "stalls.w is 256"),
        ({"read_error": BurstError(0)}, "read_error.burst is 0"),
        ({"write_error": BurstError(1, beat=3)}, "write_error.beat is set"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DramSettings(**settings)
