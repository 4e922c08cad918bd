"""Runs made up for tests of reports: a compiled network with a trace that a machine could have left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fixed_networks import residual_network
from numpy.typing import NDArray

from systola.hw.config import load_config
from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.hw.params import Params
from systola.hw.registers import CycleClass, Event
from systola.mapper.compile import compile_network
from systola.mapper.image import Image, ProgramStep
from systola.mapper.quantgraph import QuantGraph
from systola.reports.actions import layer_actions
from systola.reports.attribution import TraceKind, pixels
from systola.reports.record import Agreement, Check, RunRecord
from systola.sim.rtl.trace import TRACE_DTYPE

__all__ = ["made_up_instruction", "made_up_trace", "run_record"]

ENGINE_OF_END = 7


def made_up_instruction(engine: Engine, tag: int, pixels: int = 5) -> Instruction:
    """An instruction of an engine for a layer, without any other field but, for the array, its pixels."""
    counts = {"n": 1, "ky": 1, "kx": 1, "kb": 1, "y": 1, "x": pixels} if engine is Engine.ARRAY else {}
    return Instruction(Opcode(engine + 1), {"tag": tag, **{f"count_{name}": count for name, count in counts.items()}})


def made_up_trace(programs: Sequence[Sequence[Instruction]], seed: int, longest_cycles: int = 40) -> NDArray[np.void]:
    """A trace of programs whose engines work at random speeds: each takes its instructions in order, and is in a random class
    for random times; the array is busy for as many cycles as its instructions have pixels."""
    rng, records = np.random.default_rng(seed), []
    for run, program in enumerate(programs):
        busy: list[list[tuple[int, int, int, int, int]]] = []
        ends = [1]
        array = _array_classes([pixels(i) for i in program if i.engine is Engine.ARRAY], rng, longest_cycles)
        for engine in ENGINES:
            count = sum(i.engine is engine for i in program)
            retired = np.cumsum(rng.integers(1, longest_cycles, count)) + 1
            if engine is Engine.ARRAY:
                retired = np.array([end + 2 for _, _, end in array if end], dtype=np.int64)
            taken = np.append(0, retired)[:count] + (rng.integers(0, 2, count) if count else 0)
            taken = np.minimum(taken, retired)
            ends.append(int(retired[-1]) + 1 if count else 1)
            busy.append([(int(c), n, run, int(engine), TraceKind.TAKEN) for n, c in enumerate(taken)])
            busy[-1] += [(int(c), n, run, int(engine), TraceKind.RETIRED) for n, c in enumerate(retired)]
        cycles = max(ends) + int(rng.integers(0, 5))
        for engine in ENGINES:
            if engine is Engine.ARRAY:
                records += [(begin, int(kind), run, int(engine), TraceKind.CLASS) for begin, kind, _ in array]
                continue
            changes = np.unique(np.append(0, rng.integers(0, cycles, rng.integers(0, 3 * longest_cycles))))
            classes = rng.integers(0, len(CycleClass), len(changes))
            records += [(int(c), int(k), run, int(engine), TraceKind.CLASS) for c, k in zip(changes, classes, strict=True)]
        records += [record for part in busy for record in part]
        records.append((cycles, 0, run, ENGINE_OF_END, TraceKind.END))
    trace = np.array(records, dtype=TRACE_DTYPE)
    return trace[np.lexsort((trace["cycle"], trace["run"]))]


def _array_classes(work: Sequence[int], rng: np.random.Generator, longest: int) -> list[tuple[int, CycleClass, int]]:
    """(begin, class, end of an instruction's pixels or 0): pixels in random pieces, other classes between them."""
    others = [kind for kind in CycleClass if kind is not CycleClass.BUSY]
    result, now = [(0, CycleClass.IDLE, 0)], int(rng.integers(1, 4))
    for count in work:
        pieces = np.diff([0, *sorted(rng.integers(0, count + 1, rng.integers(0, 3)).tolist()), count])
        pieces = pieces[pieces > 0]
        for n, piece in enumerate(pieces.tolist()):
            if rng.integers(0, 2):
                result.append((now, others[rng.integers(len(others))], 0))
                now += int(rng.integers(1, max(2, longest // 4)))
            result.append((now, CycleClass.BUSY, now + piece if n == len(pieces) - 1 else 0))
            now += piece
        if rng.integers(0, 2):
            result.append((now, CycleClass.FLUSH, 0))
            now += int(rng.integers(1, 4))
    result.append((now, CycleClass.IDLE, 0))
    return result


def _classes(trace: NDArray[np.void]) -> dict[Engine, dict[CycleClass, int]]:
    """Each engine's cycles by class, record by record."""
    result = {e: dict.fromkeys(CycleClass, 0) for e in ENGINES}
    for run in np.unique(trace["run"]):
        own = trace[trace["run"] == run]
        cycles = int(own[own["kind"] == TraceKind.END]["cycle"][0])
        for engine in ENGINES:
            changes = own[(own["engine"] == engine) & (own["kind"] == TraceKind.CLASS)]
            for record, end in zip(changes, [*changes["cycle"][1:].tolist(), cycles], strict=True):
                result[engine][CycleClass(int(record["value"]))] += int(end) - int(record["cycle"])
    return result


def run_record(preset: str = "tiny", *, timed: bool = True, graph: QuantGraph | None = None, seed: int = 1) -> RunRecord:
    """A record with every field set, of the residual network unless another is given.

    ``timed``: as the RTL leaves it, else as golden."""
    graph = residual_network() if graph is None else graph
    params = Params(load_config(preset))
    image: Image = compile_network(graph, params)
    programs = [step.instructions for step in image.steps if isinstance(step, ProgramStep)]
    trace = made_up_trace(programs, seed)
    cycles = int(trace[trace["kind"] == TraceKind.END]["cycle"].sum())
    actions = layer_actions(image, params)
    return RunRecord(
        network=graph.name,
        source="models/residual",
        config=params.config,
        backend="rtl" if timed else "golden",
        graph=graph,
        image=image,
        samples=2,
        check=Check({"y": 128 if timed else 0}, {"y": 0}, ("wide",)),
        outputs={"y": np.zeros((2, *graph.tensors["y"].shape[1:]), np.int8)},
        cycles=(cycles, cycles + 3) if timed else (),
        classes=_classes(trace) if timed else None,
        events={event: int(actions.of(event).sum()) for event in Event} if timed else None,
        trace=trace if timed else None,
        agreement=Agreement(2, 1.0, 0.99, 1.0),
        labels_top1=0.5,
        sqnr_db={"y": 31.25},
        dram_latency_cycles=100,
        dram_bytes_per_cycle=4,
        host_seconds={"compile": 0.1, "simulate": 0.5},
        simulated_cycles=2 * cycles + 3 if timed else 0,
        versions={"python": "3.11.2", "systola": "0.1.0"},
        notes=("a <remark> & more",),
    )
