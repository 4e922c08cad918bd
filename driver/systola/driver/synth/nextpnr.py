"""Place and route with one seed, and the bitstream of what came of it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from systola.driver.synth.devices import Target
from systola.driver.synth.kept import keep
from systola.driver.synth.process import run_tool
from systola.driver.synth.tools import ECPPACK, NEXTPNR, find_tool
from systola.sim.rtl.cache import Progress, tell

__all__ = ["ERROR", "LPF", "Placed", "pack_bitstream", "place_and_route"]

LPF = "pins.lpf"
ERROR = re.compile(r"^ERROR: (.*)$", re.MULTILINE)
"""How nextpnr says that it cannot."""

_STEPS = (
    (re.compile(r"^Info: Packing"), "packing"),
    (re.compile(r"^Info: Running simulated annealing|^Info: Creating initial|^Info:\s+at (?:initial placer )?iter"), "placing"),
    (re.compile(r"^Info: Routing|^Info: Running router"), "routing"),
    (re.compile(r"^Info:\s+\d+ \|.*\|\s*(\d+)\|"), "routing: {0} connections to go"),
)


@dataclass(frozen=True)
class Placed:
    """A run of nextpnr in its folder of the cache. ``status`` is not 0 if it failed; then there is no report."""

    folder: Path
    seed: int
    status: int
    seconds: float

    @property
    def log(self) -> Path:
        """What nextpnr said."""
        return self.folder / "nextpnr.log"

    @property
    def report(self) -> Path:
        """nextpnr's own report, JSON."""
        return self.folder / "report.json"


def place_and_route(
    wrapped: Path,
    target: Target,
    speed: int,
    clock_mhz: float,
    seed: int,
    progress: Progress | None = None,
    *,
    constraints: str = "",
) -> Placed:
    """Place and route ``harness.json`` of the folder ``wrapped``; from the cache where the same nextpnr did it before.

    ``constraints``: an LPF file's text, with a pin for every port; without it, any pins are taken.

    A design that does not fit or cannot be routed is no exception: ``status`` says so, and is kept too. Raises ToolError if
    nextpnr is not installed or does not start.
    """
    tool = find_tool(NEXTPNR)
    options = [
        target.flag, "--package", target.package, "--speed", str(speed), "--freq", f"{clock_mhz:g}", "--seed", str(seed),
        "--router", "router1", *(("--lpf", LPF) if constraints else ("--lpf-allow-unconstrained",)), "--timing-allow-fail",
    ]  # fmt: skip

    def on_line(line: str) -> None:
        for pattern, words in _STEPS:
            if found := pattern.match(line):
                tell(progress, f"seed {seed}: {words.format(*found.groups())}")
                return

    def make(folder: Path) -> None:
        (folder / "harness.json").write_bytes((wrapped / "harness.json").read_bytes())
        (folder / LPF).write_text(constraints, encoding="utf-8")
        begin = time.perf_counter()
        tell(progress, f"seed {seed}: place and route (nextpnr)")
        files = ["--json", "harness.json", "--textcfg", "routed.config", "--report", "report.json"]
        ended = run_tool(tool, [*options, *files], folder, on_line)
        if ended.status and not ERROR.search(ended.output):  # it was ended from outside: nothing to keep
            ended.require_success()
        (folder / "nextpnr.log").write_text(ended.output, encoding="utf-8")
        (folder / "harness.json").unlink()
        ending = {"status": ended.status, "seconds": time.perf_counter() - begin}
        (folder / "ending.json").write_text(json.dumps(ending), encoding="utf-8")

    folder = keep("routed", [tool.version, wrapped.name, *options, *filter(None, [constraints])], make, progress)
    return Placed(folder, seed, **json.loads((folder / "ending.json").read_text(encoding="utf-8")))


def pack_bitstream(placed: Placed, progress: Progress | None = None) -> bytes:
    """The bitstream of a routed design. Raises ToolError if ecppack fails."""
    tool = find_tool(ECPPACK)

    def make(folder: Path) -> None:
        tell(progress, "writing the bitstream (ecppack)")
        (folder / "routed.config").write_bytes((placed.folder / "routed.config").read_bytes())
        run_tool(tool, ["--compress", "routed.config", "systola.bit"], folder).require_success()
        (folder / "routed.config").unlink()

    return (keep("bitstreams", [tool.version, placed.folder.name], make, progress) / "systola.bit").read_bytes()
