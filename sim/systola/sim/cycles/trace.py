"""What the model says, as records of the RTL simulation's trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params
from systola.hw.registers import CycleClass
from systola.mapper.image import Image, ProgramStep
from systola.sim.cycles.run import ProgramCycles, run_program
from systola.sim.rtl.trace import TRACE_DTYPE, TraceKind

__all__ = ["trace_image"]

FIRST_ROWS = 1 << 20
NO_ENGINE = 7


def trace_image(image: Image, params: Params) -> NDArray[np.void]:
    """The trace of an inference, every cycle of it taken one by one: ``TRACE_DTYPE``, in the order of runs and cycles."""
    programs = [_traced(step, params) for step in image.steps if isinstance(step, ProgramStep)]
    return np.concatenate([_records(run, program) for run, program in enumerate(programs)] or [np.empty(0, TRACE_DTYPE)])


def _traced(step: ProgramStep, params: Params) -> ProgramCycles:
    program = run_program(step, params, log_rows=FIRST_ROWS, skip=False)
    return program if program.changes <= FIRST_ROWS else run_program(step, params, log_rows=program.changes, skip=False)


def _records(run: int, program: ProgramCycles) -> NDArray[np.void]:
    records = np.concatenate(list(_parts(program)))
    records["run"] = run
    return records[np.argsort(records["cycle"], kind="stable")]


def _parts(program: ProgramCycles) -> Iterator[NDArray[np.void]]:
    yield _part(TraceKind.CLASS, [0] * len(ENGINES), ENGINES, [int(CycleClass.IDLE)] * len(ENGINES))
    cycles, engines, classes = program.class_changes.T
    yield _part(TraceKind.CLASS, cycles, engines, classes)
    for kind, times in ((TraceKind.TAKEN, program.begun), (TraceKind.RETIRED, program.finished)):
        for engine in ENGINES:
            count = len(times[engine])
            yield _part(kind, times[engine], [engine] * count, np.arange(count))
    yield _part(TraceKind.END, [program.cycles], [NO_ENGINE], [0])


def _part(
    kind: TraceKind,
    cycles: Sequence[int] | NDArray[np.int64],
    engines: Sequence[Engine | int] | NDArray[np.int64],
    values: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.void]:
    records = np.zeros(len(cycles), TRACE_DTYPE)
    records["kind"], records["cycle"], records["engine"], records["value"] = kind, cycles, engines, values
    return records
