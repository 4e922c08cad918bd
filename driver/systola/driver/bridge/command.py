"""``systola bridge``: a simulated accelerator for firmware that has no board yet."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from systola.driver.bridge.server import Bridge, bridge_folder, memory_file
from systola.driver.device import Device
from systola.driver.flow import with_dram
from systola.driver.open import rtl_settings
from systola.hw.config import load_config
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.tools import check_tools

__all__ = ["bridge_command", "serve_bridge"]

MEBIBYTE = 1 << 20
PollCycles = Annotated[int, typer.Option(help="Cycles that pass at most when a busy accelerator's STATUS is read.", min=0)]
DEVICES = ("rtl", "interp")


def bridge_command(
    accel: Annotated[str, typer.Option(help="tiny, small, base, tall, wide, large, or the path of an accelerator.toml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the bridge's files; they go when it ends.")],
    backend: Annotated[str, typer.Option(help="rtl or interp.")] = "rtl",
    run: Annotated[str | None, typer.Option(help="Run this program, SYSTOLA_BRIDGE set to the folder, and end with it.")] = None,
    memory: Annotated[int, typer.Option(help="MiB of DRAM.", min=1, max=4096)] = 64,
    poll_cycles: PollCycles = 1000,
    dram_latency: Annotated[int | None, typer.Option(help="Cycles from a DRAM read to its first beat.", min=1, max=4096)] = None,
    dram_bytes_per_cycle: Annotated[int | None, typer.Option(help="Bytes that the DRAM moves per cycle.", min=1, max=128)] = None,
) -> None:
    """Serve a simulated accelerator to another program, which drives its registers and memory as firmware does a board's."""
    if backend not in DEVICES:
        raise ConfigError(f"there is no device '{backend}': the devices are {' and '.join(DEVICES)}")
    if backend == "rtl":
        check_tools()
    params = with_dram(Params(load_config(accel)), dram_latency, dram_bytes_per_cycle)
    words = _program(run)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the simulation and the files go
    console = Console(stderr=True)

    def tell(text: str) -> None:
        console.print(f"systola: {text}", markup=False, highlight=False, soft_wrap=True)

    with serve_bridge(params, output, backend, memory * MEBIBYTE, poll_cycles=poll_cycles, tell=tell) as bridge:
        if words is None:
            tell(f"{params.config.name} ({backend}) is in {output}; Ctrl-C ends it")
            bridge.serve(lambda: False)
        status = _serve_program(bridge, words or [], output)
    if status:
        sys.exit(status)


@contextmanager
def serve_bridge(
    params: Params,
    folder: Path,
    backend: str,
    memory_bytes: int,
    *,
    poll_cycles: int = 1000,
    tell: Callable[[str], None] = print,
) -> Iterator[Bridge]:
    """A bridge in ``folder`` to a new "rtl" or "interp" device, for the length of a ``with``; its ``serve`` answers requests."""
    with bridge_folder(folder) as home, _device(params, home, backend, memory_bytes, tell) as device:
        yield Bridge(device, home, poll_cycles=poll_cycles, tell=tell)


@contextmanager
def _device(params: Params, folder: Path, backend: str, memory_bytes: int, tell: Callable[[str], None]) -> Iterator[Device]:
    """A device whose memory is the folder's file ``memory``."""
    if backend == "interp":
        yield InterpDevice(params, memory_bytes, memory=memory_file(folder, memory_bytes))
        return
    with RtlSession(params, memory_bytes, rtl_settings(params, trace=False), progress=tell) as session:
        (folder / "memory").symlink_to(session.memory_file)
        yield session


def _program(line: str | None) -> list[str] | None:
    try:
        words = None if line is None else shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"--run is no command line: {error}") from error
    if words == []:
        raise ConfigError("--run is empty: give the program to run")
    return words


def _serve_program(bridge: Bridge, words: list[str], folder: Path) -> int:
    """Serve while a program runs; its exit status, as a shell gives it."""
    environment = {**os.environ, "SYSTOLA_BRIDGE": str(folder)}
    try:
        program = subprocess.Popen(words, env=environment)
    except OSError as error:
        raise ConfigError(f"the program {words[0]} cannot be run: {error.strerror}") from error
    with program:
        try:
            bridge.serve(lambda: program.poll() is not None)
        except BaseException:
            program.terminate()
            raise
    return program.returncode if program.returncode >= 0 else 128 - program.returncode
