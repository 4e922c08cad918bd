"""From what a run leaves behind to its report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import SystolaError
from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params
from systola.hw.registers import CycleClass, Event
from systola.mapper.image import HostStep, LayerInfo, ProgramStep
from systola.reports.actions import LayerActions, layer_actions
from systola.reports.advice import advice, judged_engine
from systola.reports.attribution import Attribution, attribute
from systola.reports.causes import Cause
from systola.reports.classes import Use
from systola.reports.edges import with_edges
from systola.reports.energy import Energy, inference_energy
from systola.reports.record import RunRecord
from systola.reports.root_causes import root_causes
from systola.reports.schema import Advice, Bounded, HostOperation, LayerReport, ReferenceAgreement, Report, report_schema
from systola.reports.technology import load_technology

__all__ = ["Report", "attribution_of", "build_report", "report_schema"]


def attribution_of(record: RunRecord) -> Attribution | None:
    """Where the first sample's cycles went; None for backends without time.

    Raises SystolaError where trace and counters differ.
    """
    if record.trace is None or not record.cycles:
        return None
    programs = [step.instructions for step in record.image.steps if isinstance(step, ProgramStep)]
    result = attribute(record.trace, programs, len(record.image.layers))
    if result.cycles != record.cycles[0]:
        raise SystolaError(f"the trace of the first sample has {result.cycles} cycles, the counters {record.cycles[0]}")
    for engine, classes in (record.classes or {}).items():
        for name, count in classes.items():
            traced = int(result.classes[engine, :, name].sum())
            if traced != count:
                raise SystolaError(
                    f"the {engine.name.lower()} engine's counter of {name.name} says {count} cycles, the trace {traced}"
                )
    return result


def build_report(record: RunRecord) -> Report:
    """The report of a run.

    Raises ConfigError for a technology without table, SystolaError for a trace that contradicts itself or the counters.
    """
    params, attribution = Params(record.config), attribution_of(record)
    actions = layer_actions(record.image, params)
    cycles = record.cycles[0] if record.cycles else None
    latency = cycles / (record.config.clock.frequency_mhz * 1e6) if cycles else None
    table = load_technology(record.config.technology.name)
    energy = inference_energy(actions, params, table, record.events, latency)
    explained = None if attribution is None else _explain(record, params, attribution)
    layers = [_layer(record, params, info, explained, actions, energy) for info in record.image.layers]
    on_accelerator = sum(layer.macs for layer in layers if layer.unit != "host")
    simulate = record.host_seconds.get("simulate", 0.0)
    check = record.check
    compared = {name: size for name, size in check.tensors.items() if size}
    return Report(
        network=record.network,
        source=record.source,
        accelerator=record.config.model_dump(mode="json"),
        backend=record.backend,
        samples=record.samples,
        bit_exact=check.bit_exact if compared else None,
        tensors_checked=len(compared),
        bytes_checked=sum(compared.values()),
        mismatches={name: count for name, count in check.mismatches.items() if count},
        on_chip=list(check.on_chip),
        cycles_total=cycles,
        cycles_min=min(record.cycles, default=None),
        cycles_max=max(record.cycles, default=None),
        macs=sum(layer.macs for layer in layers),
        macs_accelerator=on_accelerator,
        utilization=on_accelerator / (params.macs_per_cycle * cycles) if cycles else None,
        array_occupancy=_occupancy(layers, actions, params),
        layers=layers,
        engines=None if explained is None else _by_engine(explained.uses.sum(axis=1), Use),
        counters=_counters(record, attribution),
        judged_engine=None if explained is None else explained.engine.name.lower(),
        causes=None if explained is None else _named(explained.causes.sum(axis=0), Cause),
        events=None if record.events is None else {event.name: count for event, count in record.events.items()},
        latency_s=latency,
        clock_source=record.clock_source,
        energy_j=energy.total,
        power_w=_per(energy.total, latency) if latency else None,
        energy=energy.report,
        advice=None if explained is None else explained.advice,
        top1_agreement=None if record.agreement is None else record.agreement.top1,
        agreement=_agreement(record),
        labels_top1=record.labels_top1,
        host_ops=_host_operations(record),
        dram_latency_cycles=record.dram_latency_cycles,
        dram_bytes_per_cycle=record.dram_bytes_per_cycle,
        sim_cycles_per_second=record.simulated_cycles / simulate if record.simulated_cycles and simulate else None,
        simulated_cycles=record.simulated_cycles,
        host_seconds=dict(record.host_seconds),
        versions=dict(record.versions),
        notes=list(record.notes),
    )


@dataclass(frozen=True)
class _Explained:
    """Every cycle: ``uses`` [engine, layer, ``Use``], edge waste apart; ``causes`` [layer, ``Cause``] of ``engine``."""

    attribution: Attribution
    uses: NDArray[np.int64]
    engine: Engine
    causes: NDArray[np.int64]
    advice: Advice | None


def _explain(record: RunRecord, params: Params, attribution: Attribution) -> _Explained:
    """Raises SystolaError unless everything sums to the run's cycles."""
    layers = record.image.layers
    uses, engine = with_edges(attribution.uses, layers, params), judged_engine(attribution)
    causes = root_causes(attribution, uses, engine, params)
    for name, total in (*((e.name.lower(), uses[e].sum()) for e in ENGINES), ("causes", causes.sum())):
        if int(total) != attribution.cycles:
            raise SystolaError(f"{name}: the parts sum to {int(total)} cycles, the run took {attribution.cycles}")
    return _Explained(attribution, uses, engine, causes, advice(causes, engine, attribution.cycles, layers))


def _layer(
    record: RunRecord, params: Params, info: LayerInfo, explained: _Explained | None, actions: LayerActions, energy: Energy
) -> LayerReport:
    host = info.unit == "host"
    cycles = engines = causes = None
    if not host and explained is not None:
        cycles = int(explained.attribution.layer_cycles[info.tag])
        engines = _by_engine(explained.uses[:, info.tag], Use)
        causes = _named(explained.causes[info.tag], Cause)
    own = None if engines is None else sum(engines[info.unit].values())
    return LayerReport(
        tag=info.tag,
        name=info.name,
        kind=info.kind,
        unit="host" if host else "array" if info.unit == "array" else "vector",
        nodes=list(info.nodes),
        output=info.output,
        output_shape=list(info.shape),
        macs=info.macs,
        cycles=cycles,
        unit_cycles=own,
        utilization=info.macs / (params.macs_per_cycle * own) if own else None,
        engines=engines,
        causes=causes,
        dram_read_bytes=None if host else int(actions.read_bytes[info.tag]),
        dram_write_bytes=None if host else int(actions.write_bytes[info.tag]),
        energy_j=None if host else energy.layers[info.tag],
        sqnr_db=record.sqnr_db.get(info.output),
        note=info.note,
    )


def _named(counts: NDArray[np.int64], names: type[IntEnum]) -> dict[str, int]:
    """What is not 0, by name."""
    return {name.name.lower(): int(count) for name, count in zip(names, counts, strict=True) if count}


def _by_engine(table: NDArray[np.int64], names: type[IntEnum]) -> dict[str, dict[str, int]]:
    return {engine.name.lower(): _named(table[engine], names) for engine in ENGINES}


def _counters(record: RunRecord, attribution: Attribution | None) -> dict[str, dict[str, int]] | None:
    if record.classes is not None:
        return {e.name.lower(): {c.name.lower(): n for c, n in counts.items() if n} for e, counts in record.classes.items()}
    return None if attribution is None else _by_engine(attribution.classes.sum(axis=1), CycleClass)


def _occupancy(layers: list[LayerReport], actions: LayerActions, params: Params) -> float | None:
    slots = int(actions.of(Event.ARRAY_PIXELS).sum()) * params.macs_per_cycle
    return sum(layer.macs for layer in layers if layer.unit == "array") / slots if slots else None


def _per(energy: Bounded, seconds: float) -> Bounded:
    return Bounded(value=energy.value / seconds, low=energy.low / seconds, high=energy.high / seconds)


def _agreement(record: RunRecord) -> ReferenceAgreement | None:
    a = record.agreement
    if a is None:
        return None
    return ReferenceAgreement(samples=a.samples, top1=a.top1, equal=a.equal, within_1=a.within_1, reference=a.reference)


def _host_operations(record: RunRecord) -> list[HostOperation]:
    kinds = {info.tag: info.kind for info in record.image.layers}
    return [
        HostOperation(name=step.node.name, kind=kinds[step.tag], reason=step.reason)
        for step in record.image.steps
        if isinstance(step, HostStep)
    ]
