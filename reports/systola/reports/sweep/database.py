"""The sweep's database: its tables, and how results lie in them. SQLite; one file, ``sweep.sqlite``, in the sweep's folder.

Figures that one would ask for in SQL have columns of their own; ``detail`` holds the whole result as JSON.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from systola.hw.errors import SystolaError
from systola.reports.schema import Bounded
from systola.reports.sweep.metrics import point_metrics
from systola.reports.sweep.pareto import pareto_front
from systola.reports.sweep.results import (
    Agreement,
    AxisDefinition,
    Estimate,
    NetworkDefinition,
    NetworkResult,
    Objective,
    PointResult,
    Resources,
    Roofline,
    SweepDefinition,
    SweepResults,
    Verification,
)

__all__ = [
    "DATABASE_NAME",
    "SCHEMA_VERSION",
    "TABLES",
    "check_version",
    "definition_from_json",
    "definition_to_json",
    "load_results",
    "network_to_json",
    "read_points",
    "resources_to_json",
]

DATABASE_NAME = "sweep.sqlite"
SCHEMA_VERSION = 1
"""Also the database's ``user_version``."""

TABLES = """
CREATE TABLE sweep (
    definition TEXT NOT NULL,       -- SweepDefinition as JSON
    definition_hash TEXT NOT NULL,  -- of what may not change when the sweep is resumed
    systola TEXT NOT NULL           -- version that computes the points
);
CREATE TABLE sessions (             -- every time that the command ran
    session INTEGER PRIMARY KEY,
    started TEXT NOT NULL,
    versions TEXT NOT NULL,         -- of Python, Systola, packages: JSON
    executor TEXT NOT NULL
);
CREATE TABLE points (
    hash TEXT PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    axes TEXT NOT NULL,
    config TEXT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('done', 'invalid', 'failed')),
    reason TEXT NOT NULL,
    resources TEXT,
    seconds REAL NOT NULL,
    worker TEXT NOT NULL,
    finished TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions
) WITHOUT ROWID;
CREATE TABLE network_results (
    hash TEXT NOT NULL REFERENCES points ON DELETE CASCADE,
    network TEXT NOT NULL,
    cycles INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    energy_j REAL NOT NULL,
    dram_bytes INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    utilization REAL NOT NULL,
    detail TEXT NOT NULL,           -- NetworkResult as JSON, without the agreement
    PRIMARY KEY (hash, network)
) WITHOUT ROWID;
CREATE TABLE agreements (           -- depend on the quantization alone
    network TEXT NOT NULL,
    method TEXT NOT NULL,
    multiplier_bits INTEGER NOT NULL,
    samples INTEGER,                -- null: there is nothing to compare with, or reason says what failed
    top1 REAL,
    reference TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (network, method, multiplier_bits)
) WITHOUT ROWID;
CREATE TABLE verifications (
    hash TEXT NOT NULL REFERENCES points ON DELETE CASCADE,
    network TEXT NOT NULL,
    model_cycles INTEGER NOT NULL,
    rtl_cycles INTEGER,
    counters_equal INTEGER NOT NULL,
    bytes_checked INTEGER NOT NULL,
    bytes_different INTEGER NOT NULL,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (hash, network)
) WITHOUT ROWID;
"""


def load_results(folder: Path) -> SweepResults:
    """Read a sweep's folder; a sweep that is still running, or was killed, too.

    Raises SystolaError where there is no sweep, or one of another version.
    """
    path = folder / DATABASE_NAME
    if not path.is_file():
        raise SystolaError(
            f"there is no sweep in {folder}: a sweep's folder holds {DATABASE_NAME}; systola sweep MODEL --space FILE -o FOLDER "
            "makes one"
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            check_version(connection, path)
            return _results(connection, path)
    except sqlite3.DatabaseError as error:
        raise SystolaError(f"{path} cannot be read as a sweep's database: {error}") from error


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises SystolaError where the database has other tables than these."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise SystolaError(
            f"{path} has schema version {version}; this Systola reads version {SCHEMA_VERSION}: use the Systola that made it, or "
            "another folder"
        )


def _results(connection: sqlite3.Connection, path: Path) -> SweepResults:
    row = connection.execute("SELECT definition FROM sweep").fetchone()
    if row is None:
        raise SystolaError(f"{path} holds no sweep: it ended before it began; run it again")
    definition = definition_from_json(row["definition"])
    session = connection.execute("SELECT versions FROM sessions ORDER BY session DESC LIMIT 1").fetchone()
    points = read_points(connection, definition)
    metrics = {point.hash: point.metrics for point in points if point.state == "done"}
    versions = json.loads(session["versions"]) if session else {}
    return SweepResults(definition, versions, points, pareto_front(metrics, definition.objectives))


def read_points(
    connection: sqlite3.Connection, definition: SweepDefinition, hashes: Collection[str] | None = None
) -> tuple[PointResult, ...]:
    """The points with these hashes, or all, in the order of their ordinals."""
    chosen = "" if hashes is None else "WHERE hash IN (SELECT value FROM json_each(?))"
    these = () if hashes is None else (json.dumps(list(hashes)),)
    agreements = {
        (row["network"], row["method"], row["multiplier_bits"]): Agreement(row["samples"], row["top1"], row["reference"])
        for row in connection.execute("SELECT * FROM agreements WHERE samples IS NOT NULL")
    }
    networks: dict[str, dict[str, str]] = {}
    for row in connection.execute(f"SELECT hash, network, detail FROM network_results {chosen}", these):
        networks.setdefault(row["hash"], {})[row["network"]] = row["detail"]
    verifications: dict[str, list[Verification]] = {}
    for row in connection.execute(f"SELECT * FROM verifications {chosen} ORDER BY hash, network", these):
        values = dict(row)
        verifications.setdefault(values.pop("hash"), []).append(
            Verification(**values | {"counters_equal": bool(values["counters_equal"])})
        )
    order = [network.name for network in definition.networks]
    result = []
    for row in connection.execute(f"SELECT * FROM points {chosen} ORDER BY ordinal, hash", these):
        config = json.loads(row["config"])
        own = networks.get(row["hash"], {})
        bits = config.get("requantize", {}).get("multiplier_bits")
        found = tuple(
            _network_from_json(own[name], agreements.get((name, row["method"], bits))) for name in order if name in own
        )
        resources = _resources_from_json(row["resources"])
        metrics = point_metrics(found, definition.networks, config, resources) if row["state"] == "done" else {}
        point = PointResult(
            row["hash"], row["ordinal"], json.loads(row["axes"]), config, row["method"], row["state"], row["reason"], found,
            resources, metrics, tuple(verifications.get(row["hash"], ())),
            row["seconds"], row["worker"], row["finished"],
        )  # fmt: skip
        result.append(point)
    return tuple(result)


def network_to_json(result: NetworkResult) -> str:
    """A network's result as it lies in ``detail``."""
    data = {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "agreement"}
    data["energy_j"] = result.energy_j.model_dump()
    data["roofline"] = asdict(result.roofline)
    return json.dumps(data)


def _network_from_json(text: str, agreement: Agreement | None) -> NetworkResult:
    data: dict[str, Any] = json.loads(text)
    data["energy_j"] = Bounded(**data["energy_j"])
    data["roofline"] = Roofline(**data["roofline"])
    return NetworkResult(**data, agreement=agreement)


def resources_to_json(resources: Resources | None) -> str | None:
    """Resources as they lie in their column."""
    return None if resources is None else json.dumps(asdict(resources))


def _resources_from_json(text: str | None) -> Resources | None:
    if text is None:
        return None
    data: dict[str, Any] = json.loads(text)
    extrapolated = tuple(data.pop("extrapolated"))
    return Resources(**{name: Estimate(**entry) for name, entry in data.items()}, extrapolated=extrapolated)


def definition_to_json(definition: SweepDefinition) -> str:
    """A definition as it lies in the database."""
    return json.dumps(asdict(definition), sort_keys=True)


def definition_from_json(text: str) -> SweepDefinition:
    """The definition that ``definition_to_json`` wrote."""
    data = cast("dict[str, Any]", json.loads(text))
    data["networks"] = tuple(NetworkDefinition(**entry) for entry in data["networks"])
    data["axes"] = tuple(AxisDefinition(**entry | {"values": tuple(entry["values"])}) for entry in data["axes"])
    data["objectives"] = tuple(Objective(**entry) for entry in data["objectives"])
    data["constraints"] = tuple(data["constraints"])
    return SweepDefinition(**data)
