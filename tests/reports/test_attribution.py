"""Every cycle of every engine belongs to one layer and one class, and the sums are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import made_up_instruction, made_up_trace

from systola.hw.errors import SystolaError
from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.hw.registers import CycleClass
from systola.reports import attribution
from systola.reports.attribution import TraceKind, attribute
from systola.reports.classes import USE_COLOURS, USE_MEANINGS, USE_OF_CLASS, USE_WORDS, Use
from systola.sim.rtl import trace as simulation
from systola.sim.rtl.trace import TRACE_DTYPE

END = Instruction(Opcode.END, {})
LAYERS = 5


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[Instruction, ...]]:
    """One to three programs; each layer's instructions are in one of them, in any order."""
    split = sorted(draw(st.lists(st.integers(0, LAYERS), min_size=0, max_size=2)))
    result = []
    for low, high in zip([0, *split], [*split, LAYERS], strict=True):
        tags = draw(st.lists(st.integers(low, high - 1), max_size=20)) if high > low else []
        pixels = st.integers(1, 9)
        result.append((*(made_up_instruction(draw(st.sampled_from(ENGINES)), tag, draw(pixels)) for tag in tags), END))
    return result


@given(programs(), st.integers(0, 1000))
def test_sums_are_exact(made: list[tuple[Instruction, ...]], seed: int) -> None:
    """By engine, by layer, and span by span without gaps."""
    trace = made_up_trace(made, seed)
    result = attribute(trace, made, LAYERS)
    total = int(trace[trace["kind"] == TraceKind.END]["cycle"].sum())
    assert result.cycles == total == result.layer_cycles.sum()
    assert (result.layer_cycles >= 0).all()
    for engine in ENGINES:
        assert result.classes[engine].sum() == total == result.uses[engine].sum()
        assert (result.classes[engine][:, CycleClass.BUSY] == result.uses[engine][:, Use.USEFUL]).all()
        spans = result.spans[engine]
        assert spans.begin[0] == 0 and spans.end[-1] == total and (spans.begin[1:] == spans.end[:-1]).all()
    times = result.instructions
    assert len(times.begin) == sum(i.engine is not None for program in made for i in program)
    assert (times.begin <= times.end).all() and (times.end <= total).all()


@given(programs(), st.integers(0, 1000))
def test_every_cycle_by_itself(made: list[tuple[Instruction, ...]], seed: int) -> None:
    """The same as walking through the cycles one by one."""
    trace = made_up_trace(made, seed, longest_cycles=6)
    expected = np.zeros((len(ENGINES), LAYERS, len(CycleClass)), dtype=np.int64)
    for run, program in enumerate(made):
        own = trace[trace["run"] == run]
        cycles = int(own[own["kind"] == TraceKind.END]["cycle"][0])
        last = next((i["tag"] for i in reversed(program) if i.engine is not None), 0)
        for engine in ENGINES:
            events = own[own["engine"] == engine]
            tags = [i["tag"] for i in program if i.engine is engine]
            now, done, ended = 0, 0, False
            left = [i["count_x"] for i in program if i.engine is engine]
            for cycle in range(cycles):
                at = events[events["cycle"] == cycle]
                changes = at[at["kind"] == TraceKind.CLASS]
                now = int(changes["value"][-1]) if len(changes) else now
                if engine is Engine.ARRAY:
                    flushing = ended and now == CycleClass.FLUSH
                    tag = tags[done - 1] if flushing else tags[done] if done < len(tags) else last
                    left[:1] = [left[0] - (now == CycleClass.BUSY)] if left else []
                    ended = flushing or left[:1] == [0]
                    if left[:1] == [0]:
                        done, left = done + 1, left[1:]
                else:
                    tag = tags[done] if done < len(tags) else last
                    done += int((at["kind"] == TraceKind.RETIRED).sum())
                expected[engine, tag, now] += 1
    assert (attribute(trace, made, LAYERS).classes == expected).all()


def _trace(*records: tuple[int, int, int, int, TraceKind]) -> np.ndarray:
    idle = [(0, int(CycleClass.IDLE), 0, int(e), TraceKind.CLASS) for e in ENGINES if e is not Engine.ARRAY]
    return np.array([*idle, *records, (20, 0, 0, 7, TraceKind.END)], dtype=TRACE_DTYPE)


ARRAY = int(Engine.ARRAY)
TWO = (made_up_instruction(Engine.ARRAY, 0, 7), made_up_instruction(Engine.ARRAY, 1, 4), END)


def test_a_known_trace() -> None:
    """Waiting before an instruction is its layer's; pixels are; what follows the last is the last layer's."""
    trace = _trace(
        (0, CycleClass.WAIT_LOAD, 0, ARRAY, TraceKind.CLASS), (3, CycleClass.BUSY, 0, ARRAY, TraceKind.CLASS),
        (10, CycleClass.WEIGHTS, 0, ARRAY, TraceKind.CLASS), (12, CycleClass.BUSY, 0, ARRAY, TraceKind.CLASS),
        (16, CycleClass.IDLE, 0, ARRAY, TraceKind.CLASS), (3, 0, 0, ARRAY, TraceKind.TAKEN), (9, 1, 0, ARRAY, TraceKind.TAKEN),
        (10, 0, 0, ARRAY, TraceKind.RETIRED), (16, 1, 0, ARRAY, TraceKind.RETIRED),
    )  # fmt: skip
    result = attribute(trace, [TWO], 2)
    array = result.classes[ARRAY]
    assert {CycleClass(c): int(n) for c, n in enumerate(array[0]) if n} == {
        CycleClass.WAIT_LOAD: 3, CycleClass.BUSY: 7,
    }  # fmt: skip
    assert {CycleClass(c): int(n) for c, n in enumerate(array[1]) if n} == {
        CycleClass.WEIGHTS: 2, CycleClass.BUSY: 4, CycleClass.IDLE: 4,
    }  # fmt: skip
    assert {Use(u): int(n) for u, n in enumerate(result.uses[ARRAY].sum(axis=0)) if n} == {
        Use.WAIT_LOAD: 3, Use.USEFUL: 11, Use.WEIGHTS: 2, Use.FETCH: 1, Use.FINISH: 3,
    }  # fmt: skip
    assert result.layer_cycles.tolist() == [11, 9]
    assert result.completion.tolist() == [11, 17]
    assert result.instructions.begin.tolist() == [3, 11]
    assert result.instructions.end.tolist() == [11, 17]


@pytest.mark.parametrize(
    ("drop", "message"),
    [(TraceKind.END, "0 ends of program 0"), (TraceKind.RETIRED, "2 instructions for the array engine"),
     (TraceKind.CLASS, "cycle 0")],
)  # fmt: skip
def test_a_trace_with_holes_is_refused(drop: TraceKind, message: str) -> None:
    """Each kind of record is needed."""
    trace = made_up_trace([TWO], 3)
    with pytest.raises(SystolaError, match=message):
        attribute(trace[trace["kind"] != drop], [TWO], 2)


def test_pixels_that_are_missing_are_refused() -> None:
    """Each busy cycle of the array is a pixel of its program."""
    other = (made_up_instruction(Engine.ARRAY, 0, 8), made_up_instruction(Engine.ARRAY, 1, 4), END)
    with pytest.raises(SystolaError, match="busy for 11 cycles in program 0; its instructions have 12 pixels"):
        attribute(made_up_trace([TWO], 3), [other], 2)


def test_every_use_has_its_words() -> None:
    """And every class of the counters its use, the waits in the engines' order."""
    for table in (USE_WORDS, USE_MEANINGS, USE_COLOURS):
        assert set(table) == set(Use)
    assert len(USE_OF_CLASS) == len(CycleClass)
    for engine in ENGINES:
        assert USE_OF_CLASS[CycleClass.WAIT_LOAD + engine] == Use.WAIT_LOAD + engine
        assert Use(Use.WAIT_LOAD + engine).name == CycleClass(CycleClass.WAIT_LOAD + engine).name == f"WAIT_{engine.name}"


def test_sums_are_checked() -> None:
    """A cycle too many or too few is an error."""
    result = attribute(made_up_trace([TWO], 3), [TWO], 2)
    result.classes[ARRAY, 0, 0] += 1
    with pytest.raises(SystolaError, match="array engine's cycles"):
        attribution.check_sums(result)
    result.classes[ARRAY, 0, 0] -= 1
    result.layer_cycles[0] -= 1
    with pytest.raises(SystolaError, match="layers' cycles"):
        attribution.check_sums(result)


def test_a_million_records_are_quick() -> None:
    """No loop over records: memory and time stay in proportion."""
    count = 200_000
    program = (*(made_up_instruction(Engine.ARRAY, n % LAYERS, 2) for n in range(count)), END)
    cycles = np.arange(count) * 7
    parts = []
    for kind, offset in ((TraceKind.TAKEN, 0), (TraceKind.RETIRED, 5)):
        part = np.zeros(count, TRACE_DTYPE)
        part["cycle"], part["engine"], part["kind"] = cycles + offset, ARRAY, kind
        parts.append(part)
    for offset, value in ((0, CycleClass.BUSY), (2, CycleClass.BANK), (4, CycleClass.FLUSH)):
        part = np.zeros(count, TRACE_DTYPE)
        part["cycle"], part["engine"], part["kind"], part["value"] = cycles + offset, ARRAY, TraceKind.CLASS, value
        parts.append(part)
    trace = np.concatenate([_trace()[:-1], *parts, np.array([(7 * count, 0, 0, 7, TraceKind.END)], TRACE_DTYPE)])
    trace = trace[np.argsort(trace["cycle"], kind="stable")]
    array = attribute(trace, [program], LAYERS).classes[ARRAY].sum(axis=0)
    assert {CycleClass(c): int(n) for c, n in enumerate(array) if n} == {
        CycleClass.BUSY: 2 * count, CycleClass.BANK: 2 * count, CycleClass.FLUSH: 3 * count,
    }  # fmt: skip


def test_kinds_are_the_simulations() -> None:
    """Reports and simulation number the records alike."""
    assert {k.name: int(k) for k in TraceKind} == {k.name: int(k) for k in simulation.TraceKind}
