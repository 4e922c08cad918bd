"""The kinds of FPGA: how yosys is told, and what its cells count as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from systola.reports.resources import LUT4_PER_CARRY, LUT4_PER_RAM
from systola.reports.synthesis.schema import Counts

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """``synthesis``: the yosys command, but for the top module. The other mappings: what one cell of a type counts as; a name
    that ends with * stands for all that begin so. ``lut_name``, ``dsp_name``, ``ram_name``: what is counted."""

    name: str
    synthesis: str
    lut_name: str
    dsp_name: str
    ram_name: str
    lut: Mapping[str, int]
    ff: Mapping[str, int]
    dsp: Mapping[str, int]
    ram: Mapping[str, int]
    free: Mapping[str, str] = field(default_factory=dict)
    """Cells that take nothing of these, and why."""

    before: tuple[str, ...] = ()
    """What is run before ``synthesis``."""

    between: tuple[str, ...] = ()
    """What is run within it, when memories and multipliers are mapped, and gates are not."""

    def script(self, top: str) -> list[str]:
        """The commands that make cells of the module ``top``."""
        command = f"{self.synthesis} -top {top}"
        if not self.between:
            return [*self.before, command]
        return [*self.before, f"{command} -run begin:map_gates", *self.between, f"{command} -run map_gates:"]

    def count(self, cells: Mapping[str, int]) -> Counts:
        """What cells by type take."""
        return Counts(lut=_sum(cells, self.lut), ff=_sum(cells, self.ff), dsp=_sum(cells, self.dsp), ram=_sum(cells, self.ram))

    @property
    def rule(self) -> str:
        """How look-up tables are counted, as a sentence."""
        parts = [f"{number} for a {cell}" for cell, number in self.lut.items()]
        nothing = "".join(f"; {cells} {why}" for cells, why in self.free.items())
        return f"{self.lut_name}: {', '.join(parts)}{nothing}. {self.ram_name}: " + ", ".join(
            f"{number} for a {cell}" for cell, number in self.ram.items()
        )


def _sum(cells: Mapping[str, int], weights: Mapping[str, int]) -> int:
    return sum(number * _weight(cell, weights) for cell, number in cells.items())


def _weight(cell: str, weights: Mapping[str, int]) -> int:
    exact = weights.get(cell)
    if exact is not None:
        return exact
    return next((w for name, w in weights.items() if name.endswith("*") and cell.startswith(name[:-1])), 0)


_ICE40_MULTIPLIERS = (
    "flatten",
    "opt",
    "wreduce",
    "techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_A_MAXWIDTH=16 -D DSP_B_MAXWIDTH=16 -D DSP_A_MINWIDTH=2 "
    "-D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11 -D DSP_NAME=$__MUL16X16",
    "chtype -set $mul t:$__soft_mul",
)
"""Multiplications into SB_MAC16, the registers beside them outside. ``synth_ice40 -dsp`` puts the registers in, too; yosys 0.70
then takes the product for undriven and removes it, with all that depends on it."""

_ECP5_DELAY = "scratchpad -set abc9.D 3700"
"""Delay in ps that logic between registers may have, as abc9 counts it, for the mapping to look-up tables. Without it,
everything is made as fast as the slowest path can be: more look-up tables, for paths that others wait longer than."""

_ECP5_SHORT_ADDERS = (
    "select -set short t:$alu r:Y_WIDTH<=5 %i",
    "techmap -map +/techmap.v @short",
    "opt -fast",
)
"""Counters and comparisons of a few bits become look-up tables, of which they take fewer than of carries."""

FAMILIES = {
    family.name: family
    for family in (
        Family(
            "ecp5", "synth_ecp5", lut_name="LUT4", dsp_name="MULT18X18D", ram_name="DP16KD",
            lut={"LUT4": 1, "CCU2C": LUT4_PER_CARRY, "TRELLIS_DPR16X4": LUT4_PER_RAM},
            ff={"TRELLIS_FF": 1}, dsp={"MULT18X18D": 1}, ram={"DP16KD": 1},
            free={"PFUMX and L6MUX21": "are part of a slice"}, before=(_ECP5_DELAY,),
            between=_ECP5_SHORT_ADDERS,
        ),
        Family(
            "xc7", "synth_xilinx -family xc7 -flatten", lut_name="LUT", dsp_name="DSP48E1", ram_name="RAMB18",
            lut={"LUT*": 1, "SRL16E": 1, "SRLC32E": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM32M": 4, "RAM64M": 4, "RAM128X1D": 4},
            ff={"FD*": 1}, dsp={"DSP48E1": 1}, ram={"RAMB18E1": 1, "RAMB36E1": 2},
            free={"CARRY4, MUXF7 and MUXF8": "are part of a slice"},
        ),
        Family(
            "gowin", "synth_gowin -family gw2a", lut_name="LUT4", dsp_name="multipliers", ram_name="BSRAM",
            lut={"LUT*": 1, "ALU": 1, "RAM16SDP*": 4},
            ff={"DFF*": 1}, dsp={"MULT*": 1}, ram={"SDP*": 1, "DP*": 1, "SP": 1, "SPX9": 1},
            free={"MUX2_LUT5 to MUX2_LUT8": "are part of a slice"},
        ),
        Family(
            "ice40", "synth_ice40", lut_name="SB_LUT4", dsp_name="SB_MAC16", ram_name="SB_RAM40_4K",
            lut={"SB_LUT4": 1}, ff={"SB_DFF*": 1}, dsp={"SB_MAC16": 1}, ram={"SB_RAM40_4K*": 1},
            free={"SB_CARRY": "is part of a logic cell"}, before=_ICE40_MULTIPLIERS,
        ),
    )
}  # fmt: skip
