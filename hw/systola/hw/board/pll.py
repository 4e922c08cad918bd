"""Dividers of ECP5's PLL (FPGA-TN-02200): a clock from a board's oscillator, and the same clock a quarter of a period later."""

from __future__ import annotations

from dataclasses import dataclass

from systola.hw.errors import ConfigError

__all__ = ["Pll", "choose_pll"]

VCO_HZ = (400e6, 800e6)
BEST_VCO_HZ = 600e6
LEAST_PHASE_DETECTOR_HZ = 3.125e6
MOST_DIVIDER = 128
MOST_DEVIATION = 0.05
"""Of what is asked for; what comes out is what is reported."""

PHASE_STEPS = 8
"""Phases are set in eighths of the VCO's period."""


@dataclass(frozen=True)
class Pll:
    """``input``, ``feedback``, ``output``: the dividers. The clock comes back through the feedback divider, so that it is the
    oscillator's times ``feedback`` over ``input``."""

    oscillator_hz: float
    input: int
    feedback: int
    output: int

    @property
    def clock_hz(self) -> float:
        """Of the clock that comes out."""
        return self.oscillator_hz * self.feedback / self.input

    @property
    def vco_hz(self) -> float:
        """Of the oscillator within."""
        return self.clock_hz * self.output

    @property
    def phase(self) -> int:
        """Whole VCO periods of the clock's phase: half a period or less, so that one beside it may be earlier or later."""
        return (self.output - 1) // 2

    @property
    def quarter(self) -> tuple[int, int]:
        """(whole VCO periods, eighths) of the phase of the clock a quarter of a period later."""
        steps = self.phase * PHASE_STEPS + self.output * PHASE_STEPS // 4
        return steps // PHASE_STEPS, steps % PHASE_STEPS


def choose_pll(oscillator_hz: float, clock_hz: float) -> Pll:
    """The dividers that come closest to a clock; of those the one with the VCO in the middle of its range.

    Raises ConfigError where none comes close.
    """
    found = [
        Pll(oscillator_hz, divider, feedback, output)
        for divider in range(1, MOST_DIVIDER + 1)
        if oscillator_hz / divider >= LEAST_PHASE_DETECTOR_HZ
        for feedback in _around(clock_hz * divider / oscillator_hz)
        for output in _around(BEST_VCO_HZ * divider / (oscillator_hz * feedback))
        if VCO_HZ[0] <= oscillator_hz * feedback / divider * output <= VCO_HZ[1]
    ]
    best = min(found, key=lambda pll: (abs(pll.clock_hz - clock_hz), abs(pll.vco_hz - BEST_VCO_HZ)), default=None)
    if best is None or abs(best.clock_hz / clock_hz - 1) > MOST_DEVIATION:
        raise ConfigError(
            f"the PLL makes no clock of {clock_hz / 1e6:g} MHz from {oscillator_hz / 1e6:g} MHz: give one of "
            f"{VCO_HZ[0] / 1e6 / MOST_DIVIDER:.3g} to {VCO_HZ[1] / 1e6:g} MHz with --clock"
        )
    return best


def _around(value: float) -> list[int]:
    """Dividers beside a value."""
    return [number for number in (int(value), int(value) + 1) if 1 <= number <= MOST_DIVIDER]
