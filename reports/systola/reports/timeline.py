"""The first sample's run as a timeline: Chrome's trace format, which ui.perfetto.dev opens. One cycle is one microsecond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from systola.hw.isa import ENGINES
from systola.mapper.image import LayerInfo
from systola.reports.attribution import Attribution
from systola.reports.classes import USE_WORDS, Use

__all__ = ["MAX_SPANS", "timeline"]

MAX_SPANS = 200_000
"""Spans of classes beyond which they are left out: the viewer would take minutes."""

INSTRUCTIONS, CLASSES = 1, 2
NOTHING = (Use.FETCH, Use.START, Use.FINISH)
NAMES = {int(use): "busy" if use is Use.USEFUL else word for use, word in USE_WORDS.items()}


def timeline(attribution: Attribution, layers: Sequence[LayerInfo], name: str) -> dict[str, Any]:
    """The trace as data for JSON: a track for each engine's instructions, named after their layers, and one for what it did."""
    spans = sum(len(part.begin) for part in attribution.spans.values())
    shown = spans <= MAX_SPANS
    events = [*_tracks(INSTRUCTIONS, "instructions"), *_instructions(attribution, layers)]
    if shown:
        events += [*_tracks(CLASSES, "cycle classes"), *_classes(attribution, layers)]
    about = {"network": name, "cycles": attribution.cycles, "unit": "1 µs is one cycle"}
    if not shown:
        about["left_out"] = f"{spans} spans of cycle classes: more than {MAX_SPANS}"
    return {"displayTimeUnit": "ms", "otherData": about, "traceEvents": events}


def _tracks(process: int, name: str) -> list[dict[str, Any]]:
    engines = [
        {"ph": "M", "name": "thread_name", "pid": process, "tid": int(e), "args": {"name": e.name.lower()}} for e in ENGINES
    ]
    return [{"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}}, *engines]


def _instructions(attribution: Attribution, layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    i = attribution.instructions
    columns = (i.engine.tolist(), i.layer.tolist(), i.begin.tolist(), i.end.tolist(), i.index.tolist())
    return [
        {
            "ph": "X", "name": layers[layer].name, "cat": ENGINES[engine].name.lower(), "pid": INSTRUCTIONS, "tid": engine,
            "ts": begin, "dur": end - begin, "args": {"layer": layer, "instruction": index},
        }
        for engine, layer, begin, end, index in zip(*columns, strict=True)
    ]  # fmt: skip


def _classes(attribution: Attribution, layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    events = []
    for engine, spans in attribution.spans.items():
        columns = (spans.begin.tolist(), spans.end.tolist(), spans.use.tolist(), spans.layer.tolist())
        events += [
            {
                "ph": "X", "name": NAMES[number], "cat": "class", "pid": CLASSES, "tid": int(engine), "ts": begin,
                "dur": end - begin, "args": {"layer": layers[layer].name},
            }
            for begin, end, number, layer in zip(*columns, strict=True)
            if number not in NOTHING
        ]  # fmt: skip
    return events
