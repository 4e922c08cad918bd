"""Accelerators beside the presets, each at some limit: for what must hold on every accelerator."""

from __future__ import annotations

from typing import Any

from systola.hw.config import PRESETS, Config, load_config

__all__ = ["MEMORIES", "ODD", "accelerators", "odd_accelerator"]

ODD: dict[str, dict[str, Any]] = {
    "odd_narrow": {"array": (8, 8), "memory": (1 << 15, 2, 1 << 13), "bus": 4, "taps": 0, "dram": (1, 1)},
    "odd_tall": {"array": (16, 4), "memory": (1 << 16, 4, 1 << 12), "bus": 8, "taps": 1, "dram": (7, 3)},
    "odd_wide": {"array": (4, 16), "memory": (1 << 15, 16, 1 << 14), "bus": 64, "taps": 3, "dram": (400, 64)},
    "odd_fat_bus": {"array": (8, 8), "memory": (1 << 17, 8, 1 << 12), "bus": 64, "taps": 9, "dram": (33, 40)},
    "odd_small_bus": {"array": (16, 16), "memory": (1 << 17, 4, 1 << 15), "bus": 8, "taps": 3, "dram": (250, 5)},
    "odd_segments": {"array": (8, 32), "memory": (1 << 18, 32, 1 << 16), "bus": 32, "taps": 0, "segments": 4, "dram": (60, 17)},
    "odd_least": {"array": (4, 4), "memory": (1 << 11, 2, 512), "bus": 4, "taps": 3, "dram": (20, 2)},
    "odd_lanes": {"array": (8, 16), "memory": (1 << 16, 8, 1 << 13), "bus": 8, "taps": 3, "lanes": 1, "dram": (80, 8)},
    "odd_queue": {"array": (8, 4), "memory": (1 << 14, 8, 1 << 12), "bus": 16, "taps": 1, "queue": 4, "outstanding": 2,
                  "burst": 4, "dram": (100, 16)},
}  # fmt: skip
"""Rows and columns; scratchpad bytes, banks, accumulator bytes; bytes of a beat; DRAM latency in cycles and bytes a cycle."""

MEMORIES = ((100, 16), (1, 64), (400, 1), (37, 7), (150, 4), (20, 33))
"""DRAM latency in cycles and bytes a cycle, for the drawn graphs in turn."""


def accelerators() -> dict[str, Config]:
    """The presets and the odd ones."""
    return {**{name: load_config(name) for name in PRESETS}, **{name: odd_accelerator(name) for name in ODD}}


def odd_accelerator(name: str) -> Config:
    """One of ODD."""
    return _odd(name, **ODD[name])


def _odd(
    name: str, array: tuple[int, int], memory: tuple[int, int, int], bus: int, taps: int, dram: tuple[int, int],
    segments: int = 16, queue: int = 16, outstanding: int = 16, burst: int = 16, lanes: int = 64,
) -> Config:  # fmt: skip
    return Config.model_validate({
        "name": name,
        "array": {"rows": array[0], "columns": array[1], "segment_columns": segments},
        "memory": {"scratchpad_bytes": memory[0], "scratchpad_banks": memory[1], "accumulator_bytes": memory[2]},
        "bus": {"data_bytes": bus, "burst_beats": burst, "read_outstanding": outstanding, "write_outstanding": outstanding},
        "vector": {"depthwise_taps": taps},
        "requantize": {"lanes": lanes},
        "queue": {"units": queue},
        "dram": {"latency_cycles": dram[0], "bytes_per_cycle": dram[1]},
    })
