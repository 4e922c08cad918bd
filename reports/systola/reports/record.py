"""What a run leaves behind: everything a report is made of, before any figure is computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.config import Config
from systola.hw.isa import Engine
from systola.hw.registers import CycleClass, Event
from systola.mapper.image import Image
from systola.mapper.quantgraph import QuantGraph

__all__ = ["DESCRIBED_CLOCK", "Agreement", "Check", "RunRecord"]

DESCRIBED_CLOCK = "as described"
"""Where the clock comes from if not from place and route."""


@dataclass(frozen=True)
class Check:
    """The comparison with golden: per tensor name the bytes compared over all samples, and what differed.

    ``on_chip``: tensors that never left the scratchpad in this run, so that only their consumers were compared.
    """

    tensors: Mapping[str, int]
    mismatches: Mapping[str, int]
    on_chip: tuple[str, ...] = ()

    @property
    def bit_exact(self) -> bool:
        """Every byte compared is equal."""
        return not any(self.mismatches.values())


@dataclass(frozen=True)
class Agreement:
    """Outputs against the samples' reference outputs, over ``samples`` samples that calibration did not use.

    ``top1``: share with the same largest element; ``equal``, ``within_1``: shares of codes (None where the reference is float);
    ``reference``: what the reference is.
    """

    samples: int
    top1: float
    equal: float | None = None
    within_1: float | None = None
    reference: str = "ref_output.npy"


@dataclass(frozen=True)
class RunRecord:
    """A run of one network on one accelerator.

    ``cycles``: of each sample, start to interrupt, all programs. ``classes``, ``events``: counters of the first sample.
    ``trace``: the first sample's trace (``TRACE_DTYPE``: cycle, value, run, engine, kind), ``run`` counting its programs from
    0; None for backends without time. ``sqnr_db``: per tensor, signal to quantization noise against the float network.
    ``labels_top1``: share of right labels. ``host_seconds``: wall time by stage ("compile", "build", "simulate", "golden", …);
    ``simulated_cycles`` took ``host_seconds["simulate"]``. ``versions``: of Systola, Python, packages and tools.
    ``clock_source``: where the clock in ``config`` comes from.
    """

    network: str
    source: str
    config: Config
    backend: str
    graph: QuantGraph
    image: Image
    samples: int
    check: Check
    outputs: Mapping[str, NDArray[Any]]
    cycles: tuple[int, ...] = ()
    classes: Mapping[Engine, Mapping[CycleClass, int]] | None = None
    events: Mapping[Event, int] | None = None
    trace: NDArray[np.void] | None = None
    agreement: Agreement | None = None
    labels_top1: float | None = None
    sqnr_db: Mapping[str, float] = field(default_factory=dict)
    dram_latency_cycles: int = 0
    dram_bytes_per_cycle: float = 0.0
    host_seconds: Mapping[str, float] = field(default_factory=dict)
    simulated_cycles: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    clock_source: str = DESCRIBED_CLOCK
