"""The full-speed benchmark: tables from figures, targets met and missed, drawn networks, the array alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systola.driver.flow import Options, prepare
from systola.hw.config import load_config
from systola.hw.params import Params

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import array_only  # noqa: E402 - after the folder is on the path
from catalog import FULL_SPEED, Entry, accelerator_source, cycle_bound  # noqa: E402
from full_speed import limited, main, missed  # noqa: E402
from full_speed_tables import README_BEGIN, README_END, largest_losses, readme_with, tables  # noqa: E402
from random_graphs import random_graph  # noqa: E402

SEEDS = range(30)


def row(**changes: Any) -> dict[str, Any]:
    """A network's figures."""
    return {
        "network": "resnet50_bnfolded", "accelerator": "base", "cycles_per_inference": 1000, "goal_cycles": 1100,
        "goal_met": True, "bound_cycles": 800,
        "utilization": 0.75, "bit_exact": True, "bytes_different": 0, "macs": 192_000, "macs_per_cycle": 256,
        "array_uses": {"start": 10, "useful": 700, "wait_load": 200, "weights": 0, "rows": 40, "fill": 50},
        "advice": "more banks",
        "cycles_per_second": 400_000.0, "random_weights": 1,
        "used": {"compile": 6.0, "golden": 1.0, "run": 9.0, "memory": 2.0**20}, "most": {"compile": 5.0, "golden": 5.0},
        "seconds": {"simulate": 3.0},
    } | changes  # fmt: skip


def figures(**changes: Any) -> dict[str, Any]:
    return {"networks": [row()], "drawn": [], "array_alone": None} | changes


def test_largest_losses_leave_out_work() -> None:
    assert largest_losses(row()) == "waits for load 20.0 %, fill and drain 5.0 %, empty rows 4.0 %"
    assert largest_losses(row(array_uses={"useful": 5, "start": 0})) == "nowhere"
    assert largest_losses(row(array_uses=None)) == "–"


def test_targets_stand_beside_figures() -> None:
    found = tables(figures(networks=[row(), row(network="other", goal_cycles=900, goal_met=False, random_weights=None)]))
    cycles = found["Cycles of one inference, start to interrupt"]
    assert "| resnet50_bnfolded (weights from seed 1) | base | 1,000 | 1,100 | yes | 800 | 1.250 | 75.0 % | yes |" in cycles
    assert "| other | base | 1,000 | 900 | **no** | 800 |" in cycles
    (times,) = [text for title, text in found.items() if title.startswith("Time and memory")]
    assert "| 400,000 | 3.00 | 6.00 (≤ 5.00) | 1.00 (≤ 5.00) | 9.00 | 1 | **no** |" in times
    assert "| other | base | more banks |" in found["What would help most"]
    assert "Failed" not in found
    assert "Growth with the array" not in found


def test_growth_is_against_the_smallest_array() -> None:
    small = row(accelerator="small", macs_per_cycle=64, cycles_per_inference=3900)
    found = tables(figures(networks=[row(), small, row(network="resnet50_bnfolded, 5 B/cycle")]))
    lines = found["Growth with the array"].splitlines()[2:]
    assert lines == ["| small | 3,900 | 75.0 % | 1.00 | 1 |", "| base | 1,000 | 75.0 % | 3.90 | 4 |"]


def test_drawn_networks_are_summed_up() -> None:
    drawn = [row(network=f"drawn {n}", cycles_per_inference=800 + 80 * n, bit_exact=n != 2, goal_met=None) for n in range(3)]
    lines = tables(figures(drawn=drawn))["Networks drawn from seeds, on base"].splitlines()[2:5]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == ["best", "median", "worst"]
    assert [line.split(" | ")[4] for line in lines] == ["1.000", "1.100", "1.200"]
    assert all("2 of 3" in line for line in lines)


def test_the_array_alone_stands_beside_the_accelerator() -> None:
    rates = {"accelerator_wall": 3e5, "accelerator_cpu": 3.1e5, "array_wall": 6e5, "array_cpu": 6.1e5}
    alone = {"rates": rates, "ratio": 0.5, "ratio_cpu": 0.51, "least_ratio": 0.6, "least_cycles_per_second": 3e5}
    (text,) = [text for title, text in tables(figures(array_alone=alone)).items() if "array alone" in title]
    assert "| accelerator (ResNet8) | 300,000 | 310,000 | 300,000 | yes |" in text
    assert "| ratio | 0.50 | 0.51 | 0.60 | **no** |" in text


def test_what_failed_is_said() -> None:
    failed = {"network": "x", "accelerator": "base", "error": "does not fit"}
    found = tables(figures(networks=[failed], array_alone={"error": "no compiler"}))
    assert "| x | base | does not fit |" in found["Failed"]
    assert "| the array alone | base | no compiler |" in found["Failed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"networks": [row(goal_met=None)]}, False),
        ({"networks": [row(goal_met=False)]}, True),
        ({"networks": [row(bit_exact=False)]}, True),
        ({"drawn": [row(bit_exact=False, goal_met=None)]}, True),
        ({"networks": [{"error": "x"}]}, True),
        ({"networks": []}, True),
        ({"networks": [], "array_alone": {"array_right": True}}, False),
        ({"array_alone": {"array_right": False}}, True),
        ({"array_alone": {"error": "x"}}, True),
    ],
)
def test_missed(changes: dict[str, Any], expected: bool) -> None:
    assert missed(figures(**changes)) is expected


def test_limits_hold_figures_of_one_image() -> None:
    measured = {
        "seconds": {"compile": 2.0, "golden": 6.0}, "samples": 3, "seconds_total": 11.0, "peak_memory_bytes": 5,
        "peak_memory_simulator_bytes": 7,
    }  # fmt: skip
    found = limited(measured, Entry("x", "x", most={"golden": 5.0}))
    assert found["used"] == {"compile": 2.0, "golden": 2.0, "run": 11.0, "memory": 12}
    assert found["most"] == {"golden": 5.0}


def test_a_goal_in_cycles_over_the_bound_or_of_peak() -> None:
    assert Entry("x", "x", goal_cycles=7).goal(1000, 900.0) == 7
    assert Entry("x", "x", goal_over_bound=1.08).goal(1000, 900.0) == 1080
    assert Entry("x", "x", goal_utilization=0.9).goal(1000, 900.0) == 1000
    assert Entry("x", "x").goal(1000, 900.0) is None


def test_every_accelerator_has_a_description() -> None:
    sizes = {}
    for name in {entry.accel for entry in FULL_SPEED}:
        config = load_config(accelerator_source(name))
        assert config.name == name
        sizes[config.array.rows, config.array.columns] = config
    assert set(sizes) == {(8, 8), (16, 16), (32, 32), (64, 64)}
    # Memories and bus grow with the array.
    assert all(c.bus.data_bytes == c.dram.bytes_per_cycle == rows for (rows, _), c in sizes.items())


def test_readme_gets_the_table_between_its_marks() -> None:
    about = {"date": "today", "commit": "abc"}
    text = readme_with(f"before\n{README_BEGIN}\nwas here\n{README_END}\nafter\n", figures(), about)
    assert text.startswith(f"before\n{README_BEGIN}\n\n| network |")
    assert "was here" not in text
    assert "| resnet50_bnfolded (weights from seed 1) | base | 1,000 | 1,100 | yes | 75.0 % | 1.250 |" in text
    assert "Measured today, commit abc" in text
    assert text.endswith(f"{README_END}\nafter\n")
    assert readme_with(text, figures(), about) == text
    with pytest.raises(ValueError, match="needs a line"):
        readme_with("no marks", figures(), about)


def test_the_readme_has_the_marks() -> None:
    text = (ROOT / "README.md").read_text()
    assert 0 < text.find(README_BEGIN) < text.find(README_END)


def test_drawn_networks_are_what_they_are_said_to_be() -> None:
    texts = [random_graph(seed) for seed in SEEDS]
    assert random_graph(3) == texts[3] != texts[4]
    shapes = re.findall(r"variable.*?\[(\d+), (\d+), (\d+), (\d+)\]", "\n".join(texts))
    filters = [tuple(map(int, found)) for found in shapes]
    assert {kernel for _, _, kernel, _ in filters} == {1, 2, 3, 5, 7, 9, 11}
    assert sum(outputs % 16 != 0 for outputs, *_ in filters) > len(filters) / 2
    for word in ("add(", "concat(", "max_pool(", "avg_pool(", "groups = 0", "stride = [2, 2]"):
        assert any(word in text for text in texts), word


@pytest.mark.parametrize("seed", [0, 5, 6])
def test_drawn_networks_compile(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "drawn.nnef"
    path.write_text(random_graph(seed))
    network = prepare(Options(path, "base", samples=1, random_weights=seed))
    macs = sum(layer.macs for layer in network.image.layers)
    bound = cycle_bound(network.graph, Params(load_config("base")))
    on_array = sum(layer.macs for layer in network.image.layers if layer.unit == "array")
    assert macs > 1_000_000
    assert bound * 256 >= on_array


def test_the_command(tmp_path: Path) -> None:
    markdown, data = tmp_path / "table.md", tmp_path / "figures.json"
    script = [sys.executable, str(ROOT / "benchmarks" / "full_speed.py")]
    run = [*script, "--quick", "--only", "drawn", "--backend", "interp", "--json", str(data), "--markdown", str(markdown)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert markdown.read_text() == done.stdout
    found = json.loads(data.read_text())
    assert len(found["drawn"]) == 3
    assert all(each["bit_exact"] and each["bytes_checked"] > 0 for each in found["drawn"])
    again = subprocess.run([*script, "--from", str(data)], capture_output=True, text=True, check=False)
    assert again.stdout == done.stdout


@pytest.mark.parametrize("part", [["--quick"], ["--only", "drawn"], ["--backend", "interp"]])
def test_parts_are_not_published(part: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--publish", *part])
    assert "--publish is for all figures" in capsys.readouterr().err


def test_expected_totals_are_the_definition() -> None:
    states = [array_only.SEED + number for number in range(4)]

    def step(state: int) -> int:
        for shift in (13, -7, 17):
            state ^= (state << shift if shift > 0 else state >> -shift) & (1 << 64) - 1
        return state

    def taken(first: int) -> list[int]:
        values = [((states[first + half] >> 8 * byte & 0xFF) ^ 0x80) - 0x80 for half in range(2) for byte in range(8)]
        states[first : first + 2] = map(step, states[first : first + 2])
        return values

    tile = [taken(2) for _ in range(16)][::-1]
    expected = [0] * 16
    for _ in range(20):
        pixel = taken(0)
        expected = [(e + sum(a * w[c] for a, w in zip(pixel, tile, strict=True))) % 2**32 for c, e in enumerate(expected)]
    assert array_only.expected_totals(20) == expected


@pytest.mark.slow
@pytest.mark.xdist_group("array_only")
def test_the_array_alone_computes_and_is_always_busy() -> None:
    with array_only.open_array() as session:
        for pixels in (1, 64, 1000):
            cycles = array_only.run_pixels(session, pixels)
            assert array_only.totals(session) == array_only.expected_totals(pixels)
            assert cycles - pixels < 60  # the first tile, and the array's length
        assert np.any(array_only.totals(session))
