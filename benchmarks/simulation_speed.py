"""How fast the RTL simulates through cocotb, how long its build takes, and whether a second run builds nothing.

    python benchmarks/simulation_speed.py
    python benchmarks/simulation_speed.py --skip-build   # speed only
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from catalog import MODELS, find_model
from measure import in_process
from tables import NOTHING, add_output_options, environment, markdown_table, met, number, seconds, write_results

__all__ = ["main"]

TARGET_CYCLES_PER_SECOND = 200_000
GOAL_CYCLES_PER_SECOND = 300_000
TARGET_COLD_BUILD_SECONDS = 180
TARGET_SECONDS = {"resnet8_int8": 1.0, "mobilenet_v2_ptq_int8": 15.0}
"""Wall time of one inference on base."""

NETWORKS = ("resnet8_int8", "mobilenet_v2_ptq_int8")
IDLE_CYCLES = 500_000
QUICK_IDLE_CYCLES = 20_000

SPEED_HEADER = (
    "network", "cycles", "runs", "wall s", "target ≤", "cycles/s, wall", "cycles/CPU s, simulator",
    "cycles/CPU s, both processes", "target ≥", "goal ≥", "cycles/s while waiting, wall", "start s",
)  # fmt: skip
BUILD_HEADER = ("what", "wall s", "CPU s", "target ≤", "met")


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if something failed or a second run built again. Speed does not fail it: machines differ."""
    options = _parser().parse_args(arguments)
    about = environment()
    figures: dict[str, Any] = {"accelerator": options.accel}
    tables = {}
    if not options.skip_build:
        figures["build"] = _builds(options.accel)
        tables["Build and start"] = markdown_table(BUILD_HEADER, _build_rows(figures["build"]))
    _tell(f"simulation of {options.accel}")
    in_process("build", {"accel": options.accel})
    figures["speed"] = [_speed(name, options) for name in options.only or NETWORKS]
    good = [row for row in figures["speed"] if "error" not in row]
    tables[f"Speed of the RTL simulation of {options.accel} through cocotb (median of the runs)"] = markdown_table(
        SPEED_HEADER, map(_speed_row, good)
    )
    failed = [(row["network"], row["error"]) for row in figures["speed"] if "error" in row]
    if failed:
        tables["Failed"] = markdown_table(("network", "what was said"), failed, left=2)
    write_results("Simulation speed", tables, figures, about, options)
    return int(bool(failed) or not figures.get("build", {}).get("second_run_builds_nothing", True))


def _builds(accel: str) -> dict[str, Any]:
    """A build into an empty cache, then again: nothing may be built, and no file of the cache may change."""
    with tempfile.TemporaryDirectory(prefix="systola-cold-") as folder:
        environment = {"SYSTOLA_CACHE": folder}
        _tell("cold build, in an empty cache (minutes)")
        cold = in_process("build", {"accel": accel}, environment)
        before = _contents(Path(folder))
        _tell("once more, from the cache")
        warm = in_process("build", {"accel": accel}, environment)
        nothing = "error" not in warm and not warm["built"] and _contents(Path(folder)) == before
    return {"cold": cold, "warm": warm, "second_run_builds_nothing": nothing}


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file but locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _speed(name: str, options: argparse.Namespace) -> dict[str, Any]:
    entry = next(entry for entry in MODELS if entry.name == name)
    path = find_model(entry)
    if path is None:
        return {"network": name, "error": "not here: set SYSTOLA_MODELS to the folder of networks"}
    _tell(name)
    found = in_process(
        "speed",
        {
            "model": str(path), "accel": options.accel, "samples": 2, "random_weights": entry.random_weights,
            "repeats": 1 if options.quick else options.runs, "idle_cycles": QUICK_IDLE_CYCLES if options.quick else IDLE_CYCLES,
        },
    )  # fmt: skip
    if "error" in found:
        return {"network": name, "error": found["error"]}
    runs = found["runs"]
    return {
        "network": name,
        "cycles": runs[0]["cycles"],
        "seconds": median(run["seconds"] for run in runs),
        "target_seconds": TARGET_SECONDS.get(name) if options.accel == "base" else None,
        "cycles_per_second": _median_rate(runs, "seconds"),
        "cycles_per_simulator_cpu_second": _median_rate(runs, "simulator_cpu_seconds"),
        "cycles_per_cpu_second": _median_rate(runs, "cpu_seconds"),
        "target_cycles_per_second": TARGET_CYCLES_PER_SECOND,
        "goal_cycles_per_second": GOAL_CYCLES_PER_SECOND,
        "idle_cycles_per_second": _median_rate(found["idle"], "seconds"),
        **found,
    }


def _median_rate(runs: list[dict[str, Any]], duration: str) -> float | None:
    """Cycles over a duration; None where a run is too short for the CPU clock's ticks."""
    rates = [run["cycles"] / run[duration] for run in runs if run[duration] > 0]
    return median(rates) if len(rates) == len(runs) else None


def _speed_row(row: dict[str, Any]) -> list[str]:
    return [
        row["network"], number(row["cycles"]), str(len(row["runs"])), seconds(row["seconds"]), seconds(row["target_seconds"]),
        number(row["cycles_per_second"]), number(row["cycles_per_simulator_cpu_second"]), number(row["cycles_per_cpu_second"]),
        number(row["target_cycles_per_second"]), number(row["goal_cycles_per_second"]), number(row["idle_cycles_per_second"]),
        seconds(row["start_seconds"]),
    ]  # fmt: skip


def _build_rows(figures: dict[str, Any]) -> list[list[str]]:
    cold, warm = figures["cold"], figures["warm"]
    if "error" in cold:
        return [["cold build", cold["error"], NOTHING, NOTHING, NOTHING]]
    kept = met(cold["seconds"], TARGET_COLD_BUILD_SECONDS)
    return [
        ["cold build", seconds(cold["seconds"]), seconds(cold["cpu_seconds"]), seconds(TARGET_COLD_BUILD_SECONDS), _yes(kept)],
        ["from the cache", seconds(warm.get("seconds")), seconds(warm.get("cpu_seconds")), NOTHING, NOTHING],
        ["second run builds nothing", NOTHING, NOTHING, NOTHING, _yes(figures["second_run_builds_nothing"])],
    ]


def _yes(value: bool | None) -> str:
    return "yes" if value else "**no**"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the RTL simulation's speed, build and start.")
    names = [entry.name for entry in MODELS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"instead of {', '.join(NETWORKS)}")
    parser.add_argument("--accel", default="base", help="a preset (base)")
    parser.add_argument("--runs", type=int, default=5, help="inferences that the median is of (5)")
    parser.add_argument("--quick", action="store_true", help="one inference of each")
    parser.add_argument("--skip-build", action="store_true", help="no cold build")
    add_output_options(parser)
    return parser


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
