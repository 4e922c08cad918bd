"""The accelerator description: ``accelerator.toml`` → ``Config``.

Each field carries its unit, range and reason; the reference page ``docs/reference/accelerator.md`` and the JSON Schema
are generated from here. Nothing is derived here: that is ``systola.hw.params``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from systola.hw.errors import ConfigError

__all__ = ["PRESETS", "ArrayConfig", "BusConfig", "Config", "config_from", "load_config"]

PRESETS = ("tiny", "small", "base", "tall", "wide", "large")


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


PowerOfTwo = Annotated[int, AfterValidator(_power_of_two)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArrayConfig(_Section):
    """The systolic array."""

    rows: PowerOfTwo = Field(ge=4, le=64, description="Rows: input channels multiplied per cycle.")
    columns: PowerOfTwo = Field(ge=4, le=64, description="Columns: output channels accumulated per cycle.")
    segment_columns: PowerOfTwo = Field(
        default=16,
        ge=1,
        le=64,
        description="Columns that one activation register drives; a register more for each further segment. Fewer give "
        "shorter wires and more registers; cycles do not change but for the pipeline's depth.",
    )


class MemoryConfig(_Section):
    """The on-chip memories."""

    scratchpad_bytes: PowerOfTwo = Field(
        ge=1024, le=1 << 24, description="Scratchpad size in bytes: activations, weights and parameters share it."
    )
    scratchpad_banks: PowerOfTwo = Field(
        default=8,
        ge=2,
        le=32,
        description="Banks, each with one read and one write a cycle; consecutive words are in different banks. Two users of one "
        "bank in one cycle cost a cycle.",
    )
    accumulator_bytes: PowerOfTwo = Field(
        ge=512,
        le=1 << 22,
        description="Accumulator size in bytes (32 bits a column and pixel), both halves together.",
    )


class BusConfig(_Section):
    """The AXI4 manager."""

    data_bytes: PowerOfTwo = Field(ge=4, le=128, description="Width of the AXI4 data bus in bytes: one beat.")
    address_bits: int = Field(default=32, ge=32, le=64, description="Width of AXI4 addresses in bits.")
    burst_beats: PowerOfTwo = Field(
        default=16, ge=1, le=256, description="Beats of the longest burst. Bursts never cross 4 KiB."
    )
    read_outstanding: PowerOfTwo = Field(
        default=16, ge=1, le=64, description="Read bursts in flight: hides the memory's latency."
    )
    write_outstanding: PowerOfTwo = Field(default=16, ge=1, le=64, description="Write bursts in flight.")


class VectorConfig(_Section):
    """The vector engine."""

    depthwise_taps: Literal[0, 1, 2, 3, 4, 5, 7, 9] = Field(
        default=3,
        description="Multiply-adds a lane and cycle. A depthwise kernel as wide as this or narrower takes one cycle a "
        "kernel row and pixel; a wider one takes one cycle a tap. 0 leaves the multipliers out: depthwise then runs on "
        "the array.",
    )
    tap_depth: PowerOfTwo = Field(
        default=16, ge=4, le=128, description="Weight rows held per tap: bounds the depthwise kernel."
    )
    table_lanes: PowerOfTwo = Field(default=2, ge=1, le=64, description="Table look-ups a cycle (sigmoid, tanh).")
    multipliers: Literal["blocks", "logic"] = Field(
        default="blocks",
        description="What multiplies the taps on an FPGA: its multiplier blocks, or look-up tables, where the array needs the "
        "blocks. Nothing else changes.",
    )


class RequantizeConfig(_Section):
    """Requantization."""

    multiplier_bits: int = Field(
        default=17,
        ge=8,
        le=17,
        description="Bits of the unsigned requantization multiplier: the relative precision of a scale. 17 is the most "
        "an 18-bit signed FPGA multiplier takes; with 16, 3 in 100 results of ResNet8 change their class against TFLite.",
    )
    lanes: PowerOfTwo = Field(
        default=64,
        ge=1,
        le=64,
        description="Lanes that the drain, and the vector engine, each requantize in a cycle: four multipliers a lane and "
        "engine. With fewer lanes than a word has, a word takes several cycles; with more, one.",
    )


class QueueConfig(_Section):
    """The instruction queues."""

    units: PowerOfTwo = Field(
        default=16, ge=4, le=256, description="32-byte units that each engine's instruction queue holds."
    )


class ClockConfig(_Section):
    """The clock."""

    frequency_mhz: float = Field(
        default=100.0, gt=0, le=5000, description="Clock that cycles are converted to seconds with, in MHz."
    )


class DramConfig(_Section):
    """The memory behind the bus, as simulated."""

    latency_cycles: int = Field(
        default=100, ge=1, le=4096, description="Cycles from a read address to its first beat, and from last write to response."
    )
    bytes_per_cycle: int = Field(
        default=16,
        ge=1,
        le=128,
        description="Bytes that the memory moves per cycle, reads and writes together; the bus width bounds it too.",
    )


class TechnologyConfig(_Section):
    """What energy is counted in."""

    name: str = Field(default="45nm", pattern=r"^[A-Za-z0-9_.-]+$", description="Energy table by name.")


class Config(_Section):
    """An accelerator, complete and checked."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64, description="Name used in reports and file names.")
    array: ArrayConfig
    memory: MemoryConfig
    bus: BusConfig
    vector: VectorConfig = VectorConfig()
    requantize: RequantizeConfig = RequantizeConfig()
    queue: QueueConfig = QueueConfig()
    clock: ClockConfig = ClockConfig()
    dram: DramConfig = DramConfig()
    technology: TechnologyConfig = TechnologyConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        lanes = max(self.array.rows, self.array.columns)
        words = self.memory.scratchpad_bytes // lanes
        if words < 16 * self.memory.scratchpad_banks:
            raise ValueError(
                f"memory.scratchpad_bytes is {self.memory.scratchpad_bytes}: {words} words of {lanes} bytes; "
                f"{self.memory.scratchpad_banks} banks need at least 16 words each"
            )
        accumulator_words = self.memory.accumulator_bytes // (4 * self.array.columns)
        if not 16 <= accumulator_words <= 1 << 16:
            raise ValueError(
                f"memory.accumulator_bytes is {self.memory.accumulator_bytes}: {accumulator_words} pixels of "
                f"{self.array.columns} columns; the range is 16 to 65536 pixels"
            )
        return self


def load_config(source: str | Path) -> Config:
    """A preset by name, or a description from a TOML file.

    Raises ConfigError naming the field, the value and the allowed range.
    """
    if isinstance(source, str) and source in PRESETS:
        text = resources.files("systola.hw").joinpath("presets", f"{source}.toml").read_text()
        return _parse(text, f"preset {source}")
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"no accelerator description at '{source}': give a preset ({', '.join(PRESETS)}) or the path of a .toml file"
        )
    if path.stat().st_size > 1 << 20:
        raise ConfigError(f"{path} is larger than 1 MiB: an accelerator description is a short TOML file")
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _parse(text: str, place: str) -> Config:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place} is not TOML: {error}") from error
    return config_from(data, place)


def config_from(data: Mapping[str, Any], place: str) -> Config:
    """A description from its sections. ``place``: where they are from, for the message.

    Raises ConfigError naming the field, the value and the allowed range.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, place)) from error


def _explain(error: ValidationError, place: str) -> str:
    parts = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "no such field; the fields are listed in docs/reference/accelerator.md"
        elif item["type"] == "missing":
            message = "missing"
        elif field:
            message = f"is {item['input']!r}: {message[0].lower()}{message[1:]}{_allowed(field)}"
        parts.append(f"{field} {message}" if field else message)
    return f"{place}: " + "; ".join(parts)


def _allowed(path: str) -> str:
    """The allowed range of a field by its dotted path, for an error message."""
    schema: dict[str, Any] = Config.model_json_schema()
    node = schema
    for name in path.split("."):
        node = node.get("properties", {}).get(name, {})
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if "minimum" in node and "maximum" in node:
        return f" (allowed: {node['minimum']} to {node['maximum']})"
    return ""
