"""A sweep's results as tables: ``points.csv`` and the front on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from systola.reports.files import write_text
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import NetworkResult, PointResult, SweepResults

__all__ = ["front_table", "table_rows", "write_csv"]

CSV_NAME = "points.csv"
HASH_SHOWN = 8
FRONT_SHOWN = 25
ALSO_SHOWN = ("latency_ms", "energy_uj", "utilization", "agreement")


def table_rows(results: SweepResults) -> list[dict[str, Any]]:
    """A row for every point, all with the same columns; None where there is no figure."""
    rows = [dict(_cells(point, results)) for point in results.points]
    columns = dict.fromkeys(name for row in rows for name in row)
    return [dict.fromkeys(columns) | row for row in rows]


def _cells(point: PointResult, results: SweepResults) -> Iterator[tuple[str, Any]]:
    yield "hash", point.hash
    yield "ordinal", point.ordinal
    yield "state", point.state
    yield "reason", point.reason
    yield "front", point.hash in results.front
    yield "verified", point.verified
    yield from point.axes.items()
    yield from ((name, point.metrics.get(name)) for name in METRICS)
    for definition in results.definition.networks:
        own = next((n for n in point.networks if n.network == definition.name), None)
        yield from _network_cells(definition.name, own)


def _network_cells(name: str, result: NetworkResult | None) -> Iterator[tuple[str, Any]]:
    for figure in ("cycles", "latency_ms", "dram_bytes", "memory_bytes", "utilization", "host_share"):
        yield f"{name}.{figure}", None if result is None else getattr(result, figure)
    for bound in ("value", "low", "high"):
        yield f"{name}.energy_uj.{bound}", None if result is None else 1e6 * getattr(result.energy_j, bound)
    yield f"{name}.bound", None if result is None else result.roofline.bound
    yield f"{name}.bound_cycles", None if result is None else result.roofline.bound_cycles
    yield f"{name}.macs_per_byte", None if result is None else result.roofline.intensity
    yield f"{name}.agreement", None if result is None or result.agreement is None else result.agreement.top1


def write_csv(results: SweepResults, folder: Path) -> Path:
    """Write ``points.csv``; empty cells are what is not known."""
    rows = table_rows(results)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["hash"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / CSV_NAME, text.getvalue())
    return folder / CSV_NAME


def front_table(results: SweepResults) -> Table:
    """The Pareto front, best in the first objective first."""
    objectives = [objective.metric for objective in results.definition.objectives]
    points = results.front_points[:FRONT_SHOWN]
    known = [name for name in ALSO_SHOWN if name not in objectives and any(name in p.metrics for p in points)]
    rest = len(results.front) - len(points)
    axes = [axis.name for axis in results.definition.axes]
    table = Table(
        title=f"Pareto front of {', '.join(METRICS[name].title for name in objectives)}",
        caption=f"{rest} more in points.csv" if rest else None,
    )
    table.add_column("point", no_wrap=True)
    for name in axes:
        table.add_column(name.replace(".", ".\n").replace("_", "_\n"), justify="right")
    for name in (*objectives, *known):
        table.add_column(METRICS[name].title, justify="right")
    table.add_column("RTL")
    for point in points:
        figures = (_figure(point.metrics.get(name)) for name in (*objectives, *known))
        table.add_row(point.hash[:HASH_SHOWN], *(_figure(point.axes[name]) for name in axes), *figures, _verified(point))
    return table


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)


def _verified(point: PointResult) -> str:
    return "equal" if point.verified else "differs" if point.refuted else ""
