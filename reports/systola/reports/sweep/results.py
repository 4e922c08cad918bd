"""The results of a sweep: what ``load_results`` reads from a folder, and every table and figure is made from.

Nothing here knows how a point was computed. Energies are in joules, sizes in bytes; what was not measured is None, never 0.
Engines and classes of cycles go by their names in lower case ("array", "wait_load"), events too ("read_beats").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from systola.reports.schema import Bounded

__all__ = [
    "Agreement",
    "AxisDefinition",
    "Direction",
    "Estimate",
    "NetworkDefinition",
    "NetworkResult",
    "Objective",
    "PointResult",
    "Resources",
    "Roofline",
    "State",
    "SweepDefinition",
    "SweepResults",
    "Verification",
]

State = Literal["done", "invalid", "failed"]
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Roofline:
    """What bounds a network on an accelerator.

    ``compute_cycles``: its multiply-accumulates at the array's full rate. ``dram_cycles``: its DRAM bytes at the full rate of
    memory and bus. ``intensity``: multiply-accumulates per DRAM byte; ``ridge``: the intensity at which both take as long.
    """

    compute_cycles: float
    dram_cycles: float
    intensity: float
    ridge: float

    @property
    def bound_cycles(self) -> float:
        """No schedule is shorter."""
        return max(self.compute_cycles, self.dram_cycles)

    @property
    def bound(self) -> Literal["compute", "memory"]:
        """Which of both is the longer."""
        return "compute" if self.compute_cycles >= self.dram_cycles else "memory"


@dataclass(frozen=True)
class Agreement:
    """Share of samples whose largest output is the reference's. ``reference``: what that is: a file, or the float network."""

    samples: int
    top1: float
    reference: str


@dataclass(frozen=True)
class NetworkResult:
    """One inference of one network at one point.

    ``latency_ms``: ``cycles`` at the configured clock, host operations excluded. ``macs``: of the network's definition, on
    accelerator and host; ``host_macs`` of these on the host. ``dram_read_bytes``, ``dram_write_bytes``: data on the bus,
    instructions included. ``memory_bytes``: DRAM that the image takes. ``utilization``: the accelerator's multiply-accumulates
    by those that the array could do in ``cycles``. ``classes``: cycles of each engine by class, each engine's sum to ``cycles``.
    ``energy_components``: parts of ``energy_j`` by component. ``compile_seconds``, ``model_seconds``: what the point took.
    """

    network: str
    cycles: int
    latency_ms: float
    energy_j: Bounded
    energy_components: Mapping[str, float]
    macs: int
    host_macs: int
    layers: int
    host_layers: int
    dram_read_bytes: int
    dram_write_bytes: int
    memory_bytes: int
    utilization: float
    classes: Mapping[str, Mapping[str, int]]
    events: Mapping[str, int]
    roofline: Roofline
    agreement: Agreement | None = None
    compile_seconds: float = 0.0
    model_seconds: float = 0.0

    @property
    def dram_bytes(self) -> int:
        """Read and written."""
        return self.dram_read_bytes + self.dram_write_bytes

    @property
    def host_share(self) -> float:
        """Share of the multiply-accumulates that the host does."""
        return self.host_macs / self.macs if self.macs else 0.0

    @property
    def power_w(self) -> float:
        """Average dynamic power during an inference."""
        return self.energy_j.value / (self.latency_ms * 1e-3) if self.latency_ms else 0.0


@dataclass(frozen=True)
class Estimate:
    """A figure of a model that was fitted; ``relative_error``: 0.1 is ±10 %, None where it is not known."""

    value: float
    relative_error: float | None = None


@dataclass(frozen=True)
class Resources:
    """What the accelerator takes of an FPGA (ECP5: 4-input tables, flip-flops, multipliers, block memories).

    ``extrapolated``: parameters outside of what the estimate was fitted on, with that range: there the errors do not hold.
    """

    lut4: Estimate
    ff: Estimate
    dsp: Estimate
    ebr: Estimate
    extrapolated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """A run of a point on RTL: is the model's figure the hardware's?

    ``counters_equal``: every counter of cycles by class and of events. ``bytes_different``: of ``bytes_checked`` that reached
    memory, those that differ from golden. ``reason``: why there is no result, where there is none.
    """

    network: str
    model_cycles: int
    rtl_cycles: int | None
    counters_equal: bool
    bytes_checked: int
    bytes_different: int
    seconds: float
    finished: str
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Cycles, counters and outputs are the model's."""
        return (
            not self.reason
            and self.rtl_cycles == self.model_cycles
            and self.counters_equal
            and self.bytes_checked > 0
            and self.bytes_different == 0
        )


@dataclass(frozen=True)
class PointResult:
    """One configuration.

    ``hash`` names it in its sweep (16 hexadecimal digits). ``ordinal``: its place in the order in which points were drawn.
    ``axes``: its values on the sweep's axes, by dotted name. ``config``: the whole accelerator description; of an invalid point
    as it was put together. ``reason``: why it is invalid or failed. ``metrics``: the figures of all networks together, by the
    names in ``metrics.METRICS``; those that could not be computed are absent. ``seconds``: what it took one worker.
    """

    hash: str
    ordinal: int
    axes: Mapping[str, Any]
    config: Mapping[str, Any]
    method: str
    state: State
    reason: str = ""
    networks: tuple[NetworkResult, ...] = ()
    resources: Resources | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    verifications: tuple[Verification, ...] = ()
    seconds: float = 0.0
    worker: str = ""
    finished: str = ""

    @property
    def verified(self) -> bool:
        """Every network ran on RTL, with the model's cycles and golden's outputs."""
        return bool(self.networks) and {v.network for v in self.verifications if v.equal} == {n.network for n in self.networks}

    @property
    def refuted(self) -> bool:
        """RTL and model differ somewhere."""
        return any(not v.equal and not v.reason for v in self.verifications)


@dataclass(frozen=True)
class NetworkDefinition:
    """A network of a sweep. ``weight``: inferences of it in what the combined figures are for. ``digest``: of its files."""

    name: str
    source: str
    weight: float
    digest: str
    random_weights: int | None = None


@dataclass(frozen=True)
class AxisDefinition:
    """A swept field: ``values`` in order. ``scale``: how to draw it; "category" for values that have no order."""

    name: str
    values: tuple[Any, ...]
    scale: Literal["linear", "log", "category"]


@dataclass(frozen=True)
class Objective:
    """A metric and which way is better."""

    metric: str
    direction: Direction


@dataclass(frozen=True)
class SweepDefinition:
    """What was asked for. ``base``: the accelerator description that the axes change."""

    networks: tuple[NetworkDefinition, ...]
    base: Mapping[str, Any]
    axes: tuple[AxisDefinition, ...]
    constraints: tuple[str, ...]
    objectives: tuple[Objective, ...]
    strategy: Literal["grid", "random", "optuna"]
    points: int | None
    seed: int
    accuracy_samples: int


@dataclass(frozen=True)
class SweepResults:
    """A sweep's folder, read. ``points`` are in the order of their ordinals; ``front`` holds the hashes of the Pareto front
    over ``definition.objectives``, best in the first objective first. ``versions``: of the tools."""

    definition: SweepDefinition
    versions: Mapping[str, str]
    points: tuple[PointResult, ...]
    front: tuple[str, ...]

    def of_state(self, state: State) -> tuple[PointResult, ...]:
        """The points in a state."""
        return tuple(point for point in self.points if point.state == state)

    @property
    def front_points(self) -> tuple[PointResult, ...]:
        """The points of the front, in its order."""
        by_hash = {point.hash: point for point in self.points}
        return tuple(by_hash[name] for name in self.front)
