"""Resources of an FPGA as yosys counts them, unit by unit, for configurations of every kind; and the model fitted on them.

    ./systola-setup fpga
    python benchmarks/resources.py --measure     # half an hour; continues where it was stopped
    python benchmarks/resources.py --route tiny  # half an hour
    python benchmarks/resources.py --fit         # reports/systola/reports/resource_models/ecp5.toml

Counts are kept in reports/published/resources-ecp5.json. Each configuration is synthesized whole and flat, as
``systola synth`` does; a cell is counted for the unit that its name says. ``--route NAME`` also places and routes it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from catalog import ROOT
from tables import NOTHING, markdown_table, number, percent

from systola.driver.synth.design import Design
from systola.driver.synth.families import FAMILIES
from systola.driver.synth.flow import synthesize_accelerator, unit_cells
from systola.driver.synth.names import TOP_UNIT
from systola.driver.synth.tools import YOSYS, find_tool
from systola.driver.synth.yosys import synthesize
from systola.hw.config import PRESETS, Config, load_config
from systola.hw.emit import TOP_MODULE
from systola.hw.errors import SystolaError
from systola.hw.params import Params
from systola.reports.resources import LUT4_PER_RAM
from systola.reports.resources_fit import count, fit_model, fit_whole, ranges
from systola.sim.rtl.build import verilog_of

COUNTS = ROOT / "reports" / "published" / "resources-ecp5.json"
MODEL = ROOT / "reports" / "systola" / "reports" / "resource_models" / "ecp5.toml"
CELLS = ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF", "MULT18X18D", "DP16KD")
ROUTE_DEVICE = "ecp5-85k"
ASKED_MHZ = 110

DESCRIPTIONS = Path(__file__).with_name("resources.toml")
"""The configurations that the model is fitted on."""


def configurations() -> dict[str, Config]:
    """The presets up to 16 × 16, and what DESCRIPTIONS has."""
    found = {name: load_config(name) for name in PRESETS if name != "large"}
    for name, sections in tomllib.loads(DESCRIPTIONS.read_text(encoding="utf-8")).items():
        found[name] = Config.model_validate({"name": name, **sections})
    return found


def measure(counts: dict[str, Any], configs: Iterable[Config]) -> None:
    """Synthesizes the configurations that ``counts`` does not have as they are now; counts are saved after each."""
    for config in configs:
        design = Design(verilog_of(Params(config)))
        digest = design_digest(design)
        entry = counts["configurations"].get(config.name)
        if entry is not None and entry.get("digest") == digest:
            continue
        found = unit_cells(design, synthesize(design.text, TOP_MODULE, FAMILIES["ecp5"]))
        print(f"{config.name}: {sum(found.values(), Counter())}", file=sys.stderr, flush=True)
        between = found.pop(TOP_UNIT)
        counts["configurations"][config.name] = {
            "config": config.model_dump(exclude={"name", "clock", "dram", "technology"}),
            "digest": digest,
            "units": {unit: {"cells": {cell: cells[cell] for cell in CELLS}} for unit, cells in found.items()},
        }
        whole = sum(found.values(), between)
        counts["whole"][config.name] = {"cells": {cell: whole[cell] for cell in CELLS}}
        save(counts)


def design_digest(design: Design) -> str:
    """The same for the same accelerator."""
    return hashlib.sha256("".join(map(design.digest, design.units)).encode()).hexdigest()[:16]


def measure_routes(counts: dict[str, Any], names: Iterable[str]) -> None:
    """Place and route configurations that were synthesized."""
    for name in names:
        counts["whole"][name]["routed"] = route(Params(configurations()[name]))
        save(counts)


def route(params: Params) -> dict[str, Any]:
    """Place and route; the clock and the path that bounds it. Raises SystolaError if it cannot be routed."""
    report = synthesize_accelerator(params, ROUTE_DEVICE, clock_mhz=ASKED_MHZ).report
    if report.best is None:
        raise SystolaError(f"{params.config.name} was not routed: {report.unplaced_reason}")
    path = report.best.path
    return {
        "device": ROUTE_DEVICE, "asked_mhz": ASKED_MHZ, "fmax_mhz": report.fmax_mhz,
        "path_from": path.begins, "path_to": path.ends, "path_logic_ns": path.logic_ns, "path_routing_ns": path.routing_ns,
        "packed": {cell: report.best.utilization[cell][0] for cell in ("TRELLIS_COMB", "TRELLIS_RAMW", "TRELLIS_FF")},
    }  # fmt: skip


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
    parser.add_argument("--measure", action="store_true", help="synthesize the configurations that are not in the counts yet")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this configuration (repeatable)")
    parser.add_argument("--route", action="append", default=[], metavar="NAME", help="place and route it, too (repeatable)")
    parser.add_argument("--fit", action="store_true", help="fit the model and write it")
    arguments = parser.parse_args()
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {"configurations": {}, "whole": {}, "tools": {}}
    if arguments.measure:
        counts["tools"] = {"yosys": find_tool(YOSYS).version, "amaranth": version("amaranth")}
        every = configurations()
        measure(counts, [every[name] for name in arguments.only or every])
    measure_routes(counts, arguments.route)
    if arguments.fit:
        MODEL.write_text(write_model(counts), encoding="utf-8")
    print(tables(counts), end="")


if __name__ == "__main__":
    main()
