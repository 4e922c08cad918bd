"""The drain engine: accumulators → requantization, activation, residual addition → scratchpad."""

from systola.hw.drain.engine import RETIRE_LATENCY_CYCLES, START_LATENCY_CYCLES, DrainEngine
from systola.hw.drain.planner import BlockPlanner
from systola.hw.drain.residual import ResidualReader

__all__ = [
    "RETIRE_LATENCY_CYCLES",
    "START_LATENCY_CYCLES",
    "BlockPlanner",
    "DrainEngine",
    "ResidualReader",
]
