"""Resources and clock of accelerators on ECP5, as ``systola synth`` measures them.

    ./systola-setup fpga
    python benchmarks/synthesis.py --only tiny            # some of them (repeatable)
    python benchmarks/synthesis.py --seeds 3 --publish    # all, then reports/published/synthesis.* and the README's table; hours

What was made before comes from the cache: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from catalog import ROOT
from tables import NOTHING, add_output_options, environment, markdown_table, number, write_results

from systola.driver.synth.flow import synthesize_accelerator
from systola.hw.config import Config, load_config
from systola.hw.params import Params
from systola.reports.synthesis.schema import SynthesisReport
from systola.reports.synthesis.text import shortage_text

DEVICE = "ecp5-85k"
ASKED_MHZ = 120.0
PRESETS = ("tiny", "small", "tall", "wide")
DESCRIPTIONS = Path(__file__).with_name("resources.toml")
DESCRIBED = ("a-4x4-no-taps", "f-8x8-no-taps", "l-8x8-two-taps")
"""Of DESCRIPTIONS, those that are routed too."""

PUBLISHED = ROOT / "reports" / "published" / "synthesis"
README = ROOT / "README.md"
BEGIN, END = "<!-- synthesis: written by benchmarks/synthesis.py --publish -->", "<!-- synthesis: end -->"


def configurations() -> dict[str, Config]:
    """The accelerators of the table."""
    sections = tomllib.loads(DESCRIPTIONS.read_text(encoding="utf-8"))
    described = {name: Config.model_validate({"name": name, **sections[name]}) for name in DESCRIBED }
    return described | {name: load_config(name) for name in PRESETS}


def table(reports: list[SynthesisReport]) -> str:
    """Resources and clock of each."""
    header = ("accelerator", "LUT4", "registers", "MULT18X18D", "DP16KD", "Fmax MHz", "best seed", "critical path")
    return markdown_table(header, [_row(report) for report in reports])


def _row(report: SynthesisReport) -> tuple[str, ...]:
    total, array, best = report.total, report.accelerator["array"], report.best
    name = f"{report.accelerator['name']} ({array['rows']}×{array['columns']})"
    counts = tuple(map(number, (total.lut, total.ff, total.dsp, total.ram)))
    if best is None:
        why = shortage_text(report) if report.short else report.unplaced_reason
        return name, *counts, NOTHING, NOTHING, f"does not fit: {why}"
    seed = f"{report.best_seed} of {len(report.seeds)}"
    return name, *counts, f"{best.fmax_mhz:.1f}", seed, f"{best.path.begins} → {best.path.ends}"


def write_readme(text: str) -> None:
    """Put the table between its marks, which are there. Raises ValueError if they are not."""
    page = README.read_text(encoding="utf-8")
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", page, re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no place for the table: {BEGIN} … {END}")
    README.write_text(page.replace(found[0], f"{BEGIN}\n\n{text}\n\n{END}"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this accelerator (repeatable)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of place and route, in turn")
    parser.add_argument("--device", default=DEVICE)
    parser.add_argument("--clock", type=float, default=ASKED_MHZ, metavar="MHZ", help="clock that is tried for")
    parser.add_argument("--publish", action="store_true", help="write reports/published/ and the README's table")
    add_output_options(parser)
    arguments = parser.parse_args()
    every = configurations()
    if unknown := set(arguments.only) - set(every):
        parser.error(f"--only {', '.join(sorted(unknown))}: the accelerators are {', '.join(every)}")
    if arguments.publish:
        if arguments.only:
            parser.error("--publish is for all accelerators: leave out --only")
        arguments.markdown, arguments.json = PUBLISHED.with_suffix(".md"), PUBLISHED.with_suffix(".json")
    about, reports = environment(), []
    for name in arguments.only or every:
        found = synthesize_accelerator(
            Params(every[name]), arguments.device, seeds=arguments.seeds, clock_mhz=arguments.clock,
            progress=lambda text, name=name: print(f"{name}: {text}", file=sys.stderr),
        )  # fmt: skip
        reports.append(found.report)
    title = f"{reports[0].part}, {arguments.clock:g} MHz asked for, best of {arguments.seeds} seeds"
    figures: dict[str, Any] = {"reports": [report.model_dump(mode="json") for report in reports]}
    write_results("Synthesis", {title: table(reports)}, figures, about, arguments)
    if arguments.publish:
        write_readme(f"{table(reports)}\n\n{title}; measured {about['date']}, commit {about['commit']}.")


if __name__ == "__main__":
    main()
