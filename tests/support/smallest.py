"""The smallest accelerator that can be described, near enough: for what takes long."""

from __future__ import annotations

from systola.hw.config import Config

__all__ = ["SMALLEST"]

SMALLEST = Config.model_validate({
    "name": "smallest",
    "array": {"rows": 4, "columns": 4},
    "memory": {"scratchpad_bytes": 1024, "scratchpad_banks": 2, "accumulator_bytes": 512},
    "bus": {"data_bytes": 4, "read_outstanding": 1, "write_outstanding": 1},
    "vector": {"depthwise_taps": 0, "tap_depth": 4, "table_lanes": 1},
    "requantize": {"multiplier_bits": 8},
    "queue": {"units": 4},
})
