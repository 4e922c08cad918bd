"""A netlist after synthesis as Verilog that simulates: every cell of the FPGA replaced by a model of it."""

from __future__ import annotations

from pathlib import Path

from systola.driver.synth.kept import keep
from systola.driver.synth.tools import YOSYS, find_tool
from systola.driver.synth.yosys import Netlist, run_yosys
from systola.sim.rtl.cache import Progress

__all__ = ["simulation_verilog"]

OWN_CELLS = "ecp5_cells.v"
"""Models of the cells that yosys has none of: block RAM, multipliers."""

TABLES = "ecp5_luts.v"

_SCRIPT = (
    "read_rtlil netlist.il",
    "delete t:$scopeinfo",
    "rename -hide",
    f"techmap -map {TABLES}",
    "read_verilog -DNO_INCLUDES +/ecp5/common_sim.vh +/ecp5/ccu2c_sim.vh",
    "setattr -mod -unset lib_whitebox -unset whitebox -unset abc9_box -unset abc9_lut",
    "read_verilog -lib -nooverwrite -DNO_INCLUDES +/ecp5/cells_sim.v +/ecp5/cells_bb.v",
)
"""yosys' own models: registers, carries, multiplexers, distributed RAM; its block RAM and multipliers are black boxes."""


def simulation_verilog(netlist: Netlist, progress: Progress | None = None) -> str:
    """The netlist, synthesized for ECP5, for ``RtlSession(…, verilog=…)``: the same top module with the same ports.

    Nothing of the netlist is simplified. Raises ToolError if yosys is not installed or fails.
    """
    tool = find_tool(YOSYS)
    own = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in (OWN_CELLS, TABLES)}
    script = [
        *_SCRIPT, f"hierarchy -check -top {netlist.top}", "proc", "flatten -noscopeinfo", "opt_clean",
        "write_verilog -noattr cells.v",
    ]  # fmt: skip

    def make(folder: Path) -> None:
        (folder / "netlist.il").write_bytes((netlist.folder / "netlist.il").read_bytes())
        (folder / TABLES).write_text(own[TABLES], encoding="utf-8")
        run_yosys(tool, folder, script, progress)
        (folder / "netlist.il").unlink()

    folder = keep("gates", [tool.version, netlist.folder.name, own[TABLES], *script], make, progress)
    return own[OWN_CELLS] + (folder / "cells.v").read_text(encoding="utf-8")
