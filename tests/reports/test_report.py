"""The report: its data, its page, its files."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_runs import run_record

from systola.hw.errors import SystolaError
from systola.hw.isa import Engine
from systola.hw.registers import CycleClass
from systola.reports.html import render_html
from systola.reports.model import Report, attribution_of, build_report, report_schema
from systola.reports.record import Check, RunRecord
from systola.reports.schema import Bounded
from systola.reports.terminal import print_report
from systola.reports.timeline import timeline
from systola.reports.words import bounded, bytes_text, quantity, shorten
from systola.reports.write import write_report

ROOT = Path(__file__).parents[2]
VOID = {"meta", "br", "link", "img", "hr", "input"}


def test_round_trip() -> None:
    """JSON holds everything."""
    report = build_report(run_record())
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_figures_fit_together() -> None:
    """Totals are the sums of their parts."""
    record = run_record()
    report = build_report(record)
    layers = [layer for layer in report.layers if layer.unit != "host"]
    assert report.cycles_total == record.cycles[0] == sum(layer.cycles or 0 for layer in layers)
    assert report.cycles_max == record.cycles[1]
    assert report.engines is not None
    for engine, classes in report.engines.items():
        assert sum(classes.values()) == report.cycles_total
        for name, count in classes.items():
            assert sum((layer.engines or {})[engine].get(name, 0) for layer in layers) == count
    assert report.latency_s == pytest.approx(record.cycles[0] / 100e6)
    assert report.utilization == pytest.approx(report.macs_accelerator / (16 * record.cycles[0]))
    assert report.energy_j is not None and report.power_w is not None
    assert report.power_w.value == pytest.approx(report.energy_j.value / report.latency_s)
    assert report.power_w.low < report.power_w.value < report.power_w.high
    assert report.bit_exact is True and report.bytes_checked == 128 and report.tensors_checked == 1
    assert report.sim_cycles_per_second == pytest.approx(record.simulated_cycles / 0.5)
    assert report.array_occupancy is not None and 0 < report.array_occupancy <= 1
    assert [layer.sqnr_db for layer in report.layers][-1] == 31.25


def test_advice_is_the_largest_loss() -> None:
    """The array's largest cause that is not work."""
    report = build_report(run_record())
    assert report.causes is not None and report.advice is not None
    lost = {cause: n for cause, n in report.causes.items() if cause not in ("useful", "finish")}
    assert report.advice.engine == report.judged_engine == "array"
    assert report.advice.cycles == max(lost.values()) == lost[report.advice.cause]


def test_counters_are_in_the_report() -> None:
    """As the registers had them; busy and waiting cycles are those of the uses."""
    record = run_record()
    report = build_report(record)
    assert record.classes is not None and report.counters is not None and report.engines is not None
    for engine, classes in record.classes.items():
        counted, uses = report.counters[engine.name.lower()], report.engines[engine.name.lower()]
        assert counted == {c.name.lower(): n for c, n in classes.items() if n}
        assert counted.get("busy", 0) == sum(uses.get(name, 0) for name in ("useful", "rows", "columns", "repeated"))
        assert counted.get("idle", 0) == sum(uses.get(name, 0) for name in ("fetch", "start", "finish"))
        assert counted.get("setup", 0) + counted.get("flush", 0) == uses.get("fill", 0)


def test_without_time() -> None:
    """What a backend does not know is null, not 0; energy comes from the program."""
    report = build_report(run_record(timed=False))
    for value in (report.cycles_total, report.latency_s, report.power_w, report.utilization, report.advice, report.bit_exact,
                  report.engines, report.causes, report.sim_cycles_per_second):  # fmt: skip
        assert value is None
    assert all(layer.cycles is None and layer.engines is None for layer in report.layers)
    assert report.energy is not None and report.energy.counts_from == "program"


def test_a_difference_is_shown() -> None:
    """On the terminal and in the data."""
    record = replace(run_record(), check=Check({"y": 128, "sum": 128}, {"y": 0, "sum": 7}))
    report = build_report(record)
    assert report.bit_exact is False and report.mismatches == {"sum": 7}
    assert "NO: 7 of 256 bytes differ" in _printed(report)


def test_trace_and_counters_must_agree() -> None:
    """A report is not made of two stories."""
    record = run_record()
    assert record.classes is not None
    wrong = {e: dict(c) for e, c in record.classes.items()}
    wrong[Engine.DRAIN][CycleClass.BUSY] += 1
    with pytest.raises(SystolaError, match="drain engine's counter of BUSY"):
        build_report(replace(record, classes=wrong))
    with pytest.raises(SystolaError, match="the counters"):
        build_report(replace(record, cycles=(record.cycles[0] + 1,)))


def test_schema_is_current() -> None:
    """docs/reference/report.schema.json is what the code says."""
    written = json.loads((ROOT / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8"))
    assert written == report_schema()


def _printed(report: Report, width: int = 100) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("timed", [True, False])
def test_terminal(timed: bool) -> None:
    """Fits 100 columns, without cutting a figure."""
    text = _printed(build_report(run_record(timed=timed)))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for word in ("Energy", "static power unknown", "Host", "Accuracy", "residual on tiny"):
        assert word in text
    assert ("Where the cycles went" in text) is timed
    assert ("Why: the array's cycles" in text) is timed


class _Page(HTMLParser):
    """Which tags are open, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action", "srcset")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("timed", [True, False])
def test_page_stands_alone(timed: bool) -> None:
    """Nothing is loaded from elsewhere, no script runs, every tag is closed, and text is escaped."""
    record = run_record(timed=timed)
    text = render_html(build_report(record), attribution_of(record))
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in page.loads)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "base"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert "a &lt;remark&gt; &amp; more" in text
    assert text.count("<svg") == (5 if timed else 1)
    identities = re.findall(r'\bid="([^"]*)"', text)
    assert len(identities) == len(set(identities))


def test_page_follows_the_reader(tmp_path: Path) -> None:
    """Figures take the page's colours; none keeps the placeholder."""
    record = run_record()
    text = render_html(build_report(record), attribution_of(record))
    assert "currentColor" in text and "var(--line)" in text and "prefers-color-scheme: dark" in text
    assert "#010203" not in text and "#040506" not in text


def test_timeline() -> None:
    """Every instruction once, within the run; classes without idle times."""
    record = run_record()
    attribution = attribution_of(record)
    assert attribution is not None
    data = timeline(attribution, record.image.layers, record.network)
    slices = [e for e in data["traceEvents"] if e["ph"] == "X"]
    instructions = [e for e in slices if e["pid"] == 1]
    assert len(instructions) == len(attribution.instructions.begin)
    assert all(e["ts"] >= 0 and e["ts"] + e["dur"] <= attribution.cycles for e in slices)
    for tid in range(5):
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in instructions if e["tid"] == tid)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(own))
    assert data["otherData"]["cycles"] == attribution.cycles


@pytest.mark.parametrize("timed", [True, False])
def test_files(tmp_path: Path, timed: bool) -> None:
    """Written whole into the folder, nothing else left there."""
    record: RunRecord = run_record(timed=timed)
    report = build_report(record)
    write_report(report, record, tmp_path / "out")
    names = {"report.json", "report.html"} | ({"timeline.json"} if timed else set())
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert Report.model_validate_json((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    if timed:
        assert json.loads((tmp_path / "out" / "timeline.json").read_text(encoding="utf-8"))["traceEvents"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Said in one sentence."""
    (tmp_path / "file").write_text("")
    record = run_record(timed=False)
    with pytest.raises(SystolaError, match="cannot be made"):
        write_report(build_report(record), record, tmp_path / "file" / "out")


def test_words() -> None:
    """Figures as people read them."""
    assert quantity(0.000568, "s") == "568 µs"
    assert quantity(0, "J") == "0.00 J"
    assert quantity(1.5e-12, "J") == "1.50 pJ"
    assert bounded(Bounded(value=3.1e-5, low=1.2e-5, high=7e-5), "J") == "31.0 µJ (12.0 … 70.0)"
    assert bytes_text(9_999) == "9,999 B"
    assert bytes_text(20_480) == "20.0 KiB"
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert shorten("abc", 5) == "abc"
