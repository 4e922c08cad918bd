"""What a search writes and prints: accelerators, margins, tables."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from systola.driver.search.judge import Relaxation
from systola.driver.search.limits import Bound, Limit, Metrics, devices_for, option_value, show_metric
from systola.driver.search.run import Found
from systola.driver.sweep.space import DEFAULT_METHOD, METHOD_AXIS
from systola.hw.config import config_from, load_config
from systola.hw.errors import SystolaError
from systola.reports.files import output_folder, write_text
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import PointResult

__all__ = [
    "accelerator_text", "closest_table", "front_table", "relaxation_lines", "remarks", "write_accelerators", "write_margins",
]  # fmt: skip

FOLDER = "accelerators"
MARK = "# Found by systola search"
HASH_SHOWN = 8
SHOWN = 12
FIGURES = ("latency_ms", "power_mw", "energy_uj", "lut4", "ff", "dsp", "ebr", "agreement")
RESOURCES = ("lut4", "ff", "dsp", "ebr")
TITLES = {
    "latency_ms": "latency", "power_mw": "power", "energy_uj": "energy", "lut4": "LUT4", "ff": "flip-flops", "dsp": "multipliers",
    "ebr": "block RAM", "agreement": "agreement",
}  # fmt: skip


# ---- accelerator.toml ----


def write_accelerators(found: Found, folder: Path) -> list[Path]:
    """A description for every point of the front, its figures in the comment; each is read again and compared. Those of an
    earlier search, and only these, are removed."""
    home = output_folder(folder / FOLDER)
    for old in home.glob("*.toml"):
        if old.read_text(encoding="utf-8", errors="replace").startswith(MARK):
            old.unlink()
    paths = []
    for point in found.results.front_points:
        path = home / f"{point.config['name']}.toml"
        write_text(path, accelerator_text(point, found))
        if load_config(path) != config_from(point.config, f"point {point.hash}"):
            raise SystolaError(f"{path} does not say what point {point.hash} is: the file is wrong, the database has the point")
        paths.append(path)
    return paths


def accelerator_text(point: PointResult, found: Found) -> str:
    """The description as TOML, below a comment with what it was found for and its figures."""
    lines = [f"{MARK} for {found.results.definition.networks[0].name}, with the cycle model; resources are estimates."]
    lines += [f"# {TITLES[name]}: {show_metric(name, point.metrics[name])}" for name in FIGURES if name in point.metrics]
    judgement = found.judgements[point.hash]
    for limit in found.limits:
        lines.append(f"# {limit.option}: {limit.show()}; {_margin(judgement.excesses[limit.option])}")
    lines.append(f"# RTL: {_verified(point) or 'not run'}")
    if METHOD_AXIS in point.axes or point.method != DEFAULT_METHOD:
        lines.append(f"# Calibrated with the method {point.method}: systola run MODEL --accel THIS_FILE --method {point.method}")
    return "\n".join(lines) + "\n" + _toml(point.config)


def _toml(config: Any) -> str:
    top = [f"{name} = {_value(value)}" for name, value in config.items() if not isinstance(value, dict)]
    sections = [
        "\n".join([f"\n[{name}]", *(f"{key} = {_value(inner)}" for key, inner in value.items())])
        for name, value in config.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*top, *sections]) + "\n"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


# ---- margins.csv ----


def write_margins(found: Found, folder: Path) -> Path:
    """Write ``margins.csv``: every point that was judged, closest first; of each limit the room left as a share of it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["hash", "meets_all", "front", "binding", *(limit.option for limit in found.limits)])
    for judgement in sorted(found.judgements.values(), key=lambda j: (j.worst, j.name)):
        room = ["" if math.isinf(excess) else -excess for excess in judgement.excesses.values()]
        front = judgement.name in found.results.front
        writer.writerow([judgement.name, judgement.meets_all, front, judgement.binding or "", *room])
    write_text(folder / "margins.csv", text.getvalue())
    return folder / "margins.csv"


# ---- tables ----


def front_table(found: Found) -> Table:
    """The accelerators that meet all limits, each figure with its margin."""
    points = found.results.front_points[:SHOWN]
    titles = ", ".join(METRICS[objective.metric].title for objective in found.plan.objectives)
    rest = len(found.results.front) - len(points)
    caption = "; ".join(text for text in (_common(points, found), f"{rest} more in margins.csv" if rest else "") if text)
    table = Table(title=f"Accelerators that meet all limits: Pareto front of {titles}", caption=caption or None, show_lines=True)
    _add_columns(table, points, found)
    table.add_column("RTL")
    for point in points:
        table.add_row(*_cells(point, points, found), _verified(point))
    return table


def closest_table(found: Found) -> Table:
    """The points that come closest, and which limit binds."""
    points = [found.point(judgement.name) for judgement in found.closest]
    table = Table(title="Nothing meets all limits. The closest:", caption=_common(points, found) or None, show_lines=True)
    _add_columns(table, points, found)
    table.add_column("binds")
    for point in points:
        judgement = found.judgements[point.hash]
        table.add_row(*_cells(point, points, found), f"{judgement.binding}\n{_margin(judgement.worst)}")
    return table


def _add_columns(table: Table, points: Sequence[PointResult], found: Found) -> None:
    table.add_column("point", no_wrap=True)
    for name in _varying(points):
        table.add_column(name.rpartition(".")[2].replace("_", "\n"), justify="right")
    for name in _figures(points, found):
        table.add_column(TITLES.get(name, METRICS[name].title), justify="right", no_wrap=True)
    if any(point.resources for point in points):
        table.add_column("resources", justify="right", no_wrap=True)


def _cells(point: PointResult, points: Sequence[PointResult], found: Found) -> Iterator[str]:
    yield point.hash[:HASH_SHOWN]
    for name in _varying(points):
        yield _plain(point.axes[name])
    bounds = {bound.metric: bound for limit in found.limits for bound in limit.bounds}
    for name in _figures(points, found):
        yield "\n".join(_figure(name, point, bounds))
    if any(point.resources for point in points):
        yield "\n".join(" ".join((*_figure(name, point, bounds, TITLES[name]),)) for name in RESOURCES)


def _figure(name: str, point: PointResult, bounds: Mapping[str, Bound], what: str = "") -> Iterator[str]:
    """The figure, and its margin if it is limited."""
    yield f"{show_metric(name, point.metrics.get(name))} {what}{',' if what and name in bounds else ''}".rstrip()
    if name in bounds:
        yield _margin(bounds[name].excess(point.metrics))


def _figures(points: Sequence[PointResult], found: Found) -> list[str]:
    """Those that are known, and the objectives; resources have a column of their own."""
    objectives = [objective.metric for objective in found.plan.objectives if objective.metric not in RESOURCES]
    limited = {bound.metric for limit in found.limits for bound in limit.bounds}
    names = dict.fromkeys((*(name for name in FIGURES if name not in RESOURCES), *objectives))
    return [name for name in names if name in limited or any(name in point.metrics for point in points)]


def _varying(points: Sequence[PointResult]) -> list[str]:
    return [name for name in points[0].axes if len({point.axes[name] for point in points}) > 1] if points else []


def _common(points: Sequence[PointResult], found: Found) -> str:
    """The axes in which the points are alike."""
    same = [name for name in found.plan.axes if points and name not in _varying(points)]
    return f"All: {', '.join(f'{name} {_plain(points[0].axes[name])}' for name in same)}" if same else ""


def _margin(excess: float) -> str:
    """In percent of the limit; what is over or left."""
    if math.isinf(excess):
        return "not known"
    percent = 100 * abs(excess)
    text = f"{percent:.0f}" if percent >= 9.95 else f"{percent:.2g}" if percent >= 0.01 or not percent else "<0.01"
    return f"{text} % {'over' if excess > 0 else 'left'}"


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _verified(point: PointResult) -> str:
    return "equal to the model" if point.verified else "differs" if point.refuted else ""


# ---- sentences ----


def relaxation_lines(found: Found) -> Iterator[str]:
    """What would have to give."""
    if not found.judgements:
        return
    some = found.relaxations
    if not some:
        yield "No limit is alone in the way: every point that was looked at violates at least two."
    for relaxation in some:
        point = found.point(relaxation.judgement.name)
        yield f"{_how(relaxation)}, and {point.hash[:HASH_SHOWN]} would meet all others"
    others = [limit.option for limit in found.limits if limit.option not in {r.limit.option for r in some}]
    if some and others:
        yield f"Relaxing {' or '.join(others)} alone would not be enough."


def _how(relaxation: Relaxation) -> str:
    limit, metrics = relaxation.limit, relaxation.judgement.metrics
    if len(limit.bounds) == 1:
        (bound,) = limit.bounds
        return f"{limit.option} alone is in the way: relax it to {option_value(bound, metrics[bound.metric])}"
    over = [bound for bound in limit.bounds if bound.excess(metrics) > 0]
    needs = ", ".join(f"{metrics[b.metric]:,.0f} {TITLES[b.metric]} (limit {b.value:,.0f})" for b in over)
    return f"{limit.option} alone is in the way: it takes {needs}; {_way_out(limit, over, metrics)}"


def _way_out(limit: Limit, over: Sequence[Bound], metrics: Metrics) -> str:
    """A larger device, or more of this one's tables."""
    enough = devices_for(metrics, limit.utilization)
    text = f"{enough[0]} has enough" if enough else "no device that is known has enough"
    if [bound.metric for bound in over] == ["lut4"]:
        share = math.ceil(100 * metrics["lut4"] / over[0].value * limit.utilization) / 100
        text += f", or --utilization {share:g}" if share <= 1 else ""
    return text


def remarks(found: Found) -> Iterator[str]:
    """What was looked at, and what the figures are."""
    config = found.plan.base
    states = {state: len(found.results.of_state(state)) for state in ("done", "invalid", "failed")}
    how = "all of the space" if found.whole else f"NSGA-II, seed {found.plan.seed}"
    text = f"{len(found.results.points):,} points simulated ({how}): "
    text += ", ".join(f"{count:,} {state}" for state, count in states.items())
    aside = found.screen.reasons()
    if aside:
        why = ", ".join(f"{count:,} by {option}" for option, count in sorted(aside.items()))
        text += f"; {len(found.screen.aside):,} cannot meet the limits, which needs no simulation ({why})"
    yield text
    yield f"Energy and power: table {config.technology.name}, dynamic only."
    if "clock.frequency_mhz" not in found.plan.axes:
        clock = f"Clock: {config.clock.frequency_mhz:g} MHz, given, not estimated"
        yield f"{clock}: whether a design reaches it is for place and route to say."
    yield f"DRAM: {config.dram.latency_cycles} cycles, {config.dram.bytes_per_cycle} bytes a cycle, given."
    yield from _resource_remarks(found)
    measured = {n.agreement for p in found.results.points for n in p.networks if n.agreement is not None}
    for reference, samples in sorted({(agreement.reference, agreement.samples) for agreement in measured}):
        yield f"Agreement: top-1 with {reference}, {samples:,} samples."


def _resource_remarks(found: Found) -> Iterator[str]:
    """How sure the estimates are, and where a margin is smaller than that."""
    shown = found.results.front_points or tuple(found.point(judgement.name) for judgement in found.closest)
    known = [point for point in shown if point.resources is not None]
    errors = [point.resources.lut4.relative_error or 0.0 for point in known if point.resources is not None]
    if errors:
        yield f"Resources: estimates for ECP5 (LUT4 ±{max(errors):.0%}), nothing was synthesized.".replace("%", " %")
    outside = {feature for point in known if point.resources is not None for feature in point.resources.extrapolated}
    if outside:
        yield f"Outside of what the estimate was fitted on: {', '.join(sorted(outside))}."
    for limit in (limit for limit in found.limits if limit.option == "--fits"):
        close = [point.hash[:HASH_SHOWN] for point in known if _within_error(point, limit)]
        if close:
            yield f"Less LUT4 left than the estimate may be off: {', '.join(close)}."


def _within_error(point: PointResult, limit: Limit) -> bool:
    """Whether the point fits, but would not if the estimate were as far off as it may be."""
    if point.resources is None:
        return False
    bound = next(bound for bound in limit.bounds if bound.metric == "lut4")
    most = point.metrics["lut4"] * (1 + (point.resources.lut4.relative_error or 0.0))
    return point.metrics["lut4"] <= bound.value < most
