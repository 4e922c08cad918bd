"""A sweep on a Dask cluster: a scheduler and two workers, processes of their own, of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sweep_stand_in import DIGITS, STAND_IN, calls

from systola.driver.sweep.outcomes import Progress
from systola.driver.sweep.run import SweepOptions, sweep
from systola.hw.errors import ToolError

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'systola[cluster]'")
# Dask's own: sockets of a cluster that is taken down while it works are closed by the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

SPACE = """
base = "small"
[axes]
"array.rows" = [8, 16]
"dram.latency_cycles" = {from = 10, to = 300, step = 10}
"""
POINTS = 60
START_SECONDS = 120


class Cluster:
    """A scheduler and two workers of one thread each."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment
        file = folder / "scheduler.json"
        self._scheduler = self._start("scheduler", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", str(file))
        until(file.is_file)
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        self.workers = [self._start("worker", "--scheduler-file", str(file), *alone) for _ in range(2)]
        until(lambda: bool(file.read_text(encoding="utf-8")))
        self.address = str(json.loads(file.read_text(encoding="utf-8"))["address"])

    def close(self) -> None:
        """End all processes."""
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + kind, *arguments],
                stdout=log, stderr=log, env=self._environment, cwd=self._folder,
            )  # fmt: skip


def until(true: Callable[[], bool]) -> None:
    """Wait until a function says so."""
    end = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose workers can import the stand-in."""
    (tmp_path / "calls").mkdir()
    support = str(Path(__file__).parents[1] / "support")
    settings = {"PYTHONPATH": support, "SWEEP_CALLS": str(tmp_path / "calls"), "SWEEP_DELAY": "0.05"}
    found = Cluster(tmp_path, os.environ | settings)
    yield found
    found.close()


def test_a_worker_is_killed(tmp_path: Path, cluster: Cluster) -> None:
    """kill −9 of one of two workers in the middle: nothing is lost, and no point is in the database twice."""
    from systola.driver.sweep.cluster import DaskExecutor

    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.ended >= 20 and not killed:
            cluster.workers[0].send_signal(signal.SIGKILL)
            killed.append(progress.ended)

    options = SweepOptions((DIGITS,), tmp_path / "space.toml", tmp_path / "out")
    results, _ = sweep(options, lambda: DaskExecutor(cluster.address), STAND_IN, progress=Progress(kill))
    assert killed and cluster.workers[0].wait() == -signal.SIGKILL
    assert len(results.of_state("done")) == len(results.points) == POINTS
    with closing(sqlite3.connect(tmp_path / "out" / "sweep.sqlite")) as connection:
        (total, different), = connection.execute("SELECT count(hash), count(DISTINCT hash) FROM points").fetchall()
        workers = connection.execute("SELECT worker, count(*) FROM points GROUP BY worker").fetchall()
    assert total == different == POINTS
    assert {name.rpartition(":")[2] for name, _ in workers} == {str(process.pid) for process in cluster.workers}
    # Only what the killed worker had in hand was computed again.
    assert POINTS + 1 <= len(calls(tmp_path / "calls")) <= POINTS + 1 + 4
    again, _ = sweep(options, lambda: DaskExecutor(cluster.address), STAND_IN)
    assert again.points == results.points


def test_no_cluster() -> None:
    """An address where nothing listens, or that is none."""
    from systola.driver.sweep.cluster import DaskExecutor

    for address in ("tcp://127.0.0.1:9", "nonsense", "nonsense://x:1", "tcp://no.such.host.invalid:8786"):
        with pytest.raises(ToolError, match="there is no Dask scheduler with workers at"):
            DaskExecutor(address)
