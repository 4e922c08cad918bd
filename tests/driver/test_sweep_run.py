"""Sweeps with a stand-in for the evaluation: scheduling, the database, resuming, dying workers, strategies."""

from __future__ import annotations

import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sweep_stand_in import DIGITS, STAND_IN, calls

from systola.driver.sweep.export import table_rows, write_csv
from systola.driver.sweep.outcomes import Progress
from systola.driver.sweep.points import PointMaker
from systola.driver.sweep.run import SweepOptions, sweep
from systola.driver.sweep.space import load_space
from systola.driver.sweep.strategies import Grid
from systola.driver.sweep.workers import WorkerDiedError, WorkerPool
from systola.hw.errors import ConfigError, MappingError, SystolaError, ToolError
from systola.reports.sweep import load_results
from systola.reports.sweep.results import SweepResults

SPACE = """
base = "small"
constraints = ["array.rows >= array.columns"]
[axes]
"array.rows" = [8, 16, 32, 64]
"array.columns" = [8, 16, 32]
"dram.bytes_per_cycle" = [4, 8, 16]
"requantize.multiplier_bits" = [16, 17]
[objectives]
latency_ms = "min"
energy_uj = "min"
agreement = "max"
"""
POINTS = 54  # of 72, 18 with more columns than rows
INVALID = 18  # with 64 rows


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space, and one in which computed points leave a file."""
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    (tmp_path / "calls").mkdir()
    monkeypatch.setenv("SWEEP_CALLS", str(tmp_path / "calls"))
    return tmp_path


def run(
    work: Path, *, output: str = "out", workers: int = 1, retry: bool = False, progress: Progress | None = None
) -> SweepResults:
    """A whole sweep of the digits network."""
    options = SweepOptions((DIGITS,), work / "space.toml", work / output, retry_failed=retry)
    results, _ = sweep(options, lambda: WorkerPool(workers), STAND_IN, progress=progress)
    return results


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What the database answers."""
    with closing(sqlite3.connect(folder / "sweep.sqlite")) as connection:
        return connection.execute(query).fetchall()


# ---- A sweep ----


def test_a_sweep(work: Path) -> None:
    """Every point once, with its results; invalid ones with their reason; the front is what it should be."""
    seen: list[int] = []
    progress = Progress(lambda p: seen.append(p.ended))
    results = run(work, workers=2, progress=progress)
    assert len(results.points) == POINTS == progress.ended == progress.total and seen[-1] == POINTS and seen == sorted(seen)
    assert len(results.of_state("invalid")) == INVALID
    assert {point.reason for point in results.of_state("invalid")} == {"does not fit"}
    assert [point.ordinal for point in results.points] == list(range(POINTS))
    computed = calls(work / "calls")
    assert len(computed) == len(set(computed)) == POINTS + 2
    assert {call for call in computed if "-" in call} == {"model-mse-16", "model-mse-17"}
    point = results.points[-1] if results.points[-1].state == "done" else results.of_state("done")[0]
    network = point.networks[0]
    assert point.metrics["latency_ms"] == network.latency_ms and network.host_share == pytest.approx(1e-3)
    assert network.agreement is not None and network.agreement.samples == 100
    assert point.metrics["agreement"] == network.agreement.top1 == point.config["requantize"]["multiplier_bits"] / 20
    assert point.resources is not None and point.metrics["lut4"] == point.config["array"]["rows"]
    assert {point.axes["requantize.multiplier_bits"] for point in results.front_points} == {17}
    latencies = [point.metrics["latency_ms"] for point in results.front_points]
    assert latencies == sorted(latencies) and len(latencies) > 2
    assert results.versions["systola"] and results.definition.networks[0].digest
    assert {path.name for path in (work / "out").iterdir()} == {"sweep.sqlite", "sweep.lock"}


def test_tables(work: Path) -> None:
    """The CSV file has every point and figure; the same come back from Parquet."""
    results = run(work)
    with write_csv(results, work).open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["hash"] for row in read] == [point.hash for point in results.points]
    first = next(row for row in read if row["state"] == "done")
    point = next(p for p in results.points if p.hash == first["hash"])
    assert float(first["model.cycles"]) == point.networks[0].cycles and float(first["array.rows"]) == point.axes["array.rows"]
    assert next(row for row in read if row["state"] == "invalid")["latency_ms"] == ""
    assert sum(row["front"] == "True" for row in read) == len(results.front)
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    from systola.driver.sweep.parquet import write_parquet

    assert pyarrow.parquet.read_table(write_parquet(results, work)).to_pylist() == table_rows(results)


def test_two_networks(work: Path) -> None:
    """Combined figures are weighted sums; agreement is the worse."""
    (work / "other").symlink_to(DIGITS)
    (work / "space.toml").write_text(SPACE + "[networks]\nmodel = 3\n", encoding="utf-8")
    options = SweepOptions((DIGITS, work / "other" / "graph.nnef"), work / "space.toml", work / "out", random_weights=1)
    results, _ = sweep(options, lambda: WorkerPool(2), STAND_IN)
    point = results.of_state("done")[0]
    first, second = point.networks
    assert (first.network, second.network) == ("model", "graph")
    assert point.metrics["cycles"] == 3 * first.cycles + second.cycles
    assert point.metrics["energy_uj"] == pytest.approx(1e6 * (3 * first.energy_j.value + second.energy_j.value))
    (work / "space.toml").write_text(SPACE + "[networks]\nnobody = 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a weight for nobody"):
        sweep(options, lambda: WorkerPool(2), STAND_IN)


def test_agreement_that_cannot_be_measured(work: Path) -> None:
    """The points keep their cycles; they are in no front over agreement."""
    text = SPACE.replace("[axes]", '[axes]\n"quantize.method" = ["mse", "percentile"]')
    (work / "space.toml").write_text(text, encoding="utf-8")
    results = run(work)
    assert len(results.points) == 2 * POINTS
    assert {point.method for point in results.front_points} == {"mse"}
    percentile = [point for point in results.of_state("done") if point.method == "percentile"]
    assert percentile and all("agreement" not in p.metrics and p.metrics["cycles"] for p in percentile)
    reasons = rows(work / "out", "SELECT DISTINCT reason FROM agreements WHERE samples IS NULL")
    assert reasons == [("there is nothing to calibrate on",)]


# ---- Resuming ----


def test_nothing_runs_twice(work: Path) -> None:
    """The same command again computes nothing; more points only those."""
    first = run(work)
    before = calls(work / "calls")
    again = run(work)
    assert calls(work / "calls") == before and again == first
    assert rows(work / "out", "SELECT count(*) FROM sessions") == [(2,)]


def test_random_goes_on_with_more(work: Path) -> None:
    """More points of the same seed: the first are there."""
    text = SPACE + '[sampling]\nstrategy = "random"\npoints = {}\nseed = 4\n'
    (work / "space.toml").write_text(text.format(10), encoding="utf-8")
    first = run(work)
    (work / "space.toml").write_text(text.format(25), encoding="utf-8")
    second = run(work)
    assert [p.hash for p in second.points][:10] == [p.hash for p in first.points] and len(second.points) == 25
    computed = calls(work / "calls")
    assert len(computed) == len(set(computed))
    (work / "space.toml").write_text(text.format(25).replace("seed = 4", "seed = 5"), encoding="utf-8")
    with pytest.raises(SystolaError, match="holds another sweep"):
        run(work)


@pytest.mark.parametrize("change", ["[8, 16, 32, 64]|[8, 16, 32]", '"small"|"base"', 'latency_ms = "min"|cycles = "min"'])
def test_another_sweep_in_the_folder(work: Path, change: str) -> None:
    """Another space is refused, and the database stays as it is."""
    run(work)
    before = rows(work / "out", "SELECT * FROM points")
    old, new = change.split("|")
    (work / "space.toml").write_text(SPACE.replace(old, new), encoding="utf-8")
    with pytest.raises(SystolaError, match=r"holds another sweep.* another folder with -o"):
        run(work)
    assert rows(work / "out", "SELECT * FROM points") == before


def test_other_files_in_the_folder(work: Path) -> None:
    """A database of another kind or version is refused; so is a folder in which a sweep is running."""
    out = work / "out"
    out.mkdir()
    (out / "sweep.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(SystolaError, match="cannot be used as a sweep's database"):
        run(work)
    (out / "sweep.sqlite").unlink()
    with closing(sqlite3.connect(out / "sweep.sqlite")) as connection:
        connection.execute("CREATE TABLE points (x)")
    with pytest.raises(SystolaError, match="schema version 0"):
        run(work)
    with pytest.raises(SystolaError, match="schema version 0"):
        load_results(out)
    with pytest.raises(SystolaError, match="there is no sweep"):
        load_results(work / "calls")


def test_only_one_sweep_writes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second sweep into the same folder is refused at once."""
    monkeypatch.setenv("SWEEP_DELAY", "0.05")
    errors: list[str] = []

    def second(progress: Progress) -> None:
        if not errors:
            with pytest.raises(SystolaError) as caught:
                run(work, workers=1)
            errors.append(str(caught.value))

    run(work, progress=Progress(second))
    assert "another sweep is writing" in errors[0]


PROGRAM = """
import sys
from pathlib import Path
from sweep_stand_in import DIGITS, STAND_IN
from systola.driver.sweep.points import PointMaker
from systola.driver.sweep.run import SweepOptions, sweep
from systola.driver.sweep.space import load_space
from systola.driver.sweep.strategies import Grid
from systola.driver.sweep.workers import WorkerPool
if __name__ == "__main__":
    work = Path(sys.argv[1])
    sweep(SweepOptions((DIGITS,), work / "space.toml", work / "out"), lambda: WorkerPool(2), STAND_IN)
"""


def start(work: Path, delay: float) -> subprocess.Popen[bytes]:
    """The sweep in a process group of its own."""
    program = work / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    support = str(Path(__file__).parents[1] / "support")
    environment = os.environ | {"PYTHONPATH": support, "SWEEP_DELAY": str(delay)}
    return subprocess.Popen([sys.executable, str(program), str(work)], env=environment)


def points_there(work: Path) -> set[str]:
    """Hashes of the points in the database, which may not have been made yet."""
    try:
        return {str(row[0]) for row in rows(work / "out", "SELECT hash FROM points")}
    except sqlite3.OperationalError:
        return set()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments(work: Path, kills: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill −9, again and again: finished points are all there, none ran twice, and the front is that of a quiet run."""
    generator, there = random.Random(3), set[str]()
    for _ in range(kills):
        process = start(work, 0.03)
        wanted = len(there) + generator.randint(0, 4)
        while process.poll() is None and len(points_there(work)) < wanted:
            time.sleep(0.01)
        time.sleep(generator.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = points_there(work)
        assert there <= now
        there = now
    assert there
    assert start(work, 0).wait() == 0
    done = load_results(work / "out")
    monkeypatch.delenv("SWEEP_CALLS")
    quiet = run(work, output="quiet")
    assert [p.hash for p in done.points] == [p.hash for p in quiet.points]
    assert done.front == quiet.front and [p.metrics for p in done.points] == [p.metrics for p in quiet.points]
    sessions = rows(work / "out", "SELECT session, count(*) FROM points GROUP BY session")
    assert sum(int(str(count)) for _, count in sessions) == POINTS and len(sessions) > 1


def test_workers_end_with_a_killed_sweep(work: Path) -> None:
    """No process is left over: what was in hand is the last that is computed."""
    process = start(work, 0.2)
    while len(points_there(work)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    before = calls(work / "calls")
    time.sleep(0.8)
    assert calls(work / "calls") == before and len(before) < POINTS


def test_interrupted(work: Path) -> None:
    """^C ends the sweep and its workers; what is there stays."""

    def interrupt(progress: Progress) -> None:
        if progress.ended == 5:
            raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(work, progress=Progress(interrupt))
    assert threading.active_count() == threads
    assert len(points_there(work)) == 5
    assert len(run(work).points) == POINTS


# ---- Workers that die ----


def some_point(work: Path, number: int = 7) -> str:
    """The hash of a point."""
    grid = Grid(PointMaker(*load_space(work / "space.toml")))
    return list(next(grid.batches()))[number].hash


def test_a_worker_that_dies_once(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The point is computed by another process."""
    deadly = some_point(work)
    for name in (f"once-{deadly}", f"had-once-{deadly}"):
        (work / name).touch()
    monkeypatch.setenv("SWEEP_DEADLY", deadly)
    results = run(work)
    assert len(results.points) == POINTS and not results.of_state("failed") and not (work / f"once-{deadly}").exists()


def test_a_point_that_kills_workers(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried twice and recorded as failed; the others go on. Asked for, it is computed again."""
    deadly = some_point(work)
    monkeypatch.setenv("SWEEP_DEADLY", deadly)
    before = calls(work / "calls").count(deadly)
    results = run(work)
    (failed,) = results.of_state("failed")
    assert failed.hash == deadly and "signal 9" in failed.reason and len(results.points) == POINTS
    assert calls(work / "calls").count(deadly) == before + 2
    monkeypatch.delenv("SWEEP_DEADLY")
    assert run(work).of_state("failed")
    assert not run(work, retry=True).of_state("failed")
    assert calls(work / "calls").count(deadly) == before + 3


def give(value: object) -> object:
    """Give it back."""
    return value


def fail(kind: str) -> None:
    """Raise an error."""
    raise MappingError("too small") if kind == "own" else ValueError("what")


def test_pool() -> None:
    """Answers, errors as they were, errors that cannot be sent as ours; a pool that is closed has no processes."""
    pool = WorkerPool(2)
    futures = [pool.submit(give, number) for number in range(20)]
    assert [future.result() for future in futures] == list(range(20))
    with pytest.raises(MappingError, match="too small"):
        pool.submit(fail, "own").result()
    with pytest.raises(ToolError, match="ValueError: what"):
        pool.submit(fail, "other").result()
    with pytest.raises(ToolError, match="cannot be asked"):
        pool.submit(give, lambda: 0).result()
    assert pool.submit(give, 3).result() == 3
    with pytest.raises(WorkerDiedError, match="ended with status 5"):
        pool.submit(os._exit, 5).result()
    waiting = [pool.submit(time.sleep, 30) for _ in range(5)]
    pool.close()
    assert all(future.done() for future in waiting)
    pool.close()


# ---- Optuna ----

OPTUNA = SPACE + '[sampling]\nstrategy = "optuna"\npoints = 40\nseed = {}\n'


@pytest.fixture
def evolving(work: Path) -> Callable[[int], None]:
    """Write a space for Optuna with this seed."""
    pytest.importorskip("optuna")

    def write(seed: int) -> None:
        (work / "space.toml").write_text(OPTUNA.format(seed), encoding="utf-8")

    return write


def test_optuna_is_determined_by_its_seed(work: Path, evolving: Callable[[int], None]) -> None:
    """The same points in the same order, however many workers there are; others with another seed."""
    evolving(1)
    one, other = run(work, output="one", workers=1), run(work, output="other", workers=3)
    assert [p.hash for p in one.points] == [p.hash for p in other.points] and one.front == other.front
    assert len(one.points) == 40 and all(p.axes["array.rows"] >= p.axes["array.columns"] for p in one.points)
    evolving(2)
    assert [p.hash for p in run(work, output="third").points] != [p.hash for p in one.points]


def test_optuna_goes_on(work: Path, evolving: Callable[[int], None]) -> None:
    """Interrupted in the second generation and resumed, it asks for what it would have asked for."""
    evolving(1)
    quiet = run(work, output="quiet")
    before = len(calls(work / "calls"))

    def interrupt(progress: Progress) -> None:
        if progress.ended == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(work, progress=Progress(interrupt))
    assert len(points_there(work)) == 30
    resumed = run(work)
    assert [p.hash for p in resumed.points] == [p.hash for p in quiet.points] and resumed.front == quiet.front
    assert 2 * before <= len(calls(work / "calls")) <= 2 * before + 4  # those in hand when it was interrupted


def test_optuna_ends_where_there_is_nothing_new(work: Path, evolving: Callable[[int], None]) -> None:
    """A small space has fewer points than asked for."""
    evolving(1)
    text = OPTUNA.format(1).replace("[8, 16, 32, 64]", "[8, 16]").replace("[4, 8, 16]", "[4]")
    (work / "space.toml").write_text(text, encoding="utf-8")
    assert len(run(work).points) == 6
