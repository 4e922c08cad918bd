"""The files of a report: ``report.json``, ``report.html``, ``timeline.json``."""

from __future__ import annotations

from pathlib import Path

from systola.reports.files import output_folder, write_text
from systola.reports.record import RunRecord
from systola.reports.schema import Report

__all__ = ["write_report"]


def write_report(report: Report, record: RunRecord, folder: Path) -> None:
    """Write the files into a folder, each whole or not at all. Raises SystolaError where the folder cannot be made."""
    home = output_folder(folder)
    write_text(home / "report.json", report.model_dump_json(indent=2) + "\n")

