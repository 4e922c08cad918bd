"""The report of ``systola synth`` as data: what ``synthesis.json`` holds.

Times are in seconds or, in a path, nanoseconds; clocks in MHz. What was not measured is null, never 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from systola.hw.errors import SystolaError

__all__ = [
    "HARNESS", "JSON_NAME", "SCHEMA_VERSION", "Counts", "CriticalPath", "Multiplications", "PathStep", "Route", "SeedResult",
    "Short", "SynthesisReport", "UnitCounts", "load_synthesis",
]  # fmt: skip

SCHEMA_VERSION = 1
JSON_NAME = "synthesis.json"

HARNESS = "(harness)"
"""Where a path's step is in what was put around the accelerator, not in it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Part):
    """Resources: look-up tables, registers, multipliers, block RAM. What each counts is the report's ``names`` and ``rule``."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    ram: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(lut=self.lut + other.lut, ff=self.ff + other.ff, dsp=self.dsp + other.dsp, ram=self.ram + other.ram)


class UnitCounts(_Part):
    """One unit of the accelerator."""

    counts: Counts
    cells: dict[str, int] = Field(description="Cells of the FPGA by type.")
    multiplications: int = Field(description="Multiplications in its RTL.")


class Short(_Part):
    """A resource of which the device has too few."""

    resource: str
    needed: int
    available: int


class Multiplications(_Part):
    """What became of the multiplications in the RTL."""

    rtl: int = Field(description="Multiplications in the RTL.")
    blocks: int = Field(description="Multiplier blocks that they were mapped to.")
    left: dict[str, int] = Field(description="By unit, multiplications in excess of its blocks: computed by look-up tables.")


class PathStep(_Part):
    """A step of the critical path. ``kind``: clk-to-q, logic, routing or setup."""

    kind: str
    delay_ns: float
    name: str = Field(
        description="In the design's own names: the register, memory, multiplier or wire; its unit where it has none."
    )
    cell: str = Field(description="nextpnr's cell, or net where it is routing.")


class CriticalPath(_Part):
    """The slowest path between registers."""

    begins: str
    ends: str
    delay_ns: float
    logic_ns: float
    routing_ns: float
    steps: list[PathStep]


class Route(_Part):
    """What place and route made."""

    fmax_mhz: float
    path: CriticalPath
    utilization: dict[str, list[int]] = Field(description="By kind of cell, used and available, harness included.")


class SeedResult(_Part):
    """One seed of place and route."""

    seed: int
    route: Route | None = Field(description="Null if it failed.")
    failure: str = ""
    seconds: float = Field(description="Of place and route; of an earlier run where it was in the cache.")


class SynthesisReport(_Part):
    """An accelerator, synthesized for a device, and placed and routed where there is a router for it."""

    schema_version: int = SCHEMA_VERSION
    accelerator: dict[str, Any] = Field(description="The accelerator's name and its whole description.")
    verilog: str = Field(description="Names the Verilog that was synthesized: the first digits of its SHA-256.")
    device: str
    board: str = Field(default="", description="The board whose pins it is placed on; empty where there is none.")
    family: str
    part: str = Field(default="", description="Part, package and speed grade; empty where nothing is placed.")
    versions: dict[str, str]
    names: dict[str, str] = Field(description="What lut, ff, dsp and ram count.")
    rule: str = Field(description="How cells are counted.")
    total: Counts = Field(description="The whole accelerator: the sum of its units.")
    cells: dict[str, int]
    units: dict[str, UnitCounts] = Field(description="By unit of the accelerator.")
    harness: Counts | None = Field(
        default=None,
        description="Registers and gates around the accelerator (harness, or what the board needs), not counted; null where "
        "nothing is placed.",
    )
    multiplications: Multiplications
    available: Counts | None = Field(description="What the device has; null for a family.")
    short: list[Short] = Field(description="What the device has too few of.")
    fits: bool | None = Field(default=None, description="It was routed; null where there is no router, or none was run.")
    asked_mhz: float | None = Field(default=None, description="The clock that place and route was asked for.")
    seeds: list[SeedResult] = []
    best_seed: int | None = None
    fmax_mhz: float | None = Field(default=None, description="The clock reached, of the best seed.")
    bitstream: str | None = Field(default=None, description="File beside this one.")
    synthesis_seconds: float = Field(description="Of yosys; of an earlier run where it was in the cache.")
    unplaced_reason: Literal["", "resources only", "too large", "every seed failed"] = ""

    @property
    def best(self) -> Route | None:
        """Place and route with the best seed."""
        return next((seed.route for seed in self.seeds if seed.seed == self.best_seed), None)

    @property
    def met(self) -> bool | None:
        """Whether the clock that was asked for was reached."""
        return None if self.fmax_mhz is None or self.asked_mhz is None else self.fmax_mhz >= self.asked_mhz


def load_synthesis(path: Path) -> SynthesisReport:
    """A report from its file. Raises SystolaError if it is none."""
    try:
        return SynthesisReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SystolaError(f"the synthesis report {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SystolaError(
            f"{path} is no report of synthesis that this version reads ({where}: {first['msg']}): make it again by systola synth"
        ) from error
