"""What ``systola verilog`` writes: that it is complete, says what the accelerator is, and passes the tools that it is for."""

from __future__ import annotations

import functools
import json
import re
import shutil
import tkinter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from external import fusesoc, lint, synthesized, yosys

import systola.hw.emit
from systola.driver.artifacts import write_verilog
from systola.driver.c_header import c_header
from systola.driver.delivery.files import MARK, Delivery
from systola.driver.flow import Options, run
from systola.hw.config import config_from, load_config
from systola.hw.errors import ToolError
from systola.hw.params import Params
from systola.hw.readable.units import emit_design

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "model"
TINY = Params(load_config("tiny"))
OTHERS = {
    "README.md", "rtl/systola_axi.v", "lint/systola.vlt", "constraints/systola.xdc", "constraints/systola.lpf",
    "constraints/systola.sdc", "vivado/project.tcl", "systola.core", "systola.h", "registers.md", "accelerator.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def known() -> Iterator[None]:
    """An accelerator is elaborated once for all tests that write it, whatever its name and clock."""
    design = functools.cache(lambda _: emit_design(TINY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("systola.driver.delivery.files.emit_design", lambda params: design(params.fingerprint))
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, known: None) -> Path:
    """The delivery of tiny, with the flat variant."""
    folder = tmp_path_factory.mktemp("delivery") / "tiny"
    folder.mkdir()
    write_verilog(TINY, folder, flat=True)
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def units(folder: Path) -> list[Path]:
    """The units' files, without the wrapper."""
    return sorted(path for path in (folder / "rtl").iterdir() if path.name != "systola_axi.v")


def core(folder: Path) -> Mapping[str, Any]:
    """The core file as FuseSoC reads it."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not here: pip install fusesoc")
    text = (folder / "systola.core").read_text(encoding="utf-8")
    assert text.startswith("CAPI=2:\n")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


# ---- What is there ----


def test_tree(tiny: Path) -> None:
    found = tree(tiny)
    assert found - {str(path.relative_to(tiny)) for path in units(tiny)} == OTHERS | {"sim/systola_flat.v"}
    assert len(units(tiny)) == 19
    assert tree(tiny.parent) == {f"tiny/{name}" for name in found}, "something was written outside"


def test_every_file_says_what_it_was_made_of(tiny: Path) -> None:
    """Name, parameters, fingerprint and versions; nothing that differs from one run to the next; ASCII where tools read it."""
    for name in sorted(tree(tiny) - {"README.md", "lint/systola.vlt", "systola.h", "registers.md", "accelerator.json"}):
        text = (tiny / name).read_text(encoding="utf-8")
        head = text[:2000]
        assert "Accelerator tiny, fingerprint 0x" in head and f"{TINY.fingerprint:#010x}" in head, name
        assert "array: rows 4, columns 4" in head and MARK in head and "Yosys 0." in head and "SPDX" in head, name
        assert text.isascii(), name
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text), name


def test_a_unit_is_explained(tiny: Path) -> None:
    text = (tiny / "rtl/systola_fetch.v").read_text(encoding="utf-8")
    assert text.startswith("// systola_fetch: Reads every stream once after start,")
    assert "\n\nmodule systola_fetch (\n" in text


def test_description_header_and_registers(tiny: Path) -> None:
    """The description can be read again; the header and the page are those of the reference."""
    data = json.loads((tiny / "accelerator.json").read_text(encoding="utf-8"))
    assert config_from(data, "accelerator.json") == TINY.config
    assert (tiny / "systola.h").read_text(encoding="utf-8") == c_header()
    page = (ROOT / "docs" / "reference" / "registers.md").read_text(encoding="utf-8")
    assert (tiny / "registers.md").read_text(encoding="utf-8") == re.sub(r"<!-- .* -->\n\n", "", page)


def test_readme_lists_what_is_there(tiny: Path) -> None:
    listed = set(re.findall(r"^\| `([\w./*]+)` \|", (tiny / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    files = {name for name in listed if "." in name and "*" not in name}
    assert files <= tree(tiny) and (OTHERS - {"README.md"}) <= files


def test_clock_of_the_constraints(known: None) -> None:
    """Period and frequency are the description's."""
    config = TINY.config.model_copy(update={"clock": TINY.config.clock.model_copy(update={"frequency_mhz": 80.0})})
    texts = Delivery(Params(config)).files()
    for name in ("constraints/systola.xdc", "constraints/systola.sdc"):
        active = [line for line in texts[name].splitlines() if line and not line.startswith("#")]
        assert active == ["create_clock -name aclk -period 12.500 [get_ports aclk]"]
    active = [line for line in texts["constraints/systola.lpf"].splitlines() if line and not line.startswith("#")]
    assert active == ['FREQUENCY PORT "aclk" 80 MHZ;']


# ---- How it is written ----


def test_units_of_before_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that this accelerator does not have goes; a file of the user stays."""
    monkeypatch.setattr(Delivery, "files", lambda _: {"rtl/systola.v": f"// {MARK}\n"})
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "systola_old.v").write_text(f"// systola_old\n// {MARK} 0.0.1\n", encoding="utf-8")
    (tmp_path / "rtl" / "systola_mine.v").write_text("// mine\n", encoding="utf-8")
    assert write_verilog(TINY, tmp_path) == (tmp_path / "rtl" / "systola.v",)
    assert tree(tmp_path) == {"rtl/systola.v", "rtl/systola_mine.v"}


def test_nothing_is_written_where_yosys_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systola.hw.emit, "_YOSYS_MINIMUM", (99, 0))
    with pytest.raises(ToolError, match="there is no yosys to write Verilog with"):
        write_verilog(TINY, tmp_path)
    assert tree(tmp_path) == set()


# ---- AXI wrapper ----


def test_wrapper_connects_every_port(tiny: Path) -> None:
    """Each port of the accelerator once, to the wrapper's port of the same name, width and direction."""
    text = (tiny / "rtl/systola_axi.v").read_text(encoding="utf-8")
    inner = (tiny / "rtl/systola.v").read_text(encoding="utf-8")
    connected = dict(re.findall(r"^    \.(\w+)\((!?\w+)\),?$", text, re.MULTILINE))
    ports = re.findall(r"^  (input|output) (?:wire|reg) (\[\d+:0\] )?(\w+)", inner[: inner.index(");")], re.MULTILINE)
    found = re.findall(r"^  (input|output) wire (\[\d+:0\] )?(\w+)", text, re.MULTILINE)
    outer = {name: (kind, width) for kind, width, name in found}
    assert set(connected) == {name for _, _, name in ports}
    assert (connected["clk"], connected["rst"], connected["irq"]) == ("aclk", "!aresetn", "irq")
    for kind, width, name in ports:
        if name.startswith(("m_axi", "s_axil")):
            assert connected[name] == name.replace("s_axil", "s_axi")
            assert outer[connected[name]] == (kind, width)


def test_wrapper_is_recognized(tiny: Path) -> None:
    """Each port has an attribute with its bus's signal; clock and reset are tied to both buses."""
    text = (tiny / "rtl/systola_axi.v").read_text(encoding="utf-8")
    head = text[: text.index("\n);")]
    info = r'X_INTERFACE_INFO = "xilinx\.com:\w+:\w+:1\.0 (\w+) (\w+)" \*\)(?:\n  \(\* .*)*\n'
    given = re.findall(info + r"  \w+ wire (?:\[\d+:0\] )?(\w+)", head)
    assert len(given) == len(re.findall(r"^  (?:input|output) wire", head, re.MULTILINE)) == len(set(given))
    for bus, signal, port in given:
        assert port == (f"{bus}_{signal.lower()}" if bus.endswith("_axi") else bus)
    assert "ASSOCIATED_BUSIF m_axi:s_axi, ASSOCIATED_RESET aresetn" in head and "POLARITY ACTIVE_LOW" in head
    assert "PROTOCOL AXI4, DATA_WIDTH 32, ADDR_WIDTH 32, ID_WIDTH 1" in head and "PROTOCOL AXI4LITE, DATA_WIDTH 32" in head


def test_lint_of_the_wrapper(tiny: Path, tmp_path: Path) -> None:
    """It passes without any waiver, with the accelerator as a box."""
    inner = (tiny / "rtl/systola.v").read_text(encoding="utf-8")
    ports = inner[inner.index("module systola (") : inner.index(");")].replace(" reg ", " wire ")
    box = tmp_path / "systola.v"
    box.write_text(
        "// verilator lint_off UNUSEDSIGNAL\n// verilator lint_off UNDRIVEN\n" + re.sub(r" = \d+'[dh]\w+", "", ports)
        + ");\nendmodule\n", encoding="utf-8",
    )  # fmt: skip
    lint(tmp_path, "systola_axi", tiny / "rtl/systola_axi.v", box, waivers=False)


# ---- FuseSoC, Vivado ----


def test_core_file(tiny: Path) -> None:
    """All files that are listed are there, and all that are meant for a tool are listed."""
    loaded = core(tiny)
    assert re.fullmatch(r"systola:accelerators:tiny:\d[\w.]*", loaded["name"])
    listed = [name for fileset in loaded["filesets"].values() for name in fileset["files"]]
    assert len(listed) == len(set(listed)) and set(listed) <= tree(tiny)
    assert {str(path.relative_to(tiny)) for path in units(tiny)} == set(loaded["filesets"]["rtl"]["files"])
    assert set(loaded["targets"]) == {"default", "lint", "lint_flat", "ecp5", "vivado"}
    for target in loaded["targets"].values():
        assert set(target["filesets"]) <= set(loaded["filesets"])
        assert target["toplevel"] == "systola_axi" and target["description"]


def test_core_without_the_flat_variant(known: None) -> None:
    texts = Delivery(TINY).files()
    assert "sim/systola_flat.v" not in texts
    assert "flat" not in texts["systola.core"] and "flat" not in texts["README.md"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["lint", "lint_flat"])
def test_fusesoc(tiny: Path, tmp_path: Path, target: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "cores"))
    assert "systola:accelerators:tiny" in fusesoc(folder, "core-info", "systola:accelerators:tiny")
    fusesoc(folder, "run", "--target", target, "systola:accelerators:tiny")


VIVADO_COMMANDS = (
    "create_project", "add_files", "set_property", "update_compile_order", "synth_design", "report_utilization",
    "report_timing_summary", "write_checkpoint", "ipx::package_project", "ipx::associate_bus_interfaces",
    "ipx::create_xgui_files", "ipx::update_checksums", "ipx::check_integrity", "ipx::save_core",
)  # fmt: skip


class Vivado:
    """Runs a Tcl file, and keeps the commands of Vivado that it gives."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self.said: list[tuple[str, ...]] = []
        tcl = tkinter.Tcl()
        for command in VIVADO_COMMANDS:
            if "::" in command:
                tcl.eval(f"namespace eval {command.rpartition('::')[0]} {{}}")
            tcl.createcommand(command, lambda *words, name=command: self.said.append((name, *words)))
        for query in ("get_files", "current_fileset", "ipx::current_core"):
            tcl.createcommand(query, lambda *words, name=query: f"{name}({' '.join(words)})")
        tcl.eval("set argv [list " + " ".join(arguments) + "]; proc puts args {}")
        tcl.call("source", str(script))
        self.split = tcl.splitlist

    def of(self, command: str) -> list[tuple[str, ...]]:
        return [words[1:] for words in self.said if words[0] == command]


def test_vivado_project(tiny: Path) -> None:
    """All sources, the top, and constraints that count out of context only."""
    vivado = Vivado(tiny / "vivado/project.tcl")
    sources, constraints = vivado.of("add_files")
    assert {Path(path) for path in vivado.split(sources[-1])} == {*units(tiny), tiny / "rtl/systola_axi.v"}
    assert constraints == ("-fileset", "constrs_1", "-norecurse", str(tiny / "constraints/systola.xdc"))
    assert ("top", "systola_axi", "current_fileset()") in vivado.of("set_property")
    assert any(words[:2] == ("used_in", "synthesis implementation out_of_context") for words in vivado.of("set_property"))
    assert vivado.of("create_project")[0][-1] == "xc7z020clg400-1"
    assert not vivado.of("synth_design") and not vivado.of("ipx::package_project")


def test_vivado_goals(tiny: Path) -> None:
    synthesis = Vivado(tiny / "vivado/project.tcl", "synth", "xc7a100tcsg324-1")
    assert synthesis.of("synth_design") == [("-top", "systola_axi", "-part", "xc7a100tcsg324-1", "-mode", "out_of_context")]
    package = Vivado(tiny / "vivado/project.tcl", "package")
    assert package.of("ipx::package_project") and package.of("ipx::save_core") and not package.of("synth_design")
    assert ("name", "systola_tiny", "ipx::current_core()") in package.of("set_property")


# ---- Verilator, yosys ----


@pytest.mark.slow
def test_lint(tiny: Path, tmp_path: Path) -> None:
    lint(tmp_path, "systola_axi", *units(tiny), tiny / "rtl/systola_axi.v")
    lint(tmp_path, "systola_axi", tiny / "rtl/systola_axi.v", tiny / "sim/systola_flat.v")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["base", "tall", "wide"])
def test_lint_of_others(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("systola.driver.delivery.files.emit_design", emit_design)
    write_verilog(Params(load_config(preset)), tmp_path)
    lint(tmp_path, "systola_axi", *sorted((tmp_path / "rtl").iterdir()))


CHECKS = ("proc", "check -assert", "flatten", "opt_clean", "check -assert", "select -assert-none t:$dlatch t:$adlatch t:$sr")
"""No latch, no combinational loop (flattened, so that none hides between modules), nothing undriven."""


@pytest.mark.slow
@pytest.mark.parametrize("sources", ["rtl/*.v", "rtl/systola_axi.v sim/systola_flat.v"])
def test_yosys_check(tiny: Path, sources: str) -> None:
    """``hierarchy -check`` fails on a module that is not there, such as a vendor's primitive."""
    yosys(tiny, f"read_verilog {sources}", "hierarchy -check -top systola_axi", *CHECKS)


SEGMENT = "systola_array_engine_systolic_segment"
RAMS = ("systola_scratchpad_bank", "systola_array_engine_accumulators")
"""Modules that hold the large memories. (A table of tiny's has 2 kbit, which 7-series keeps in look-up tables.)"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("synthesis", "block_ram", "other_ram", "multiplier"),
    [
        ("synth_ecp5", {"DP16KD"}, "TRELLIS_DPR16X4", "MULT18X18D"),
        ("synth_xilinx -family xc7", {"RAMB18E1", "RAMB36E1"}, "RAM[0-9].*", "DSP48E1"),
    ],
)
def test_block_ram_and_multipliers(
    tiny: Path, tmp_path: Path, synthesis: str, block_ram: set[str], other_ram: str, multiplier: str
) -> None:
    """Large memories are block RAM alone, products of the array are multipliers, nothing is a latch."""
    cells = synthesized(Path(shutil.copytree(tiny, tmp_path / "tiny")), synthesis, SEGMENT, *RAMS)
    for module in RAMS:
        assert block_ram & cells[module].keys(), (module, cells[module])
        assert not [cell for cell in cells[module] if re.fullmatch(other_ram, cell)], (module, cells[module])
    assert cells[SEGMENT][multiplier] == TINY.macs_per_cycle
    assert not {cell for found in cells.values() for cell in found if "LATCH" in cell.upper() or cell.startswith("LD")}


# ---- The same accelerator ----


def harnessed(tiny: Path, sources: list[Path]) -> str:
    """``systola`` as the simulation expects it, around the delivered wrapper around the delivered accelerator."""
    inner = "".join(path.read_text(encoding="utf-8") for path in sources)
    inner = re.sub(r"^module systola ?\(", "module systola_inner (", inner, flags=re.MULTILINE)
    wrapper = (tiny / "rtl/systola_axi.v").read_text(encoding="utf-8")
    wrapper = wrapper.replace("  systola accelerator (", "  systola_inner accelerator (")
    text = (tiny / "rtl/systola.v").read_text(encoding="utf-8")
    head = text[text.index("module systola (") : text.index(");")].replace(" reg ", " wire ")
    names = re.findall(r"^  (?:input|output) wire (?:\[\d+:0\] )?(\w+)", head, re.MULTILINE)
    ports = {name: name.replace("s_axil", "s_axi") for name in names if name.startswith(("m_axi", "s_axil", "irq"))}
    fixed = [".aclk(clk)", ".aresetn(!rst)", ".s_axi_awprot(3'd0)", ".s_axi_arprot(3'd0)"]
    connections = fixed + [f".{outer}({name})" for name, outer in ports.items()]
    traces = "".join(f"  assign {name} = axi.unused_{name};\n" for name in names if name.startswith("trace_"))
    head = re.sub(r" = [^,\n]*", "", head)
    shim = f"{head});\n  systola_axi axi ({', '.join(connections)});\n{traces}endmodule\n"
    return inner + wrapper + shim


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["units", "flat"])
def test_digits(tiny: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivered Verilog computes what golden does, in the cycles of the accelerator that is simulated usually."""
    sources = units(tiny) if variant == "units" else [tiny / "sim/systola_flat.v"]
    monkeypatch.setattr("systola.sim.rtl.build.verilog_of", lambda *_, **__: harnessed(tiny, sources))
    found = run(Options(DIGITS, "tiny", samples=5, backend="rtl"))
    assert found.check.bit_exact and sum(found.check.tensors.values()) > 0
    assert found.cycles == run(Options(DIGITS, "tiny", samples=5, backend="cycles")).cycles
