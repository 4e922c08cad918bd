"""One run of yosys: Verilog → cells of an FPGA, flat, counted, as a netlist."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from systola.driver.synth.families import Family
from systola.driver.synth.harness import HARNESS_MODULE, Port, black_box, harness_verilog
from systola.driver.synth.kept import keep
from systola.driver.synth.process import Ended, run_tool
from systola.driver.synth.tools import YOSYS, Tool, find_tool
from systola.sim.rtl.cache import Progress, tell

__all__ = ["LOG", "Around", "Facts", "Netlist", "run_yosys", "synthesize", "wrap"]

LOG = "yosys.log"
_PASS = re.compile(r"^\d+(?:\.\d+)?\. Executing (\w+)")
_SOFT = re.compile(r"creating \$macc model for (\S+) \(\$mul\)")
_SOFT_PASS = "Executing ALUMACC pass"
"""Maps arithmetic to carries; the last of its runs, what no block was found for."""

_TOP_OF_SOFT = re.compile(r"\$flatten\\([^.\\]+)")


@dataclass(frozen=True)
class Facts:
    """What is read from a netlist. ``cells``: types by name. ``ports``: of the top. ``units``: signals of the top module by the
    one unit that they belong to. ``multiplications``: in the RTL, by module. ``soft``: those computed by look-up tables, by unit
    of the top ("" for the top itself). ``seconds``: that yosys took."""

    cells: dict[str, str]
    ports: list[Port]
    units: dict[str, str]
    multiplications: dict[str, int]
    soft: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class Netlist:
    """A synthesized design in its folder of the cache: ``netlist.v``, instances of the FPGA's cells; ``netlist.il``, as yosys
    keeps it; LOG."""

    folder: Path
    top: str

    @cached_property
    def facts(self) -> Facts:
        """Read once."""
        data = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        return Facts(**{**data, "ports": [Port(*port) for port in data["ports"]]})


@dataclass(frozen=True)
class Around:
    """What the netlist is an instance in, HARNESS_INSTANCE by name: the top ``module`` and the Verilog of it and its parts."""

    module: str
    verilog: str


def synthesize(verilog: str, top: str, family: Family, progress: Progress | None = None) -> Netlist:
    """Synthesize the module ``top``, flat; from the cache where the same yosys did it before.

    Raises ToolError if yosys is not installed or fails.
    """
    tool = find_tool(YOSYS)
    script = _script(top, family)

    def make(folder: Path) -> None:
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        begin = time.perf_counter()
        log = run_yosys(tool, folder, script, progress)
        facts = _facts(_json(folder / "netlist.json"), _json(folder / "rtl.json"), log, top, time.perf_counter() - begin)
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        for name in ("netlist.json", "rtl.json", "design.v"):
            (folder / name).unlink()

    return Netlist(keep("netlists", [tool.version, verilog, *script], make, progress), top)


def _script(top: str, family: Family) -> list[str]:
    """The multiplications of each module are counted before anything is mapped."""
    return [
        "read_verilog design.v",
        f"hierarchy -check -top {top}",
        "proc",
        "opt_clean",
        "tee -q -o rtl.json stat -json",
        *family.script(top),
        "autoname",
        "write_json netlist.json",
        f"select {top}",
        "write_rtlil -selected netlist.il",
        "write_verilog -selected -noattr netlist.v",
    ]


def _json(path: Path) -> dict[str, Any]:
    modules: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["modules"]
    return {name.lstrip("\\"): module for name, module in modules.items()}


def _facts(netlist: Mapping[str, Any], rtl: Mapping[str, Any], log: str, top: str, seconds: float) -> dict[str, Any]:
    """What Facts holds, as JSON has it."""
    module = netlist[top]
    cells = {name: cell["type"] for name, cell in module["cells"].items() if not cell["type"].startswith("$")}
    return {
        "cells": cells,
        "ports": [[name, port["direction"] == "input", len(port["bits"])] for name, port in module["ports"].items()],
        "units": dict(_units_of_wires(module["netnames"])),
        "multiplications": {name: part["num_cells_by_type"].get("$mul", 0) for name, part in rtl.items()},
        "soft": Counter(_unit_of_soft(name) for name in _SOFT.findall(log.rpartition(_SOFT_PASS)[2])),
        "seconds": seconds,
    }


def _units_of_wires(nets: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Wires of the top module that are also a wire of a part, and of no second one: ports, above all."""
    units: dict[int, set[str]] = {}
    for name, net in nets.items():
        if "." in name:
            for bit in net["bits"]:
                units.setdefault(bit, set()).add(name.partition(".")[0])
    for name, net in nets.items():
        found = set().union(*(units.get(bit, set()) for bit in net["bits"]))
        if "." not in name and len(found) == 1:
            yield name, found.pop()


def _unit_of_soft(name: str) -> str:
    found = _TOP_OF_SOFT.search(name)
    return found[1] if found else ""


def wrap(netlist: Netlist, around: Around | None = None, progress: Progress | None = None) -> Path:
    """The folder with ``harness.json``, the netlist in what is around it, and ``cells.json``, the cells of that by type; None: a
    harness that fits any package. The netlist itself is not touched: both are put together after they were synthesized.
    Raises ToolError."""
    tool = find_tool(YOSYS)
    ports = netlist.facts.ports
    if around is None:
        around = Around(HARNESS_MODULE, harness_verilog(netlist.top, ports))
    verilog, top = around.verilog + black_box(netlist.top, ports), around.module
    script = [
        "read_verilog harness.v",
        f"synth_ecp5 -top {top}",
        "tee -q -o stat.json stat -json",
        f"delete ={netlist.top}",
        "read_rtlil netlist.il",
        f"hierarchy -check -top {top}",
        "flatten",
        "write_json harness.json",
    ]

    def make(folder: Path) -> None:
        (folder / "harness.v").write_text(verilog, encoding="utf-8")
        (folder / "netlist.il").write_bytes((netlist.folder / "netlist.il").read_bytes())
        run_yosys(tool, folder, script, progress)
        cells = _json(folder / "stat.json")[top]["num_cells_by_type"]
        (folder / "cells.json").write_text(json.dumps(cells), encoding="utf-8")
        (folder / "netlist.il").unlink()

    return keep("wrapped", [tool.version, netlist.folder.name, verilog, *script], make, progress)


def run_yosys(tool: Tool, folder: Path, script: list[str], progress: Progress | None) -> str:
    """Run a script of yosys in a folder; the log. It is written by yosys: what it prints ends where it starts abc.

    Raises ToolError if yosys fails."""
    (folder / "run.ys").write_text("\n".join(script) + "\n", encoding="utf-8")

    def on_line(line: str) -> None:
        if found := _PASS.match(line):
            tell(progress, f"synthesizing (yosys, {found[1].lower()})")

    tell(progress, "synthesizing (yosys)")
    ended = run_tool(tool, ["-l", LOG, "run.ys"], folder, on_line)
    log = folder / LOG
    said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ended.output
    return Ended(ended.tool, ended.status, said).require_success()
