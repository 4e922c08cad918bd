"""The report on a terminal."""

from __future__ import annotations

from rich.console import Console

from systola.reports.schema import Report

__all__ = ["print_report"]


def print_report(report: Report, console: Console) -> None:
    """Print the tables and totals."""
    console.print(f"{report.network} on {report.accelerator['name']}: {report.cycles_total} cycles")
