"""What can be set for a run without building again: the DRAM's timing, faults and stalls, tracing, the waveform's window.

The settings travel in the *control block*: a shared file of 64-bit integers that the model reads when it is reset or told to
reload. ``Setting`` is the one table of its places; the SystemVerilog constants come from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum

from systola.hw.errors import ConfigError

__all__ = [
    "CONTROL_BYTES",
    "RATE_FRACTION_BITS",
    "TRACE_COUNT_INDEX",
    "WRITE_COUNT_INDEX",
    "BurstError",
    "DramSettings",
    "Response",
    "RtlSettings",
    "Setting",
    "Stalls",
    "TraceLevel",
    "WaveformWindow",
    "settings_header",
    "settings_values",
]

CONTROL_BYTES = 4096
"""Size of the control block."""

TRACE_COUNT_INDEX = 64
"""Place in the control block, in 8-byte units, of the number of trace records written so far."""

WRITE_COUNT_INDEX = 65
"""Place of the number of write records written so far."""

RATE_FRACTION_BITS = 16
"""The bandwidth is a fixed-point number of bytes per cycle with this many fraction bits."""

QUEUE_DEPTH = 256
"""Bursts that the DRAM model can hold in each direction."""


class Setting(IntEnum):
    """Places of the settings in the control block, in 8-byte units."""

    MEMORY_BASE = 0  # bus address of the first byte
    MEMORY_BYTES = 1
    LATENCY = 2  # cycles
    RATE = 3  # bytes per cycle, RATE_FRACTION_BITS fraction bits
    READ_DEPTH = 4  # bursts
    WRITE_DEPTH = 5
    STALLS = 6  # 1: any of the stall probabilities is not 0
    STALL_AR = 7  # probability per cycle in 1/256
    STALL_R = 8
    STALL_AW = 9
    STALL_W = 10
    STALL_B = 11
    SEED = 12
    READ_ERROR_BURST = 13  # counted from 1 since the last reload; 0: none
    READ_ERROR_BEAT = 14  # counted from 0; -1: every beat
    READ_ERROR_RESPONSE = 15
    WRITE_ERROR_BURST = 16
    WRITE_ERROR_RESPONSE = 17
    TRACE_LEVEL = 18
    TRACE_WRITES = 19
    WAVE_RUN = 20  # counted from 0 since the last reset; -1: no waveform
    WAVE_FROM = 21  # cycle of the run
    WAVE_TO = 22


class TraceLevel(IntEnum):
    """What the trace records."""

    OFF = 0
    INSTRUCTIONS = 1  # instructions taken and retired, ends of runs
    CLASSES = 2  # also each change of an engine's cycle class


class Response(IntEnum):
    """AXI4 error responses (ARM IHI 0022, table A3-4)."""

    SLVERR = 2
    DECERR = 3


@dataclass(frozen=True)
class BurstError:
    """An error answer to the ``burst``-th burst of one direction, counted from 1 since the settings were last loaded.

    ``beat``: for reads, the one beat (counted from 0) that carries the response; None: every beat.
    """

    burst: int
    response: Response = Response.SLVERR
    beat: int | None = None


@dataclass(frozen=True)
class Stalls:
    """Random back-pressure: for each channel the probability, in 1/256 per cycle, that the memory does not move.

    ``ar``, ``aw``, ``w``: READY is low although there is room. ``r``, ``b``: the next beat or response is presented later.
    """

    ar: int = 0
    r: int = 0
    aw: int = 0
    w: int = 0
    b: int = 0


@dataclass(frozen=True)
class DramSettings:
    """The memory behind the bus; what the numbers mean exactly is in docs/reference/dram.md.

    ``latency_cycles`` 1…65536; ``bytes_per_cycle`` 1/256…4096, any ratio, reads and writes together; ``base_address`` is
    the bus address of byte 0; ``read_depth`` and ``write_depth`` are the bursts held, 1…256.
    """

    latency_cycles: int = 100
    bytes_per_cycle: float = 16.0
    base_address: int = 0
    read_depth: int = 64
    write_depth: int = 64
    stalls: Stalls = field(default_factory=Stalls)
    seed: int = 1
    read_error: BurstError | None = None
    write_error: BurstError | None = None

    def __post_init__(self) -> None:
        _check("latency_cycles", self.latency_cycles, 1, 65536)
        _check("bytes_per_cycle", self.bytes_per_cycle, 1 / 256, 4096)
        _check("base_address", self.base_address, 0, 1 << 62)
        if self.base_address % 4096:
            raise ConfigError(f"DRAM setting base_address is {self.base_address:#x}, but it must be a multiple of 4096")
        _check("read_depth", self.read_depth, 1, QUEUE_DEPTH)
        _check("write_depth", self.write_depth, 1, QUEUE_DEPTH)
        _check("seed", self.seed, 0, (1 << 63) - 1)
        for channel in fields(self.stalls):
            _check(f"stalls.{channel.name}", getattr(self.stalls, channel.name), 0, 255)
        for name, error in (("read_error", self.read_error), ("write_error", self.write_error)):
            if error is not None:
                _check(f"{name}.burst", error.burst, 1, (1 << 31) - 1)
                _check(f"{name}.beat", 0 if error.beat is None else error.beat, 0, 255)
        if self.write_error is not None and self.write_error.beat is not None:
            raise ConfigError("DRAM setting write_error.beat is set, but AXI answers a write burst as a whole: leave it out")


@dataclass(frozen=True)
class WaveformWindow:
    """Cycles ``first`` … ``last`` of the ``run``-th run since the session began (counted from 0) are written as VCD."""

    first: int
    last: int
    run: int = 0

    def __post_init__(self) -> None:
        _check("waveform run", self.run, 0, 65535)
        _check("waveform first cycle", self.first, 0, 1 << 62)
        _check("waveform last cycle", self.last, self.first, 1 << 62)


@dataclass(frozen=True)
class RtlSettings:
    """All settings of a simulation. ``trace_writes`` records each write burst: when and where it reached memory."""

    dram: DramSettings = field(default_factory=DramSettings)
    trace: TraceLevel = TraceLevel.OFF
    trace_writes: bool = False
    waveform: WaveformWindow | None = None


def settings_values(settings: RtlSettings, memory_bytes: int) -> dict[Setting, int]:
    """The control block's settings."""
    dram = settings.dram
    stalls = dram.stalls
    read, write, wave = dram.read_error, dram.write_error, settings.waveform
    return {
        Setting.MEMORY_BASE: dram.base_address,
        Setting.MEMORY_BYTES: memory_bytes,
        Setting.LATENCY: dram.latency_cycles,
        Setting.RATE: round(dram.bytes_per_cycle * (1 << RATE_FRACTION_BITS)),
        Setting.READ_DEPTH: dram.read_depth,
        Setting.WRITE_DEPTH: dram.write_depth,
        Setting.STALLS: int(any(getattr(stalls, channel.name) for channel in fields(stalls))),
        Setting.STALL_AR: stalls.ar,
        Setting.STALL_R: stalls.r,
        Setting.STALL_AW: stalls.aw,
        Setting.STALL_W: stalls.w,
        Setting.STALL_B: stalls.b,
        Setting.SEED: dram.seed,
        Setting.READ_ERROR_BURST: read.burst if read else 0,
        Setting.READ_ERROR_BEAT: -1 if read is None or read.beat is None else read.beat,
        Setting.READ_ERROR_RESPONSE: read.response if read else 0,
        Setting.WRITE_ERROR_BURST: write.burst if write else 0,
        Setting.WRITE_ERROR_RESPONSE: write.response if write else 0,
        Setting.TRACE_LEVEL: settings.trace,
        Setting.TRACE_WRITES: int(settings.trace_writes),
        Setting.WAVE_RUN: wave.run if wave else -1,
        Setting.WAVE_FROM: wave.first if wave else 0,
        Setting.WAVE_TO: wave.last if wave else 0,
    }


def settings_header() -> str:
    """The SystemVerilog constants of the same table."""
    lines = ["// Places of the settings in the control block."]
    lines += [f"localparam int SETTING_{s.name} = {int(s)};" for s in Setting]
    lines += [f"localparam int RATE_FRACTION_BITS = {RATE_FRACTION_BITS};", f"localparam int QUEUE_DEPTH = {QUEUE_DEPTH};"]
    return "\n".join(lines) + "\n"


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"simulation setting {name} is {value}, but it must be within {low} … {high}")
