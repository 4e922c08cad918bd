"""The sweep's database while it is written: one process writes, and every point is there as soon as it is known."""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from systola.driver.sweep.outcomes import PointOutcome
from systola.driver.sweep.points import Point
from systola.hw.errors import SystolaError
from systola.reports.sweep.database import (
    DATABASE_NAME,
    SCHEMA_VERSION,
    TABLES,
    check_version,
    definition_to_json,
    network_to_json,
    read_points,
    resources_to_json,
)
from systola.reports.sweep.results import Agreement, PointResult, SweepDefinition, Verification

__all__ = ["AgreementKey", "Store"]

AgreementKey = tuple[str, str, int]
"""Network, method, bits of the multiplier."""

LOCK_NAME = "sweep.lock"


class Store:
    """A sweep's folder, open for writing. Raises SystolaError where another sweep has it, or holds other results."""

    def __init__(self, folder: Path, definition: SweepDefinition, versions: Mapping[str, str], executor: str) -> None:
        self._definition = definition
        self._path = folder / DATABASE_NAME
        self._lock = (folder / LOCK_NAME).open("w")
        try:
            self._open(folder)
            with self._writing():
                self._begin(versions, executor)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Store:
        """The store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the database, which is one file then, and give the folder free."""
        with suppress(sqlite3.OperationalError):  # somebody is reading
            self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
        self._lock.close()

    def finished(self) -> set[str]:
        """Hashes of the points that have been computed, whatever came out."""
        return {row[0] for row in self._connection.execute("SELECT hash FROM points")}

    def agreements(self) -> set[AgreementKey]:
        """The agreements that have been measured."""
        return set(map(tuple, self._connection.execute("SELECT network, method, multiplier_bits FROM agreements")))

    def agreement_values(self, network: str) -> dict[tuple[str, int], float]:
        """A network's agreements by method and multiplier's bits; those that could not be measured are not in it."""
        query = "SELECT method, multiplier_bits, top1 FROM agreements WHERE network = ? AND top1 IS NOT NULL"
        return {(row[0], row[1]): row[2] for row in self._connection.execute(query, (network,))}

    def points(self, hashes: Collection[str]) -> dict[str, PointResult]:
        """Points by hash, as ``load_results`` gives them."""
        return {point.hash: point for point in read_points(self._connection, self._definition, hashes)}

    def forget_failed(self) -> int:
        """Forget what failed, so that it is computed again. Returns how many points."""
        with self._writing():
            self._connection.execute("DELETE FROM agreements WHERE reason != ''")
            return self._connection.execute("DELETE FROM points WHERE state = 'failed'").rowcount

    def add_point(self, point: Point, outcome: PointOutcome) -> None:
        """Record a point, with all its results or not at all."""
        row = (
            point.hash, point.ordinal, json.dumps(point.axes), json.dumps(point.config), point.method, outcome.state,
            outcome.reason, resources_to_json(outcome.resources), outcome.seconds, outcome.worker, _now(), self._session,
        )  # fmt: skip
        results = [
            (point.hash, n.network, n.cycles, n.latency_ms, n.energy_j.value, n.dram_bytes, n.memory_bytes, n.utilization,
             network_to_json(n))
            for n in outcome.networks
        ]  # fmt: skip
        with self._writing():
            self._connection.execute(f"INSERT INTO points VALUES ({_places(row)})", row)
            self._connection.executemany("INSERT INTO network_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", results)

    def add_agreement(self, key: AgreementKey, agreement: Agreement | None, reason: str = "") -> None:
        """Record an agreement; None where there is nothing to compare with, or for the reason."""
        values = (agreement.samples, agreement.top1, agreement.reference) if agreement else (None, None, "")
        with self._writing():
            self._connection.execute("INSERT INTO agreements VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, *values, reason))

    def add_verification(self, point_hash: str, verification: Verification) -> None:
        """Record a run on RTL; a later one replaces it."""
        row = (point_hash, *asdict(verification).values())
        with self._writing():
            self._connection.execute(f"INSERT OR REPLACE INTO verifications VALUES ({_places(row)})", row)

    def _open(self, folder: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SystolaError(f"another sweep is writing to {folder}: wait for it, or give another folder") from error
        try:
            # Transactions are opened by _writing alone. NORMAL: a killed process loses nothing, a power cut the last points.
            self._connection = sqlite3.connect(self._path, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {setting}")
        except sqlite3.DatabaseError as error:
            raise SystolaError(f"{self._path} cannot be used as a sweep's database: {error}") from error

    def _begin(self, versions: Mapping[str, str], executor: str) -> None:
        """Make the tables, or see that they hold this very sweep; then note the session."""
        if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            check_version(self._connection, self._path)
            self._check_definition(versions)
            self._connection.execute("UPDATE sweep SET definition = ?", (definition_to_json(self._definition),))
        else:
            for statement in TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            row = (definition_to_json(self._definition), _identity(self._definition), versions["systola"])
            self._connection.execute("INSERT INTO sweep VALUES (?, ?, ?)", row)
        session = (None, _now(), json.dumps(dict(versions)), executor)
        self._session = self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", session).lastrowid

    def _check_definition(self, versions: Mapping[str, str]) -> None:
        row = self._connection.execute("SELECT definition_hash, systola FROM sweep").fetchone()
        if row["definition_hash"] != _identity(self._definition):
            raise SystolaError(
                f"{self._path} holds another sweep: its models, their files, the space or the base are not the same as now. Give "
                "another folder with -o, or delete this one to begin anew; only sampling.points may change when a sweep goes on"
            )
        if row["systola"] != versions["systola"]:
            raise SystolaError(
                f"{self._path} was made by Systola {row['systola']}, this is {versions['systola']}: their figures are not the "
                "same. Give another folder with -o"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction. Raises SystolaError where the disk is full or the file damaged."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise SystolaError(f"{self._path} cannot be written: {error}") from error


def _identity(definition: SweepDefinition) -> str:
    """Of all that may not change; more points may be asked for, and models may have moved."""
    networks = tuple(replace(network, source="") for network in definition.networks)
    text = definition_to_json(replace(definition, points=None, networks=networks))
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _places(row: tuple[object, ...]) -> str:
    return ", ".join("?" * len(row))
