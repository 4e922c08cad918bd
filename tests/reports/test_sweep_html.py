"""The HTML report of a sweep: its content, that it holds for any sweep, and that no text gets out of hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sweep_stand_in import network_result

from systola.hw.config import load_config
from systola.hw.errors import ToolError
from systola.reports.sweep.description import description_toml
from systola.reports.sweep.html import Wording, metric_text, render_sweep, write_sweep_html
from systola.reports.sweep.metrics import METRICS, point_metrics
from systola.reports.sweep.page_data import DRAWN, drawn_points, page_data, value_text
from systola.reports.sweep.pareto import pareto_front
from systola.reports.sweep.results import (
    Agreement,
    AxisDefinition,
    Estimate,
    NetworkDefinition,
    Objective,
    PointResult,
    Resources,
    SweepDefinition,
    SweepResults,
    Verification,
)
from systola.reports.sweep.sensitivity import Effect, sensitivity

pytest.importorskip("plotly", reason="Plotly is not installed: pip install 'systola[sweep]'")

BASE = load_config("small").model_dump(mode="json")
AXES = {"array.rows": (4, 8, 16, 32, 64), "dram.bytes_per_cycle": (2, 4, 8), "quantize.method": ("mse", "minmax")}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}<!--\u2028"
VOID = {"meta", "br", "link", "img", "hr", "input"}


def definition(
    names: Sequence[str] = ("kws", "resnet8"), axes: dict[str, tuple[Any, ...]] | None = None, **fields: Any
) -> SweepDefinition:
    """A grid over ``axes``."""
    values: dict[str, Any] = {
        "networks": tuple(NetworkDefinition(name, f"models/{name}", 1.0, "0" * 16) for name in names),
        "base": BASE,
        "axes": tuple(
            AxisDefinition(name, own, "category" if isinstance(own[0], str) else "log") for name, own in (axes or AXES).items()
        ),
        "constraints": ("array.rows >= 4",),
        "objectives": tuple(Objective(name, METRICS[name].direction) for name in ("latency_ms", "energy_uj", "lut4")),
        "strategy": "grid", "points": None, "seed": 0, "accuracy_samples": 50,
    }  # fmt: skip
    return SweepDefinition(**values | fields)


def point(number: int, axes: dict[str, Any], asked: SweepDefinition, resources: bool = True) -> PointResult:
    """A point that is done; with 64 rows invalid."""
    config = {name: dict(part) if isinstance(part, dict) else part for name, part in BASE.items()}
    for name, value in axes.items():
        section, _, field = name.partition(".")
        if section in config:
            config[section][field] = value
    common: dict[str, Any] = {
        "hash": f"{number:016x}", "ordinal": number, "axes": axes, "config": config, "seconds": 0.1,
        "method": axes.get("quantize.method", "mse"), "finished": f"2026-02-0{1 + number % 3}T10:00:00+00:00",
    }  # fmt: skip
    if axes.get("array.rows") == 64:
        reason = f"layer 'relu{number}' does not fit: it takes {number} bytes"
        return PointResult(**common, state="invalid", reason=reason)
    found = tuple(
        replace(network_result(n.name, config, 1 + k), agreement=Agreement(50, 0.9, "float network"))
        for k, n in enumerate(asked.networks)
    )
    rows = config["array"]["rows"]
    taken = Resources(Estimate(100.0 * rows, 0.08), Estimate(50.0 * rows), Estimate(rows), Estimate(9.0), ("array.rows",))
    own = taken if resources else None
    metrics = point_metrics(found, asked.networks, config, own)
    return PointResult(**common, state="done", networks=found, resources=own, metrics=metrics)


def results(asked: SweepDefinition | None = None, points: Sequence[PointResult] | None = None) -> SweepResults:
    """A sweep over all combinations, or of these points."""
    asked = asked or definition()
    if points is None:
        names = [axis.name for axis in asked.axes]
        combinations = product(*(axis.values for axis in asked.axes))
        points = [point(n, dict(zip(names, values, strict=True)), asked) for n, values in enumerate(combinations)]
    front = pareto_front({p.hash: p.metrics for p in points if p.state == "done"}, asked.objectives)
    return SweepResults(asked, {"systola": "0.1", "python": "3.11"}, tuple(points), front)


class Page(HTMLParser):
    """A page's elements and texts; every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the figures are drawn from."""
        result: dict[str, Any] = json.loads(self.scripts[0])
        return result


def test_content() -> None:
    """What was asked, counts, the front with its descriptions, reasons, versions."""
    found = results()
    page = Page(render_sweep(found))
    for text in (
        "Sweep of kws, resnet8", "every combination over 3 axes of small · 2026-02-01 to 2026-02-03",
        "24 done, 6 invalid, 0 failed", "models/kws", "array.rows >= 4", "4, 8, 16, 32, 64", "mse, minmax",
        "latency (ms) less is better", "LUT4", "systola 0.1", "python 3.11",
        "layer 'relu24' does not fit: it takes 24 bytes (6 reasons that differ in numbers or names)",
        "Resources are extrapolated: array.rows",
    ):  # fmt: skip
        assert text in page.text, text
    sections = [attributes for tag, attributes in page.elements if tag == "details" and attributes.get("class") == "point"]
    assert [attributes["data-hash"] for attributes in sections] == list(found.front)
    data = page.data
    assert data["hash"] == [p.hash for p in found.of_state("done")]
    assert {h for h, on in zip(data["hash"], data["front"], strict=True) if on} == set(found.front)
    assert data["objectives"] == ["latency_ms", "energy_uj", "lut4"]
    latency = data["metrics"][0]["values"]
    assert latency == pytest.approx([p.metrics["latency_ms"] for p in found.of_state("done")], rel=1e-5)
    rows = data["axes"][0]
    assert [rows["texts"][place] for place in rows["places"]] == [str(p.axes["array.rows"]) for p in found.of_state("done")]
    assert set(data["details"]) == set(found.front)


def test_descriptions_are_the_points() -> None:
    """The TOML on the page is the accelerator."""
    found = results()
    text = render_sweep(found)
    blocks = re.findall(r"<pre>(# point .*?)</pre>", text, flags=re.DOTALL)
    assert len(blocks) == len(found.front)
    for block, shown in zip(blocks, found.front_points, strict=True):
        assert tomllib.loads(block.replace("&#34;", '"')) == shown.config


@pytest.mark.parametrize("text", ["", "plain", 'a "b"\\', "line\nbreak\t\x00\x7f\x1f", HOSTILE, "'''", "é €"])
def test_toml(text: str) -> None:
    """Whatever is in a description comes back."""
    data = {"name": text, text or "k": 1, "list": [1, 2.5, True, "x"], "part": {"a b": -1, "c": {"d": text}, "f": 1e-9}}
    assert tomllib.loads(description_toml(data)) == data
    assert tomllib.loads(description_toml({"a": None, "b": {"c": None}})) == {"b": {}}


def test_details_of_a_network() -> None:
    """Roofline and cycles of a front point are the result's."""
    found = results()
    data = page_data(found, found.of_state("done"), found.front_points, sensitivity(found))
    for shown in found.front_points:
        for network, drawn in zip(shown.networks, data["details"][shown.hash], strict=True):
            peak = shown.config["array"]["rows"] * shown.config["array"]["columns"]
            assert drawn["peak"] == peak and drawn["bound"] == network.roofline.bound
            assert drawn["achieved"] == pytest.approx(999_000 / network.cycles, rel=1e-5)
            assert drawn["uses"] == {"array": {"useful": network.cycles - 10, "fetch": 10}}
            assert drawn["of_bound"] == pytest.approx(network.roofline.bound_cycles / network.cycles, rel=1e-5)


def test_verified_points() -> None:
    """Equal, different and not run; also those that are not on the front."""
    found = results()
    done = found.of_state("done")
    outside = next(p for p in done if p.hash not in found.front)

    def ran(p: PointResult, off: int, reason: str = "") -> PointResult:
        runs = (Verification(n.network, n.cycles, n.cycles + off, not off, 4096, off, 1.0, "", reason) for n in p.networks)
        return replace(p, verifications=tuple(runs))

    chosen = {found.front[0]: 0, outside.hash: 7}
    points = [ran(p, chosen[p.hash]) if p.hash in chosen else p for p in found.points]
    points = [ran(p, 0, "no simulator") if p.hash == found.front[1] else p for p in points]
    page = Page(render_sweep(replace(found, points=tuple(points))))
    equal, different = (next(p for p in points if p.hash == name) for name in chosen)
    assert f"equal: {equal.networks[0].cycles:,} cycles, 4,096 bytes" in page.text
    assert f"differs: {different.networks[0].cycles + 7:,} cycles, counters differ, 7 of 4,096 bytes" in page.text
    assert "not run: no simulator" in page.text and "RTL differs 1 1 equal" in page.text and "not on the front" in page.text
    rtl = dict(zip(page.data["hash"], page.data["rtl"], strict=True))
    assert rtl.pop(equal.hash) == 1 and rtl.pop(different.hash) == 2 and set(rtl.values()) == {0}


def hostile() -> SweepResults:
    """Everything that a user or a file can name is hostile."""
    asked = definition((HOSTILE,), {"array.rows": (4, 8), HOSTILE: (HOSTILE, "b")}, constraints=(HOSTILE,))
    asked = replace(asked, base=BASE | {HOSTILE: HOSTILE})
    points = []
    for number, (rows, text) in enumerate(product((4, 8), (HOSTILE, "b"))):
        own = point(number, {"array.rows": rows, HOSTILE: text}, asked)
        network = replace(own.networks[0], agreement=Agreement(1, 1.0, HOSTILE), energy_components={HOSTILE: 1e-6})
        run = Verification(HOSTILE, 1, 2, True, 1, 1, 1.0, "", HOSTILE)
        config = {**own.config, "x": HOSTILE}
        points.append(replace(own, networks=(network,), method=HOSTILE, verifications=(run,), config=config))
    failed = replace(points[0], hash="f" * 16, state="failed", reason=HOSTILE, networks=(), metrics={}, verifications=())
    found = results(asked, [*points, failed])
    return replace(found, versions={HOSTILE: HOSTILE})


def test_hostile_texts() -> None:
    """Names, values, reasons: they are shown, and do nothing."""
    page = Page(render_sweep(hostile(), Wording(HOSTILE, ((HOSTILE, HOSTILE),), HOSTILE)))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 3 and "img" not in tags and "iframe" not in tags
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert "alert(1)" in page.text and "49" not in re.findall(r"\d+", page.text.partition("What was asked")[0])
    assert page.data["axes"][1]["name"] == HOSTILE and page.data["axes"][1]["texts"] == [HOSTILE, "b"]


def test_nothing_is_loaded() -> None:
    """No element refers to anything outside, and a policy forbids it to scripts."""
    page = Page(render_sweep(results()))
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert name not in attributes, (tag, name)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy and "*" not in policy
    style = "".join(re.findall(r"<style>(.*?)</style>", render_sweep(results()), flags=re.DOTALL))
    assert "url(" not in style and "@import" not in style


def test_size(tmp_path: Path) -> None:
    """A thousand points of two networks stay below 8 MB."""
    axes = {"array.rows": (4, 8, 16, 32), "array.columns": (4, 8, 16, 32), "dram.bytes_per_cycle": tuple(range(1, 9)),
            "dram.latency_cycles": tuple(range(8))}  # fmt: skip
    found = results(definition(axes=axes))
    assert len(found.points) == 1024
    write_sweep_html(found, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 8e6


def test_one_objective() -> None:
    """The other axis of the figure is some other metric."""
    found = results(definition(("kws",), objectives=(Objective("latency_ms", "min"),)))
    page = Page(render_sweep(found))
    assert "of one objective" in page.text and page.data["objectives"] == ["latency_ms"] and len(page.data["metrics"]) > 5


def test_no_point_is_done() -> None:
    """Reasons are shown, figures are not; Plotly is left out."""
    asked = definition()
    found = results(asked, [point(n, {"array.rows": 64}, asked) for n in range(3)])
    text = render_sweep(found)
    page = Page(text)
    assert "No point is done" in page.text and "0 done, 3 invalid" in page.text and "does not fit" in page.text
    assert len(text) < 100_000
    assert "0 done, 0 invalid" in Page(render_sweep(results(asked, []))).text


def test_missing_figures() -> None:
    """Without resources and agreement: no front over them, no column, dashes nowhere near a zero."""
    asked = definition()
    points = [point(n, {"array.rows": r, "dram.bytes_per_cycle": 4, "quantize.method": "mse"}, asked, resources=False)
              for n, r in enumerate((4, 8, 16))]  # fmt: skip
    points = [replace(p, networks=tuple(replace(n, agreement=None) for n in p.networks)) for p in points]
    points = [replace(p, metrics=point_metrics(p.networks, asked.networks, p.config, None)) for p in points]
    found = results(asked, points)
    assert not found.front
    page = Page(render_sweep(found))
    assert "There is no front: there are no figures of LUT4." in page.text
    assert page.data["objectives"] == ["latency_ms", "energy_uj"]
    assert not {"lut4", "agreement"} & {metric["name"] for metric in page.data["metrics"]}
    assert all(effect["metric"] in page.data["objectives"] for effect in page.data["effects"])


def test_wording() -> None:
    """What else uses sweeps' results calls it by its name."""
    page = Page(render_sweep(results(), Wording("Search", (("limits", "latency ≤ 10 ms"),), "that meet all limits")))
    none = Page(render_sweep(replace(results(), front=()), Wording(front="that meet all limits")))
    assert "There is no front: there are no points that meet all limits." in none.text
    assert "Search of kws" in page.text and "limits latency ≤ 10 ms" in page.text and "of those that meet all limits" in page.text


def test_without_plotly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says how to get it; the command goes on."""
    from systola.driver.sweep.command import write_html

    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ToolError, match=r"pip install 'systola\[sweep\]'"):
        write_sweep_html(results(), tmp_path / "report.html")
    assert write_html(results(), tmp_path) == [] and not list(tmp_path.iterdir())


def test_many_points_are_thinned() -> None:
    """Some are drawn: the front and what ran on RTL among them."""
    asked = definition(("kws",))
    first = point(0, {"array.rows": 4, "dram.bytes_per_cycle": 2, "quantize.method": "mse"}, asked)
    points = tuple(replace(first, hash=f"{n:016x}") for n in range(2 * DRAWN + 1))
    run = Verification("kws", 1, 1, True, 1, 0, 1.0, "")
    points = (*points[:11], replace(points[11], verifications=(run,)), *points[12:])
    found = SweepResults(asked, {}, points, (points[3].hash,))
    drawn = {p.hash for p in drawn_points(found)}
    assert DRAWN <= len(drawn) <= DRAWN + 2 and {points[3].hash, points[11].hash} <= drawn


def effects_of(formula: Any, strategy: str = "grid") -> dict[str, Effect]:
    """The effects on latency where it follows from rows and bytes_per_cycle."""
    asked = definition(("kws",), {"array.rows": (4, 8, 16), "dram.bytes_per_cycle": (2, 4, 8)}, strategy=strategy,
                       objectives=(Objective("latency_ms", "min"),))  # fmt: skip
    points = []
    for number, (rows, dram) in enumerate(product((4, 8, 16), (2, 4, 8))):
        own = point(number, {"array.rows": rows, "dram.bytes_per_cycle": dram}, asked)
        points.append(replace(own, metrics={"latency_ms": formula(rows, dram)}))
    return {effect.axis: effect for effect in sensitivity(results(asked, points))}


def test_main_effects() -> None:
    """Shares of what is known."""
    alone = effects_of(lambda rows, _: 64 / rows)
    assert alone["array.rows"].share == pytest.approx(1) and alone["dram.bytes_per_cycle"].share == pytest.approx(0)
    assert alone["array.rows"].factor == pytest.approx(4) and alone["array.rows"].direction == "falls"
    assert alone["dram.bytes_per_cycle"].direction == "" and alone["dram.bytes_per_cycle"].factor == 1
    both = effects_of(lambda rows, dram: rows * dram)
    assert [both[axis].share for axis in both] == pytest.approx([0.5, 0.5])
    unequal = effects_of(lambda rows, dram: rows**2 / dram)  # variances of the logarithms: 4 to 1
    assert [unequal[axis].share for axis in unequal] == pytest.approx([0.8, 0.2])
    assert unequal["array.rows"].direction == "rises" and unequal["dram.bytes_per_cycle"].direction == "falls"
    together = effects_of(lambda rows, dram: 1 + (rows == dram))
    assert [together[axis].share for axis in together] == pytest.approx([1 / 9, 1 / 9], abs=0.2)
    assert effects_of(lambda *_: 5.0)["array.rows"].share is None
    assert effects_of(lambda rows, _: rows - 8.0)["array.rows"].share == pytest.approx(1)  # not positive: no logarithm


def test_groups() -> None:
    """Median and the middle half, by value in the axis's order."""
    groups = effects_of(lambda rows, dram: rows + dram)["array.rows"].groups
    assert [(g.value, g.points, g.low, g.median, g.high) for g in groups] == [
        (4, 3, 7, 8, 10), (8, 3, 11, 12, 14), (16, 3, 19, 20, 22)
    ]  # fmt: skip


def test_chance_is_no_effect() -> None:
    """Of points that were drawn, what three groups differ by is taken off."""
    noise = iter((3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.5))
    drawn = effects_of(lambda *_: next(noise), "random")
    noise = iter((3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.5))
    grid = effects_of(lambda *_: next(noise))
    for axis, effect in drawn.items():
        plain = grid[axis].share
        assert effect.share is not None and plain is not None
        assert effect.share == pytest.approx(max(0, 1 - (1 - plain) * 8 / 6)) and effect.share < plain


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_ms", 0.372, "372 µs"), ("energy_uj", 1250.0, "1.25 mJ"), ("power_mw", 41.7, "41.7 mW"),
        ("agreement", 0.975, "97.5 %"), ("dram_bytes", 20480.0, "20.0 KiB"), ("lut4", 19840.0, "19,840"),
        ("edp_uj_ms", 6.2941, "6.294 µJ·ms"), ("lut4", None, "–"),
    ],
)  # fmt: skip
def test_figures_have_units(name: str, value: float | None, text: str) -> None:
    """As people read them."""
    assert metric_text(name, value) == text


def test_values_of_axes() -> None:
    """Sizes in KiB where they are, everything else as it is."""
    sizes = [value_text("memory.scratchpad_bytes", v) for v in (65536, 1 << 20, 512, 1536, 0)]
    assert sizes == ["64 KiB", "1 MiB", "512 B", "1,536 B", "0 B"]
    assert [value_text("clock.frequency_mhz", v) for v in (100.0, 12.5)] == ["100", "12.5"]
    assert [value_text("a.b", v) for v in (True, 1, 20000, "mse")] == ["true", "1", "20,000", "mse"]


def test_anew_from_the_database(tmp_path: Path) -> None:
    """``systola sweep-report``: the same page as the sweep's own."""
    from sweep_stand_in import DIGITS, STAND_IN

    from systola.driver.sweep.command import sweep_report_command, write_html
    from systola.driver.sweep.run import SweepOptions, sweep
    from systola.driver.sweep.workers import WorkerPool

    (tmp_path / "space.toml").write_text('base = "small"\n[axes]\narray.rows = [8, 16, 64]\n', encoding="utf-8")
    found, _ = sweep(SweepOptions((DIGITS,), tmp_path / "space.toml", tmp_path / "out"), lambda: WorkerPool(1), STAND_IN)
    (path,) = write_html(found, tmp_path / "out")
    before = path.read_bytes()
    assert "2 done, 1 invalid, 0 failed" in Page(before.decode()).text
    path.unlink()
    sweep_report_command(tmp_path / "out")
    assert path.read_bytes() == before


BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
ERRORS = """<script>document.title = 'fine';
addEventListener('error', (event) => { document.title = 'wrong ' + event.message; });</script>"""
USE = """<script>addEventListener("load", () => setTimeout(async () => {
  const find = (id) => document.getElementById(id), said = [];
  for (const text of ["array.rows>=16 dram.bytes_per_cycle < 8", "latency_ms<=0", "zzz", "quantize.method=minmax", ""]) {
    find("filter").value = text;
    find("filter").dispatchEvent(new Event("input"));
    said.push(find("count").textContent);
  }
  document.querySelector("#rows a").click();
  await new Promise((done) => setTimeout(done, 500));
  said.push(document.querySelectorAll("details.point[open] svg.main-svg").length > 3);
  said.push(find("front").data.map((trace) => trace.x.length).join());
  document.body.dataset.said = said.join(";");
}, 500));</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("case", ["usual", "hostile"])
def test_in_a_browser(tmp_path: Path, case: str) -> None:
    """Figures are drawn, filters filter, details open, no script fails, and hostile texts do not run."""
    found = results() if case == "usual" else hostile()
    text = render_sweep(found).replace("<head>", "<head>" + ERRORS, 1)
    text = text.replace("</body>", USE + "</body>") if case == "usual" else text.replace("alert(", "document.title = 'run' + (")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000",
        "--dump-dom", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "<title>fine</title>" in done.stdout, re.findall(r"<title>.*?</title>", done.stdout)
    for name in ("front", "parallel", "effects"):
        assert re.search(f'id="{name}"[^>]*class="[^"]*js-plotly-plot', done.stdout), name
    if case == "usual":
        on, off = len(found.front), len(found.of_state("done")) - len(found.front)
        said = re.search(r'data-said="([^"]*)"', done.stdout)
        assert said is not None
        *counts, opened, traces = said[1].split(";")
        assert [count.split()[0] for count in counts] == ["8", "0", "0", "12", "24"]
        assert opened == "true" and traces.split(",")[1:] == [str(off), str(on)]
