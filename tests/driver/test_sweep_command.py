"""``systola sweep`` as a user meets it: what it refuses, and how."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sweep_stand_in import DIGITS

from systola.reports.sweep import METRICS

SPACE = 'base = "tiny"\n[axes]\narray.rows = [4, 8]\n'


def systola(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder``."""
    command = [sys.executable, "-m", "systola.driver.cli", "sweep", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("space", "arguments", "message"),
    [
        ("", (DIGITS,), "base: missing"),
        (SPACE.replace("rows", "rowz"), (DIGITS,), "axes has 'array.rowz'"),
        (SPACE, (DIGITS, DIGITS), "two models are called model"),
        (SPACE + "[networks]\nkws = 2\n", (DIGITS,), "networks has a weight for kws; the sweep's models are model"),
        (SPACE, (DIGITS, "--cluster", "nonsense"), "there is no Dask scheduler"),
    ],
)
def test_refused(tmp_path: Path, space: str, arguments: tuple[str | Path, ...], message: str) -> None:
    """One paragraph on standard error, exit status 1, nothing written."""
    if "--cluster" in arguments:
        pytest.importorskip("distributed", reason="Dask is not installed: pip install 'systola[cluster]'")
    (tmp_path / "space.toml").write_text(space, encoding="utf-8")
    done = systola(tmp_path, *arguments, "--space", "space.toml", "-o", "out")
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"space.toml"}


def test_every_figure_is_in_the_reference() -> None:
    """The page on spaces names every metric, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "space.md").read_text(encoding="utf-8")
    table = page.partition("## Figures")[2].partition("## Strategies")[0]
    cells = [line.split("|")[1].replace("`", "") for line in table.splitlines() if line.startswith("| `")]
    assert {name.strip() for cell in cells for name in cell.split(",")} == METRICS.keys()
