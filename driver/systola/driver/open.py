"""Open a device by the name of its backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from systola.driver.board.open import open_board
from systola.driver.device import Device
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.settings import DramSettings, RtlSettings, TraceLevel, WaveformWindow

__all__ = ["BACKENDS", "open_device", "rtl_settings"]

BACKENDS = ("rtl", "cycles", "interp", "golden", "board")
"""What ``--backend`` takes; golden is not a device: it has no programs; cycles, the cycle model, has no data."""

SPARE_BYTES = 4096


def rtl_settings(
    params: Params,
    latency_cycles: int | None = None,
    bytes_per_cycle: float | None = None,
    *,
    trace: bool = True,
    trace_writes: bool = False,
    waveform: WaveformWindow | None = None,
) -> RtlSettings:
    """Simulation settings: the description's DRAM, where nothing else is given."""
    dram = params.config.dram
    return RtlSettings(
        DramSettings(
            latency_cycles=dram.latency_cycles if latency_cycles is None else latency_cycles,
            bytes_per_cycle=float(dram.bytes_per_cycle if bytes_per_cycle is None else bytes_per_cycle),
        ),
        trace=TraceLevel.CLASSES if trace else TraceLevel.OFF,
        trace_writes=trace_writes,
        waveform=waveform,
    )


@contextlib.contextmanager
def open_device(
    backend: str,
    params: Params,
    memory_bytes: int,
    settings: RtlSettings | None = None,
    *,
    waveform_file: Path | None = None,
    progress: Callable[[str], None] | None = None,
    board: str | None = None,
    root: Path = Path("/"),
) -> Iterator[Device]:
    """A device for the length of a ``with``: "rtl" (Verilator through cocotb), "interp" or "board"; ConfigError for another name.

    ``board``: which one, as ``open_board`` takes it; ``root`` holds its /dev and /sys.
    """
    size = memory_bytes + SPARE_BYTES
    if backend == "rtl":
        with RtlSession(params, size, settings, waveform_file=waveform_file, progress=progress) as session:
            yield session
    elif backend == "interp":
        yield InterpDevice(params, size)
    elif backend == "board" and board is not None:
        with contextlib.closing(open_board(board, params, memory_bytes, root=root)) as device:
            yield device
    else:
        raise ConfigError(f"there is no device '{backend}': the devices are rtl, interp and, with a board's name, board")
