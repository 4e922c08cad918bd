"""A synthesis report as tables and sentences, the same on a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from systola.reports.synthesis.schema import HARNESS, Counts, PathStep, SynthesisReport
from systola.reports.words import percent, shorten

__all__ = ["clock_text", "markdown", "print_synthesis", "sentences", "tables"]

NAME_WIDTH = 60
NAMED_UNITS_SHOWN = 6


@dataclass(frozen=True)
class Grid:
    """A table: the first ``left`` columns are texts, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def tables(report: SynthesisReport) -> list[Grid]:
    """Resources by unit; where it was routed, the clock of each seed and the critical path."""
    found = [_resources(report)]
    if report.seeds:
        found.append(_seeds(report))
    if report.best is not None:
        found.append(_path(report))
    return found


def _resources(report: SynthesisReport) -> Grid:
    names = report.names
    rows = [(unit, *_counts(found.counts)) for unit, found in report.units.items() if found.cells]
    rows.append(("in all", *_counts(report.total)))
    if report.available is not None:
        rows.append((f"{report.device} has", *_counts(report.available)))
        shares = (getattr(report.total, key) / getattr(report.available, key) for key in names)
        rows.append(("used", *(percent(share) for share in shares)))
    if report.harness is not None:
        rows.append((f"{'board' if report.board else 'harness'}, not counted", *_counts(report.harness)))
    title = f"{report.accelerator['name']} on {report.part or report.device}"
    return Grid(title, ("unit", *names.values()), tuple(rows))


def _counts(counts: Counts) -> tuple[str, ...]:
    return f"{counts.lut:,}", f"{counts.ff:,}", f"{counts.dsp:,}", f"{counts.ram:,}"


def _seeds(report: SynthesisReport) -> Grid:
    rows = []
    for found in report.seeds:
        clock = "not routed" if found.route is None else f"{found.route.fmax_mhz:.1f}"
        ends = "" if found.route is None else f"{found.route.path.begins} → {found.route.path.ends}"
        best = " (best)" if found.seed == report.best_seed else ""
        rows.append((f"{found.seed}{best}", found.failure or ends, clock, f"{found.seconds:.0f}"))
    return Grid("Clock by seed", ("seed", "critical path", "Fmax MHz", "seconds"), tuple(rows), left=2)


def _path(report: SynthesisReport) -> Grid:
    assert report.best is not None
    path = report.best.path
    rows = tuple(_merged(path.steps))
    title = f"Critical path: {path.delay_ns:.2f} ns, {path.logic_ns:.2f} of logic and {path.routing_ns:.2f} of routing"
    return Grid(title, ("through", "step", "ns"), rows, left=2)


def _merged(steps: Sequence[PathStep]) -> Iterator[tuple[str, ...]]:
    """Steps of one name and kind that follow each other, added up: a chain of carries is one."""
    place = 0
    while place < len(steps):
        first, total, count = steps[place], 0.0, 0
        while place < len(steps) and (steps[place].name, steps[place].kind) == (first.name, first.kind):
            total, count, place = total + steps[place].delay_ns, count + 1, place + 1
        yield shorten(first.name, NAME_WIDTH), first.kind + (f" × {count}" if count > 1 else ""), f"{total:.2f}"


def clock_text(report: SynthesisReport) -> str:
    """Where the clock comes from, for reports of runs."""
    seeds = f", best of {len(report.seeds)} seeds" if len(report.seeds) > 1 else ""
    if report.board and report.met:
        return f"that of the PLL on {report.board}"
    return f"reached by place and route on {report.part}{seeds}"


def sentences(report: SynthesisReport) -> list[tuple[str, str]]:
    """(subject, sentence)."""
    lines = [
        ("Fits", _fits(report)),
        ("Clock", _clock(report)),
        ("Multiplications", _multiplications(report)),
        ("Counted", f"{report.rule}."),
        ("Bitstream", _bitstream(report)),
    ]
    return [(subject, text) for subject, text in lines if text]


def _bitstream(report: SynthesisReport) -> str:
    if report.bitstream is None:
        return missed_clock(report) if report.board and report.met is False else ""
    if report.board:
        return f"{report.bitstream}: for {report.board}, where the PLL makes {report.asked_mhz:g} MHz"
    return f"{report.bitstream}: of the accelerator in its harness, out of context"


def missed_clock(report: SynthesisReport) -> str:
    """Why a board gets no bitstream, and what to do."""
    return (
        f"no bitstream: the PLL of {report.board} would make {report.asked_mhz:g} MHz, and {report.fmax_mhz:g} MHz were reached; "
        "give a lower --clock, or more --seeds"
    )


def _fits(report: SynthesisReport) -> str:
    if report.unplaced_reason == "resources only":
        return f"not known: {report.device} is counted, not placed"
    if report.fits:
        return f"yes, placed and routed on {report.part}"
    if report.short:
        return f"no: {shortage_text(report)}"
    return "no: it was routed with none of the seeds: " + "; ".join(sorted({seed.failure for seed in report.seeds}))


def shortage_text(report: SynthesisReport) -> str:
    """What the device has too few of."""
    parts = (f"{s.needed:,} {s.resource} of {s.available:,}" for s in report.short)
    return "it needs " + ", ".join(parts)


def _clock(report: SynthesisReport) -> str:
    if report.fmax_mhz is None or report.best is None:
        return ""
    asked = f"{report.asked_mhz:g} MHz were asked for" + ("" if report.met else ", which is missed")
    path = report.best.path
    edge = ""
    if HARNESS in (path.begins, path.ends):
        between = "a port and a register of the harness at it"
        edge = f"; the path is one {'to or from what is around the accelerator' if report.board else f'between {between}'}"
    return f"{report.fmax_mhz:.1f} MHz, seed {report.best_seed} of {len(report.seeds)}; {asked}{edge}"


def _multiplications(report: SynthesisReport) -> str:
    found = report.multiplications
    text = f"{found.rtl:,} in the RTL, in {found.blocks:,} {report.names['dsp']}"
    if not found.left:
        return f"{text}; none is left to look-up tables"
    left = sorted(found.left.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{unit} {number:,}" for unit, number in left[:NAMED_UNITS_SHOWN])
    return f"{text}; {sum(found.left.values()):,} that could not be mapped are computed by look-up tables ({shown})"


def markdown(report: SynthesisReport) -> str:
    """The report as a page."""
    versions = ", ".join(f"{tool} {version}" for tool, version in report.versions.items())
    parts = [f"# Synthesis of {report.accelerator['name']} for {report.board or report.device}"]
    parts.append("\n".join(f"- **{subject}**: {text}" for subject, text in sentences(report)))
    parts += [f"## {grid.title}\n\n{_markdown_table(grid)}" for grid in tables(report)]
    parts.append(f"{versions}. Verilog {report.verilog}.")
    return "\n\n".join(parts) + "\n"


def _markdown_table(grid: Grid) -> str:
    marks = tuple(":--" if place < grid.left else "--:" for place in range(len(grid.header)))
    return "\n".join(_row(cells) for cells in (grid.header, marks, *grid.rows))


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def print_synthesis(report: SynthesisReport, console: Console) -> None:
    """Print tables and findings."""
    for grid in tables(report):
        table = Table(title=grid.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for place, name in enumerate(grid.header):
            table.add_column(name, justify="left" if place < grid.left else "right", overflow="fold")
        for row in grid.rows:
            table.add_row(*map(Text, row), style="bold" if row[0] == "in all" else None)
        console.print(table)
        console.print()
    found = Table.grid(padding=(0, 1))
    found.add_column(style="bold", no_wrap=True)
    found.add_column()
    for subject, sentence in sentences(report):
        wrong = (subject == "Fits" and report.fits is False) or (subject == "Clock" and report.met is False)
        found.add_row(subject, Text(sentence, style="bold red" if wrong else ""))
    console.print(found)
