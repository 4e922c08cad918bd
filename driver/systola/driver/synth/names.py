"""From yosys' and nextpnr's names of cells and nets back to the design's own.

The netlist is flat: ``array.sum[3]`` is the signal ``sum`` of the part ``array``. yosys' ``autoname`` names what has no name of
its own after the next signal that has one, with the cells' types and ports between: ``array.sum_TRELLIS_FF_Q_3``. nextpnr
appends ``$`` and words of its own. A part of a name with ``$`` is none that the design gave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from systola.driver.synth.harness import HARNESS_INSTANCE
from systola.reports.synthesis.schema import HARNESS

__all__ = ["TOP_UNIT", "design_name", "unit_of"]

TOP_UNIT = "top"
"""What is in no unit: between them."""

_CELL_TYPES = (
    "LUT4|CCU2C|PFUMX|L6MUX21|TRELLIS_FF|TRELLIS_DPR16X4|MULT18X18D|ALU54B|DP16KD|PDPW16KD|LUT[1-6]|CARRY4|MUXF[78]|FD[RSCP]E"
    "|DSP48E1|SB_LUT4|SB_CARRY|SB_DFF[A-Z]*|SB_MAC16|ALU|DFF[A-Z]*|MULT[0-9A-Z]+"
)
_GENERATED = re.compile(rf"_(?:{_CELL_TYPES})_[A-Z].*$")


def design_name(name: str, inside: str = HARNESS_INSTANCE) -> str:
    """The design's name of a cell or net of the flat netlist: the signal that it belongs to; its unit where the signal has none.

    ``inside``: the instance that the design is; what is not in it is HARNESS. Empty: the netlist is the design itself.
    """
    if inside:
        if not name.startswith(f"{inside}."):
            return HARNESS
        name = name.removeprefix(f"{inside}.")
    own = []
    for part in _GENERATED.sub("", name).split("."):
        clean = re.sub(r"\$(?:nextpnr|comb|ramw|slice|PACK|glb)\S*$", "", part)
        if not clean or "$" in clean:
            break
        own.append(clean)
    return ".".join(own) or TOP_UNIT


def unit_of(cell: str, units: Mapping[str, str]) -> str:
    """The unit that a cell of the flat netlist is in; TOP_UNIT for what is in none.

    ``units``: the unit by names that a cell's may begin with: the units' own, and wires of the top module that are one unit's.
    """
    if "." in cell:
        first = cell.partition(".")[0]
        return units.get(first) or units.get(first.partition("$")[0], TOP_UNIT)
    wire = _GENERATED.sub("", cell)
    return units.get(wire) or units.get(wire.partition("$")[0], TOP_UNIT)
