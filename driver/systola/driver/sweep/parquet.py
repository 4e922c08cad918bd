"""``points.parquet``: the same table as ``points.csv``, with types. Needs the extra ``sweep``."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet

from systola.driver.sweep.export import table_rows
from systola.reports.files import write_bytes
from systola.reports.sweep.results import SweepResults

__all__ = ["write_parquet"]

PARQUET_NAME = "points.parquet"


def write_parquet(results: SweepResults, folder: Path) -> Path:
    """Write the file; a column without any figure has the type null."""
    table = pyarrow.Table.from_pylist(table_rows(results))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    write_bytes(folder / PARQUET_NAME, sink.getvalue().to_pybytes())
    return folder / PARQUET_NAME
