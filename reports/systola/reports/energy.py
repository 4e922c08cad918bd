"""Energy of an inference: how often each action happens × what it costs. ``docs/explanation/energy.md`` has the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from systola.hw.params import Params
from systola.hw.registers import Event
from systola.reports.actions import Arithmetic, LayerActions
from systola.reports.schema import ActionEnergy, Bounded, EnergyReport
from systola.reports.technology import Primitive, Technology

__all__ = ["NOT_COUNTED", "Energy", "inference_energy", "memory_access_scale"]

PICO = 1e-12
CODE_BITS = 9  # a code minus its zero point
STAGE_B_BITS = 18
TABLE_BYTES = 256
REFERENCE_MEMORY_BYTES = 8192
REFERENCE_WORD_BITS = 64
NOT_COUNTED = (
    "leakage (no source for it)",
    "clock distribution, control, queues and long wires (no source for them)",
    "less switching for zero or repeated operands: every multiplier is counted as busy in every cycle in which the array works",
    "operations on the host",
)


@dataclass(frozen=True)
class Energy:
    """The energy of an inference, and of each layer's part in it."""

    report: EnergyReport
    total: Bounded
    layers: tuple[Bounded, ...]


@dataclass(frozen=True)
class _Row:
    """An action: ``each`` times ``scale`` of a primitive; ``counts`` by layer; ``total`` from a counter where there is one."""

    action: str
    component: str
    unit: str
    primitive: Primitive
    scale: float
    counts: NDArray[np.int64]
    total: int


def memory_access_scale(word_bits: int, capacity_bytes: int) -> float:
    """An access of a memory, in accesses of the 8 KiB memory of 64 bits: proportional to the word's bits and to the square root
    of the capacity."""
    return word_bits / REFERENCE_WORD_BITS * sqrt(capacity_bytes / REFERENCE_MEMORY_BYTES)


def inference_energy(
    actions: LayerActions, params: Params, table: Technology, events: Mapping[Event, int] | None, latency_s: float | None
) -> Energy:
    """The energy of one inference. ``events``: the counters, None where the backend has none: then instructions are counted."""
    rows = [row for row in _rows(actions, params, table, events) if row.total]
    reported = [_action(row) for row in rows]
    components: dict[str, Bounded] = {}
    for entry in reported:
        components[entry.component] = _sum([components.get(entry.component, _ZERO), entry.energy_j])
    static = table.static_w.times(latency_s) if table.static_w is not None and latency_s is not None else None
    report = EnergyReport(
        technology=table.name,
        counts_from="program" if events is None else "counters",
        actions=reported,
        components=components,
        static_j="unknown" if static is None else static,
        not_counted=list(NOT_COUNTED[0 if static is None else 1 :]),
        bounds=table.bounds,
    )
    return Energy(report, _sum(list(components.values())), _by_layer(rows, reported, actions.layers))


_ZERO = Bounded(value=0.0, low=0.0, high=0.0)


def _sum(parts: list[Bounded]) -> Bounded:
    """Lows add to lows and highs to highs: the bounds hold whatever the sources' errors have in common."""
    return Bounded(value=sum(p.value for p in parts), low=sum(p.low for p in parts), high=sum(p.high for p in parts))


def _action(row: _Row) -> ActionEnergy:
    method = row.primitive.method if row.scale == 1 else f"{row.primitive.method}; here × {row.scale:.4g}"
    return ActionEnergy(
        action=row.action, component=row.component, count=row.total, unit=row.unit, each_pj=row.primitive.times(row.scale),
        energy_j=row.primitive.times(row.scale * row.total * PICO), source=row.primitive.source, method=method,
    )  # fmt: skip


def _by_layer(rows: list[_Row], reported: list[ActionEnergy], layers: int) -> tuple[Bounded, ...]:
    """Each layer has of each action the share that its instructions have."""
    shares = np.zeros((len(rows), layers))
    for number, row in enumerate(rows):
        shares[number] = row.counts / max(1, int(row.counts.sum()))
    figures = np.array([[r.energy_j.value, r.energy_j.low, r.energy_j.high] for r in reported]).reshape(len(rows), 3)
    result = shares.T @ figures
    return tuple(Bounded(value=float(v), low=float(low), high=float(high)) for v, low, high in result)


def _rows(actions: LayerActions, params: Params, table: Technology, events: Mapping[Event, int] | None) -> list[_Row]:
    config = params.config
    word_bits, bank_bytes = 8 * params.lanes, config.memory.scratchpad_bytes // config.memory.scratchpad_banks
    scratchpad = memory_access_scale(word_bits, bank_bytes)
    copies = 2 if params.accumulator_copies else 1
    accumulators = memory_access_scale(32 * params.columns, copies * config.memory.accumulator_bytes // 2)

    def counted(
        action: str, component: str, unit: str, event: Event, primitive: Primitive, scale: float, each: int = 1
    ) -> _Row:
        counts = actions.of(event) * each
        total = int(counts.sum()) if events is None else events[event] * each
        return _Row(action, component, unit, primitive, scale, counts, total)

    def derived(action: Arithmetic, primitive: Primitive, scale: float) -> _Row:
        counts = actions.of(action)
        component, name = action.value.split(": ")
        return _Row(name, component, "lane operations", primitive, scale, counts, int(counts.sum()))

    macs, sram = params.macs_per_cycle, table.sram_access
    array = [
        counted("multiply", "array", "multiplications", Event.ARRAY_PIXELS, table.int8_multiply, 1, macs),
        counted("add", "array", "additions", Event.ARRAY_PIXELS, table.int32_add, 1, macs),
        counted("partial sum registers", "array", "registers written", Event.ARRAY_PIXELS, table.register_bit,
                params.partial_sum_bits, macs),
    ]  # fmt: skip
    memories = [
        counted(f"{_name(event)}", "scratchpad", "words", event, sram, scratchpad)
        for event in (Event.ACT_READS, Event.WEIGHT_READS, Event.DRAIN_READS, Event.VECTOR_READS, Event.STORE_READS,
                      Event.LOAD_WRITES, Event.DRAIN_WRITES, Event.VECTOR_WRITES)
    ] + [
        counted(_name(event), "accumulators", "words", event, sram, accumulators, each)
        for event, each in ((Event.ACC_READS, 1), (Event.ACC_WRITES, copies))
    ]  # fmt: skip
    dram = [
        counted(_name(event), "DRAM", "bits", event, table.dram_bit, 1, 8 * params.bus_bytes)
        for event in (Event.READ_BEATS, Event.WRITE_BEATS)
    ]
    requantize = 32 * params.multiplier_bits / 32**2
    rescale = CODE_BITS * STAGE_B_BITS / 32**2
    arithmetic = [
        derived(Arithmetic.DRAIN_STAGE_A, table.int32_multiply, requantize),
        derived(Arithmetic.DRAIN_STAGE_B, table.int32_multiply, rescale),
        derived(Arithmetic.VECTOR_MULTIPLY, table.int8_multiply, 1),
        derived(Arithmetic.VECTOR_ADD, table.int32_add, 1),
        derived(Arithmetic.VECTOR_COMPARE, table.int8_add, 1),
        derived(Arithmetic.VECTOR_LOOKUP, sram, memory_access_scale(8, TABLE_BYTES)),
        derived(Arithmetic.VECTOR_STAGE_A, table.int32_multiply, requantize),
        derived(Arithmetic.VECTOR_STAGE_B, table.int32_multiply, rescale),
    ]
    return [*array, *memories, *dram, *arithmetic]


def _name(event: Event) -> str:
    return event.name.lower().replace("_", " ").replace("act ", "activation ").replace("acc ", "").replace("beats", "data")
