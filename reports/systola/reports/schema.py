"""The report as data: what ``report.json`` holds. Its JSON Schema is ``docs/reference/report.schema.json``.

Energies are in joules, times in seconds, sizes in bytes. What was not measured is null, never 0.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "ActionEnergy",
    "Advice",
    "Bounded",
    "EnergyReport",
    "HostOperation",
    "LayerReport",
    "ReferenceAgreement",
    "Report",
    "report_schema",
]

SCHEMA_VERSION = 2

Classes = dict[str, int]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounded(_Part):
    """A figure with the bounds that its sources allow."""

    value: float
    low: float
    high: float


class ActionEnergy(_Part):
    """One kind of action and what it costs in an inference."""

    action: str
    component: str
    count: float = Field(description="Times per inference, in the table's unit.")
    unit: str = Field(description="What is counted.")
    each_pj: Bounded = Field(description="Picojoules for one.")
    energy_j: Bounded
    source: str
    method: str


class EnergyReport(_Part):
    """Energy by action and component: dynamic only."""

    technology: str
    counts_from: Literal["counters", "program"] = Field(
        description="Where action counts come from: the accelerator's counters, or the program's instructions where a backend "
        "has none."
    )
    actions: list[ActionEnergy]
    components: dict[str, Bounded]
    static_j: Bounded | Literal["unknown"] = Field(
        description="Leakage over the latency; unknown where the table has no source for it."
    )
    not_counted: list[str] = Field(description="What the energy does not include.")
    bounds: str = Field(description="How low and high were made.")


class LayerReport(_Part):
    """One layer."""

    tag: int = Field(description="Number of the layer in its instructions.")
    name: str
    kind: str
    unit: Literal["array", "vector", "host"]
    nodes: list[str] = Field(description="Operations of the source that the layer computes.")
    output: str
    output_shape: list[int]
    macs: int
    cycles: int | None = Field(description="From the completion of what was complete before to this layer's completion.")
    unit_cycles: int | None = Field(
        description="Cycles of the layer's own engine (array or vector) that belong to it: from the last instruction of the "
        "layer before on that engine to its own last."
    )
    utilization: float | None = Field(description="macs / (rows · columns · unit_cycles): layers overlap, cycles may be fewer.")
    engines: dict[str, Classes] | None = Field(
        description="Cycles of each engine by what they went to, up to the end of the layer's last instruction on it. Over the "
        "layers they sum to the report's."
    )
    causes: dict[str, int] | None = Field(description="Cycles of the report's judged engine that belong to the layer, by cause.")
    dram_read_bytes: int | None = Field(description="Bytes that its load instructions move.")
    dram_write_bytes: int | None = Field(description="Bytes that its store instructions move.")
    energy_j: Bounded | None
    sqnr_db: float | None = Field(description="Signal to quantization noise of its output against the float network.")
    note: str = ""


class HostOperation(_Part):
    """An operation that the host computes."""

    name: str
    kind: str
    reason: str


class ReferenceAgreement(_Part):
    """Outputs against reference outputs, over samples that calibration did not use."""

    samples: int
    top1: float
    equal: float | None
    within_1: float | None
    reference: str


class Advice(_Part):
    """What would help most."""

    engine: str
    cause: str = Field(description="The largest of the report's causes that a change could shorten.")
    cycles: int
    share: float = Field(description="Of cycles_total: the most that removing it could save.")
    layer: str = Field(description="The layer with most of it.")
    change: str = Field(description="What to change in the accelerator's description.")
    text: str


class Report(_Part):
    """A run of one network on one accelerator."""

    schema_version: int = SCHEMA_VERSION
    network: str
    source: str
    accelerator: dict[str, Any] = Field(description="The accelerator's name and its whole description.")
    backend: str
    samples: int
    bit_exact: bool | None = Field(description="Every byte compared with golden is equal; null where nothing was compared.")
    tensors_checked: int
    bytes_checked: int
    mismatches: dict[str, int] = Field(description="Bytes that differ from golden, by tensor.")
    on_chip: list[str] = Field(description="Tensors that never left the chip: compared through what was computed from them.")
    cycles_total: int | None = Field(description="Cycles per inference: of the first sample, all its programs.")
    cycles_min: int | None
    cycles_max: int | None
    macs: int = Field(description="Multiply-accumulates of the network's definition, per inference, on accelerator and host.")
    macs_accelerator: int = Field(description="Of these, on the accelerator.")
    utilization: float | None = Field(description="macs_accelerator / (rows · columns · cycles_total).")
    array_occupancy: float | None = Field(
        description="Of the multipliers' slots in which the array worked, the share that the network's definition asked for; the "
        "rest is padding and rows or columns without a channel."
    )
    layers: list[LayerReport]
    engines: dict[str, Classes] | None = Field(
        description="Cycles of each engine by what they went to (docs/reference/cycles.md); each engine's sum to cycles_total."
    )
    counters: dict[str, Classes] | None = Field(
        description="The accelerator's counters that this was made from: cycles of each engine by class."
    )
    judged_engine: str | None = Field(description="The engine that causes and advice are about.")
    causes: dict[str, int] | None = Field(
        description="The judged engine's cycles by root cause: what the engines that it waited for did. They sum to cycles_total."
    )
    events: dict[str, int] | None = Field(description="Accesses counted by the accelerator.")
    latency_s: float | None = Field(description="cycles_total at the clock in accelerator, host operations excluded.")
    clock_source: str = Field(description="Where that clock comes from: the description, or place and route.")
    energy_j: Bounded | None = Field(description="Dynamic energy per inference.")
    power_w: Bounded | None = Field(description="energy_j / latency_s: average dynamic power during an inference.")
    energy: EnergyReport | None
    advice: Advice | None
    top1_agreement: float | None
    agreement: ReferenceAgreement | None
    labels_top1: float | None
    host_ops: list[HostOperation]
    dram_latency_cycles: int
    dram_bytes_per_cycle: float
    sim_cycles_per_second: float | None
    simulated_cycles: int
    host_seconds: dict[str, float]
    versions: dict[str, str]
    notes: list[str]


def report_schema() -> dict[str, Any]:
    """The JSON Schema of ``report.json``."""
    schema = Report.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
