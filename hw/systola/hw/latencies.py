"""Fixed delays of the hardware, in cycles: the RTL is built from them and the cycle model counts with them."""

from __future__ import annotations

__all__ = ["ACCUMULATOR_READ_LATENCY_CYCLES", "SCRATCHPAD_READ_LATENCY_CYCLES"]

SCRATCHPAD_READ_LATENCY_CYCLES = 3
"""A read accepted in cycle n has its word in cycle n + 3: bank, bank output register, client output register."""

ACCUMULATOR_READ_LATENCY_CYCLES = 2
"""A read accepted in cycle n has its word in cycle n + 2: memory, output register."""
