"""What nextpnr's report and log say, in the design's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from systola.driver.synth.names import design_name
from systola.driver.synth.nextpnr import ERROR
from systola.hw.errors import ToolError
from systola.reports.synthesis.schema import CriticalPath, PathStep, Route, Short

__all__ = ["read_failure", "read_route", "read_shortages"]

_UTILIZATION = re.compile(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)
ROUTED = "routing"


def read_route(report: Mapping[str, Any]) -> Route:
    """Clock and critical path. Paths from and to pins, which are asynchronous, are none. Raises ToolError without a clock."""
    paths = [path["path"] for path in report["critical_paths"] if "<async>" not in path["from"] + path["to"]]
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    if not paths or not clocks:
        raise ToolError("nextpnr reports no path between registers: the design has no clock, or no registers")
    path = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    return Route(
        fmax_mhz=round(min(clocks), 2),
        path=_path(path),
        utilization={cell: [found["used"], found["available"]] for cell, found in sorted(report["utilization"].items())},
    )


def _path(steps: list[Mapping[str, Any]]) -> CriticalPath:
    routing = sum(step["delay"] for step in steps if step["type"] == ROUTED)
    total = sum(step["delay"] for step in steps)
    return CriticalPath(
        begins=design_name(steps[0]["from"]["cell"]),
        ends=design_name(steps[-1]["to"]["cell"]),
        delay_ns=round(total, 2),
        logic_ns=round(total - routing, 2),
        routing_ns=round(routing, 2),
        steps=[_step(step) for step in steps],
    )


def _step(step: Mapping[str, Any]) -> PathStep:
    cell = step["net"] if step["type"] == ROUTED else step["from" if step["type"] == "clk-to-q" else "to"]["cell"]
    return PathStep(kind=step["type"], delay_ns=round(step["delay"], 2), name=design_name(cell), cell=cell)


def read_shortages(log: str) -> list[Short]:
    """Kinds of cells of which nextpnr needed more than there are."""
    return [
        Short(resource=cell, needed=int(used), available=int(available))
        for cell, used, available in _UTILIZATION.findall(log)
        if int(used) > int(available)
    ]


def read_failure(log: str) -> str:
    """Why nextpnr failed, in its words."""
    found = ERROR.findall(log)
    return str(found[0]) if found else "it ended without saying why"
