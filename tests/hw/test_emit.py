"""The emitted Verilog: what is in it, what is not, and what Verilator's lint says."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from external import lint

from systola.hw.config import load_config
from systola.hw.emit import TOP_MODULE, emit_verilog
from systola.hw.params import Params


@functools.cache
def text(preset: str, flat: bool = False) -> str:
    return emit_verilog(Params(load_config(preset)), flat=flat)


def ports(verilog: str) -> dict[str, tuple[str, int]]:
    """Direction and width of the top module's ports."""
    body = re.search(rf"^module {TOP_MODULE}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    assert body
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body.group(), re.MULTILINE)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def expected_ports(params: Params) -> dict[str, tuple[str, int]]:
    """As the simulation and boards connect them."""
    address, data = params.config.bus.address_bits, 8 * params.bus_bytes
    result = {"clk": ("input", 1), "rst": ("input", 1), "irq": ("output", 1)}
    for channel in ("ar", "aw"):
        widths = {"addr": address, "len": 8, "size": 3, "burst": 2, "id": 1, "cache": 4, "prot": 3, "valid": 1}
        result |= {f"m_axi_{channel}{name}": ("output", width) for name, width in widths.items()}
        result[f"m_axi_{channel}ready"] = ("input", 1)
    for channel, widths in {
        "r": {"data": data, "resp": 2, "last": 1, "id": 1, "valid": 1},
        "b": {"resp": 2, "id": 1, "valid": 1},
    }.items():
        result |= {f"m_axi_{channel}{name}": ("input", width) for name, width in widths.items()}
        result[f"m_axi_{channel}ready"] = ("output", 1)
    for name, width in {"data": data, "strb": data // 8, "last": 1, "valid": 1}.items():
        result[f"m_axi_w{name}"] = ("output", width)
    result["m_axi_wready"] = ("input", 1)
    for name, width in {"awaddr": 12, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1, "araddr": 12, "arvalid": 1,
                        "rready": 1}.items():  # fmt: skip
        result[f"s_axil_{name}"] = ("input", width)
    for name, width in {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": 32, "rresp": 2,
                        "rvalid": 1}.items():  # fmt: skip
        result[f"s_axil_{name}"] = ("output", width)
    for name, width in {"running": 1, "class": 20, "taken": 5, "retire": 5}.items():
        result[f"trace_{name}"] = ("output", width)
    return result


@pytest.mark.parametrize("flat", [False, True])
def test_ports(flat: bool) -> None:
    assert ports(text("tiny", flat)) == expected_ports(Params(load_config("tiny")))


def test_modules_are_named_by_their_place() -> None:
    modules = set(re.findall(r"^module (\S+?) ?\(", text("tiny"), re.MULTILINE))
    parts = "controller guard counters timeline scratchpad fetch load array drain vector store frontend_load frontend_store"
    for part in parts.split():
        assert f"\\{TOP_MODULE}.{part}" in modules
    assert len(re.findall(r"^module ", text("tiny", flat=True), re.MULTILINE)) == 1


def test_the_same_text_each_time() -> None:
    text.cache_clear()
    first = text("tiny")
    text.cache_clear()
    assert text("tiny") == first


@pytest.mark.parametrize("flat", [False, True])
def test_nothing_superfluous(flat: bool) -> None:
    """No source locations, no contents of memories but of the one that is never written, no signals without bits."""
    verilog = text("tiny", flat)
    assert "src = " not in verilog
    assert not re.search(r"\.py\b", verilog)
    assert "[-1:0]" not in verilog
    memories = re.findall(r"^  reg \[\d+:0\] (\S+) +\[\d+:0\];", verilog, re.MULTILINE)
    assert len(memories) > 10
    filled = [name for name in memories if re.search(rf"{re.escape(name)}\s*\[\d+\]\s*=[^=]", verilog)]
    assert len(filled) == 1 and not re.search(rf"{re.escape(filled[0])}\s*\[.*\]\s*<=", verilog), filled


@pytest.mark.parametrize("preset", ["tiny", pytest.param("base", marks=pytest.mark.slow)])
def test_lint(preset: str, tmp_path: Path) -> None:
    source = tmp_path / f"{TOP_MODULE}.v"
    source.write_text(text(preset))
    lint(tmp_path, TOP_MODULE, source)
