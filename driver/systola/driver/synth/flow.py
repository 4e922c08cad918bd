"""A whole run of ``systola synth``: Verilog → netlist → place and route with each seed → report."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from systola.driver.synth.design import Design
from systola.driver.synth.devices import SPEED_GRADES, Target, find_target
from systola.driver.synth.names import TOP_UNIT, unit_of
from systola.driver.synth.nextpnr import Placed, pack_bitstream, place_and_route
from systola.driver.synth.placement import Placement, board_placement
from systola.driver.synth.reading import read_failure, read_route, read_shortages
from systola.driver.synth.tools import ECPPACK, NEXTPNR, YOSYS, find_tool
from systola.driver.synth.yosys import Netlist, synthesize, wrap
from systola.hw.emit import TOP_MODULE
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.reports.synthesis.schema import (
    Counts,
    Multiplications,
    SeedResult,
    Short,
    SynthesisReport,
    UnitCounts,
)
from systola.sim.rtl.build import verilog_of
from systola.sim.rtl.cache import Progress

__all__ = ["BITSTREAM", "Synthesized", "synthesize_accelerator", "synthesize_for_board", "unit_cells", "verilog_name"]

BITSTREAM = "systola.bit"
MOST_SEEDS = 100
MOST_MHZ = 1000


@dataclass(frozen=True)
class Synthesized:
    """The report, and what it is of. ``best``: the run of place and route with the highest clock."""

    report: SynthesisReport
    netlist: Netlist
    runs: tuple[Placed, ...] = ()
    best: Placed | None = None
    bitstream: bytes | None = None


def verilog_name(verilog: str) -> str:
    """What names a Verilog in reports."""
    return hashlib.sha256(verilog.encode()).hexdigest()[:16]


def synthesize_accelerator(
    params: Params,
    device: str,
    *,
    seeds: int = 1,
    clock_mhz: float | None = None,
    speed: int = SPEED_GRADES[-1],
    progress: Progress | None = None,
) -> Synthesized:
    """Synthesize an accelerator for a device (``devices.TARGETS``); place and route it with ``seeds`` seeds in turn.

    ``clock_mhz``: what place and route tries to reach; None: the description's. A design that is too large, or is not routed, is
    no exception: the report says so. Raises ConfigError for what is not there, ToolError for tools that are missing or fail.
    """
    asked = params.config.clock.frequency_mhz if clock_mhz is None else clock_mhz
    _check(seeds, asked, speed)
    return _synthesize(params, Placement(find_target(device), speed, asked), seeds, progress)


def synthesize_for_board(
    params: Params, board: str, *, seeds: int = 1, clock_mhz: float | None = None, progress: Progress | None = None
) -> Synthesized:
    """Synthesize an accelerator with all that a board needs around it; place and route it on the board's pins.

    ``clock_mhz``: what the board's PLL makes, or nearly; None: the board's own. A design that is too large, is not routed or
    misses that clock is no exception: the report says so, and there is no bitstream. Raises ConfigError for what is not there,
    ToolError for tools that are missing or fail.
    """
    _check(seeds, 1 if clock_mhz is None else clock_mhz, SPEED_GRADES[-1])
    return _synthesize(params, board_placement(params, board, clock_mhz), seeds, progress)


def _synthesize(params: Params, placement: Placement, seeds: int, progress: Progress | None) -> Synthesized:
    target = placement.target
    versions = dict(find_tool(where).version.split() for where in ((YOSYS, NEXTPNR, ECPPACK) if target.placed else (YOSYS,)))
    verilog = verilog_of(params, progress=progress)
    netlist = synthesize(verilog, TOP_MODULE, target.family, progress)
    report = SynthesisReport(
        accelerator=params.config.model_dump(mode="json"),
        verilog=verilog_name(verilog),
        device=target.name,
        board=placement.board,
        family=target.family.name,
        versions=versions,
        synthesis_seconds=netlist.facts.seconds,
        **_counted(target, Design(verilog), netlist),
    )
    if not target.placed:
        return Synthesized(report.model_copy(update={"unplaced_reason": "resources only"}), netlist)
    part = f"{target.part}, {target.package}, speed {placement.speed}"
    report = report.model_copy(update={"part": part, "asked_mhz": placement.asked_mhz})
    if report.short:
        return Synthesized(report.model_copy(update={"fits": False, "unplaced_reason": "too large"}), netlist)
    return _place(report, netlist, placement, range(1, seeds + 1), progress)


def _check(seeds: int, clock_mhz: float, speed: int) -> None:
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds is {seeds}: give 1 to {MOST_SEEDS}")
    if not 1 <= clock_mhz <= MOST_MHZ:
        raise ConfigError(f"the clock to ask for is {clock_mhz:g} MHz: an FPGA's is 1 to {MOST_MHZ} MHz; give it with --clock")
    if speed not in SPEED_GRADES:
        raise ConfigError(f"--speed is {speed}: the speed grades are {', '.join(map(str, SPEED_GRADES))}")


def _counted(target: Target, design: Design, netlist: Netlist) -> dict[str, Any]:
    """The report's counts, by unit and in all. Every cell is in one unit, so that they sum to the whole."""
    facts, family = netlist.facts, target.family
    units = {
        unit: UnitCounts(
            counts=family.count(found),
            cells=dict(sorted(found.items())),
            multiplications=sum(facts.multiplications.get(module, 0) for module in _modules(design, unit)),
        )
        for unit, found in unit_cells(design, netlist).items()
    }
    total = sum((unit.counts for unit in units.values()), Counts())
    return {
        "units": units,
        "total": total,
        "cells": dict(sorted(Counter(facts.cells.values()).items())),
        "names": {"lut": family.lut_name, "ff": "registers", "dsp": family.dsp_name, "ram": family.ram_name},
        "rule": family.rule,
        "multiplications": Multiplications(
            rtl=sum(unit.multiplications for unit in units.values()),
            blocks=total.dsp,
            left={unit or TOP_UNIT: number for unit, number in sorted(facts.soft.items())},
        ),
        "available": target.available,
        "short": _too_few(total, target),
    }


def unit_cells(design: Design, netlist: Netlist) -> dict[str, Counter[str]]:
    """Numbers of cells by type, for each unit of the design, and TOP_UNIT for what is between them."""
    facts = netlist.facts
    places = facts.units | {unit: unit for unit in design.units}
    cells: dict[str, Counter[str]] = {unit: Counter() for unit in (*design.units, TOP_UNIT)}
    for name, kind in facts.cells.items():
        cells[unit_of(name, places)][kind] += 1
    return cells


def _modules(design: Design, unit: str) -> tuple[str, ...]:
    return (TOP_MODULE,) if unit == TOP_UNIT else design.modules(unit)


def _too_few(total: Counts, target: Target) -> list[Short]:
    """What the device has too few of, whatever place and route does."""
    if target.available is None:
        return []
    names = {"lut": target.family.lut_name, "ff": "registers", "dsp": target.family.dsp_name, "ram": target.family.ram_name}
    pairs = ((name, getattr(total, key), getattr(target.available, key)) for key, name in names.items())
    return [Short(resource=name, needed=needed, available=has) for name, needed, has in pairs if needed > has]


def _place(
    report: SynthesisReport, netlist: Netlist, placement: Placement, seeds: range, progress: Progress | None
) -> Synthesized:
    target, speed, asked = placement.target, placement.speed, placement.asked_mhz
    wrapped = wrap(netlist, placement.around, progress)
    harness = target.family.count(json.loads((wrapped / "cells.json").read_text(encoding="utf-8")))
    runs = tuple(
        place_and_route(wrapped, target, speed, asked, seed, progress, constraints=placement.constraints) for seed in seeds
    )
    results = [_result(run) for run in runs]
    report = report.model_copy(update={"harness": harness, "seeds": results})
    routed = [(result.route.fmax_mhz, run) for result, run in zip(results, runs, strict=True) if result.route is not None]
    if not routed:
        short = read_shortages(runs[0].log.read_text(encoding="utf-8"))
        failed = {"fits": False, "short": short, "unplaced_reason": "too large" if short else "every seed failed"}
        return Synthesized(report.model_copy(update=failed), netlist, runs)
    fmax, best = max(routed, key=lambda pair: pair[0])
    update: dict[str, Any] = {"fits": True, "fmax_mhz": fmax, "best_seed": best.seed}
    if placement.board and fmax < asked:  # it would not work there
        return Synthesized(report.model_copy(update=update), netlist, runs, best)
    update["bitstream"] = BITSTREAM
    return Synthesized(report.model_copy(update=update), netlist, runs, best, pack_bitstream(best, progress))


def _result(run: Placed) -> SeedResult:
    if run.status:
        return SeedResult(
            seed=run.seed, route=None, failure=read_failure(run.log.read_text(encoding="utf-8")), seconds=run.seconds
        )
    route = read_route(json.loads(run.report.read_text(encoding="utf-8")))
    return SeedResult(seed=run.seed, route=route, seconds=run.seconds)
