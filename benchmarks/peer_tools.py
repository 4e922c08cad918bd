"""The peers in their own environments, and processes whose own CPU time and memory are taken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systola.sim.rtl.build import cache_folder

__all__ = [
    "RESULTS", "SCALESIM", "ZIGZAG", "InstallError", "Process", "Tool", "default_folder", "install", "packages", "run_process",
]  # fmt: skip

DRIVERS = Path(__file__).with_name("peer_drivers")
LISTED = "installed.txt"
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")

RESULTS = "results.jsonl"
"""The file in its folder that a driver adds to."""


@dataclass(frozen=True)
class Tool:
    """A peer: its versions, and what it needs beside, in versions it works with."""

    name: str
    package: str
    version: str
    beside: tuple[str, ...]

    @property
    def requirements(self) -> tuple[str, ...]:
        """As pip takes them."""
        return (f"{self.package}=={self.version}", *self.beside)


SCALESIM = Tool("SCALE-Sim", "scalesim", "3.0.0", ("numpy==2.2.6",))
"""Stops with an exception of its own on numpy 2.4."""
ZIGZAG = Tool("ZigZag", "zigzag-dse", "3.9.1", ("numpy==2.2.6", "six==1.17.0"))
"""Imports six, and does not ask for it."""


class InstallError(Exception):
    """A tool could not be installed. The text is the installer's last word on it."""


def default_folder() -> Path:
    """Where the environments are kept, outside the checkout."""
    return cache_folder() / "peers"


def install(tool: Tool, folder: Path) -> Path:
    """The tool's Python, in an environment below ``folder`` that is made if need be. Raises InstallError."""
    own = folder / f"{tool.package}-{tool.version}-python{sys.version_info.major}.{sys.version_info.minor}"
    python, listed = own / "bin" / "python", own / LISTED
    if not listed.is_file():
        _said([sys.executable, "-m", "venv", "--clear", str(own)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        _said([*pip, "install", "--quiet", *tool.requirements])
        listed.write_text(_said([*pip, "freeze"]), encoding="utf-8")  # last: what is interrupted begins anew
    return python


def packages(python: Path) -> list[str]:
    """What an environment has, as ``name==version``."""
    return (python.parents[1] / LISTED).read_text(encoding="utf-8").split()


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InstallError(str(error)) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise InstallError((errors or lines or [f"exit status {done.returncode}"])[-1])
    return done.stdout


@dataclass(frozen=True)
class Process:
    """A process that has ended. ``results``: the lines of JSON it wrote. ``error``: None unless it failed by itself."""

    results: tuple[dict[str, Any], ...]
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    load_average: float
    stopped: bool
    error: str | None

    @property
    def figures(self) -> dict[str, Any]:
        """Of the whole process."""
        return {
            "process_seconds": self.seconds,
            "process_cpu_seconds": self.cpu_seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "load_average": self.load_average,
        }


def run_process(
    python: str | Path, driver: str, arguments: Sequence[str | Path], folder: Path, limit_seconds: float | None = None
) -> Process:
    """Run a driver in ``folder``, which gets what it prints; stopped after ``limit_seconds``.

    The driver is told to write its results to ``RESULTS`` in that folder, in its arguments.
    """
    load, begin = os.getloadavg()[0], time.perf_counter()
    stopped = threading.Event()
    errors = folder / f"{driver}.err"
    with (folder / f"{driver}.out").open("w") as output, errors.open("w") as error_output:
        process = subprocess.Popen(
            [str(python), str(DRIVERS / f"{driver}.py"), *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "Agg"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error_output,
        )

        def stop() -> None:
            stopped.set()
            process.kill()

        timer = threading.Timer(limit_seconds, stop) if limit_seconds is not None else None
        if timer is not None:
            timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)  # its own CPU time and memory, and its children's
        except BaseException:
            process.kill()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    error = None
    if process.returncode and not stopped.is_set():
        error = _last_words(errors.read_text(errors="replace")) or f"exit status {process.returncode}"
    return Process(
        _lines(folder / RESULTS), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, load, stopped.is_set(), error
    )


def _last_words(text: str) -> str:
    """The first line of the exception at a traceback's end; the last line of anything else."""
    lines = text.strip().splitlines()
    return next((line for line in reversed(lines) if EXCEPTION.match(line)), lines[-1] if lines else "")


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    """Whole lines only: a process may have been stopped in the midst of one."""
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
