"""Searches: figures with units, limits and what binds, and whole searches with a stand-in for the evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_stand_in import DIGITS, STAND_IN, agree, calls, evaluate

from systola.driver.search.default_space import default_space
from systola.driver.search.judge import closest, judge, relaxations
from systola.driver.search.limits import Bound, Limit, devices_for, make_limits, option_value
from systola.driver.search.output import closest_table, front_table, relaxation_lines, remarks, write_accelerators, write_margins
from systola.driver.search.plan import SearchOptions
from systola.driver.search.quantities import ENERGY, FREQUENCY, POWER, TIME, Quantity, parse_dram, parse_share
from systola.driver.search.run import Found, search
from systola.driver.sweep.networks import Model
from systola.driver.sweep.outcomes import Evaluation, PointOutcome, Progress
from systola.driver.sweep.points import Point, PointMaker
from systola.driver.sweep.strategies import Grid
from systola.driver.sweep.workers import WorkerPool, answer
from systola.hw.config import PRESETS, config_from, load_config
from systola.hw.errors import ConfigError, SystolaError
from systola.hw.params import Params
from systola.mapper.quantize import Method
from systola.reports.resources import DEVICES, Estimate, UnitResources, fits
from systola.reports.sweep import load_results
from systola.reports.sweep.results import Agreement

QUANTITIES = (TIME, POWER, ENERGY, FREQUENCY)
POSITIVE = st.floats(1e-9, 1e12)


# ---- Figures with units ----


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (TIME, "10ms", 10), (TIME, "0.5 s", 500), (TIME, " 20us ", 0.02), (TIME, "20µs", 0.02), (TIME, "1e3ns", 1e-3),
        (POWER, "1.5W", 1500), (POWER, "800mW", 800), (ENERGY, "5mJ", 5000), (ENERGY, ".5uJ", 0.5), (ENERGY, "2J", 2e6),
        (FREQUENCY, "150MHz", 150), (FREQUENCY, "1.2GHz", 1200),
    ],
)  # fmt: skip
def test_units(quantity: Quantity, text: str, value: float) -> None:
    """A figure in the metric's unit."""
    assert quantity.parse(text, "--x") == pytest.approx(value)


@pytest.mark.parametrize(
    ("quantity", "text", "message"),
    [
        (TIME, "10", "--x is '10', which has no unit: give a time in ns, us, ms, s, such as 10ms"),
        (TIME, "10 mW", "which has the unit 'mW'"), (POWER, "1MW", "which has the unit 'MW'"), (TIME, "", "is no number"),
        (ENERGY, "five mJ", "is no number"), (TIME, "1,5ms", "is no number"), (TIME, "10ms 5", "is no number"),
        (TIME, "nanms", "is no number"), (TIME, "0ms", "must be more than 0"), (TIME, "-3ms", "must be more than 0"),
        (TIME, "1e999s", "must be more than 0, and finite"), (TIME, "١٠ms", "is no number"),
    ],
)  # fmt: skip
def test_no_figure(quantity: Quantity, text: str, message: str) -> None:
    """What is wrong, where, and what is expected."""
    with pytest.raises(ConfigError, match=r"--x is '") as caught:
        quantity.parse(text, "--x")
    assert message in str(caught.value)


@given(st.sampled_from(QUANTITIES), POSITIVE, st.data())
def test_units_are_factors(quantity: Quantity, number: float, data: st.DataObject) -> None:
    """A number with a unit is that many of it, with or without a space."""
    unit, one = data.draw(st.sampled_from(sorted(quantity.units.items())))
    space = data.draw(st.sampled_from(["", " "]))
    assert quantity.parse(f"{number!r}{space}{unit}", "--x") == pytest.approx(number * one, rel=1e-12)


@given(st.sampled_from(QUANTITIES), POSITIVE)
def test_rounded_up(quantity: Quantity, value: float) -> None:
    """What is suggested for the command line is enough, and hardly more; what is shown is near."""
    suggested = quantity.parse(quantity.at_least(value), "--x")
    assert value <= suggested <= value * 1.002
    assert quantity.parse(quantity.show(value), "--x") == pytest.approx(value, rel=1e-3)


@given(st.text(max_size=12))
def test_any_text(text: str) -> None:
    """A figure or a ConfigError."""
    for parse in (lambda: TIME.parse(text, "--x"), lambda: parse_share(text, "--x"), lambda: float(parse_dram(text)[0])):
        try:
            assert math.isfinite(parse())
        except ConfigError as error:
            assert text in str(error)


def test_shares_and_dram() -> None:
    """Shares as numbers and in percent; DRAM as a pair."""
    assert parse_share("0.97", "--x") == parse_share("97%", "--x") == pytest.approx(0.97)
    assert parse_share("1", "--x") == parse_share("100 %", "--x") == 1
    assert parse_dram("100,8") == parse_dram(" 100 , 8 ") == (100, 8)
    for text in ("97", "0", "-1", "101%", "x", "0.5ms"):
        with pytest.raises(ConfigError, match="share"):
            parse_share(text, "--x")
    for text in ("100", "100,8,2", "a,b", "100;8", "-1,8"):
        with pytest.raises(ConfigError, match="--dram is"):
            parse_dram(text)


# ---- Limits, and what binds ----

LATENCY, ENERGY_LIMIT, AGREEMENT = make_limits(latency_ms=10, energy_uj=100, agreement=0.9)[1], *(
    make_limits(latency_ms=10, energy_uj=100, agreement=0.9)[number] for number in (2, 0)
)
LIMITS = (LATENCY, ENERGY_LIMIT, AGREEMENT)


def figures(latency: float, energy: float, agreement: float = 1.0) -> dict[str, float]:
    """Metrics of a point."""
    return {"latency_ms": latency, "energy_uj": energy, "agreement": agreement}


def test_excess() -> None:
    """Relative to the limit; upper and lower ones; unknown is without bound."""
    judgement = judge("a", figures(12, 50, 0.81), LIMITS)
    assert judgement.excesses == pytest.approx({"--max-latency": 0.2, "--max-energy": -0.5, "--min-agreement": 0.1})
    assert judgement.binding == "--max-latency" and judgement.worst == pytest.approx(0.2) and not judgement.meets_all
    assert judge("a", figures(10, 100, 0.9), LIMITS).meets_all
    assert judge("a", {"latency_ms": 1}, LIMITS).worst == math.inf
    assert judge("a", {}, ()).meets_all and judge("a", {}, ()).binding is None
    inside = judge("a", figures(9, 99, 1.0), LIMITS)
    assert inside.meets_all and inside.binding == "--max-energy"
    assert [limit.show() for limit in LIMITS] == ["latency ≤ 10 ms", "energy ≤ 100 µJ", "agreement ≥ 90.00 %"]


def test_closest() -> None:
    """By the worst violation, then by all, then by name."""
    points = {"d": figures(12, 100), "c": figures(12, 110), "b": figures(20, 1), "a": figures(12, 100), "e": figures(10.5, 105)}
    judged = [judge(name, metrics, LIMITS) for name, metrics in points.items()]
    assert [j.name for j in closest(judged, 10)] == ["e", "a", "d", "c", "b"]
    assert [j.name for j in closest(judged, 2)] == ["e", "a"]


def test_relaxations() -> None:
    """What is violated alone, and by the least; limits that are not are not relaxed."""
    points = {"a": figures(12, 100), "b": figures(11, 90), "c": figures(10.1, 101), "d": figures(2, 140)}
    judged = [judge(name, metrics, LIMITS) for name, metrics in points.items()]
    found = relaxations(judged, LIMITS)
    assert [(r.limit.option, r.judgement.name) for r in found] == [("--max-latency", "b"), ("--max-energy", "d")]
    assert relaxations([judge("a", figures(12, 110), LIMITS)], LIMITS) == []


@given(st.lists(st.tuples(POSITIVE, POSITIVE, st.floats(0.01, 1)), min_size=1, max_size=12))
def test_relaxing_is_enough(points: list[tuple[float, float, float]]) -> None:
    """With the value that is suggested for one limit, some point meets all; without, none did."""
    judged = [judge(str(number), figures(*values), LIMITS) for number, values in enumerate(points)]
    if any(judgement.meets_all for judgement in judged):
        return
    for relaxation in relaxations(judged, LIMITS):
        (bound,) = relaxation.limit.bounds
        text = option_value(bound, relaxation.judgement.metrics[bound.metric])
        quantity = {"latency_ms": TIME, "energy_uj": ENERGY}.get(bound.metric)
        value = quantity.parse(text, "--x") if quantity else float(text)
        if not value:
            continue  # an agreement that no limit is low enough for
        relaxed = replace(relaxation.limit, bounds=(Bound(bound.metric, value, bound.least),))
        assert judge("x", relaxation.judgement.metrics, [relaxed if x is relaxation.limit else x for x in LIMITS]).meets_all


@given(st.sampled_from(sorted(DEVICES)), st.tuples(*(st.integers(0, 100_000),) * 4), st.floats(0.1, 1))
def test_fitting_is_what_the_estimate_says(device: str, counts: tuple[int, ...], utilization: float) -> None:
    """The limit holds where ``fits`` finds no shortage."""
    limit = make_limits(device=device, utilization=utilization)[0]
    resources = UnitResources(*(Estimate(count, 0.1) for count in counts))
    metrics = dict(zip(("lut4", "ff", "dsp", "ebr"), map(float, counts), strict=True))
    shortages = fits(resources, device, utilization)
    assert (limit.excess(metrics) <= 0) == (not shortages)
    assert {b.metric for b in limit.bounds if b.excess(metrics) > 0} == {shortage.resource for shortage in shortages}
    assert (device in devices_for(metrics, utilization)) == (not shortages)


def test_unknown_device() -> None:
    """The message names those that are known."""
    with pytest.raises(ConfigError, match="ecp5-85k"):
        make_limits(device="ecp5-1m")


# ---- The default space ----


@pytest.mark.parametrize("preset", PRESETS)
def test_default_space(preset: str) -> None:
    """The base is in it; its points are valid descriptions; quantization only where asked for."""
    base = load_config(preset)
    space = default_space(preset, base, quantization=True, calibrated=True)
    maker = PointMaker(space, base)
    axes = {axis.name: axis.values for axis in maker.axes}
    corners = [{name: values[end] for name, values in axes.items()} for end in (0, -1)]
    assert axes["quantize.method"] == get_args(Method) and base.requantize.multiplier_bits in axes[BITS]
    for corner in (*corners, {name: values[len(values) // 2] for name, values in axes.items()}):
        fields = maker.fields(list(corner.values()))
        if maker.allowed(fields):
            config_from(maker.point(fields, 0).config, "a corner")
    without = {axis.name for axis in default_space(preset, base, quantization=False, calibrated=True).axis_definitions()}
    assert axes.keys() - without == {BITS, "quantize.method"}


BITS = "requantize.multiplier_bits"


# ---- Searches ----

SPACE = """
base = "small"
[axes]
"array.rows" = [8, 16, 32]
"array.columns" = [8, 16, 32]
"requantize.multiplier_bits" = [16, 17]
"""
POINTS = 18
MOST_CYCLES = 1e6 / 64 + 1e5 / 8
"""Of the stand-in, at 8 × 8."""


def estimate(params: Params) -> UnitResources:
    """As the stand-in has it: the rows, of everything."""
    return UnitResources(*(Estimate(params.rows, 0.1) for _ in range(4)))


class Here:
    """Computes calls in this process, at once."""

    name, capacity = "here", 1

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See ``Executor``."""
        future: Future[Any] = Future()
        result, error = answer(function, *arguments)
        future.set_result(result) if error is None else future.set_exception(error)
        return future

    def close(self) -> None:
        """There is nothing to end."""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space, and one in which computed points leave a file."""
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    (tmp_path / "calls").mkdir()
    monkeypatch.setenv("SWEEP_CALLS", str(tmp_path / "calls"))
    return tmp_path


def run(
    work: Path,
    limits: tuple[Limit, ...],
    *,
    output: str = "out",
    workers: int = 0,
    evaluation: Evaluation = STAND_IN,
    progress: Progress | None = None,
    **options: Any,
) -> Found:
    """A search of the space with the stand-in, in this process or in workers."""
    given = {"space": work / "space.toml"} | options
    told = SearchOptions(model=DIGITS, output=work / output, limits=limits, **given)
    return search(told, lambda: WorkerPool(workers) if workers else Here(), evaluation, estimate=estimate, progress=progress)


def points_computed(work: Path) -> list[str]:
    """Hashes, once for each time."""
    return [call for call in calls(work / "calls") if "-" not in call]


def brute_force(work: Path, limits: tuple[Limit, ...], **options: Any) -> Found:
    """The same space without any limit that could put points aside, judged afterwards."""
    found = run(work, make_limits(latency_ms=1e9), output="all", **options)
    assert len(found.judgements) == POINTS
    judgements = {name: judge(name, j.metrics, limits) for name, j in found.judgements.items()}
    return replace(found, limits=limits, judgements=judgements, results=replace(found.results, front=()))


def test_a_search(work: Path) -> None:
    """What cannot fit or agree is not simulated; the front meets all limits, and nothing that does is better."""
    limits = make_limits(latency_ms=MOST_CYCLES / 1e5 * 0.9, device="ecp5-25k", agreement=0.82)
    seen: list[int] = []
    found = run(work, limits, workers=2, progress=Progress(lambda p: seen.append(p.ended)))
    assert found.whole and len(found.results.points) == 6 == len(points_computed(work)) == max(seen)  # rows ≤ 16, 17 bits
    assert found.screen.reasons() == {"--fits": 6, "--min-agreement": 9} and len(found.screen.aside) == 12
    meeting = [p for p in found.results.points if found.judgements[p.hash].meets_all]
    assert len(meeting) == 5 and {p.hash for p in found.results.front_points} <= {p.hash for p in meeting}
    for point in found.results.front_points:
        assert point.axes["array.rows"] <= 16 and point.axes[BITS] == 17
        assert not any(
            other.metrics["latency_ms"] <= point.metrics["latency_ms"] and other.metrics["energy_uj"] < point.metrics["energy_uj"]
            for other in meeting
        )
    latencies = [point.metrics["latency_ms"] for point in found.results.front_points]
    assert latencies == sorted(latencies) and len(latencies) > 1 and not found.closest and not found.relaxations
    assert load_results(work / "out").points == found.results.points


def test_points_alike(work: Path) -> None:
    """Of points that are alike in every objective, one is in the front."""
    found = run(work, make_limits(latency_ms=1e3))
    assert len(found.judgements) == POINTS
    vectors = [(p.metrics["latency_ms"], p.metrics["energy_uj"]) for p in found.results.front_points]
    assert len(set(vectors)) == len(vectors)


@pytest.mark.parametrize(
    "limits",
    [
        make_limits(latency_ms=0.16, energy_uj=30),
        make_limits(latency_ms=0.01, device="ecp5-25k"),
        make_limits(latency_ms=0.14, device="ecp5-25k", agreement=0.82),
        make_limits(latency_ms=0.14, energy_uj=45, device="ecp5-25k", agreement=0.9),
        make_limits(agreement=0.99),
    ],
)
def test_nothing_meets_the_limits(work: Path, limits: tuple[Limit, ...]) -> None:
    """The closest, and what to relax, are those that a search of all points finds."""
    found, every = run(work, limits), brute_force(work, limits)
    assert not found.results.front and found.closest
    assert [(j.name, j.binding) for j in found.closest] == [(j.name, j.binding) for j in every.closest]
    assert [j.worst for j in found.closest] == sorted(j.worst for j in found.closest) and found.closest[0].worst > 0
    one = [(r.limit.option, r.judgement.excesses[r.limit.option]) for r in found.relaxations]
    assert one == [(r.limit.option, r.judgement.excesses[r.limit.option]) for r in every.relaxations]
    lines = list(relaxation_lines(found))
    assert lines and all("alone" in line for line in lines)
    assert closest_table(found).row_count == len(found.closest)


def test_relaxed_it_is_found(work: Path) -> None:
    """In the same folder, with the value that was suggested: what is there is not computed again."""
    limits = make_limits(latency_ms=0.1, device="ecp5-25k", agreement=0.82)
    found = run(work, limits)
    relaxation = next(r for r in found.relaxations if r.limit.option == "--max-latency")
    assert not found.results.front
    value = TIME.parse(TIME.at_least(relaxation.judgement.metrics["latency_ms"]), "--max-latency")
    before = points_computed(work)
    again = run(work, make_limits(latency_ms=value, device="ecp5-25k", agreement=0.82))
    assert relaxation.judgement.name in again.results.front and points_computed(work) == before


def test_nothing_runs_twice(work: Path) -> None:
    """The same command again computes nothing and finds the same; another space is refused."""
    limits = make_limits(latency_ms=0.2, device="ecp5-25k")
    first = run(work, limits)
    before = calls(work / "calls")
    second = run(work, limits)
    assert calls(work / "calls") == before and second.results == first.results and second.judgements == first.judgements
    with pytest.raises(SystolaError, match="holds another sweep"):
        run(work, limits, clock_mhz=50.0)


def test_interrupted(work: Path) -> None:
    """What was found until then stays; the result is that of a quiet search."""
    limits = make_limits(latency_ms=1.0)

    def interrupt(progress: Progress) -> None:
        if progress.ended == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(work, limits, progress=Progress(interrupt))
    resumed = run(work, limits)
    computed = points_computed(work)
    quiet = run(work, limits, output="quiet", workers=2)
    assert resumed.results.front == quiet.results.front and resumed.judgements == quiet.judgements
    assert len(resumed.results.points) == POINTS and len(computed) <= POINTS + 2  # two in hand when it was stopped


def test_accelerators(work: Path) -> None:
    """A description for each point of the front, with its figures; files of an earlier search go, others stay."""
    found = run(work, make_limits(latency_ms=1.0, agreement=0.8), clock_mhz=80.0, dram=(60, 4))
    out = work / "out"
    paths = write_accelerators(found, out)
    assert len(paths) == len(found.results.front) > 1
    for path, point in zip(paths, found.results.front_points, strict=True):
        config = load_config(path)
        assert config == config_from(point.config, "the point") and config.clock.frequency_mhz == 80
        assert (config.dram.latency_cycles, config.dram.bytes_per_cycle) == (60, 4)
        text = path.read_text(encoding="utf-8")
        assert "# --max-latency: latency ≤ 1 s" not in text and "# --max-latency: latency ≤ 1 ms; " in text
        assert "# RTL: not run" in text
    (out / "accelerators" / "mine.toml").write_text("# mine\n", encoding="utf-8")
    fewer = run(work, make_limits(latency_ms=1e-3, agreement=0.8), clock_mhz=80.0, dram=(60, 4))
    assert write_accelerators(fewer, out) == []
    assert [path.name for path in (out / "accelerators").iterdir()] == ["mine.toml"]
    margins = write_margins(found, out).read_text(encoding="utf-8").splitlines()
    assert margins[0] == "hash,meets_all,front,binding,--min-agreement,--max-latency" and len(margins) == 1 + POINTS
    assert front_table(found).row_count == len(paths)
    text = " ".join(remarks(found))
    assert "80 MHz, given" in text and "45nm" in text and "60 cycles, 4 bytes" in text and "all of the space" in text


def agree_never(model: Model, method: str, bits: int, samples: int) -> Agreement | None:
    """There is nothing to compare with."""
    return None


def evaluate_nothing(point: Point, models: Any) -> PointOutcome:
    """Nothing fits."""
    return PointOutcome("invalid", "does not fit")


def test_without_agreement(work: Path) -> None:
    """A limit on what cannot be measured is refused; without one the search goes on."""
    nothing = replace(STAND_IN, agreement=agree_never)
    with pytest.raises(ConfigError, match="--min-agreement: model has nothing to measure"):
        run(work, make_limits(agreement=0.9), evaluation=nothing)
    with pytest.raises(ConfigError, match="their number is set to 0"):
        run(work, make_limits(agreement=0.9), samples=0)
    assert run(work, make_limits(latency_ms=1.0), evaluation=nothing, output="other").results.front


def test_no_valid_point(work: Path) -> None:
    """No table, but the reasons."""
    found = run(work, make_limits(latency_ms=1.0), evaluation=replace(STAND_IN, point=evaluate_nothing))
    assert not found.judgements and not found.closest and not list(relaxation_lines(found))
    assert {point.reason for point in found.results.points} == {"does not fit"}


@pytest.mark.parametrize(
    ("options", "space", "message"),
    [
        ({"base": "small"}, SPACE, "--base and --space do not go together"),
        ({"clock_mhz": 50.0}, SPACE + '"clock.frequency_mhz" = [50, 100]', "--clock and the axis"),
        ({}, SPACE + '"dram.latency_cycles" = [50, 100]', "'dram.latency_cycles', which a search cannot choose"),
        ({}, SPACE + '[sampling]\nstrategy = "random"\npoints = 5', "a search takes"),
        ({"objectives": ("beauty",)}, SPACE, "--objective is 'beauty'"),
        ({"objectives": ("area", "lut4")}, SPACE, "the same figure twice"),
        ({"dram": (0, 8)}, SPACE, "dram.latency_cycles is 0"),
        ({"clock_mhz": 1e6}, SPACE, "clock.frequency_mhz is"),
    ],
)
def test_refused(work: Path, options: dict[str, Any], space: str, message: str) -> None:
    """Options that do not go together, and values out of range."""
    (work / "space.toml").write_text(space, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run(work, make_limits(latency_ms=1.0), **options)
    assert message in str(caught.value) and not (work / "out").exists()


def test_objectives(work: Path) -> None:
    """One objective: one accelerator. The space's, where none are given."""
    fastest = run(work, make_limits(latency_ms=1.0), objectives=("latency",))
    (point,) = fastest.results.front_points
    assert point.axes["array.rows"] == point.axes["array.columns"] == 32
    smallest = run(work, make_limits(latency_ms=1.0), objectives=("area", "latency"), output="area")
    assert smallest.results.front_points[0].axes["array.rows"] == 8
    (work / "space.toml").write_text(SPACE + '[objectives]\ndsp = "min"\n', encoding="utf-8")
    assert run(work, make_limits(latency_ms=1.0), output="own").plan.objectives[0].metric == "dsp"


# ---- NSGA-II ----


@pytest.fixture
def evolving(work: Path) -> Callable[..., Found]:
    """A search of the default space around ``small``, as large as it is."""
    pytest.importorskip("optuna")

    def find(limits: tuple[Limit, ...], **options: Any) -> Found:
        return run(work, limits, space=None, **{"points": 60, "seed": 3} | options)

    return find


def test_a_large_space(evolving: Callable[..., Found]) -> None:
    """As many points as were asked for, none that cannot fit, those found meet the limits; the base comes first."""
    limits = make_limits(latency_ms=0.2, device="ecp5-25k", agreement=0.82)
    found = evolving(limits)
    assert not found.whole and len(found.results.points) == 60
    assert all(p.axes["array.rows"] <= 16 and p.axes[BITS] == 17 for p in found.results.points)
    assert found.results.front and all(found.judgements[name].meets_all for name in found.results.front)
    assert found.results.points[0].axes["array.rows"] == 8 or any(p.metrics for p in found.results.points)
    best = min(p.metrics["latency_ms"] for p in found.results.front_points)
    assert best == pytest.approx((1e6 / 512 + 1e5 / 8) / 1e5, rel=0.02)


def test_a_seed_determines_it(evolving: Callable[..., Found]) -> None:
    """Whatever the workers; another seed looks elsewhere. Interrupted and resumed it is the same."""
    limits = make_limits(latency_ms=0.2, device="ecp5-25k")
    one, other = evolving(limits, output="one"), evolving(limits, output="other", workers=3)
    assert [p.hash for p in one.results.points] == [p.hash for p in other.results.points]
    assert one.results.front == other.results.front
    assert [p.hash for p in evolving(limits, output="third", seed=4).results.points] != [p.hash for p in one.results.points]

    def interrupt(progress: Progress) -> None:
        if progress.ended == 33:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolving(limits, output="stopped", progress=Progress(interrupt))
    resumed = evolving(limits, output="stopped")
    assert [p.hash for p in resumed.results.points] == [p.hash for p in one.results.points]
    assert resumed.results.front == one.results.front


def test_a_large_space_without_any(evolving: Callable[..., Found]) -> None:
    """Nothing fits: nothing is simulated but the closest, and it is said what binds."""
    none = make_limits(latency_ms=0.12, energy_uj=1.0, device="ecp5-25k")
    found = evolving(none)
    assert not found.results.front and len(found.closest) == 5
    assert found.closest[0].binding == "--max-energy"


def test_a_grid_is_complete(work: Path) -> None:
    """The stand-in's space has as many points as the test believes."""
    from systola.driver.sweep.space import load_space

    space, base = load_space(work / "space.toml")
    assert Grid(PointMaker(space, base)).total == POINTS and agree is STAND_IN.agreement and evaluate is STAND_IN.point
