"""The files of a report: ``report.json``, ``report.html``, ``timeline.json``."""

from __future__ import annotations

import json
from pathlib import Path

from systola.reports.files import output_folder, write_text
from systola.reports.html import render_html
from systola.reports.model import attribution_of
from systola.reports.record import RunRecord
from systola.reports.schema import Report
from systola.reports.timeline import timeline

__all__ = ["write_report"]


def write_report(report: Report, record: RunRecord, folder: Path) -> None:
    """Write the files into a folder, each whole or not at all; ``timeline.json`` only where the backend has time.

    Raises SystolaError where the folder cannot be made.
    """
    home, attribution = output_folder(folder), attribution_of(record)
    write_text(home / "report.json", report.model_dump_json(indent=2) + "\n")
    write_text(home / "report.html", render_html(report, attribution))
    if attribution is not None:
        trace = timeline(attribution, record.image.layers, record.network)
        write_text(home / "timeline.json", json.dumps(trace, separators=(",", ":")) + "\n")
