"""Whole networks on the RTL: cycles, utilization, exactness, agreement and speed, targets beside figures.

    python benchmarks/networks.py                        # trained networks on base
    python benchmarks/networks.py --all-presets --full   # everything
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from catalog import FULL, MODELS, OTHER_PRESETS, Entry, accelerator_source, find_model
from measure import in_process
from tables import NOTHING, add_output_options, environment, markdown_table, met, number, percent, seconds, write_results

__all__ = ["main", "measured"]

QUICK_SAMPLES = 2
SPILL_FIGURES = (
    "samples", "cycles", "bit_exact", "tensors_checked", "bytes_checked", "bytes_different", "tensors_on_chip",
)  # fmt: skip
AGREEMENT_NAMES = {"top1": "top-1", "within_1": "within 1 code"}

CYCLES_HEADER = (
    "network", "accelerator", "cycles", "target ≤", "goal ≤", "bound", "utilization", "of bound", "met", "goal met",
)  # fmt: skip
EXACT_HEADER = (
    "network", "accelerator", "bit-exact", "samples", "tensors", "bytes compared", "on chip only",
    "all sent to memory: bit-exact", "samples", "tensors", "bytes compared", "agreement", "asked ≥", "met", "on the host",
)  # fmt: skip
SPEED_HEADER = (
    "network", "accelerator", "simulated cycles", "cycles/s", "cycles/CPU s", "simulate s", "golden s", "compile s", "whole s",
    "whole CPU s", "peak MiB", "simulator MiB",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if a network failed, differed from golden or missed its target."""
    options = _parser().parse_args(arguments)
    about = environment()
    rows, absent, built = [], [], set[str]()
    for entry in _entries(options):
        path = find_model(entry)
        if path is None:
            absent.append(entry)
            continue
        if options.backend == "rtl" and entry.accel not in built:
            _tell(f"simulation of {entry.accel}")
            in_process("build", {"accel": entry.accel})  # what is wrong with it, the run says again
            built.add(entry.accel)
        _tell(f"{entry.label} on {entry.accel}")
        rows.append(measured(entry, path, options.backend, QUICK_SAMPLES if options.quick else None, spill=options.spill))
    for entry in absent:
        _tell(f"{entry.label}: not here; set SYSTOLA_MODELS to the folder of networks")
    figures = {"networks": rows, "absent": [entry.label for entry in absent]}
    write_results("Whole networks", _tables(rows), figures, about, options)
    return int(any(_failed(row) for row in rows) or not rows)


def measured(entry: Entry, path: Path, backend: str, most_samples: int | None = None, *, spill: bool = True) -> dict[str, Any]:
    """An entry's figures beside what is asked of it.

    ``spill``: a second run of the same samples sends every tensor to memory, so that those are compared that stay on chip.
    """
    samples = entry.samples if most_samples is None else min(most_samples, entry.samples or most_samples)
    asked = {
        "model": str(path), "accel": accelerator_source(entry.accel), "samples": samples, "backend": backend,
        "random_weights": entry.random_weights, "dram_bytes_per_cycle": entry.dram_bytes_per_cycle,
    }  # fmt: skip
    figures = in_process("run", asked)
    if spill and "error" not in figures:
        spilled = in_process("run", asked | {"keep_on_chip": False})
        if "error" in spilled:
            figures = {"error": f"with every tensor sent to memory: {spilled['error']}"}
        else:
            figures["every_tensor"] = {name: spilled[name] for name in SPILL_FIGURES}
    row: dict[str, Any] = {"network": entry.label, "accelerator": entry.accel} | figures
    if "error" in figures:
        return row
    # Timing does not depend on data; only the first sample may find the memory in another state.
    cycles = max(figures["cycles"], default=None)
    goal = entry.goal(figures["bound_cycles"], figures["macs"] / figures["macs_per_cycle"])
    found = _share(entry, figures)
    return row | {
        "cycles_per_inference": cycles,
        "utilization": None if cycles is None else figures["macs"] / (figures["macs_per_cycle"] * cycles),
        "bound_share": None if cycles is None else figures["bound_cycles"] / cycles,
        "target_cycles": entry.target_cycles,
        "target_met": met(cycles, entry.target_cycles),
        "goal_cycles": goal,
        "goal_met": met(cycles, goal),
        "agreement_kind": entry.agreement,
        "agreement_share": found,
        "agreement_least": entry.agreement_least,
        "agreement_met": met(found, entry.agreement_least, least=True),
        "cycles_per_second": _rate(figures, figures["seconds"].get("simulate")),
        "cycles_per_cpu_second": _rate(figures, figures["simulation_cpu_seconds"]),
    }


def _share(entry: Entry, figures: dict[str, Any]) -> float | None:
    agreement = figures["agreement"]
    return None if agreement is None or entry.agreement is None else agreement[entry.agreement]


def _rate(figures: dict[str, Any], duration: float | None) -> float | None:
    return figures["simulated_cycles"] / duration if duration and figures["simulated_cycles"] else None


def _failed(row: dict[str, Any]) -> bool:
    if "error" in row:
        return True
    exact = row["bit_exact"] and row.get("every_tensor", row)["bit_exact"]
    return not exact or False in (row["target_met"], row["agreement_met"])


def _tables(rows: list[dict[str, Any]]) -> dict[str, str]:
    good = [row for row in rows if "error" not in row]
    tables = {
        "Cycles of one inference, start to interrupt": markdown_table(CYCLES_HEADER, map(_cycles_row, good), left=2),
        "Compared with golden and with reference outputs": markdown_table(EXACT_HEADER, map(_exact_row, good), left=2),
        "Time and memory of the run (they depend on the machine and its load)": markdown_table(
            SPEED_HEADER, map(_speed_row, good), left=2
        ),
    }
    if len(good) < len(rows):
        failed = [(row["network"], row["accelerator"], row["error"]) for row in rows if "error" in row]
        tables["Failed"] = markdown_table(("network", "accelerator", "what was said"), failed, left=3)
    return tables


def _cycles_row(row: dict[str, Any]) -> list[str]:
    return [
        row["network"], row["accelerator"], number(row["cycles_per_inference"]), number(row["target_cycles"]),
        number(row["goal_cycles"]), number(row["bound_cycles"]), percent(row["utilization"]), percent(row["bound_share"]),
        _yes(row["target_met"]), _yes(row["goal_met"]),
    ]  # fmt: skip


def _exact_row(row: dict[str, Any]) -> list[str]:
    kind, share = row["agreement_kind"], row["agreement_share"]
    host, every = row["host_operations"], row.get("every_tensor")
    return [
        row["network"], row["accelerator"], *_exact_cells(row), number(row["tensors_on_chip"]), *_exact_cells(every),
        percent(None) if share is None else f"{percent(share)} {AGREEMENT_NAMES[kind]} of {row['agreement']['samples']}",
        percent(row["agreement_least"]), _yes(row["agreement_met"]), ", ".join(sorted(set(host))) or "nothing",
    ]  # fmt: skip


def _exact_cells(figures: dict[str, Any] | None) -> list[str]:
    """Bit-exact or not, samples, tensors, bytes."""
    if figures is None:
        return [NOTHING] * 4
    exact = "yes" if figures["bit_exact"] else f"**no**, {figures['bytes_different']:,} bytes differ"
    return [exact, str(figures["samples"]), number(figures["tensors_checked"]), number(figures["bytes_checked"])]


def _speed_row(row: dict[str, Any]) -> list[str]:
    stages = row["seconds"]
    return [
        row["network"], row["accelerator"], number(row["simulated_cycles"]), number(row["cycles_per_second"]),
        number(row["cycles_per_cpu_second"]), seconds(stages.get("simulate")), seconds(stages.get("golden")),
        seconds(stages.get("compile")), seconds(row["seconds_total"]), seconds(row["cpu_seconds_total"]),
        number(row["peak_memory_bytes"] / 2**20), number(row["peak_memory_simulator_bytes"] / 2**20),
    ]  # fmt: skip


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "**no**", None: NOTHING}[value]


def _entries(options: argparse.Namespace) -> list[Entry]:
    """What was asked for. ``--only`` chooses among everything."""
    if options.only:
        return [entry for entry in (*MODELS, *OTHER_PRESETS, *FULL) if entry.name in options.only and _on(entry, options)]
    chosen = [*MODELS, *(OTHER_PRESETS if options.all_presets else ()), *(FULL if options.full else ())]
    return [entry for entry in chosen if _on(entry, options)]


def _on(entry: Entry, options: argparse.Namespace) -> bool:
    if options.accel is not None:
        return bool(entry.accel == options.accel)
    return options.all_presets or entry.accel == "base"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run whole networks on the RTL and print figures beside targets.")
    names = sorted({entry.name for entry in (*MODELS, *FULL)})
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}; repeatable")
    parser.add_argument("--quick", action="store_true", help=f"at most {QUICK_SAMPLES} samples of each network")
    parser.add_argument("--all-presets", action="store_true", help="also resnet8_int8 and kws_int8 on the other presets")
    parser.add_argument("--accel", help="only what runs on this preset")
    parser.add_argument("--full", action="store_true", help="also full-size graphs with random weights (minutes each)")
    parser.add_argument(
        "--spill", action=argparse.BooleanOptionalAction, default=True,
        help="also run with every tensor sent to memory, so that every one is compared (twice the time; default: do)",
    )  # fmt: skip
    parser.add_argument("--backend", choices=("rtl", "interp"), default="rtl", help="interp: exactness without cycles")
    add_output_options(parser)
    return parser


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
