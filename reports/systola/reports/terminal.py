"""The report on a terminal: made to be read in 100 columns."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from systola.reports.causes import CAUSE_WORDS, Cause
from systola.reports.classes import USE_ORDER, USE_WORDS, Use
from systola.reports.schema import LayerReport, Report
from systola.reports.statements import statements
from systola.reports.words import ENGINE_NAMES, bytes_text, count_text, percent, quantity, shorten

__all__ = ["print_report"]

NAME_WIDTH = 28


def print_report(report: Report, console: Console) -> None:
    """Print layers, where the cycles went, and the findings."""
    parts = [_layers(report)]
    if report.engines is not None:
        parts += [_uses(report), _causes(report)]
    console.print(Group(*(item for part in parts for item in (part, Text())), _findings(report)))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", show_footer=True, box=None, pad_edge=False)


def _layers(report: Report) -> Table:
    array = report.accelerator["array"]
    title = f"{report.network} on {report.accelerator['name']} ({array['rows']}×{array['columns']}), {report.backend}"
    table = _table(title)
    energy = quantity(report.energy_j.value, "J") if report.energy_j else ""
    read, written = (sum(getattr(la, f"dram_{way}_bytes") or 0 for la in report.layers) for way in ("read", "write"))
    table.add_column("layer", f"{len(report.layers)} layers", no_wrap=True)
    table.add_column("kind", no_wrap=True, max_width=16)
    for name, footer in (
        ("MACs", count_text(report.macs)), ("cycles", count_text(report.cycles_total)), ("of peak", percent(report.utilization)),
        ("DRAM in", bytes_text(read)), ("DRAM out", bytes_text(written)), ("energy", energy), ("SQNR", ""),
    ):  # fmt: skip
        if name in ("cycles", "of peak") and report.cycles_total is None:
            continue
        table.add_column(name, footer, justify="right", no_wrap=True)
    for layer in report.layers:
        table.add_row(*_layer(layer, timed=report.cycles_total is not None), style="dim" if layer.unit == "host" else None)
    return table


def _layer(layer: LayerReport, *, timed: bool) -> list[str]:
    time = [count_text(layer.cycles), percent(layer.utilization) if layer.macs else ""] if timed else []
    return [
        shorten(layer.name, NAME_WIDTH),
        f"{layer.kind} (host)" if layer.unit == "host" else layer.kind,
        count_text(layer.macs) if layer.macs else "",
        *time,
        bytes_text(layer.dram_read_bytes) if layer.dram_read_bytes else "",
        bytes_text(layer.dram_write_bytes) if layer.dram_write_bytes else "",
        quantity(layer.energy_j.value, "J") if layer.energy_j else "",
        "" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB",
    ]


def _uses(report: Report) -> Table:
    """Engines by what their cycles went to; each engine's column sums to the total."""
    engines, total = report.engines or {}, report.cycles_total or 1
    table = _table("Where the cycles went (and percent)")
    table.add_column("", "total", no_wrap=True)
    for engine, classes in engines.items():
        table.add_column(engine, f"{sum(classes.values()):,} 100", justify="right", no_wrap=True)
    for item in USE_ORDER:
        counts = [classes.get(item.name.lower(), 0) for classes in engines.values()]
        if any(counts):
            cells = [_share(count, total) for count in counts]
            table.add_row(USE_WORDS[item], *cells, style="bold" if item is Use.USEFUL else None)
    return table


def _causes(report: Report) -> Table:
    """The judged engine's cycles by root cause, the largest loss first."""
    causes, total = report.causes or {}, report.cycles_total or 1
    table = _table(f"Why: the {ENGINE_NAMES[report.judged_engine or 'array']}'s cycles by what held it up in the end")
    table.add_column("", "total", no_wrap=True)
    table.add_column("cycles", count_text(sum(causes.values())), justify="right", no_wrap=True)
    table.add_column("of all", percent(sum(causes.values()) / total), justify="right", no_wrap=True)
    table.add_column("most in layer", "", no_wrap=True)
    order = sorted(causes.items(), key=lambda item: (item[0] != Cause.USEFUL.name.lower(), -item[1]))
    for name, count in order:
        most = max(report.layers, key=lambda layer: (layer.causes or {}).get(name, 0))
        part = (most.causes or {}).get(name, 0) / count
        cells = count_text(count), percent(count / total), f"{shorten(most.name, NAME_WIDTH)} ({percent(part)})"
        word = CAUSE_WORDS[Cause[name.upper()]]
        table.add_row(word, *cells, style="bold" if name == Cause.USEFUL.name.lower() else None)
    return table


def _share(count: int, total: int) -> str:
    """The count, and its part of ``total`` in percent: in this form five of them fit beside each other."""
    part = 100 * count / total
    return f"{count:,} {f'{part:.0f}' if part >= 10 else f'{part:.1f}':>3}" if count else ""


def _findings(report: Report) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for subject, sentence in statements(report):
        style = "" if subject != "Exact" or report.bit_exact is None else "green" if report.bit_exact else "bold red"
        table.add_row(subject, Text(sentence, style=style))
    for note in report.notes:
        table.add_row("Note", Text(note, style="dim"))
    return table
