"""The report as one HTML file that needs nothing else: no script, no font, no request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from systola.reports.attribution import Attribution
from systola.reports.causes import CAUSE_MEANINGS, CAUSE_WORDS, Cause
from systola.reports.classes import USE_COLOURS, USE_MEANINGS, USE_ORDER, USE_WORDS
from systola.reports.figures import energy_figure, engines_figure, layers_figure, roofline_figure, timeline_figure
from systola.reports.schema import LayerReport, Report
from systola.reports.statements import statements
from systola.reports.words import ENGINE_NAMES, bounded, bytes_text, count_text, percent, quantity, shape_text, shorten

__all__ = ["render_html"]


def render_html(report: Report, attribution: Attribution | None) -> str:
    """The page. ``attribution``: None for backends without time; figures of time are then left out."""
    source = resources.files("systola.reports").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    array = report.accelerator["array"]
    return template.render(
        r=report,
        array=f"{array['rows']} × {array['columns']}",
        cards=_cards(report),
        statements=statements(report),
        timed=attribution is not None,
        rows=[_row(report, layer) for layer in report.layers],
        total=_total(report),
        keys=_keys(report.layers),
        figures=list(_figures(report, attribution)),
        sums=list(_sums(report)),
        actions=_actions(report),
        facts=_facts(report),
        configuration=json.dumps(report.accelerator, indent=2),
    )


def _cards(r: Report) -> list[dict[str, str]]:
    exact = {None: ("not compared", ""), True: ("yes", "good"), False: ("NO", "bad")}[r.bit_exact]
    cards = [_card("bit-exact", exact[0], f"{count_text(r.bytes_checked)} bytes, {r.tensors_checked} tensors", exact[1])]
    if r.latency_s is not None:
        cards.append(_card("latency", quantity(r.latency_s, "s"), f"{count_text(r.cycles_total)} cycles"))
        cards.append(_card("of the array's peak", percent(r.utilization), f"{quantity(2 * r.macs / r.latency_s / 1e9, 'GOP/s')}"))
    if r.energy_j is not None:
        low, high = quantity(r.energy_j.low, "J"), quantity(r.energy_j.high, "J")
        cards.append(_card("dynamic energy", quantity(r.energy_j.value, "J"), f"{low} … {high}"))
    if r.power_w is not None:
        low, high = quantity(r.power_w.low, "W"), quantity(r.power_w.high, "W")
        cards.append(_card("dynamic power", quantity(r.power_w.value, "W"), f"{low} … {high}"))
    if r.agreement is not None:
        over = f"{r.agreement.samples} sample{'s' if r.agreement.samples != 1 else ''}"
        cards.append(_card("top-1 agreement", percent(r.agreement.top1), over))
    cards.append(_card("MACs", f"{r.macs / 1e6:,.1f} M", f"{len(r.layers)} layers, {len(r.host_ops)} on the host"))
    return cards


def _card(title: str, value: str, detail: str, state: str = "") -> dict[str, str]:
    return {"title": title, "value": value, "detail": detail, "state": state}


def _row(report: Report, layer: LayerReport) -> dict[str, Any]:
    share = layer.cycles / report.cycles_total if layer.cycles is not None and report.cycles_total else None
    return {
        "layer": layer,
        "name": shorten(layer.name, 30),
        "kind": f"{layer.kind} (host)" if layer.unit == "host" else layer.kind,
        "shape": shape_text(layer.output_shape),
        "macs": count_text(layer.macs or None),
        "cycles": count_text(layer.cycles),
        "share": percent(share),
        "peak": percent(layer.utilization) if layer.macs else "",
        "bar": _bar(layer),
        "read": bytes_text(layer.dram_read_bytes or None),
        "written": bytes_text(layer.dram_write_bytes or None),
        "energy": "" if layer.energy_j is None else quantity(layer.energy_j.value, "J"),
        "bounds": "" if layer.energy_j is None else bounded(layer.energy_j, "J"),
        "sqnr": "" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB",
    }


def _own(layer: LayerReport) -> dict[str, int]:
    """What the layer's own engine's cycles went to."""
    return {} if layer.engines is None else layer.engines[layer.unit]


def _bar(layer: LayerReport) -> list[dict[str, Any]]:
    own, total = _own(layer), layer.unit_cycles or 1
    return [
        {
            "width": round(100 * own[c.name.lower()] / total, 3),
            "colour": USE_COLOURS[c],
            "title": f"{USE_WORDS[c]}: {own[c.name.lower()]:,}",
        }
        for c in USE_ORDER
        if c.name.lower() in own
    ]


def _keys(layers: Iterable[LayerReport]) -> list[dict[str, str]]:
    present = {name for layer in layers for name in _own(layer)}
    return [{"colour": USE_COLOURS[c], "word": USE_WORDS[c]} for c in USE_ORDER if c.name.lower() in present]


def _total(r: Report) -> dict[str, str]:
    return {
        "macs": count_text(r.macs),
        "cycles": count_text(r.cycles_total),
        "peak": percent(r.utilization),
        "read": bytes_text(sum(layer.dram_read_bytes or 0 for layer in r.layers)),
        "written": bytes_text(sum(layer.dram_write_bytes or 0 for layer in r.layers)),
        "energy": "" if r.energy_j is None else quantity(r.energy_j.value, "J"),
    }


def _figures(report: Report, attribution: Attribution | None) -> Iterable[dict[str, str]]:
    def figure(title: str, svg: str, caption: str) -> dict[str, str]:
        return {"title": title, "svg": Markup(svg), "caption": caption}  # names in it are escaped by matplotlib

    if attribution is not None:
        help_line = f"What would help most – {report.advice.text}" if report.advice else "No cycle was lost."
        yield figure(f"Why the {ENGINE_NAMES[report.judged_engine or 'array']} did no more", layers_figure(report), help_line)
        yield figure("Where each engine's cycles went", engines_figure(report), "Each engine's bar is all cycles.")
        yield figure(
            "Timeline", timeline_figure(report, attribution),
            "Each engine's instructions in the colour of their layer; names stand over the layers' cycles. timeline.json has "
            "every instruction, for ui.perfetto.dev.",
        )  # fmt: skip
        yield figure(
            "Roofline", roofline_figure(report),
            "The roof is the array's peak and the memory's bandwidth; a point's area is its layer's share of the time.",
        )  # fmt: skip
    if report.energy is not None:
        yield figure("Energy by component", energy_figure(report), "Dynamic energy of one inference.")


def _sums(report: Report) -> Iterable[dict[str, Any]]:
    """Tables of layers × parts, with their sums: the judged engine by cause, each engine by use."""
    layers = [layer for layer in report.layers if layer.unit != "host"]
    if report.causes is None:
        return
    words = [(c.name.lower(), CAUSE_WORDS[c], " ".join(CAUSE_MEANINGS[c])) for c in Cause]
    rows = [(layer, layer.causes or {}) for layer in layers]
    yield _sum_table(f"Why: the {ENGINE_NAMES[report.judged_engine or 'array']} by root cause", rows, report.causes, words)
    uses = [(u.name.lower(), USE_WORDS[u], USE_MEANINGS[u]) for u in USE_ORDER]
    for engine, total in (report.engines or {}).items():
        rows = [(layer, (layer.engines or {})[engine]) for layer in layers]
        yield _sum_table(f"The {ENGINE_NAMES[engine]}'s cycles", rows, total, uses)


def _sum_table(
    title: str, rows: list[tuple[LayerReport, dict[str, int]]], total: dict[str, int], words: list[tuple[str, str, str]]
) -> dict[str, Any]:
    """Columns are what occurs at all; the last is the sum, and so is the last row."""
    shown = [(name, word, meaning) for name, word, meaning in words if name in total]
    return {
        "title": title,
        "heads": [{"word": word, "meaning": meaning.replace("`", "")} for _, word, meaning in shown],
        "rows": [
            {"name": shorten(layer.name, 26), "cells": [count_text(part.get(n) or None) for n, _, _ in shown],
             "sum": count_text(sum(part.values()))}
            for layer, part in rows
        ],
        "total": [count_text(total[name]) for name, _, _ in shown],
        "sum": count_text(sum(total.values())),
    }  # fmt: skip


def _actions(report: Report) -> list[dict[str, str]]:
    actions = sorted(report.energy.actions if report.energy else [], key=lambda a: -a.energy_j.value)
    return [
        {
            "component": a.component, "action": a.action, "count": f"{a.count:,.0f}", "unit": a.unit,
            "each": f"{a.each_pj.value:.3g}", "energy": quantity(a.energy_j.value, "J"),
            "bounds": f"{quantity(a.energy_j.low, 'J')} … {quantity(a.energy_j.high, 'J')}",
            "source": a.source, "method": a.method,
        }
        for a in actions
    ]  # fmt: skip


def _facts(r: Report) -> list[tuple[str, str]]:
    seconds = ", ".join(f"{stage} {time:.2f} s" for stage, time in r.host_seconds.items())
    facts = [("model", r.source), ("host time", seconds), *r.versions.items()]
    if r.on_chip:
        facts.insert(1, ("kept on chip", ", ".join(r.on_chip)))
    return [(name, value) for name, value in facts if value]


