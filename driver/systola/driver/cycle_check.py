"""The cycle model beside the RTL: the first difference, cycle by cycle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from systola.driver.runtime import Counters, Runtime
from systola.hw.isa import ENGINES
from systola.hw.params import Params
from systola.hw.registers import CycleClass, Event
from systola.mapper.image import HostStep, Image, ProgramStep
from systola.sim.cycles.run import CycleCounts, ProgramCycles, run_image, run_program
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.trace import TraceKind

__all__ = ["RtlRun", "differences", "run_on_rtl"]

TIMEOUT_CYCLES = 200_000_000


@dataclass(frozen=True)
class RtlRun:
    """What the RTL did: counters over all programs, cycles of each, and the trace of each."""

    counters: Counters | None
    program_cycles: tuple[int, ...]
    traces: tuple[NDArray[np.void], ...]


def run_on_rtl(session: RtlSession, image: Image, params: Params) -> RtlRun:
    """Run the image's programs; host steps are left out, for time does not depend on data. The session must trace classes."""
    before = len(session.trace())
    session.memory[: image.memory_bytes] = 0
    programs = replace(image, steps=tuple(s for s in image.steps if not isinstance(s, HostStep)), inputs=(), outputs=())
    inference = Runtime(session, programs, params).infer({}, timeout_cycles=TIMEOUT_CYCLES)
    trace = session.trace()[before:]
    runs = np.unique(trace["run"])
    return RtlRun(inference.counters, tuple(inference.program_cycles), tuple(trace[trace["run"] == run] for run in runs))


def _every_cycle(image: Image, params: Params, *, log_rows: int = 0) -> tuple[ProgramCycles, ...]:
    """Every program in the model, every cycle taken one by one."""
    return tuple(run_program(s, params, log_rows=log_rows, skip=False) for s in image.steps if isinstance(s, ProgramStep))


def differences(run: RtlRun, image: Image, params: Params) -> list[str]:
    """What differs, the first difference of each kind; empty if nothing does."""
    found: list[str] = []
    steps = [step for step in image.steps if isinstance(step, ProgramStep)]
    if len(run.traces) != len(steps):
        return [f"{len(run.traces)} programs ran, of {len(steps)}"]
    slow = _every_cycle(image, params, log_rows=max((len(trace) for trace in run.traces), default=0) + 16)
    fast = run_image(image, params)
    for number, (trace, model, cycles) in enumerate(zip(run.traces, slow, run.program_cycles, strict=True)):
        found += [f"program {number}: {text}" for text in _differences(trace, model, cycles)]
        found += [f"program {number}, skipping: {text}" for text in _unlike(fast.programs[number], model)]
    if run.counters is not None and not found:
        found += _counter_differences(run.counters, fast)
    return found


def _differences(trace: NDArray[np.void], model: ProgramCycles, cycles: int) -> list[str]:
    found = []
    if cycles != model.cycles:
        found.append(f"{cycles} cycles on RTL, {model.cycles} in the model")
    for engine in ENGINES:
        own = trace[trace["engine"] == engine]
        for kind, name, cycles_of in ((TraceKind.TAKEN, "took", model.begun), (TraceKind.RETIRED, "finished", model.finished)):
            found += _first_difference(own[own["kind"] == kind]["cycle"], cycles_of[engine], f"{engine.name} {name} instruction")
        rtl = own[own["kind"] == TraceKind.CLASS]
        rtl = rtl[1:] if len(rtl) and (rtl[0]["cycle"], rtl[0]["value"]) == (0, CycleClass.IDLE) else rtl
        changes = model.class_changes[model.class_changes[:, 1] == engine]
        pairs = np.stack([rtl["cycle"], rtl["value"]], axis=1).astype(np.int64)
        found += _first_class_difference(pairs, changes[:, [0, 2]], engine.name)
    return found


def _first_difference(rtl: NDArray[np.uint64], model: NDArray[np.int64], what: str) -> list[str]:
    if len(rtl) != len(model):
        return [f"{what}: {len(rtl)} on RTL, {len(model)} in the model"]
    wrong = np.flatnonzero(rtl.astype(np.int64) != model)
    if not len(wrong):
        return []
    first = int(wrong[0])
    return [f"{what} {first} in cycle {rtl[first]} on RTL, {model[first]} in the model ({len(wrong)} of {len(rtl)} differ)"]


def _first_class_difference(rtl: NDArray[np.int64], model: NDArray[np.int64], name: str) -> list[str]:
    """Rows (cycle, class) of one engine."""
    both = min(len(rtl), len(model))
    wrong = np.flatnonzero((rtl[:both] != model[:both]).any(axis=1))
    if len(wrong):
        (rtl_cycle, rtl_class), (cycle, kind) = rtl[wrong[0]], model[wrong[0]]
        rtl_name, model_name = CycleClass(rtl_class).name, CycleClass(kind).name
        return [f"{name} is {rtl_name} from cycle {rtl_cycle} on RTL, {model_name} from {cycle} in the model"]
    return [] if len(rtl) == len(model) else [f"{name} changes class {len(rtl)} times on RTL, {len(model)} in the model"]


def _unlike(fast: ProgramCycles, slow: ProgramCycles) -> list[str]:
    """Skipping must not change anything."""
    found = []
    if (fast.cycles, fast.events) != (slow.cycles, slow.events):
        found.append(f"{fast.cycles} cycles, {slow.cycles} without; events {fast.events}, {slow.events}")
    for engine in ENGINES:
        for name in ("begun", "finished"):
            every, skipped = getattr(slow, name)[engine], getattr(fast, name)[engine]
            found += _first_difference(every.astype(np.uint64), skipped, f"{engine.name} {name}")
        if fast.classes[engine] != slow.classes[engine]:
            found.append(f"{engine.name} classes {fast.classes[engine]}, {slow.classes[engine]} without")
    return found


def _counter_differences(counters: Counters, model: CycleCounts) -> list[str]:
    found = [
        f"{event.name} {counters.events[event]} on RTL, {model.events[event]} in the model"
        for event in Event if counters.events[event] != model.events[event]
    ]  # fmt: skip
    for engine in ENGINES:
        found += [
            f"{engine.name}.{kind.name} {counters.classes[engine][kind]} on RTL, {model.classes[engine][kind]} in the model"
            for kind in CycleClass if counters.classes[engine][kind] != model.classes[engine][kind]
        ]  # fmt: skip
    return found
