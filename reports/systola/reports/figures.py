"""The report's figures as inline SVG that follows the page's colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from systola.hw.isa import ENGINES
from systola.reports.attribution import Attribution
from systola.reports.causes import CAUSE_COLOURS, CAUSE_WORDS, Cause
from systola.reports.classes import USE_COLOURS, USE_ORDER, USE_WORDS
from systola.reports.schema import LayerReport, Report
from systola.reports.words import shorten

__all__ = ["energy_figure", "engines_figure", "layers_figure", "roofline_figure", "timeline_figure"]

WIDTH_INCHES = 9.6
INK, GRID = "#010203", "#040506"  # replaced by the page's own colours
UNIT_COLOURS = {"array": "#2a78d6", "vector": "#eb6834"}
LAYER_COLOURS = ("#2a78d6", "#1baf7a", "#eda100", "#e87ba4", "#4a3aa7", "#eb6834")
RASTERIZE_ABOVE = 400
NAMED_POINTS = 8

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "text.color": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": GRID, "grid.color": GRID, "grid.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "legend.frameon": False, "figure.dpi": 100, "savefig.dpi": 180,
}  # fmt: skip


def _draw(name: str, height_inches: float, paint: Callable[[Axes], None]) -> str:
    """An SVG element. ``name`` keeps the ids of one page's figures apart."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        paint(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'id="((?:figure|axes|patch|text|line2d|legend|xtick|ytick|matplotlib)[^"]*)"', rf'id="{name}-\1"', text)
    return text.replace(INK, "currentColor").replace(GRID, "var(--line)")


@dataclass(frozen=True)
class _Key:
    """A part of a stacked bar."""

    name: str
    word: str
    colour: str


USE_KEYS = [_Key(use.name.lower(), USE_WORDS[use], USE_COLOURS[use]) for use in USE_ORDER]
CAUSE_KEYS = [_Key(cause.name.lower(), CAUSE_WORDS[cause], CAUSE_COLOURS[cause]) for cause in Cause]


def _legend(axes: Axes, keys: list[_Key]) -> None:
    handles = [Patch(color=key.colour, label=key.word) for key in keys]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, handlelength=1, handleheight=1)


def _stacked(axes: Axes, names: list[str], bars: Sequence[Mapping[str, int]], keys: list[_Key]) -> None:
    """Horizontal bars, the first on top, each with cycles by the names of ``keys``."""
    left = np.zeros(len(names))
    shown = [key for key in keys if any(key.name in bar for bar in bars)]
    for key in shown:
        widths = np.array([bar.get(key.name, 0) for bar in bars])
        axes.barh(names, widths, left=left, color=key.colour, height=0.74, linewidth=0)
        left += widths
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.margins(y=0.4 / max(1, len(names)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("cycles")
    _legend(axes, shown)


def layers_figure(report: Report) -> str:
    """The judged engine's cycles by layer and root cause."""
    layers = [layer for layer in report.layers if layer.unit != "host"]
    names = _unique([shorten(layer.name, 26) for layer in layers])
    bars = [layer.causes or {} for layer in layers]
    return _draw("layers", 1.1 + 0.2 * len(layers), lambda axes: _stacked(axes, names, bars, CAUSE_KEYS))


def engines_figure(report: Report) -> str:
    """Each engine's cycles by what they went to."""
    engines = report.engines or {}
    return _draw("engines", 2.3, lambda axes: _stacked(axes, list(engines), list(engines.values()), USE_KEYS))


def _unique(names: list[str]) -> list[str]:
    """Names as categories of an axis: equal ones are kept apart by spaces."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        result.append(name + " " * seen[name])
    return result


def roofline_figure(report: Report) -> str:
    """Layers by MACs a DRAM byte and MACs a cycle, under the roof of array and memory."""
    array = report.accelerator["array"]
    peak = array["rows"] * array["columns"]
    bandwidth = min(report.dram_bytes_per_cycle, report.accelerator["bus"]["data_bytes"])
    layers = [la for la in report.layers if la.macs and la.unit_cycles]
    traffic = [max(1, (la.dram_read_bytes or 0) + (la.dram_write_bytes or 0)) for la in layers]
    x = np.array([la.macs / t for la, t in zip(layers, traffic, strict=True)])
    y = np.array([la.macs / (la.unit_cycles or 1) for la in layers])

    def paint(axes: Axes) -> None:
        low, high = min(x.min(initial=1), peak / bandwidth / 4) / 2, max(x.max(initial=1), peak / bandwidth * 4) * 3
        roof = np.geomspace(low, high, 200)
        axes.plot(roof, np.minimum(peak, roof * bandwidth), color=INK, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,g}")
        for unit, colour in UNIT_COLOURS.items():
            chosen = [n for n, la in enumerate(layers) if la.unit == unit]
            sizes = [12 + 240 * (layers[n].unit_cycles or 0) / max(1, report.cycles_total or 1) for n in chosen]
            if chosen:
                label = f"{unit} layers"
                axes.scatter(x[chosen], y[chosen], s=sizes, color=colour, alpha=0.75, linewidth=0, label=label, zorder=3)
        _name_points(axes, layers, x, y)
        axes.annotate(f"{peak} MACs a cycle", (high, peak), (-4, 4), textcoords="offset points", ha="right", fontsize=8)
        axes.set_ylim(min(y.min(initial=1), low * bandwidth) / 2, peak * 2.4)
        axes.set_xlim(low, high)
        axes.grid(visible=True)
        axes.set_xlabel("MACs for each byte of DRAM (weights, parameters and tensors that leave the chip)")
        axes.set_ylabel("MACs a cycle")
        if layers:
            axes.legend(loc="lower right", fontsize=8)

    return _draw("roofline", 3.9, paint)


def _name_points(axes: Axes, layers: list[LayerReport], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Names of the layers with most cycles, where there is room for them."""
    placed: list[tuple[float, float]] = []
    order = sorted(range(len(layers)), key=lambda n: -(layers[n].unit_cycles or 0))
    for n in order:
        spot = (float(np.log10(x[n])), float(np.log10(y[n])))
        if len(placed) < NAMED_POINTS and all(abs(spot[0] - px) > 0.45 or abs(spot[1] - py) > 0.22 for px, py in placed):
            placed.append(spot)
            axes.annotate(
                shorten(layers[n].name, 18), (x[n], y[n]), (0, -11), textcoords="offset points", ha="center", fontsize=7, zorder=4
            )


def timeline_figure(report: Report, attribution: Attribution) -> str:
    """Engines × time: instructions in the colour of their layer; above, the layers as they complete."""

    def paint(axes: Axes) -> None:
        for row, engine in enumerate(ENGINES):
            begin, end, layer = _merged(attribution, int(engine))
            colours = [LAYER_COLOURS[number % len(LAYER_COLOURS)] for number in layer]
            extents = list(zip(begin.tolist(), (end - begin).tolist(), strict=True))
            bars = axes.broken_barh(extents, (row - 0.38, 0.76), facecolors=colours, linewidth=0)
            bars.set_rasterized(len(begin) > RASTERIZE_ABOVE)
        _completions(axes, report, attribution)
        axes.set_yticks(range(len(ENGINES)), [engine.name.lower() for engine in ENGINES])
        axes.set_ylim(len(ENGINES) - 0.4, -1.5)
        axes.set_xlim(0, max(1, attribution.cycles))
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("cycle")

    return _draw("timeline", 2.9, paint)


def _completions(axes: Axes, report: Report, attribution: Attribution) -> None:
    """A mark where each layer completes, and its name where there is room."""
    total = max(1, attribution.cycles)
    for layer in report.layers:
        if not layer.cycles:
            continue
        end = int(attribution.completion[layer.tag])
        begin = end - layer.cycles
        axes.axvline(end, color=GRID, linewidth=0.7, zorder=0)
        name = shorten(layer.name, 14)
        if layer.cycles / total > 0.011 * len(name):
            axes.text((begin + end) / 2, -0.85, name, ha="center", va="center", fontsize=7.5)
        begin = end


def _merged(attribution: Attribution, engine: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(begin, end, layer) of an engine's instructions; neighbours of one layer that no eye could part are one."""
    times = attribution.instructions
    own = times.engine == engine
    begin, end, layer = times.begin[own], times.end[own], times.layer[own]
    if not len(begin):
        return begin, end, layer
    gap = attribution.cycles / 2000
    first = np.append(True, (layer[1:] != layer[:-1]) | (begin[1:] - end[:-1] > gap))
    starts = np.flatnonzero(first)
    return begin[starts], end[np.append(starts[1:], len(end)) - 1], layer[starts]


def energy_figure(report: Report) -> str:
    """Energy by component, with bounds."""
    parts = sorted((report.energy.components if report.energy else {}).items(), key=lambda item: -item[1].value)
    unit, scale = ("nJ", 1e9) if sum(p.value for _, p in parts) < 1e-6 else ("µJ", 1e6)
    values = np.array([p.value for _, p in parts]) * scale
    bounds = np.array([[p.value - p.low for _, p in parts], [p.high - p.value for _, p in parts]]) * scale

    def paint(axes: Axes) -> None:
        axes.barh([name for name, _ in parts], values, color="#2a78d6", height=0.6, linewidth=0)
        axes.errorbar(values, range(len(parts)), xerr=bounds, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{unit} an inference; bars reach from the lowest to the highest that the sources allow")

    return _draw("energy", 1.0 + 0.3 * len(parts), paint)
