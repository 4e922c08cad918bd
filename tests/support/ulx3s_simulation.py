"""A ULX3S in simulation: the board's top module and the accelerator as Verilog, models of FPGA cells and of the memory, and a
terminal in the place of the serial port."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from systola.driver.synth.kept import keep
from systola.hw.board.boards import find_board
from systola.hw.board.top import board_pll, emit_board
from systola.hw.params import Params
from systola.sim.rtl.build import verilog_of
from systola.sim.rtl.tools import check_tools

__all__ = ["BOARD", "ModelledBoard", "simulated_board"]

BOARD = find_board("ulx3s-85f")
BAUD = 5_000_000
"""Faster than a real line, so that less is simulated."""

SOURCES = Path(__file__).parent / "ulx3s_model"


class ModelledBoard:
    """A running simulation. ``port``: the serial port's name."""

    def __init__(self, process: subprocess.Popen[str], port: str) -> None:
        self.process = process
        self.port = port

    def end(self) -> str:
        """End the simulation; what it said: nothing, unless a rule was broken."""
        self.process.terminate()
        said, _ = self.process.communicate()
        return said


@contextmanager
def simulated_board(params: Params) -> Iterator[ModelledBoard]:
    """A board with an accelerator; fails if the simulation stops by itself, since then a rule was broken."""
    program = _build(params)
    outer, inner = pty.openpty()
    tty.setraw(inner)
    os.set_blocking(outer, False)
    process = subprocess.Popen(
        [program], env={**os.environ, "SYSTOLA_LINE": str(outer)}, pass_fds=[outer], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    os.close(outer)
    board = ModelledBoard(process, os.ttyname(inner))
    try:
        yield board
    finally:
        said = board.end()
        os.close(inner)
        assert not said, said


def _build(params: Params) -> Path:
    tools = check_tools()
    pll = board_pll(BOARD)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(SOURCES.iterdir())}
    texts["board.v"] = emit_board(params, BOARD, pll, baud=BAUD)
    texts["systola.v"] = verilog_of(params)
    options = [
        "--cc", "--exe", "--main", "--timing", "--prefix", "Vbench", "--top-module", "bench", "-O3", "--x-assign", "fast",
        "--x-initial", "fast", "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT", "-Wno-TIMESCALEMOD",
        "--no-sched-zero-delay", f"-GBIT={1e9 / BAUD}", "-CFLAGS", "-std=c++20",
    ]  # fmt: skip

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files = [name for name in texts if name != "line.cpp"]
        environment = {**os.environ, "VERILATOR_ROOT": str(tools.verilator_root)}
        variables = ["OPT_FAST=-O2", "OPT_GLOBAL=-O2", "OPT_SLOW=-O0", "CFG_CXXFLAGS_PCH_I=-include", "OBJCACHE="]
        for command in (
            [str(tools.verilator), *options, *files, "line.cpp", "-Mdir", "obj", "-o", "simulation"],
            [str(tools.make), "-C", "obj", "-f", "Vbench.mk", f"-j{tools.jobs}", f"CXX={tools.compiler}",
             f"PYTHON3={sys.executable}", *variables],
        ):  # fmt: skip
            done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (folder / "obj" / "simulation").rename(folder / "simulation")

    kept = keep("boards", [*tools.versions, *options, *(f"{name} {text}" for name, text in texts.items())], make)
    return kept / "simulation"
