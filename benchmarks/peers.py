"""Systola's cycle model beside ZigZag and SCALE-Sim on the same networks and the same array, in one run: time, and cycles.

    python benchmarks/peers.py                      # ResNet8 and ResNet-18; SCALE-Sim on ResNet-18 for ten minutes a dataflow
    python benchmarks/peers.py --quick              # ResNet8, one dataflow
    python benchmarks/peers.py --full               # SCALE-Sim to the end of ResNet-18: up to an hour a dataflow
    python benchmarks/peers.py --rtl                # also the RTL's cycles of both

Both tools are installed from PyPI, each in an environment of its own outside the checkout, and get inputs made from our layers.
A tool that cannot be installed is named, and the others are measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from catalog import FULL, MODELS, find_model
from measure import in_process
from peer_inputs import Dataflow, Machine, conv_layers
from peer_runs import Figures, Subject, measure_scalesim, measure_systola, measure_zigzag
from peer_tools import SCALESIM, ZIGZAG, InstallError, Tool, default_folder, install, packages
from tables import NOTHING, add_output_options, environment, markdown_table, number, percent, write_results

from systola.hw.config import load_config
from systola.hw.params import Params
from systola.mapper.nnef import read_model
from systola.mapper.quantize import quantize

__all__ = ["cycle_rows", "main", "speed_rows"]

ACCEL = "base"
NETWORKS = ("resnet8_int8", "resnet18_bnfolded")
LIMITED = frozenset({"resnet18_bnfolded"})
"""Where SCALE-Sim has a time limit."""

SYSTOLA, RTL, ZIGZAG_RUN = "Systola", "Systola, RTL", "ZigZag"
DATAFLOWS: Mapping[str, Dataflow] = {"SCALE-Sim, weight-stationary": "ws", "SCALE-Sim, output-stationary": "os"}
REFERENCES = (SYSTOLA, ZIGZAG_RUN, *DATAFLOWS)

Run = Callable[[], Figures]
Row = dict[str, Any]

SPEED_HEADER = (
    "network", "tool", "layers simulated", "analysis, CPU s", "wall s", "× Systola, CPU", "× wall",
    "whole process, CPU s", "wall s", "× Systola, CPU", "× wall", "peak MiB", "load",
)  # fmt: skip
CYCLES_HEADER = ("network", "tool", "what is counted", "cycles", "utilization", *(f"beside {name}" for name in REFERENCES))
TOOLS_HEADER = ("tool", "version", "in its environment")

EXPLAINED = """\
The same layers on the same array: {rows}×{columns} int8, {kilobytes} KiB of buffer, DRAM {rate} B/cycle. SCALE-Sim's total is
without the first loading of a layer's operands, each of which has {kilobytes} KiB of buffer and {bandwidth}.
ZigZag has two registers for weights at each multiplier, accumulators and a scratchpad, of Systola's sizes, and finds its mappings
itself, once filters are on columns and channels on rows; its total is with loading and writing back.

**Analysis** is what one more configuration takes in a running process. Of Systola: compiling and the cycle model, the first time
for this configuration, after another one. Of the peers: all layers, without imports. **Whole process** is from the
interpreter's start to its end; of Systola with reading and quantizing the network. Systola's compiled code is in its cache: the
first run of a version takes about a minute longer. Runs take turns: Systola runs before each peer and after the last, and medians
are shown.

**Utilization** is the multiplications of convolutions and fully connected layers, by cycles and multipliers. The peers count
these layers alone. Systola's cycles are those of the whole network on the accelerator, additions and pooling included, without
operations on the host (softmax); they are the cycle model's, which is equal to the RTL."""

UNLIMITED = """\
as much bandwidth as it needs: with
a limit (`--bandwidth`) the tool takes longer, and weight-stationary layers of many weights stall in its model, ResNet-18's last
one for 1.1 million cycles"""
LIMITED_TO = "the whole of the DRAM's bandwidth"

ESTIMATED = """

**≈**: not simulated to the end. A layer of a shape that was simulated counts with that one's cycles and time. Other ones have the
cycles of a formula without stalls, right in {right} of {checked} simulated layers, and time at these cycles per second."""


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if a measurement failed, or the RTL's cycles are not the model's. A tool that is not here fails nothing."""
    options = _parser().parse_args(arguments)
    about = environment()
    tools, found = _installed((ZIGZAG, SCALESIM), options.tools)
    rows: list[Row] = []
    for name in options.only or NETWORKS[: 1 if options.quick else None]:
        subject = _subject(name)
        if subject is None:
            _tell(f"{name}: not here; set SYSTOLA_MODELS to the folder of networks")
            continue
        if not rows:
            _tell("Systola once, not measured: its compiled code gets into the cache")
            measure_systola(subject, "warm")
        rows += _measured(subject, found, options)
    good = [row for row in rows if "error" not in row]
    tables = {
        "Time for one configuration": markdown_table(SPEED_HEADER, speed_rows(good), left=2),
        "Cycles": markdown_table(CYCLES_HEADER, cycle_rows(good), left=3),
        "What is compared": _explained(good, options.bandwidth),
        "Tools": markdown_table(TOOLS_HEADER, [[t["name"], t["version"], t["said"]] for t in tools], left=3),
    }
    failed = [(row["network"], row["tool"], row["error"]) for row in rows if "error" in row]
    failed += [(row["network"], RTL, "not the cycles of the model") for row in good if row["tool"] == RTL and not row["as_model"]]
    if failed:
        tables["Failed"] = markdown_table(("network", "tool", "what was said"), failed, left=3)
    figures = {"accelerator": ACCEL, "scalesim_bandwidth_limited": options.bandwidth, "tools": tools, "runs": rows}
    write_results("Systola beside ZigZag and SCALE-Sim", tables, figures, about, options)
    return int(bool(failed) or not rows)


def _installed(tools: Sequence[Tool], folder: Path) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """What became of each tool, and the Python of those that are here."""
    listed, found = [], {}
    for tool in tools:
        _tell(f"{' '.join(tool.requirements)} in {folder}")
        entry: dict[str, Any] = {"name": tool.name, "version": tool.version}
        try:
            python = found[tool.name] = install(tool, folder)
            entry |= {"said": ", ".join(tool.beside), "packages": packages(python)}
        except InstallError as error:
            entry |= {"said": f"not installed, not measured: {error}"}
        listed.append(entry)
    return listed, found


def _subject(name: str) -> Subject | None:
    """The network, quantized; None if it is not here."""
    entry = next(entry for entry in (*MODELS, *FULL) if entry.name == name)
    path = find_model(entry)
    if path is None:
        return None
    params = Params(load_config(ACCEL))
    graph = quantize(read_model(path, random_weights=entry.random_weights), multiplier_bits=params.multiplier_bits)
    return Subject(name, path, entry.random_weights, conv_layers(graph), ACCEL, Machine.of(params))


def _measured(subject: Subject, found: Mapping[str, Path], options: argparse.Namespace) -> Iterator[Row]:
    """A row for each tool: Systola first, then the peers that are here, then the RTL if asked for."""
    peers: list[tuple[str, Run]] = []
    if ZIGZAG.name in found:
        peers.append((ZIGZAG_RUN, partial(measure_zigzag, subject, found[ZIGZAG.name])))
    if SCALESIM.name in found:
        limit = 60 * options.limit_minutes if subject.name in LIMITED and not options.full else None
        for tool, dataflow in list(DATAFLOWS.items())[: 1 if options.quick else None]:
            asked = partial(measure_scalesim, subject, found[SCALESIM.name], dataflow)
            peers.append((tool, partial(asked, bandwidth=options.bandwidth, limit_seconds=limit)))
    own, others = [_systola(subject)], []
    for tool, measure in peers:
        _tell(f"{subject.name}: {tool}")
        others.append((tool, measure()))
        own.append(_systola(subject))
    systola = _medians(own)
    about = {
        "network": subject.name, "macs": sum(layer.macs for layer in subject.layers), "layer_count": len(subject.layers),
        "macs_per_cycle": subject.machine.rows * subject.machine.columns, "machine": vars(subject.machine),
    }  # fmt: skip
    for tool, figures in [(SYSTOLA, systola), *others]:
        yield about | {"tool": tool} | figures
    if options.rtl and "error" not in systola:
        yield about | {"tool": RTL} | _on_rtl(subject, systola["cycles"])


def _systola(subject: Subject) -> tuple[Figures, Figures]:
    _tell(f"{subject.name}: {SYSTOLA}")
    return measure_systola(subject, "warm"), measure_systola(subject, "cold")


def _medians(runs: Sequence[tuple[Figures, Figures]]) -> Figures:
    """Systola's figures from its turns: analysis from warm processes, the whole process from cold ones."""
    failed = next((figures for pair in runs for figures in pair if "error" in figures), None)
    if failed is not None:
        return failed
    warm, cold = zip(*runs, strict=True)
    return {
        "cycles": warm[0]["cycles"],
        **{key: median(run[key] for run in warm) for key in ("seconds", "cpu_seconds")},
        **{key: median(run[key] for run in cold) for key in ("process_seconds", "process_cpu_seconds")},
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in cold),
        "load_average": max(run["load_average"] for run in (*warm, *cold)),
        "warm": list(warm),
        "cold": list(cold),
    }


def _on_rtl(subject: Subject, cycles: int) -> Figures:
    _tell(f"{subject.name}: {RTL}")
    asked = {
        "model": str(subject.model), "accel": subject.accel, "samples": 1, "backend": "rtl", "random_weights": subject.seed,
        "dram_bytes_per_cycle": None,
    }  # fmt: skip
    figures = in_process("run", asked)
    if "error" in figures:
        return {"error": figures["error"]}
    return {"cycles": figures["cycles"][0], "as_model": figures["cycles"][0] == cycles, "bit_exact": figures["bit_exact"]}


def speed_rows(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Seconds of each tool that has them, and how many times Systola's these are."""
    for row in rows:
        if "seconds" not in row:
            continue
        own = _of(rows, row["network"], SYSTOLA)
        about = "≈ " if _estimated(row) else ""
        cells = [row["network"], row["tool"], _simulated(row)]
        for analysis in ("", "process_"):
            spent = {key: row[f"{analysis}{key}"] for key in ("cpu_seconds", "seconds")}
            cells += [about + _seconds(value) for value in spent.values()]
            cells += [
                NOTHING if own is None or own is row else f"{about}{_times(value / own[f'{analysis}{key}'])}"
                for key, value in spent.items()
            ]
        yield [*cells, number(row["peak_memory_bytes"] / 2**20), f"{row['load_average']:.1f}"]


def cycle_rows(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Cycles of each tool, and by how much they differ from each other's."""
    for row in rows:
        about = "≈ " if row.get("layers", {}).get("by_formula") else ""
        counted = "whole network" if row["tool"] in (SYSTOLA, RTL) else f"{row['layer_count']} layers"
        cells = [row["network"], row["tool"], counted, about + number(row["cycles"])]
        cells.append(percent(row["macs"] / row["macs_per_cycle"] / row["cycles"]))
        for name in REFERENCES:
            other = _of(rows, row["network"], name)
            apart = NOTHING if other is None or name == row["tool"] else f"{100 * (row['cycles'] / other['cycles'] - 1):+.1f} %"
            cells.append(apart)
        yield cells


def _explained(rows: Sequence[Row], bandwidth: bool) -> str:
    machine = Machine.of(Params(load_config(ACCEL)))
    text = EXPLAINED.format(
        rows=machine.rows, columns=machine.columns, kilobytes=machine.scratchpad_bytes // 1024,
        rate=machine.dram_bytes_per_cycle, bandwidth=LIMITED_TO if bandwidth else UNLIMITED,
    )  # fmt: skip
    if not any(map(_estimated, rows)):
        return text
    simulated = [row for row in rows if "formula_right" in row]
    right, checked = sum(row["formula_right"] for row in simulated), sum(row["layers"]["measured"] for row in simulated)
    return text + ESTIMATED.format(right=right, checked=checked)


def _of(rows: Sequence[Row], network: str, tool: str) -> Row | None:
    return next((row for row in rows if (row["network"], row["tool"]) == (network, tool)), None)


def _estimated(row: Row) -> bool:
    """Whether part of its time is not measured."""
    return "layers" in row and row["layers"]["measured"] < row["layer_count"]


def _simulated(row: Row) -> str:
    return f"{row['layers']['measured']} of {row['layer_count']}" if "layers" in row else "all"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else number(value)


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 10 else number(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Systola's cycle model beside ZigZag and SCALE-Sim: time and cycles.")
    parser.add_argument("--only", action="append", choices=NETWORKS, metavar="NAME", help=f"{' or '.join(NETWORKS)}; repeatable")
    parser.add_argument("--quick", action="store_true", help="the first network, one dataflow")
    parser.add_argument("--full", action="store_true", help="no time limit: every layer is simulated")
    parser.add_argument(
        "--limit-minutes", type=float, default=10.0, metavar="N", help="for SCALE-Sim on ResNet-18, each dataflow (10)"
    )
    parser.add_argument("--bandwidth", action="store_true", help="the DRAM's bandwidth as a limit for SCALE-Sim")
    parser.add_argument("--rtl", action="store_true", help="also run the networks on RTL")
    parser.add_argument("--tools", type=Path, default=default_folder(), metavar="DIR", help="where the tools are installed")
    add_output_options(parser)
    return parser


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
