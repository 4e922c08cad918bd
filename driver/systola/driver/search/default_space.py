"""The space that is searched where none is given: around a base description."""

from __future__ import annotations

from typing import Any, get_args

from systola.driver.sweep.space import METHOD_AXIS, Space
from systola.hw.config import Config
from systola.mapper.quantize import Method

__all__ = ["default_space"]

TAPS = (0, 1, 3)
REQUANTIZE_LANES = (2, 4, 8, 64)
FEWER_MULTIPLIER_BITS = (4, 2, 0)
CONSTRAINTS = (
    "memory.scratchpad_bytes >= 16 * memory.scratchpad_banks * array.rows",
    "memory.scratchpad_bytes >= 16 * memory.scratchpad_banks * array.columns",
    "64 * array.columns <= memory.accumulator_bytes <= 262144 * array.columns",
    "vector.table_lanes <= array.rows or vector.table_lanes <= array.columns",
)
"""What a description's fields have to be to fit together, and no table lanes that nothing is looked up in."""


def default_space(base_name: str, base: Config, *, quantization: bool, calibrated: bool) -> Space:
    """Arrays and memories from a quarter of the base's to four times, the rest from a half to twice.

    ``quantization``: also the multiplier's bits and, for a model that is ``calibrated``, the method.
    """
    axes: dict[str, tuple[Any, ...]] = {
        "array.rows": _around(base.array.rows, 4, 4, 64),
        "array.columns": _around(base.array.columns, 4, 4, 64),
        "memory.scratchpad_bytes": _around(base.memory.scratchpad_bytes, 4, 1024, 1 << 24),
        "memory.accumulator_bytes": _around(base.memory.accumulator_bytes, 4, 512, 1 << 22),
        "memory.scratchpad_banks": _around(base.memory.scratchpad_banks, 2, 2, 32),
        "bus.data_bytes": _around(base.bus.data_bytes, 2, 4, 128),
        "vector.depthwise_taps": tuple(sorted({*TAPS, base.vector.depthwise_taps})),
        "vector.table_lanes": _around(base.vector.table_lanes, 2, 1, 64),
        "requantize.lanes": REQUANTIZE_LANES,
        "queue.units": _around(base.queue.units, 2, 4, 256),
    }
    if quantization:
        bits = base.requantize.multiplier_bits
        axes["requantize.multiplier_bits"] = tuple(sorted({max(8, bits - fewer) for fewer in FEWER_MULTIPLIER_BITS}))
        if calibrated:
            axes[METHOD_AXIS] = get_args(Method)
    return Space.model_validate({"base": base_name, "axes": axes, "constraints": CONSTRAINTS})


def _around(value: int, factor: int, low: int, high: int) -> tuple[int, ...]:
    """Powers of two from a ``factor``-th of the value to ``factor`` times, within what the field allows."""
    values, candidate = [], max(low, value // factor)
    while candidate <= min(high, value * factor):
        values.append(candidate)
        candidate *= 2
    return tuple(values)
