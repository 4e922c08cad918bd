"""The benchmark commands run, and their figures are what they say; no timing is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from systola.driver.flow import Options, prepare

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from catalog import MODELS, Entry, cycle_bound, find_model  # noqa: E402 - after the folder is on the path
from measure import in_process  # noqa: E402
from networks import measured  # noqa: E402
from tables import markdown_table, met  # noqa: E402

DIGITS = find_model(next(entry for entry in MODELS if entry.name == "digits"))
PUBLISHED_BOUNDS = {
    "resnet8_int8": 49_216, "vww_int8": 32_896, "kws_int8": 9_564, "ad_int8": 16_592,
    "mobilenet_v2_ptq_int8": 1_229_200,
}
"""Cycles on base, from the tables that peers are compared in."""


def command(script: str, folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints, and the figures it writes. The printed text is what it writes as markdown."""
    markdown, figures = folder / "out" / "table.md", folder / "out" / "figures.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments, "--json", str(figures), "--markdown", str(markdown)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert markdown.read_text() == done.stdout
    return done.stdout, json.loads(figures.read_text())


def test_networks(tmp_path: Path) -> None:
    text, figures = command("networks.py", tmp_path, "--quick", "--only", "digits", "--backend", "interp")
    (row,) = figures["networks"]
    assert (row["network"], row["accelerator"], row["backend"], row["samples"]) == ("digits", "base", "interp", 2)
    assert row["bit_exact"]
    assert row["every_tensor"]["bit_exact"]
    assert row["every_tensor"]["tensors_checked"] == row["tensors_checked"] + row["tensors_on_chip"]
    assert row["every_tensor"]["bytes_checked"] > row["bytes_checked"] > 0
    assert row["agreement_share"] == 1.0
    assert row["cycles_per_inference"] is None
    assert row["peak_memory_bytes"] > 1 << 20
    assert "| digits | base | yes | 2 |" in text
    environment = figures["environment"]
    assert {"date", "commit", "versions", "machine"} <= set(environment)
    assert str(BENCHMARKS.parent) not in json.dumps(figures) + text


def test_compile_time(tmp_path: Path) -> None:
    text, figures = command("compile_time.py", tmp_path, "--quick")
    (row,) = figures["networks"]
    assert set(row["seconds"]) == set(row["cpu_seconds"]) == {"read", "quantize", "compile", "golden"}
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert "| digits |" in text


@pytest.mark.slow
@pytest.mark.xdist_group("tiny")
def test_simulation_speed(tmp_path: Path) -> None:
    text, figures = command("simulation_speed.py", tmp_path, "--quick", "--skip-build", "--accel", "tiny", "--only", "digits")
    (row,) = figures["speed"]
    assert row["cycles"] > 0
    assert row["cycles_per_second"] > 0
    assert "| digits |" in text


@pytest.mark.slow
@pytest.mark.xdist_group("tiny")
def test_measured_on_rtl() -> None:
    assert DIGITS is not None
    asked = Entry("digits", "examples/digits/model", "tiny", target_cycles=1, goal_over_bound=1e6)
    row = measured(asked, DIGITS, "rtl", 1, spill=False)
    assert row["bit_exact"]
    assert row["bound_cycles"] <= row["cycles_per_inference"] == row["simulated_cycles"]
    assert row["utilization"] == pytest.approx(row["macs"] / (16 * row["cycles_per_inference"]))
    assert (row["target_met"], row["goal_met"]) == (False, True)


@pytest.mark.parametrize("name", PUBLISHED_BOUNDS)
def test_bound(name: str, models: Path) -> None:
    network = prepare(Options(models / name, "base", samples=1))
    assert cycle_bound(network.graph, network.params) == PUBLISHED_BOUNDS[name]


def test_an_error_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    entry = Entry("absent", "absent")
    row = measured(entry, folder, "interp")
    assert "graph.nnef" in row["error"]


def test_a_crash_is_reported() -> None:
    error = in_process("run", {"no such": "argument"})["error"]
    assert error.startswith("TypeError: run_job() got an unexpected keyword argument 'no such'")


def test_limits() -> None:
    assert met(5, 5)
    assert met(6, 5) is False
    assert met(0.97, 0.97, least=True)
    assert met(0.96, 0.97, least=True) is False
    assert met(None, 5) is None
    assert met(5, None) is None


def test_markdown_table_escapes() -> None:
    table = markdown_table(("a", "b"), [("x|y", "1\n2")])
    assert table.splitlines() == ["| a | b |", "| :-- | --: |", "| x\\|y | 1 2 |"]
