"""The cycle model of an image's programs: cycles, counters, and when each instruction began and finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DeviceError
from systola.hw.isa import ENGINES, Engine, Opcode, instruction_units
from systola.hw.params import Params
from systola.hw.registers import CycleClass, Event
from systola.mapper.image import Image, ProgramStep
from systola.sim.cycles.frontend import HEADER_COLUMNS
from systola.sim.cycles.machine import MACHINE, run_machine
from systola.sim.cycles.records import Record, hardware, new_record, table_records

__all__ = ["CycleCounts", "ProgramCycles", "run_image", "run_program"]

LIMIT_CYCLES = 1 << 40
WORD_BYTES = 16
UNIT_BYTES = 32


@dataclass(frozen=True)
class ProgramCycles:
    """What the model says of one program.

    ``cycles``: of the run, as the register CYCLES has it. ``classes`` and ``events``: the counters. ``begun`` and ``finished``:
    of each engine's instructions, in order, the cycle (0 is the run's first) in which it was taken and finished.
    ``class_changes``: rows (cycle, engine, class), as many as were asked for; every engine is IDLE at first. ``changes``: how
    many there were.
    """

    cycles: int
    classes: Mapping[Engine, Mapping[CycleClass, int]]
    events: Mapping[Event, int]
    begun: Mapping[Engine, NDArray[np.int64]]
    finished: Mapping[Engine, NDArray[np.int64]]
    class_changes: NDArray[np.int64]
    changes: int


@dataclass(frozen=True)
class CycleCounts:
    """What the model says of an inference: sums over its programs, and each of these."""

    cycles: int
    classes: Mapping[Engine, Mapping[CycleClass, int]]
    events: Mapping[Event, int]
    programs: tuple[ProgramCycles, ...]

    @property
    def program_cycles(self) -> tuple[int, ...]:
        """Cycles of each program."""
        return tuple(program.cycles for program in self.programs)


def run_image(image: Image, params: Params) -> CycleCounts:
    """The cycles of all programs of an image, on an accelerator with its description's memory; no data needed."""
    programs = tuple(run_program(step, params) for step in image.steps if isinstance(step, ProgramStep))
    return CycleCounts(
        sum(program.cycles for program in programs),
        {e: {c: sum(program.classes[e][c] for program in programs) for c in CycleClass} for e in ENGINES},
        {event: sum(program.events[event] for program in programs) for event in Event},
        programs,
    )


def run_program(step: ProgramStep, params: Params, *, log_rows: int = 0, skip: bool = True) -> ProgramCycles:
    """The cycles of one program. ``log_rows``: how many class changes to note, with ``skip`` False, which takes every cycle one
    by one (slower, the same result). Raises DeviceError if the program does not end."""
    tables = [table_records(Opcode(engine + 1), step.table(engine)) for engine in ENGINES]
    machine = _machine(step, [len(table) for table in tables])
    begun = tuple(np.zeros(len(table), np.int64) for table in tables)
    finished = tuple(np.zeros(len(table), np.int64) for table in tables)
    log = np.zeros((log_rows, 3), np.int64)
    headers = tuple(_headers(table, engine) for engine, table in zip(ENGINES, tables, strict=True))
    cycles = run_machine(hardware(params), machine, tuple(tables), headers, begun, finished, log, int(skip), LIMIT_CYCLES)
    if cycles < 0:
        raise DeviceError("the program does not end: its instructions wait for each other")
    return ProgramCycles(
        cycles,
        {e: {c: int(machine.classes[e, c]) for c in CycleClass} for e in ENGINES},
        _events(machine),
        dict(zip(ENGINES, begun, strict=True)),
        dict(zip(ENGINES, finished, strict=True)),
        log[: machine.logged],
        int(machine.logged),
    )


def _machine(step: ProgramStep, lengths: list[int]) -> Record:
    """A machine before a program's first cycle."""
    machine = new_record(MACHINE)
    for engine in ENGINES:
        frontend, stream = machine.frontends[engine], step.streams.get(engine)
        frontend.words = instruction_units(Opcode(engine + 1)) * UNIT_BYTES // WORD_BYTES
        frontend.instructions = lengths[engine]
        if stream is not None:
            frontend.has_stream = 1
            machine.fetch.stream_address[engine] = stream.address
            machine.fetch.stream_bytes[engine] = stream.bytes
    return machine


def _headers(table: Any, engine: Engine) -> NDArray[np.int64]:
    """The enable bits and counts that each instruction waits for; last END, which waits for the engine's own."""
    headers = np.zeros((len(table) + 1, HEADER_COLUMNS), np.int64)
    headers[:-1, 0] = table.wait_enable
    for other in ENGINES:
        headers[:-1, 1 + other] = getattr(table, f"wait_{other.name.lower()}")
    headers[-1, 0], headers[-1, 1 + engine] = 1 << engine, len(table)
    return headers


def _events(machine: Record) -> dict[Event, int]:
    """Each unit counts its own; the accumulators have two users."""
    units = (machine.array, machine.drain, machine.vector, machine.load, machine.store, machine.bus)
    return {
        event: sum(int(getattr(unit, event.name.lower())) for unit in units if event.name.lower() in unit.dtype.names)
        for event in Event
    }
