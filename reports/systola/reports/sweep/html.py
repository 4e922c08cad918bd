"""A sweep as one HTML file that needs nothing else: figures by Plotly, whose script is in the file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from systola.hw.errors import ToolError
from systola.reports.files import write_text
from systola.reports.sweep.description import description_toml
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.page_data import SHARES, drawn_points, page_data, value_text
from systola.reports.sweep.results import Estimate, NetworkResult, PointResult, SweepDefinition, SweepResults, Verification
from systola.reports.sweep.sensitivity import Effect, sensitivity
from systola.reports.words import bounded, bytes_text, count_text, percent, quantity

__all__ = ["HTML_NAME", "SWEEP", "Wording", "metric_text", "render_sweep", "write_sweep_html"]

HTML_NAME = "report.html"
HASH_SHOWN = 8
DETAILED = 150
OPEN_LIST = 10
REASONS_SHOWN = 30
SHARE_SEEN = 0.01
_QUANTITIES = {"latency_ms": ("s", 1e-3), "energy_uj": ("J", 1e-6), "power_mw": ("W", 1e-3)}
_BYTES = ("dram_bytes", "memory_bytes", "on_chip_bytes")
_STATES = {"invalid": "an invalid point is no accelerator, or a network does not fit on it", "failed": "computing it failed"}


@dataclass(frozen=True)
class Wording:
    """What a page says of where its points come from. ``heading``: what it is, before "of" and the networks. ``facts``: more of
    what was asked, as (name, text). ``front``: what the front's points have in common besides."""

    heading: str = "Sweep"
    facts: tuple[tuple[str, str], ...] = ()
    front: str = ""


SWEEP = Wording()


def write_sweep_html(results: SweepResults, path: Path, wording: Wording = SWEEP) -> None:
    """Write the page.

    Raises ToolError where Plotly is not installed, SystolaError where the file cannot be written.
    """
    write_text(path, render_sweep(results, wording))


def render_sweep(results: SweepResults, wording: Wording = SWEEP) -> str:
    """The page's text. Raises ToolError where Plotly is not installed."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    plotly = _plotly_script()
    drawn = drawn_points(results)
    detailed = _detailed(results)
    effects = _strongest_first(sensitivity(results))
    definition = results.definition
    objectives = [_objective(o.metric, o.direction) for o in definition.objectives]
    known = {name for point in drawn for name in point.metrics}
    return environment.from_string(_package_text("sweep.html.j2")).render(
        title=f"{wording.heading} of {', '.join(network.name for network in definition.networks) or 'no network'}",
        wording=wording,
        subtitle=_subtitle(results),
        cards=_cards(results),
        definition=definition,
        axes=[{"name": a.name, "texts": ", ".join(value_text(a.name, v) for v in a.values)} for a in definition.axes],
        asked=[*_asked(definition), *wording.facts],
        objectives=objectives,
        measured=[o for o in objectives if o["name"] in known],
        missing=[o for o in objectives if o["name"] not in known],
        data=page_data(results, drawn, detailed, effects),
        drawn=len(drawn),
        done=len(results.of_state("done")),
        details=[_detail(point, results) for point in detailed],
        open_list=OPEN_LIST,
        not_detailed=max(0, len(results.front) - DETAILED),
        effects=[_effect_row(axis, effects, definition) for axis in dict.fromkeys(effect.axis for effect in effects)],
        reasons=_reasons(results),
        state_meanings=_STATES,
        base=description_toml(definition.base),
        metrics=[metric for name, metric in METRICS.items() if name in known],
        versions=sorted(results.versions.items()),
        plotly=Markup(plotly),
        script=Markup(_package_text("sweep.js")),
    )


@lru_cache
def _package_text(name: str) -> str:
    return resources.files("systola.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 -- a package of an extra
    except ImportError as error:
        raise ToolError("the sweep's HTML report needs Plotly: pip install 'systola[sweep]'") from error
    script: str = get_plotlyjs()
    return script.replace("</script", "<\\/script")


def _detailed(results: SweepResults) -> list[PointResult]:
    """The front's first points, and all that ran on RTL."""
    front = results.front_points[:DETAILED]
    names = {point.hash for point in front}
    return [*front, *(p for p in results.of_state("done") if p.verifications and p.hash not in names)]


def metric_text(name: str, value: float | None) -> str:
    """A figure with its unit; a dash for None."""
    if value is None:
        return "–"
    if name in _QUANTITIES:
        symbol, scale = _QUANTITIES[name]
        return quantity(value * scale, symbol)
    if name in _BYTES:
        return bytes_text(round(value))
    if name in SHARES:
        return percent(value)
    text = count_text(round(value)) if value >= 1e4 or float(value).is_integer() else f"{value:.4g}"
    unit = re.search(r"\((.*)\)", METRICS[name].title)
    return f"{text} {unit[1]}" if unit else text


def _subtitle(results: SweepResults) -> str:
    days = sorted(point.finished[:10] for point in results.points if point.finished)
    when = [] if not days else [days[0]] if days[0] == days[-1] else [f"{days[0]} to {days[-1]}"]
    definition = results.definition
    axes = "1 axis" if len(definition.axes) == 1 else f"{len(definition.axes)} axes"
    return " · ".join([f"{_strategy(definition)} over {axes} of {definition.base.get('name', 'an accelerator')}", *when])


def _strategy(definition: SweepDefinition) -> str:
    if definition.strategy == "grid":
        return "every combination"
    how = "drawn at random" if definition.strategy == "random" else "asked for by Optuna (NSGA-II)"
    return f"{count_text(definition.points)} points {how}, seed {definition.seed},"


def _cards(results: SweepResults) -> list[dict[str, str]]:
    done, invalid, failed = (results.of_state(state) for state in ("done", "invalid", "failed"))
    states = f"{len(done):,} done, {len(invalid):,} invalid, {len(failed):,} failed"
    cards = [
        _card("points", count_text(len(results.points)), states, "bad" if failed else ""),
        _card("on the Pareto front", count_text(len(results.front)), f"of {_objectives(results.definition)}"),
        _verified_card(results),
    ]
    for objective in results.definition.objectives:
        known = [point for point in done if objective.metric in point.metrics]
        if known:
            best = (min if objective.direction == "min" else max)(known, key=lambda p: p.metrics[objective.metric])
            word = "least" if objective.direction == "min" else "most"
            text = metric_text(objective.metric, best.metrics[objective.metric])
            cards.append(_card(f"{word} {_bare_title(objective.metric)}", text, f"point {best.hash[:HASH_SHOWN]}"))
    return cards


def _objectives(definition: SweepDefinition) -> str:
    return "one objective" if len(definition.objectives) == 1 else f"{len(definition.objectives)} objectives"


def _verified_card(results: SweepResults) -> dict[str, str]:
    verified = sum(point.verified for point in results.points)
    refuted = sum(point.refuted for point in results.points)
    if refuted:
        return _card("RTL differs", count_text(refuted), f"{verified} equal", "bad")
    detail = "cycles, counters, outputs equal" if verified else "--verify runs the best on RTL"
    return _card("verified on RTL", count_text(verified), detail, "good" if verified else "")


def _card(title: str, value: str, detail: str, state: str = "") -> dict[str, str]:
    return {"title": title, "value": value, "detail": detail, "state": state}


def _bare_title(metric: str) -> str:
    """Without the unit, which stands at the figure."""
    return METRICS[metric].title.partition(" (")[0]


def _objective(metric: str, direction: str) -> dict[str, str]:
    return {"name": metric, "title": METRICS[metric].title, "bare": _bare_title(metric),
            "way": "less is better" if direction == "min" else "more is better"}  # fmt: skip


def _asked(definition: SweepDefinition) -> list[tuple[str, str]]:
    samples = definition.accuracy_samples
    accuracy = f"agreement on up to {samples:,} samples of each network" if samples else "not measured"
    return [("strategy", _strategy(definition).rstrip(",")), ("accuracy", accuracy)]


@dataclass(frozen=True)
class _Detail:
    """A point's section."""

    point: PointResult
    short: str
    badges: list[tuple[str, str]]
    objectives: list[str]
    axes: str
    figures: list[tuple[str, str, str]]
    networks: list[dict[str, Any]]
    resources: list[tuple[str, str]]
    toml: str


def _detail(point: PointResult, results: SweepResults) -> _Detail:
    objectives = [objective.metric for objective in results.definition.objectives]
    estimates = () if point.resources is None else ("lut4", "ff", "dsp", "ebr")
    return _Detail(
        point=point,
        short=point.hash[:HASH_SHOWN],
        badges=_badges(point, point.hash in results.front),
        objectives=[f"{_bare_title(name)} {metric_text(name, point.metrics.get(name))}" for name in objectives],
        axes=", ".join(f"{name.rpartition('.')[2]} {value_text(name, value)}" for name, value in point.axes.items()),
        figures=[
            (METRICS[name].title.partition(" (")[0], metric_text(name, value), METRICS[name].meaning)
            for name, value in point.metrics.items() if name not in estimates
        ],
        networks=[_network_row(network, point) for network in point.networks],
        resources=[(METRICS[name].title, _estimate(getattr(point.resources, name))) for name in estimates],
        toml=_described(point),
    )  # fmt: skip


def _badges(point: PointResult, front: bool) -> list[tuple[str, str]]:
    badges = [] if front else [("soft", "not on the front")]
    if point.verified:
        badges.append(("good", "RTL equal"))
    elif point.refuted:
        badges.append(("bad", "RTL differs"))
    return badges


def _estimate(estimate: Estimate) -> str:
    error = "" if not estimate.relative_error else f" ± {100 * estimate.relative_error:.0f} %"
    return count_text(round(estimate.value)) + error


def _described(point: PointResult) -> str:
    method = f'# quantized with --method {point.method}\n' if point.method else ""
    return f"# point {point.hash}\n{method}{description_toml(point.config)}"


def _network_row(network: NetworkResult, point: PointResult) -> dict[str, Any]:
    agreement = network.agreement
    bound = network.roofline.bound_cycles
    return {
        "name": network.network,
        "cycles": count_text(network.cycles),
        "latency": quantity(network.latency_ms * 1e-3, "s"),
        "energy": bounded(network.energy_j, "J"),
        "utilization": percent(network.utilization),
        "bound": network.roofline.bound,
        "of_bound": percent(bound / network.cycles if network.cycles else None),
        "dram": bytes_text(network.dram_bytes),
        "host": percent(network.host_share) if network.host_layers else "",
        "agreement": f"{percent(agreement.top1)} of {agreement.samples:,}" if agreement else "–",
        "reference": agreement.reference if agreement else "",
        "rtl": [_verification(v) for v in point.verifications if v.network == network.network],
    }


def _verification(verification: Verification) -> tuple[str, str]:
    """(state, text)."""
    if verification.reason:
        return "bad", f"not run: {verification.reason}"
    if verification.equal:
        return "good", f"equal: {verification.rtl_cycles:,} cycles, {verification.bytes_checked:,} bytes"
    counters = "" if verification.counters_equal else ", counters differ"
    return "bad", (
        f"differs: {verification.rtl_cycles or 0:,} cycles{counters}, {verification.bytes_different:,} of "
        f"{verification.bytes_checked:,} bytes"
    )


def _strongest_first(effects: Sequence[Effect]) -> list[Effect]:
    """Axes by their share of the first objective."""
    first: dict[str, float] = {}
    for effect in effects:
        first.setdefault(effect.axis, -1 if effect.share is None else effect.share)
    return sorted(effects, key=lambda effect: -first[effect.axis])


def _effect_row(axis: str, effects: Sequence[Effect], definition: SweepDefinition) -> dict[str, Any]:
    ordered = next(own.scale for own in definition.axes if own.name == axis) != "category"
    return {"axis": axis, "cells": [_effect_cells(effect, ordered) for effect in effects if effect.axis == axis]}


def _effect_cells(effect: Effect, ordered: bool) -> dict[str, Any]:
    choose = min if METRICS[effect.metric].direction == "min" else max
    best = choose(effect.groups, key=lambda g: g.median, default=None)
    changes = effect.factor is not None and effect.factor > 1.0005
    return {
        "share": "–" if effect.share is None else f"{100 * effect.share:.1f} %",
        "share_value": -1 if effect.share is None else effect.share,
        "factor": f"× {effect.factor:.2f}" if changes and effect.factor else "–" if effect.factor is None else "none",
        "factor_value": effect.factor or 0,
        "best": "" if best is None or not changes else value_text(effect.axis, best.value),
        "direction": effect.direction if ordered and changes else "",
        "soft": " soft" if effect.share is None or effect.share < SHARE_SEEN else "",
    }


def _reasons(results: SweepResults) -> dict[str, Any]:
    """Points without figures by reason; reasons that differ in numbers and names only are one."""
    groups: dict[tuple[str, str], list[PointResult]] = defaultdict(list)
    for point in (*results.of_state("failed"), *results.of_state("invalid")):
        groups[point.state, _pattern(point.reason)].append(point)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1])))
    return {
        "rows": [
            {"state": state, "count": count_text(len(points)), "reason": points[0].reason,
             "kinds": len({p.reason for p in points}), "example": _axes_text(points[0].axes)}
            for (state, _), points in ordered[:REASONS_SHOWN]
        ],
        "more": max(0, len(ordered) - REASONS_SHOWN),
    }  # fmt: skip


def _pattern(reason: str) -> str:
    return re.sub(r"'[^']*'", "'…'", re.sub(r"\d[\d,.]*", "#", reason))


def _axes_text(axes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value_text(name, value)}" for name, value in axes.items())
