"""Where the cycles went: every cycle of every engine, by layer and by class, from the trace.

An engine's cycles from the end of its previous instruction to the end of instruction i belong to the layer of instruction i,
whatever the engine did in them: waiting for an instruction's operands is that instruction's cost. Its cycles after its last
instruction belong to the program's last layer. So for each engine layers and classes sum to the program's cycles, in whatever
order the layers' instructions come.

An instruction ends with the cycle of its retirement. The array's pixels are still on their way when the next instruction's
enter, so there an instruction ends with its last pixel, and with the flush that follows it, if one does: each of its busy
cycles is a pixel, and the instruction says how many it has.

A layer is complete when the last of its instructions, over all engines, has retired; its cycles are those from the completion of
what was complete before it. So the layers' cycles sum to the program's cycles too, although layers overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import SystolaError
from systola.hw.isa import ENGINES, Engine, Instruction
from systola.hw.registers import CycleClass
from systola.reports.classes import USE_OF_CLASS, Use

__all__ = ["Attribution", "InstructionTimes", "Spans", "TraceKind", "attribute", "check_sums", "pixels"]


class TraceKind(IntEnum):
    """What a trace record says, as the simulation numbers it; a test holds the two together."""

    CLASS = 0
    TAKEN = 1
    RETIRED = 2
    END = 3


Int64 = NDArray[np.int64]
CLASSES = len(CycleClass)


@dataclass(frozen=True)
class InstructionTimes:
    """Instructions in time, one entry each; cycles count from the first program's start, programs following each other.

    ``begin``: the engine took the instruction, or finished the one before if that is later. ``end``: the cycle after its last.
    ``index``: the instruction's place in its engine's sequence in its program.
    """

    engine: Int64
    layer: Int64
    begin: Int64
    end: Int64
    index: Int64


@dataclass(frozen=True)
class Spans:
    """What an engine did: cycles ``begin`` to before ``end`` went to ``use`` (``Use``; busy is USEFUL), for ``layer``."""

    begin: Int64
    end: Int64
    use: NDArray[np.int8]
    layer: NDArray[np.int32]


@dataclass(frozen=True)
class Attribution:
    """The cycles of one inference.

    ``cycles``: all programs together; ``program_cycles``: each. ``classes``: [engine, layer, ``CycleClass``], as the counters
    have it; ``uses``: [engine, layer, ``Use``], busy as USEFUL. ``layer_cycles``: [layer]. ``completion``: [layer], when a layer
    is complete, 0 for layers without instructions. ``spans``: by engine, in order, without gaps.
    """

    cycles: int
    program_cycles: tuple[int, ...]
    classes: Int64
    uses: Int64
    layer_cycles: Int64
    completion: Int64
    instructions: InstructionTimes
    spans: dict[Engine, Spans]


def attribute(trace: NDArray[np.void], programs: Sequence[Sequence[Instruction]], layers: int) -> Attribution:
    """The attribution of one inference's trace (``TRACE_DTYPE``) to ``layers`` layers.

    ``programs``: of each run, the instructions in program order. Raises SystolaError where trace and programs do not agree or the
    sums are not exact.
    """
    classes = np.zeros((len(ENGINES), layers, CLASSES), dtype=np.int64)
    uses = np.zeros((len(ENGINES), layers, len(Use)), dtype=np.int64)
    layer_cycles, completed = np.zeros(layers, dtype=np.int64), np.zeros(layers, dtype=np.int64)
    times: list[InstructionTimes] = []
    spans: dict[Engine, list[Spans]] = {engine: [] for engine in ENGINES}
    lengths: list[int] = []
    for run, program in enumerate(programs):
        records = trace[trace["run"] == run]
        cycles, start = _cycles(records, run), sum(lengths)
        last = next((i["tag"] for i in reversed(program) if i.engine is not None), 0)
        completion = np.zeros(layers, dtype=np.int64)
        for engine in ENGINES:
            own = records[records["engine"] == engine]
            tags = np.array([i["tag"] for i in program if i.engine is engine], dtype=np.int64)
            begin, end = _instructions(own, tags, engine, run, cycles)
            np.maximum.at(completion, tags, end)
            changes = _changes(own, cycles, engine, run)
            bounds = end if engine is not Engine.ARRAY else _array_ends(changes, program, run)
            part, values = _spans(changes, np.append(bounds, cycles), np.append(tags, last), end)
            classes[engine] += _table(part.layer, values, part.end - part.begin, layers, CLASSES)
            uses[engine] += _table(part.layer, part.use, part.end - part.begin, layers, len(Use))
            spans[engine].append(Spans(part.begin + start, part.end + start, part.use, part.layer))
            number = np.full(len(tags), int(engine), dtype=np.int64)
            times.append(InstructionTimes(number, tags, begin + start, end + start, np.arange(len(tags))))
        layer_cycles += _layer_cycles(completion, cycles, last)
        completed[completion > 0] = completion[completion > 0] + start
        lengths.append(cycles)
    result = Attribution(
        sum(lengths), tuple(lengths), classes, uses, layer_cycles, completed, _joined_times(times),
        {engine: _joined_spans(parts) for engine, parts in spans.items()},
    )  # fmt: skip
    check_sums(result)
    return result


def check_sums(attribution: Attribution) -> None:
    """Raises SystolaError unless the cycles of each engine, and of the layers, sum to the total exactly."""
    for engine in ENGINES:
        for table in (attribution.classes, attribution.uses):
            total = int(table[engine].sum())
            if total != attribution.cycles:
                raise SystolaError(
                    f"the {engine.name.lower()} engine's cycles by layer and class sum to {total}, the programs took "
                    f"{attribution.cycles}: the trace is not complete"
                )
    total = int(attribution.layer_cycles.sum())
    if total != attribution.cycles:
        raise SystolaError(f"the layers' cycles sum to {total}, the programs took {attribution.cycles}")


def _cycles(records: NDArray[np.void], run: int) -> int:
    ends = records[records["kind"] == TraceKind.END]["cycle"]
    if len(ends) != 1:
        raise SystolaError(f"the trace has {len(ends)} ends of program {run}; exactly one was expected")
    return int(ends[0])


def _instructions(own: NDArray[np.void], tags: Int64, engine: Engine, run: int, cycles: int) -> tuple[Int64, Int64]:
    """(begin, end) of an engine's instructions in one program."""
    taken = own[own["kind"] == TraceKind.TAKEN]["cycle"].astype(np.int64)
    retired = own[own["kind"] == TraceKind.RETIRED]["cycle"].astype(np.int64)
    if len(taken) != len(tags) or len(retired) != len(tags):
        raise SystolaError(
            f"program {run} has {len(tags)} instructions for the {engine.name.lower()} engine; the trace says that it took "
            f"{len(taken)} and finished {len(retired)}"
        )
    end = np.minimum(retired + 1, cycles)
    return np.maximum(taken, np.append(0, end)[: len(end)]), end


@dataclass(frozen=True)
class _Changes:
    """Where an engine's class changes in one program: from ``begin`` to before ``end`` it is ``value``."""

    begin: Int64
    end: Int64
    value: Int64


def _changes(own: NDArray[np.void], cycles: int, engine: Engine, run: int) -> _Changes:
    changes = own[own["kind"] == TraceKind.CLASS]
    begin, value = changes["cycle"].astype(np.int64), changes["value"].astype(np.int64)
    if not len(begin) or begin[0] != 0:
        raise SystolaError(f"the trace of program {run} does not say what the {engine.name.lower()} engine did in cycle 0")
    return _Changes(begin, np.append(begin[1:], cycles), value)


def pixels(instruction: Instruction) -> int:
    """Pixels that an array instruction sends through the array: its busy cycles."""
    counts = (instruction[f"count_{name}"] for name in ("n", "ky", "kx", "kb", "y", "x"))
    return prod(counts)


def _array_ends(changes: _Changes, program: Sequence[Instruction], run: int) -> Int64:
    """The cycle after each array instruction's last pixel, or after the flush that follows it at once."""
    work = np.cumsum([pixels(i) for i in program if i.engine is Engine.ARRAY], dtype=np.int64)
    busy = changes.value == CycleClass.BUSY
    begin, done = changes.begin[busy], np.cumsum((changes.end - changes.begin)[busy])
    total, expected = int(done[-1]) if len(done) else 0, int(work[-1]) if len(work) else 0
    if total != expected:
        raise SystolaError(
            f"the array was busy for {total} cycles in program {run}; its instructions have {expected} pixels, a cycle each"
        )
    span = np.searchsorted(done, work)
    ends = begin[span] + work - np.append(0, done)[span]
    following = np.searchsorted(changes.begin, ends)
    flushes = np.append(changes.begin, -1)[following] == ends
    flushes &= np.append(changes.value, CycleClass.IDLE)[following] == CycleClass.FLUSH
    result: Int64 = np.where(flushes, np.append(changes.end, 0)[following], ends)
    return result


def _spans(changes: _Changes, bounds: Int64, layers: Int64, retired: Int64) -> tuple[Spans, Int64]:
    """Spans of one use and one layer, with their ``CycleClass``: cut where the class changes and at ``bounds``, each the end of
    its layer's part. IDLE before all else is START; after the last of ``retired`` it is FINISH."""
    cuts = np.unique(np.concatenate([changes.begin, bounds, retired[-1:]]))
    cuts = cuts[cuts <= bounds[-1]]
    begin, end = cuts[:-1], cuts[1:]
    values = changes.value[np.searchsorted(changes.begin, begin, "right") - 1]
    use = USE_OF_CLASS[values]
    idle = values == CycleClass.IDLE
    working = np.flatnonzero(~idle)
    first = begin[working[0]] if len(working) else bounds[-1]
    use[idle & (begin < first)] = Use.START
    use[idle & (begin >= max(first, retired[-1] if len(retired) else 0))] = Use.FINISH
    if not len(retired):
        use[idle] = Use.FINISH
    return Spans(begin, end, use, layers[np.searchsorted(bounds, begin, "right")].astype(np.int32)), values


def _table(layer: NDArray[np.int32], column: NDArray[Any], cycles: Int64, layers: int, columns: int) -> Int64:
    """[layer, column], the sum of ``cycles``: exact, a double holds integers to 2**53."""
    sums = np.bincount(layer * columns + column, weights=cycles, minlength=layers * columns)
    return sums.astype(np.int64).reshape(layers, columns)


def _layer_cycles(completion: Int64, cycles: int, last: int) -> Int64:
    """Cycles of each layer from when all before it was complete; what follows the last completion is the last layer's."""
    order = np.argsort(completion, kind="stable")
    result = np.zeros_like(completion)
    result[order] = np.diff(completion[order], prepend=0)
    result[last] += cycles - int(completion.max(initial=0))
    return result


def _joined_times(parts: Sequence[InstructionTimes]) -> InstructionTimes:
    def joined(name: str) -> Int64:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)

    return InstructionTimes(*(joined(name) for name in ("engine", "layer", "begin", "end", "index")))


def _joined_spans(parts: Sequence[Spans]) -> Spans:
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return Spans(none, none, none.astype(np.int8), none.astype(np.int32))
    return Spans(
        np.concatenate([part.begin for part in parts]), np.concatenate([part.end for part in parts]),
        np.concatenate([part.use for part in parts]), np.concatenate([part.layer for part in parts]),
    )  # fmt: skip
