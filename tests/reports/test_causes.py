"""Root causes: from the engine that waits to the one that holds it up, in each cycle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import run_record

from systola.hw.config import load_config
from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params
from systola.mapper.image import LayerInfo
from systola.reports.advice import advice, judged_engine
from systola.reports.attribution import Attribution, InstructionTimes, Spans
from systola.reports.causes import CAUSE_COLOURS, CAUSE_MEANINGS, CAUSE_WORDS, Cause
from systola.reports.classes import WAITS, Use
from systola.reports.model import attribution_of, build_report
from systola.reports.root_causes import root_causes

TINY = Params(load_config("tiny"))
U = Use


def _attribution(columns: dict[Engine, list[Use]], finished: dict[Engine, int] | None = None) -> Attribution:
    """One program and one layer, each engine's use in each cycle; ``finished``: the end of its last instruction."""
    cycles = len(next(iter(columns.values())))
    uses = np.zeros((len(ENGINES), 1, len(Use)), dtype=np.int64)
    spans = {}
    for engine in ENGINES:
        row = columns.get(engine, [U.FINISH] * cycles)
        np.add.at(uses[engine, 0], row, 1)
        at = np.arange(cycles, dtype=np.int64)
        spans[engine] = Spans(at, at + 1, np.array(row, np.int8), np.zeros(cycles, np.int32))
    ends = finished or {Engine.ARRAY: cycles}
    who = np.array([int(e) for e in ends], dtype=np.int64)
    zero = np.zeros(len(who), dtype=np.int64)
    times = InstructionTimes(who, zero, zero, np.array(list(ends.values()), dtype=np.int64), zero)
    one = np.array([cycles])
    return Attribution(cycles, (cycles,), np.zeros((5, 1, 13), np.int64), uses, one, one, times, spans)


def _causes(attribution: Attribution, engine: Engine = Engine.ARRAY, params: Params = TINY) -> dict[Cause, int]:
    table = root_causes(attribution, attribution.uses, engine, params)
    assert table.sum() == attribution.cycles
    return {Cause(n): int(count) for n, count in enumerate(table.sum(axis=0)) if count}


def test_from_engine_to_engine() -> None:
    """Each cycle of the array waits; what it waits for is found at the end of the chain."""
    chain = [
        ((U.WAIT_LOAD, U.DRAM_BANDWIDTH, U.FINISH, U.FINISH), Cause.DRAM_BANDWIDTH),
        ((U.WAIT_LOAD, U.DRAM_LATENCY, U.FINISH, U.FINISH), Cause.DRAM_LATENCY),
        ((U.WAIT_LOAD, U.USEFUL, U.FINISH, U.FINISH), Cause.DRAM_BANDWIDTH),
        ((U.WAIT_VECTOR, U.FINISH, U.FINISH, U.USEFUL), Cause.VECTOR),
        ((U.WAIT_VECTOR, U.BANK, U.WAIT_LOAD, U.WAIT_DRAIN), Cause.BANK),
        ((U.WAIT_DRAIN, U.FINISH, U.FILL, U.FINISH), Cause.FILL),
        ((U.WAIT_DRAIN, U.FINISH, U.USEFUL, U.FINISH), Cause.DRAIN),
        ((U.WAIT_DRAIN, U.FINISH, U.WAIT_ARRAY, U.FINISH), Cause.ORDER),
        ((U.WAIT_DRAIN, U.FINISH, U.WAIT_VECTOR, U.WAIT_DRAIN), Cause.ORDER),
        ((U.WAIT_DRAIN, U.FINISH, U.FINISH, U.FINISH), Cause.ORDER),
        ((U.WAIT_LOAD, U.FETCH, U.USEFUL, U.USEFUL), Cause.FETCH),
        ((U.WEIGHTS, U.USEFUL, U.USEFUL, U.USEFUL), Cause.WEIGHTS),
        ((U.USEFUL, U.USEFUL, U.USEFUL, U.USEFUL), Cause.USEFUL),
        ((U.START, U.START, U.START, U.START), Cause.START),
    ]
    for (array, load, drain, vector), expected in chain:
        made = _attribution({Engine.ARRAY: [array], Engine.LOAD: [load], Engine.DRAIN: [drain], Engine.VECTOR: [vector]})
        assert _causes(made) == {expected: 1}


def test_the_end_is_the_last_engines() -> None:
    """After the array's last instruction, cycles are explained by the engine that finishes last; then nothing is left."""
    made = _attribution(
        {
            Engine.ARRAY: [U.USEFUL, *[U.FINISH] * 5],
            Engine.VECTOR: [U.WAIT_ARRAY, U.USEFUL, U.USEFUL, U.WAIT_LOAD, U.FINISH, U.FINISH],
            Engine.LOAD: [U.USEFUL, U.USEFUL, U.USEFUL, U.DRAM_LATENCY, U.FINISH, U.FINISH],
        },
        {Engine.ARRAY: 1, Engine.VECTOR: 5, Engine.LOAD: 4},
    )
    assert _causes(made) == {Cause.USEFUL: 1, Cause.VECTOR: 2, Cause.DRAM_LATENCY: 1, Cause.FINISH: 2}


def test_a_bus_wider_than_a_word() -> None:
    """There load's speed is the scratchpad's word a cycle, not the memory's."""
    config = load_config("tiny").model_dump()
    config["bus"]["data_bytes"] = 2 * TINY.lanes
    wide = Params(type(TINY.config).model_validate(config))
    made = _attribution({Engine.ARRAY: [U.WAIT_LOAD], Engine.LOAD: [U.USEFUL]})
    assert _causes(made, params=wide) == {Cause.TRANSFER: 1}
    assert _causes(made) == {Cause.DRAM_BANDWIDTH: 1}


@st.composite
def _columns(draw: st.DrawFn) -> dict[Engine, list[Use]]:
    count = draw(st.integers(1, 30))
    use = st.one_of(st.sampled_from(WAITS), st.sampled_from(list(Use)))
    rows = draw(st.lists(st.lists(use, min_size=count, max_size=count), min_size=5, max_size=5))
    return dict(zip(ENGINES, rows, strict=True))


@given(_columns(), st.sampled_from(ENGINES))
def test_every_cycle_by_itself(columns: dict[Engine, list[Use]], judged: Engine) -> None:
    """The same as walking through the cycles one by one."""
    cycles = len(columns[Engine.ARRAY])
    expected = dict.fromkeys(Cause, 0)
    busy = (U.USEFUL, U.ROWS, U.COLUMNS, U.REPEATED)
    plain = {e: [U.USEFUL if use in busy else use for use in row] for e, row in columns.items()}
    for cycle in range(cycles):
        who = Engine.STORE if plain[judged][cycle] is U.FINISH else judged
        seen = {who}
        while (use := plain[who][cycle]) in WAITS:
            who = ENGINES[use - U.WAIT_LOAD]
            if who in seen:
                break
            seen.add(who)
        if use in WAITS or (use is U.FINISH and plain[judged][cycle] is not U.FINISH):
            cause = Cause.ORDER
        elif use is U.USEFUL:
            work = {Engine.ARRAY: Cause.ARRAY, Engine.DRAIN: Cause.DRAIN, Engine.VECTOR: Cause.VECTOR}
            cause = Cause.USEFUL if who is judged else work.get(who, Cause.DRAM_BANDWIDTH)
        else:
            cause = Cause[use.name]
        expected[cause] += 1
    made = _attribution(plain, {Engine.STORE: cycles})
    assert _causes(made, judged) == {cause: count for cause, count in expected.items() if count}


@pytest.mark.parametrize("seed", range(4))
def test_causes_of_a_run_sum_exactly(seed: int) -> None:
    """By layer to the array's cycles, over all to the run's; busy cycles are divided as in the uses."""
    record = run_record(seed=seed)
    report, attribution = build_report(record), attribution_of(record)
    assert attribution is not None and report.causes is not None and report.engines is not None
    assert sum(report.causes.values()) == report.cycles_total
    for layer in report.layers:
        if layer.causes is not None and layer.engines is not None:
            assert sum(layer.causes.values()) == sum(layer.engines["array"].values())
            for name in ("useful", "rows", "columns", "repeated"):
                assert layer.causes.get(name, 0) == layer.engines["array"].get(name, 0)


def test_the_judged_engine() -> None:
    """The array where it works at all, else the busiest."""
    works = {Engine.ARRAY: [U.USEFUL, U.START, U.FINISH], Engine.LOAD: [U.USEFUL] * 3}
    assert judged_engine(_attribution(works)) is Engine.ARRAY
    assert judged_engine(_attribution({**works, Engine.ARRAY: [U.FINISH] * 3})) is Engine.LOAD


def test_advice_names_the_largest() -> None:
    """What it would save, where it is, and what to change; useful work is no loss, and nothing lost is no advice."""
    layers = [LayerInfo(n, name, "array", "conv", 1, name, (), (1, 1)) for n, name in enumerate(("first", "second"))]
    causes = np.zeros((2, len(Cause)), dtype=np.int64)
    causes[:, Cause.USEFUL] = 500, 400
    assert advice(causes, Engine.ARRAY, 900, layers) is None
    causes[:, Cause.VECTOR], causes[0, Cause.BANK] = (10, 50), 40
    found = advice(causes, Engine.ARRAY, 1000, layers)
    assert found is not None
    assert (found.cause, found.cycles, found.share, found.layer) == ("vector", 60, 0.06, "second")
    assert "60 of the array's 1,000 cycles" in found.text and "6.0 %" in found.text and "vector.depthwise_taps" in found.text


def test_every_cause_has_its_words() -> None:
    """And what can be changed is a field of the accelerator's description."""
    config = load_config("base").model_dump()
    for table in (CAUSE_WORDS, CAUSE_MEANINGS, CAUSE_COLOURS):
        assert set(table) == set(Cause)
    for _, change in CAUSE_MEANINGS.values():
        for name in change.split("`")[1::2]:
            section, field = name.split(".")
            assert field in config[section], name
