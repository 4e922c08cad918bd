"""The tables of ``full_speed.py``, from its figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tables import NOTHING, markdown_table, met, number, percent, seconds

from systola.reports.classes import USE_WORDS, Use

__all__ = ["README_BEGIN", "README_END", "largest_losses", "readme_with", "tables"]

README_BEGIN = "<!-- full speed: written by benchmarks/full_speed.py --publish -->"
README_END = "<!-- full speed: end -->"
GROWTH = "resnet50_bnfolded"
LOSSES = 3

NETWORK_HEADER = (
    "network", "accelerator", "cycles", "target ≤", "met", "bound", "cycles / bound", "of peak", "bit-exact",
    "where the array's other cycles went",
)  # fmt: skip
RUN_HEADER = (
    "network", "accelerator", "cycles/s", "simulate s", "compile s", "golden s/image", "whole run s", "memory MiB", "kept",
    "report s", "built in s",
)  # fmt: skip
DRAWN_HEADER = (
    "network", "layers' MACs", "cycles", "bound", "cycles / bound", "of peak", "bit-exact", "where the array's other cycles went",
)  # fmt: skip
HELP_HEADER = ("network", "accelerator", "what would help most")
README_HEADER = ("network", "accelerator", "cycles", "target ≤", "met", "of peak", "cycles / bound")
Row = Mapping[str, Any]


def tables(figures: Mapping[str, Any]) -> dict[str, str]:
    """All tables by title, those with nothing in them left out."""
    networks, drawn = _good(figures["networks"]), _good(figures["drawn"])
    rows = [*figures["networks"], *figures["drawn"]]
    failed = [(row["network"], row["accelerator"], row["error"]) for row in rows if "error" in row]
    alone = figures["array_alone"]
    if alone is not None and "error" in alone:
        failed.append(("the array alone", "base", alone["error"]))
        alone = None
    found: dict[str, tuple[tuple[str, ...], Sequence[Sequence[str]], int]] = {
        "Cycles of one inference, start to interrupt": (NETWORK_HEADER, [_network_row(row) for row in networks], 2),
        "What would help most": (HELP_HEADER, [[*_names(row), row["advice"]] for row in networks if row["advice"]], 3),
        "Growth with the array": (*_growth(networks), 1),
        "Networks drawn from seeds, on base": (DRAWN_HEADER, [*_drawn_summary(drawn), *(_drawn_row(row) for row in drawn)], 1),
        "Time and memory of each run (the machine and its load matter)": (RUN_HEADER, [_run_row(row) for row in networks], 2),
        "Simulation of the accelerator beside the array alone, by turns, medians": (*_alone(alone), 1),
        "Failed": (("network", "accelerator", "what was said"), failed, 3),
    }
    return {title: markdown_table(header, rows, left=left) for title, (header, rows, left) in found.items() if rows}


def _good(rows: list[Row]) -> list[Row]:
    return [row for row in rows if "error" not in row]


def _network_row(row: Row) -> list[str]:
    return [
        *_names(row), number(row["cycles_per_inference"]), number(row["goal_cycles"]), _yes(row["goal_met"]),
        number(row["bound_cycles"]), _over_bound(row), percent(row["utilization"]), _exact(row), largest_losses(row),
    ]  # fmt: skip


def _names(row: Row) -> list[str]:
    seed = row.get("random_weights")
    return [row["network"] if seed is None else f"{row['network']} (weights from seed {seed})", row["accelerator"]]


def _over_bound(row: Row) -> str:
    cycles = row["cycles_per_inference"]
    return NOTHING if cycles is None else f"{cycles / row['bound_cycles']:.3f}"


def _exact(row: Row) -> str:
    return "yes" if row["bit_exact"] else f"**no**, {row['bytes_different']:,} bytes differ"


def largest_losses(row: Row) -> str:
    """What the array's cycles went to but useful work, largest first, as shares of all cycles."""
    uses = row["array_uses"]
    if not uses:
        return NOTHING
    total = sum(uses.values())
    lost = sorted(((count, Use[name.upper()]) for name, count in uses.items() if count), reverse=True)
    words = [f"{USE_WORDS[use]} {percent(count / total)}" for count, use in lost if use is not Use.USEFUL]
    return ", ".join(words[:LOSSES]) or "nowhere"


def _growth(networks: list[Row]) -> tuple[tuple[str, ...], list[list[str]]]:
    """One network on arrays of different sizes, beside the smallest of them."""
    header = ("array", "cycles", "of peak", "times as fast", "times the multipliers")
    rows = {(row["macs_per_cycle"], row["accelerator"]): row for row in networks if row["network"] == GROWTH}
    measured = [row for _, row in sorted(rows.items()) if row["cycles_per_inference"] is not None]
    if len(measured) < 2:
        return header, []
    first = measured[0]
    return header, [
        [
            row["accelerator"], number(row["cycles_per_inference"]), percent(row["utilization"]),
            f"{first['cycles_per_inference'] / row['cycles_per_inference']:.2f}",
            f"{row['macs_per_cycle'] / first['macs_per_cycle']:.0f}",
        ]
        for row in measured
    ]  # fmt: skip


def _run_row(row: Row) -> list[str]:
    used, most = row["used"], row["most"]
    cells = []
    for name, shown in (("compile", seconds), ("golden", seconds), ("run", seconds), ("memory", _mebibytes)):
        cells.append(f"{shown(used[name])} (≤ {shown(most[name])})" if name in most else shown(used[name]))
    kept = [met(used[name], limit) for name, limit in most.items()]
    return [
        *_names(row), number(row["cycles_per_second"]), seconds(row["seconds"].get("simulate")), *cells,
        _yes(None if not kept else False not in kept), seconds(row.get("seconds_report")), seconds(row.get("build_seconds")),
    ]  # fmt: skip


def _mebibytes(value: float) -> str:
    return number(value / 2**20)


def _drawn_row(row: Row) -> list[str]:
    return [
        row["network"], number(row["macs"]), number(row["cycles_per_inference"]), number(row["bound_cycles"]), _over_bound(row),
        percent(row["utilization"]), _exact(row), largest_losses(row),
    ]  # fmt: skip


def _drawn_summary(rows: list[Row]) -> list[list[str]]:
    """Least, median and greatest of what the drawn networks took over their bounds; how many are exact."""
    timed = [row for row in rows if row["cycles_per_inference"] is not None]
    if not timed:
        return []
    over = [row["cycles_per_inference"] / row["bound_cycles"] for row in timed]
    peak = [row["utilization"] for row in timed]
    exact = f"{sum(row['bit_exact'] for row in rows)} of {len(rows)}"
    return [
        [name, NOTHING, NOTHING, NOTHING, f"{pick(over):.3f}", percent(other(peak)), exact, NOTHING]
        for name, pick, other in (("best", min, max), ("median", median, median), ("worst", max, min))
    ]


def _alone(figures: Mapping[str, Any] | None) -> tuple[tuple[str, ...], list[list[str]]]:
    header = ("what", "cycles/s, wall", "cycles/CPU s, simulator", "asked ≥", "met")
    if figures is None:
        return header, []
    rates, least = figures["rates"], figures["least_cycles_per_second"]
    return header, [
        ["accelerator (ResNet8)", number(rates["accelerator_wall"]), number(rates["accelerator_cpu"]), number(least),
         _yes(met(rates["accelerator_wall"], least, least=True))],
        ["array alone, busy in every cycle", number(rates["array_wall"]), number(rates["array_cpu"]), NOTHING, NOTHING],
        ["ratio", f"{figures['ratio']:.2f}", f"{figures['ratio_cpu']:.2f}", f"{figures['least_ratio']:.2f}",
         _yes(met(figures["ratio"], figures["least_ratio"], least=True))],
    ]  # fmt: skip


def readme_with(text: str, figures: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The README with the table of ``figures`` between its two marks. Raises ValueError if they are not there, in order."""
    before, begin, rest = text.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise ValueError(f"the README needs a line '{README_BEGIN}' and after it a line '{README_END}'")
    rows = [
        [*_names(row), number(row["cycles_per_inference"]), number(row["goal_cycles"]), _yes(row["goal_met"]),
         percent(row["utilization"]), _over_bound(row)]
        for row in _good(figures["networks"])
    ]  # fmt: skip
    said = f"Measured {about['date']}, commit {about['commit']}; [all figures](reports/published/full-speed.md)."
    return f"{before}{begin}\n\n{markdown_table(README_HEADER, rows, left=2)}\n\n{said}\n\n{end}{after}"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "**no**", None: NOTHING}[value]
