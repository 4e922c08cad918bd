"""Verilog of an accelerator: synthesizable, deterministic, with nothing that a design does not need."""

from __future__ import annotations

import re
from typing import Any

from amaranth._toolchain.yosys import YosysError, find_yosys
from amaranth.back import rtlil

from systola.hw.accelerator import Accelerator
from systola.hw.errors import ToolError
from systola.hw.params import Params

__all__ = ["TOP_MODULE", "clean_rtlil", "emit_verilog", "run_yosys", "yosys_version"]

TOP_MODULE = "systola"

_MEMORY_OF_ZEROS = re.compile(
    r"^  cell \$meminit_v2 .*\n(?:    .*\n)*?    connect \\DATA \d+'0+\n(?:    .*\n)*?  end\n", re.MULTILINE
)
"""A memory's initial value in RTLIL, where it is zero."""

_WIRE_OF_NO_BITS = re.compile(r"^(?:  attribute .*\n)*  wire width 0 .*\n|^connect \\\S+ \{  \}\n", re.MULTILINE)
"""A signal without bits, of a parameter at its least, and its connection: Verilog would make two bits of ``[-1:0]``."""

_YOSYS_MINIMUM = (0, 40)

_HIERARCHICAL = ("proc", "memory_collect", "opt_clean", "opt_dff -simple-dffe", "opt_clean")
"""Registers that hold become registers with an enable, which simulators evaluate about twice as fast as a feedback
multiplexer; everything else stays as it was described."""

_FLAT = ("proc", "flatten", "memory_collect", "opt -full", "wreduce", "opt_clean -purge")

_ATTRIBUTES = "generator top src amaranth.hierarchy amaranth.decoding hdlname"


def emit_verilog(params: Params, *, flat: bool = False) -> str:
    """The accelerator in one Verilog file; its top module is TOP_MODULE, with the ports of ``Accelerator`` and ``clk``.

    Each part is a module of its own, unless ``flat``: then there is one module, optimized, which takes longer to write.
    The same parameters and tools give the same text. Memories have no initial value: no part reads what it did not write.

    Raises ToolError if yosys fails.
    """
    top = Accelerator(params)
    ports = [top.domain.clk, *(value for _, _, value in top.signature.flatten(top))]
    text = clean_rtlil(rtlil.convert(top, name=TOP_MODULE, ports=ports, emit_src=False))
    return run_yosys(text, _FLAT if flat else _HIERARCHICAL)


def clean_rtlil(text: str) -> str:
    """Amaranth's RTLIL without initial values of memories that are zero, and without signals of no bits."""
    return _WIRE_OF_NO_BITS.sub("", _MEMORY_OF_ZEROS.sub("", text))


def yosys_version() -> str:
    """The version of the yosys that writes Verilog. Raises ToolError if there is none."""
    return ".".join(map(str, _yosys().version()[:2]))


def run_yosys(text: str, passes: tuple[str, ...]) -> str:
    """RTLIL with the top TOP_MODULE through yosys's ``passes``, as Verilog. Raises ToolError if yosys fails."""
    removed = " ".join(f"-remove {name}" for name in _ATTRIBUTES.split())
    script = [
        f"read_rtlil <<rtlil\n{text}\nrtlil",
        f"hierarchy -top {TOP_MODULE}",
        *passes,
        f"attrmap {removed}",
        f"attrmap -modattr {removed}",
        "write_verilog -norename",
    ]
    try:
        return str(_yosys().run(["-q", "-"], "\n".join(script), ignore_warnings=True))
    except YosysError as error:
        raise ToolError(f"yosys could not write the accelerator's Verilog: {error}") from error


def _yosys() -> Any:
    try:
        return find_yosys(lambda version: version >= _YOSYS_MINIMUM)
    except YosysError as error:
        raise ToolError(f"there is no yosys to write Verilog with: {error}") from error
