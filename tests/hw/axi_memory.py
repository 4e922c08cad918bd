"""An AXI4 memory for block tests: random answers, every protocol rule checked."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

PAGE = 4096
SLVERR = 2


@dataclass
class Timing:
    """Probability, per cycle, that each channel moves; latency in cycles (drawn from the range)."""

    ar: float = 1.0
    r: float = 1.0
    aw: float = 1.0
    w: float = 1.0
    b: float = 1.0
    latency: tuple[int, int] = (1, 1)
    mix_ids: bool = False  # beats of different ids interleave
    w_before_aw: bool = False  # AW is accepted only once a beat is offered


RANDOM = Timing(ar=0.6, r=0.7, aw=0.6, w=0.7, b=0.5, latency=(1, 40), mix_ids=True)


@dataclass
class Burst:
    """A burst as accepted."""

    address: int
    beats: int
    id: int
    due: int
    bad: bool
    done: int = 0


@dataclass
class AxiMemory:
    """Bytes from ``base`` on, and the process that answers. ``read_faults`` and ``write_faults``: bursts, counted from 0, that
    end in an error response.
    """

    params: Any
    size: int
    base: int = 0
    timing: Timing = field(default_factory=Timing)
    seed: int = 0
    read_faults: frozenset[int] = frozenset()
    write_faults: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.bytes = bytearray(self.rng.randbytes(self.size))
        self.now = 0
        self.reads: list[Burst] = []
        self.writes: list[Burst] = []
        self.read_beats: list[int] = []  # cycle of each beat
        self.write_beats: list[int] = []
        self.strobes: list[int] = []
        self.in_flight: list[Burst] = []
        self.owed: deque[Burst] = deque()  # write data
        self.answers: deque[tuple[int, Burst]] = deque()
        self.most_reads = 0
        self.most_writes = 0
        self.before: dict[str, tuple[int, ...]] = {}

    @property
    def idle(self) -> bool:
        """Nothing accepted is unanswered."""
        return not (self.in_flight or self.owed or self.answers)

    async def run(self, ctx: Any, read: Any, write: Any) -> None:
        """The process; the channels are the manager's."""
        watched = [
            *(read.ar_valid, read.ar_addr, read.ar_len, read.ar_id, read.r_ready),
            *(write.aw_valid, write.aw_addr, write.aw_len),
            *(write.w_valid, write.w_data, write.w_strb, write.w_last, write.b_ready),
        ]
        r_now: Burst | None = None
        b_now: Burst | None = None
        ready = dict.fromkeys(("ar", "aw", "w"), 0)
        while True:
            _, _, *values = await ctx.tick().sample(*watched)
            ar_valid, ar_addr, ar_len, ar_id, r_ready, *values = values
            aw_valid, aw_addr, aw_len, w_valid, w_data, w_strb, w_last, b_ready = values
            self._stable("ar", ar_valid, ready["ar"], ar_addr, ar_len, ar_id)
            self._stable("aw", aw_valid, ready["aw"], aw_addr, aw_len)
            self._stable("w", w_valid, ready["w"], w_data, w_strb, w_last)
            if ar_valid and ready["ar"]:
                self._accept_read(ar_addr, ar_len, ar_id)
            if aw_valid and ready["aw"]:
                self._accept_write(aw_addr, aw_len)
            if w_valid and ready["w"]:
                self._beat(w_data, w_strb, w_last)
            if r_now and r_ready:
                self.read_beats.append(self.now)
                r_now.done += 1
                if r_now.done == r_now.beats:
                    self.in_flight.remove(r_now)
                r_now = None
            if b_now and b_ready:
                b_now = None
            self.now += 1
            t, rng = self.timing, self.rng
            ready = {"ar": rng.random() < t.ar, "aw": rng.random() < t.aw, "w": bool(self.owed) and rng.random() < t.w}
            if t.w_before_aw:
                ready["aw"] = ready["aw"] and bool(w_valid) and not self.owed
            ctx.set(read.ar_ready, ready["ar"])
            ctx.set(write.aw_ready, ready["aw"])
            ctx.set(write.w_ready, ready["w"])
            if r_now is None:
                r_now = self._next_read()
                ctx.set(read.r_valid, r_now is not None)
                if r_now:
                    low = r_now.address - self.base + r_now.done * self.params.bus_bytes
                    ctx.set(read.r_data, int.from_bytes(self.bytes[low : low + self.params.bus_bytes], "little"))
                    ctx.set(read.r_last, r_now.done == r_now.beats - 1)
                    ctx.set(read.r_id, r_now.id)
                    ctx.set(read.r_resp, SLVERR if r_now.bad else 0)
            if b_now is None:
                if self.answers and self.answers[0][0] <= self.now and rng.random() < t.b:
                    b_now = self.answers.popleft()[1]
                    ctx.set(write.b_resp, SLVERR if b_now.bad else 0)
                ctx.set(write.b_valid, b_now is not None)

    def _stable(self, channel: str, valid: int, ready: int, *payload: int) -> None:
        if channel in self.before:
            assert valid, f"{channel}: valid was withdrawn"
            assert self.before[channel] == payload, f"{channel}: the payload changed while it waited"
        self.before.pop(channel, None)
        if valid and not ready:
            self.before[channel] = payload

    def _check(self, address: int, beats: int) -> None:
        bus = self.params.bus_bytes
        assert address % bus == 0, "bursts begin at a beat"
        assert beats <= self.params.config.bus.burst_beats
        assert address // PAGE == (address + beats * bus - 1) // PAGE, "a burst crosses 4 KiB"
        assert self.base <= address
        assert address + beats * bus <= self.base + self.size

    def _accept_read(self, address: int, length: int, id_: int) -> None:
        self._check(address, length + 1)
        burst = Burst(address, length + 1, id_, self.now + self.rng.randint(*self.timing.latency),
                      len(self.reads) in self.read_faults)  # fmt: skip
        self.reads.append(burst)
        self.in_flight.append(burst)
        loads = sum(b.id == 1 for b in self.in_flight)
        self.most_reads = max(self.most_reads, loads)
        assert loads <= self.params.config.bus.read_outstanding

    def _accept_write(self, address: int, length: int) -> None:
        self._check(address, length + 1)
        burst = Burst(address, length + 1, 0, 0, len(self.writes) in self.write_faults)
        self.writes.append(burst)
        self.owed.append(burst)
        unanswered = len(self.owed) + len(self.answers)
        self.most_writes = max(self.most_writes, unanswered)
        assert unanswered <= self.params.config.bus.write_outstanding

    def _beat(self, data: int, strobe: int, last: int) -> None:
        burst = self.owed[0]
        bus = self.params.bus_bytes
        low = burst.address - self.base + burst.done * bus
        for lane in range(bus):
            if strobe >> lane & 1:
                self.bytes[low + lane] = data >> 8 * lane & 255
        self.write_beats.append(self.now)
        self.strobes.append(strobe)
        burst.done += 1
        assert last == (burst.done == burst.beats), "WLAST disagrees with AWLEN"
        if last:
            self.owed.popleft()
            self.answers.append((self.now + self.rng.randint(*self.timing.latency), burst))

    def _next_read(self) -> Burst | None:
        """The oldest burst of some id, if it is due."""
        if self.rng.random() >= self.timing.r:
            return None
        ids = [0, 1] if self.timing.mix_ids else [self.in_flight[0].id] if self.in_flight else []
        self.rng.shuffle(ids)
        for id_ in ids:
            oldest = next((b for b in self.in_flight if b.id == id_), None)
            if oldest and oldest.due <= self.now:
                return oldest
        return None
