"""Figures with units, as users write them on the command line: ``10ms``, ``1.5 W``, ``5mJ``, ``150MHz``, ``97%``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from systola.hw.errors import ConfigError

__all__ = ["ENERGY", "FREQUENCY", "POWER", "TIME", "Quantity", "parse_dram", "parse_share"]

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_WITH_UNIT = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµμ%]*)\s*", re.ASCII)


@dataclass(frozen=True)
class Quantity:
    """A kind of figure. ``units``: what one of each is in the metric's unit; smallest first. ``example``: for messages."""

    name: str
    units: Mapping[str, float]
    example: str

    def parse(self, text: str, option: str) -> float:
        """The figure in the metric's unit. Raises ConfigError for what is no positive number with a unit."""
        found = _WITH_UNIT.fullmatch(text)
        unit = "" if found is None else found[2].replace("µ", "u").replace("μ", "u")
        if found is None or unit not in self.units:
            why = "is no number with a unit" if found is None else f"has the unit '{unit}'" if unit else "has no unit"
            raise ConfigError(
                f"{option} is '{text}', which {why}: give {self.name} in {', '.join(self.units)}, such as {self.example}"
            )
        value = float(found[1]) * self.units[unit]
        if not 0 < value < math.inf:
            raise ConfigError(f"{option} is '{text}': {self.name} must be more than 0, and finite")
        return value

    def show(self, value: float) -> str:
        """A figure in the unit that suits it: ``3.2 ms``."""
        unit = self._suiting(value)
        return f"{value / self.units[unit]:.4g} {unit.replace('u', 'µ')}"

    def at_least(self, value: float) -> str:
        """A figure to be written on the command line that is no less than ``value``, and at most 1 ‰ more: ``3.201ms``."""
        unit = self._suiting(value)
        scaled = value / self.units[unit]
        digit = 10.0 ** (math.floor(math.log10(scaled)) - 3)
        steps = math.ceil(scaled / digit)
        while float(text := f"{steps * digit:.6g}") * self.units[unit] < value:
            steps += 1
        return f"{text}{unit}"

    def _suiting(self, value: float) -> str:
        """The largest unit that there is one of."""
        return ([unit for unit, one in self.units.items() if abs(value) >= one] or list(self.units)[:1])[-1]


TIME = Quantity("a time", {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}, "10ms")
"""In milliseconds, as ``latency_ms``."""

POWER = Quantity("a power", {"uW": 1e-3, "mW": 1.0, "W": 1e3}, "1.5W")
"""In milliwatts, as ``power_mw``."""

ENERGY = Quantity("an energy", {"nJ": 1e-3, "uJ": 1.0, "mJ": 1e3, "J": 1e6}, "5mJ")
"""In microjoules, as ``energy_uj``."""

FREQUENCY = Quantity("a frequency", {"kHz": 1e-3, "MHz": 1.0, "GHz": 1e3}, "150MHz")
"""In megahertz, as ``clock.frequency_mhz``."""


def parse_share(text: str, option: str) -> float:
    """A share: ``0.97`` or ``97%``. Raises ConfigError for what is not more than 0 and at most 1."""
    found = _WITH_UNIT.fullmatch(text)
    if found is None or found[2] not in ("", "%"):
        raise ConfigError(f"{option} is '{text}', which is no share: give a number up to 1, or percent, such as 0.97 or 97%")
    value = float(found[1]) / (100 if found[2] else 1)
    if not 0 < value <= 1:
        raise ConfigError(f"{option} is '{text}': a share is more than 0 and at most 1 (100%)")
    return value


def parse_dram(text: str) -> tuple[int, int]:
    """(latency in cycles, bytes per cycle) from ``100,8``; their ranges are the description's to check."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text, re.ASCII)
    if found is None:
        raise ConfigError(f"--dram is '{text}': give latency in cycles and bytes per cycle, such as 100,8")
    return int(found[1]), int(found[2])
