"""How long a network takes to be read, quantized and compiled, and golden to compute one sample of it.

    python benchmarks/compile_time.py
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from catalog import FULL, MODELS, Entry, find_model
from measure import in_process
from tables import NOTHING, add_output_options, environment, markdown_table, number, seconds, write_results

__all__ = ["main"]

NETWORKS = (
    "digits", "resnet8_int8", "kws_int8", "vww_f32", "mobilenet_v2_ptq_int8", "resnet18_bnfolded", "resnet50_bnfolded",
)  # fmt: skip
GOALS = {("mobilenet_v2_ptq_int8", "compile"): 2.0, ("resnet50_bnfolded", "compile"): 5.0, ("resnet50_bnfolded", "golden"): 5.0}
"""Seconds, wall."""

STAGES = ("read", "quantize", "compile", "golden")
HEADER = (
    "network", "MACs", "layers", "read s", "quantize s", "compile s", "goal ≤", "golden s", "goal ≤", "all, CPU s", "peak MiB",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if a network failed. Time does not fail it: machines differ."""
    options = _parser().parse_args(arguments)
    about = environment()
    rows = []
    for entry in _entries(options.only or (("digits",) if options.quick else NETWORKS)):
        path = find_model(entry)
        if path is None:
            _tell(f"{entry.name}: not here; set SYSTOLA_MODELS to the folder of networks")
            continue
        _tell(entry.name)
        asked = {"model": str(path), "accel": options.accel, "random_weights": entry.random_weights}
        rows.append({"network": entry.name} | _with_goals(entry.name, in_process("compile", asked)))
    good = [row for row in rows if "error" not in row]
    tables = {f"Seconds by stage, for {options.accel}: wall (CPU)": markdown_table(HEADER, map(_row, good))}
    failed = [(row["network"], row["error"]) for row in rows if "error" in row]
    if failed:
        tables["Failed"] = markdown_table(("network", "what was said"), failed, left=2)
    write_results("Compile time", tables, {"accelerator": options.accel, "networks": rows}, about, options)
    return int(bool(failed) or not rows)


def _entries(names: tuple[str, ...] | list[str]) -> list[Entry]:
    by_name = {entry.name: entry for entry in (*FULL, *MODELS)}
    return [by_name[name] for name in names]


def _with_goals(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    return figures | {"goal_seconds": {stage: GOALS[name, stage] for stage in STAGES if (name, stage) in GOALS}}


def _row(row: dict[str, Any]) -> list[str]:
    wall, cpu, goals = row["seconds"], row["cpu_seconds"], row["goal_seconds"]
    cells = [row["network"], number(row["macs"]), number(row["layers"])]
    for stage in STAGES:
        cells.append(f"{seconds(wall[stage])} ({seconds(cpu[stage])})")
        if stage in ("compile", "golden"):
            cells.append(seconds(goals[stage]) if stage in goals else NOTHING)
    return [*cells, seconds(sum(cpu.values())), number(row["peak_memory_bytes"] / 2**20)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the time of reading, quantizing, compiling and the golden model.")
    names = sorted({entry.name for entry in (*MODELS, *FULL)})
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}; repeatable")
    parser.add_argument("--accel", default="base", help="a preset or an accelerator.toml (base)")
    parser.add_argument("--quick", action="store_true", help="digits only")
    add_output_options(parser)
    return parser


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
