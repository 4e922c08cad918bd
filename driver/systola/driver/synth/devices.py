"""The devices that ``systola synth`` takes."""

from __future__ import annotations

from dataclasses import dataclass

from systola.driver.synth.families import FAMILIES, Family
from systola.hw.errors import ConfigError
from systola.reports import resources
from systola.reports.synthesis.schema import Counts

__all__ = ["SPEED_GRADES", "TARGETS", "Target", "find_target"]

SPEED_GRADES = (6, 7, 8)
"""Of ECP5, the fastest last."""


@dataclass(frozen=True)
class Target:
    """A device, or a family without one. ``flag``: nextpnr's option for it; empty where nothing is placed."""

    name: str
    family: Family
    part: str = ""
    flag: str = ""
    package: str = ""

    @property
    def placed(self) -> bool:
        """There is a router for it here."""
        return bool(self.flag)

    @property
    def available(self) -> Counts | None:
        """What the device has, of what is counted; None for a family."""
        has = resources.DEVICES.get(self.name)
        return None if has is None else Counts(lut=has.lut4, ff=has.lut4, dsp=has.dsp, ram=has.ebr)


TARGETS = {
    target.name: target
    for target in (
        Target("ecp5-25k", FAMILIES["ecp5"], "LFE5U-25F", "--25k", "CABGA381"),
        Target("ecp5-45k", FAMILIES["ecp5"], "LFE5U-45F", "--45k", "CABGA381"),
        Target("ecp5-85k", FAMILIES["ecp5"], "LFE5U-85F", "--85k", "CABGA381"),
        *(Target(name, family) for name, family in FAMILIES.items() if name != "ecp5"),
    )
}
"""By name. All ECP5 in one package: that of most boards; the pins of the harness are four."""


def find_target(name: str) -> Target:
    """A device by name. Raises ConfigError for one that is not there."""
    if name not in TARGETS:
        placed = ", ".join(target.name for target in TARGETS.values() if target.placed)
        counted = ", ".join(target.name for target in TARGETS.values() if not target.placed)
        raise ConfigError(
            f"there is no device '{name}': give one to place and route ({placed}), or a family to count resources of ({counted})"
        )
    return TARGETS[name]
