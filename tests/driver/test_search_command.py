"""``systola search`` as a user meets it: refusals, a small space with the cycle model, nothing found, RTL."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sweep_stand_in import DIGITS
from typer.testing import CliRunner, Result

from systola.driver.cli import app
from systola.driver.search.quantities import TIME
from systola.hw.config import load_config
from systola.hw.errors import ConfigError
from systola.reports.sweep import load_results

SPACE = """
base = "tiny"
[axes]
array.rows = [4, 8, 16]
array.columns = [4, 8]
memory.accumulator_bytes = [2048, 4096]
"""
POINTS = 12


def systola(folder: Path, *arguments: str | Path) -> Result:
    """Run the command on the digits; its space and output are in ``folder``."""
    words = ["search", DIGITS, "-o", folder / "out", *arguments]
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a space."""
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    return tmp_path


def sessions(folder: Path) -> list[int]:
    """How many points were computed in each run of the command that computed any."""
    with closing(sqlite3.connect(folder / "out" / "sweep.sqlite")) as connection:
        query = "SELECT count(*) FROM points GROUP BY session ORDER BY session"
        return [int(row[0]) for row in connection.execute(query)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a search needs a limit: --max-latency"),
        (("--max-latency", "10"), "--max-latency is '10', which has no unit"),
        (("--max-power", "1.5mJ"), "--max-power is '1.5mJ', which has the unit 'mJ'"),
        (("--max-energy", "0J"), "an energy must be more than 0"),
        (("--fits", "ecp5-1m"), "the devices are ecp5-25k"),
        (("--fits", "ecp5-85k", "--utilization", "1.5"), "--utilization is '1.5': a share is more than 0"),
        (("--min-agreement", "97"), "--min-agreement is '97': a share is more than 0"),
        (("--max-latency", "1ms", "--clock", "fast"), "--clock is 'fast'"),
        (("--max-latency", "1ms", "--dram", "100"), "--dram is '100'"),
    ],
)
def test_refused(work: Path, arguments: tuple[str, ...], message: str) -> None:
    """One paragraph, before anything is read or written."""
    result = systola(work, *arguments)
    assert isinstance(result.exception, ConfigError) and message in str(result.exception)
    assert not (work / "out").exists()


def test_a_small_space(work: Path) -> None:
    """The front of what meets the limits, its descriptions; then limits that nothing meets, relaxed as is suggested."""
    space = ("--space", work / "space.toml", "--verify", "0", "--fits", "ecp5-85k", "--workers", "2")
    result = systola(work, *space, "--max-latency", "1ms")
    assert result.exit_code == 0, result.output
    assert "Accelerators that meet all limits" in result.output and "% left" in result.output and "45nm" in result.output
    with (work / "out" / "margins.csv").open(encoding="utf-8", newline="") as file:
        margins = list(csv.DictReader(file))
    (fitting,) = sessions(work)
    assert 0 < fitting < POINTS == fitting + int(result.output.split(" cannot meet the limits")[0].split()[-1])
    assert len(margins) == fitting and all(row["meets_all"] == "True" for row in margins)
    front = {row["hash"] for row in margins if row["front"] == "True"}
    files = sorted((work / "out" / "accelerators").iterdir())
    assert {path.stem.rpartition("-")[2] for path in files} == front != set()
    assert {load_config(path).name for path in files} == {path.stem for path in files}

    fastest = min(point.metrics["latency_ms"] for point in load_results(work / "out").points)
    least = systola(work, *space, "--max-latency", f"{fastest * 0.9}ms")
    assert least.exit_code == 3 and "Nothing meets all limits. The closest:" in least.output
    assert not list((work / "out" / "accelerators").iterdir())
    suggested = least.output.split("--max-latency alone is in the way: relax it to ")[1].split(",")[0]
    assert fastest <= TIME.parse(suggested, "--x") <= fastest * 1.002

    before = sessions(work)
    again = systola(work, *space, "--max-latency", suggested)
    assert again.exit_code == 0 and sessions(work) == before and sum(before) <= POINTS
    assert len(list((work / "out" / "accelerators").iterdir())) == 1


@pytest.mark.slow
def test_on_rtl(work: Path) -> None:
    """The best runs on RTL with the model's cycles; what has run does not run again."""
    space = ("--space", work / "space.toml", "--max-latency", "1ms", "--fits", "ecp5-45k", "--objective", "area")
    for _ in range(2):
        result = systola(work, *space)
        assert result.exit_code == 0 and "equal to the model" in result.output, result.output
    verified = [point for point in load_results(work / "out").points if point.verifications]
    assert len(verified) == 1 and verified[0].verified
    (path,) = (work / "out" / "accelerators").iterdir()
    assert "# RTL: equal to the model" in path.read_text(encoding="utf-8")
