"""A running RTL simulation, seen from the host: memory, registers, the interrupt, the trace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from systola.hw.errors import ConfigError, DeviceError
from systola.hw.params import Params
from systola.sim.rtl.build import Progress, build, build_verilog
from systola.sim.rtl.settings import (
    CONTROL_BYTES,
    TRACE_COUNT_INDEX,
    WRITE_COUNT_INDEX,
    RtlSettings,
    Setting,
    settings_values,
)
from systola.sim.rtl.tools import Tools, check_tools
from systola.sim.rtl.trace import TRACE_DTYPE, WRITE_DTYPE, read_records

__all__ = ["RtlSession"]

PAGE_BYTES = 4096
REPORT_CYCLES = 200_000
"""A run tells that it is alive this often."""

TAIL_LINES = 25
GOODBYE_SECONDS = 5.0
_UNLIMITED_CYCLES = 1 << 48


class RtlSession:
    """A simulation of the accelerator's RTL with its DRAM, in a process of its own. A context manager.

    ``params``: the accelerator. ``dram_bytes``: size of the memory, rounded up to 4096; all zero at the start. ``settings``: the
    DRAM's timing and faults, tracing, waveform. ``verilog``: simulates this text instead of the accelerator's own (a module
    ``systola`` with the same ports); ``quick`` compiles it with little optimization. ``waveform_file``: where
    the waveform goes if ``settings.waveform`` asks for one. ``progress`` is told what is built. Raises ``ToolError`` if the model
    cannot be built.

    Simulated time passes only within the methods. Every method raises ``DeviceError`` if the simulation died.
    """

    def __init__(
        self,
        params: Params,
        dram_bytes: int,
        settings: RtlSettings | None = None,
        *,
        verilog: str | None = None,
        quick: bool = False,
        waveform_file: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        settings = settings or RtlSettings()
        self._tools = check_tools()
        self._waveform_file = waveform_file
        waveform = settings.waveform is not None or waveform_file is not None
        bus = params.config.bus
        if verilog is None:
            executable = build(params, waveform=waveform, progress=progress, tools=self._tools)
        else:
            executable = build_verilog(
                verilog,
                data_bytes=bus.data_bytes,
                address_bits=bus.address_bits,
                waveform=waveform,
                quick=quick,
                progress=progress,
                tools=self._tools,
            )
        self._folder = Path(tempfile.mkdtemp(prefix="systola-rtl-"))
        self._clean = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self._memory = _shared_file(self._folder / "memory", max(1, -(-dram_bytes // PAGE_BYTES)) * PAGE_BYTES)
            self._control = _shared_file(self._folder / "control", CONTROL_BYTES).view(np.int64)
            self._write_settings(settings)
            self._process = _Process(executable, self._folder, self._tools, self._waveform_arguments(waveform))
            self._process.answer()
        except BaseException:
            self.close()
            raise

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """The DRAM's bytes, byte 0 at the settings' ``base_address``. Shared with the simulation: no copy, no delay."""
        return self._memory

    @property
    def memory_address(self) -> int:
        """The bus address of the DRAM's byte 0: the settings' ``base_address``."""
        return int(self._control[Setting.MEMORY_BASE])

    @property
    def memory_file(self) -> Path:
        """The file that is the DRAM: another process may map it too, as long as the session is open."""
        return self._folder / "memory"

    def read_register(self, address: int) -> int:
        """The value of the 32-bit register at a byte address."""
        return self.read_registers([address])[0]

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """The values of several registers, read one after the other."""
        values: list[int] = self._process.command("read", list(addresses))
        return values

    def write_register(self, address: int, value: int) -> None:
        """Writes the 32-bit register at a byte address."""
        self.write_registers([(address, value)])

    def write_registers(self, writes: Sequence[tuple[int, int]]) -> None:
        """Writes several registers, (address, value) one after the other."""
        self._process.command("write", list(writes))

    def wait_irq(self, timeout_cycles: int | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Runs until the interrupt is high and returns the cycles that passed (0 if it was high already).

        ``progress`` is called now and then with the cycles so far. Raises ``DeviceError`` after ``timeout_cycles`` without an
        interrupt; the session can be used further.
        """
        limit = _UNLIMITED_CYCLES if timeout_cycles is None else timeout_cycles
        seen, cycles = self._process.command("wait", limit, REPORT_CYCLES, progress=progress)
        if not seen:
            raise DeviceError(
                f"the simulated accelerator raised no interrupt in {cycles} cycles: its program hangs, or needs a longer timeout"
            )
        return int(cycles)

    def reset(self, settings: RtlSettings | None = None) -> None:
        """Resets the accelerator and the DRAM's timing (not its bytes), with new settings if given; runs count from 0 again."""
        if settings is not None:
            self._write_settings(settings)
        self._process.command("reset")

    def reload(self, settings: RtlSettings) -> None:
        """Puts new settings into force without a reset; bursts count from 1 again. Only while the accelerator is idle."""
        self._write_settings(settings)
        self._process.command("reload")

    def trace(self) -> npt.NDArray[np.void]:
        """The trace so far, in the order of cycles: an array of ``TRACE_DTYPE``; all runs since the session began."""
        return read_records(self._folder / "trace", TRACE_DTYPE, int(self._control[TRACE_COUNT_INDEX]))

    def write_trace(self) -> npt.NDArray[np.void]:
        """The write bursts so far, in the order they reached memory: an array of ``WRITE_DTYPE``."""
        return read_records(self._folder / "writes", WRITE_DTYPE, int(self._control[WRITE_COUNT_INDEX]))

    def close(self) -> None:
        """Ends the simulation and removes its files; ``memory`` stays usable. Safe to call twice."""
        process = getattr(self, "_process", None)
        if process is not None:
            process.close()
        self._clean()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def _write_settings(self, settings: RtlSettings) -> None:
        if settings.waveform is not None and self._waveform_file is None:
            raise ConfigError("a waveform window is set but no waveform_file was given when the session was opened: give one")
        for place, value in settings_values(settings, self._memory.size).items():
            self._control[place] = value

    def _waveform_arguments(self, waveform: bool) -> list[str]:
        if not waveform or self._waveform_file is None:
            return []
        self._waveform_file.parent.mkdir(parents=True, exist_ok=True)
        return ["--trace", "--trace-file", str(self._waveform_file.resolve())]


class _Process:
    """The simulator's process and the socket to the server in it."""

    def __init__(self, executable: Path, folder: Path, tools: Tools, arguments: list[str]) -> None:
        self._log = folder / "log"
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [str(executable), *arguments],
                cwd=folder,
                env=_environment(folder, tools, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches this process only, which then ends the simulation
            )
        self._connection = Connection(ours.detach())
        self._in_step = True
        self._stop = weakref.finalize(self, _end_process, self._popen, self._connection)

    def command(self, *command: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Sends a command and returns its answer."""
        if self._connection.closed:
            raise DeviceError("the simulation session is closed: open a new one")
        try:
            self._in_step = False
            self._connection.send(command)
        except OSError as error:
            raise self._death() from error
        return self.answer(progress)

    def answer(self, progress: Callable[[int], None] | None = None) -> Any:
        """Waits for the answer to the last command."""
        self._in_step = False
        while True:
            try:
                kind, value = self._connection.recv()
            except (EOFError, OSError) as error:
                raise self._death() from error
            if kind == "running":
                if progress is not None:
                    progress(value)
                continue
            self._in_step = True
            if kind == "error":
                raise DeviceError(f"simulated accelerator: {value}")
            return value

    def close(self) -> None:
        """Ends the process: by hanging up if it listens, else at once."""
        if self._in_step and not self._connection.closed:
            self._connection.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(GOODBYE_SECONDS)
        self._stop()

    def _death(self) -> DeviceError:
        """What the process said last, as an error."""
        try:
            status: object = self._popen.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            status = "none yet"
        tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
        self._stop()
        return DeviceError(f"the RTL simulation ended unexpectedly (exit status {status}). It said last:\n{tail}")


def _end_process(popen: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    if popen.poll() is None:
        popen.send_signal(signal.SIGKILL)
    popen.wait()


def _environment(folder: Path, tools: Tools, socket_number: int) -> dict[str, str]:
    """What cocotb's libraries and the model read from the environment."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COCOTB_", "SYSTOLA_RTL_"))}
    old_libraries = environment.get("LD_LIBRARY_PATH")
    environment |= {
        "LD_LIBRARY_PATH": f"{tools.cocotb_libraries}:{old_libraries}" if old_libraries else str(tools.cocotb_libraries),
        "GPI_USERS": f"{tools.python_library};{tools.cocotb_entry}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_TOPLEVEL": "systola_harness",
        "COCOTB_TEST_MODULES": "systola.sim.rtl.cocotb_main",
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_RANDOM_SEED": "0",
        "COCOTB_LOG_LEVEL": "WARNING",
        "GPI_LOG_LEVEL": "WARNING",
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "SYSTOLA_RTL_SOCKET": str(socket_number),
        "SYSTOLA_RTL_MEMORY": str(folder / "memory"),
        "SYSTOLA_RTL_CONTROL": str(folder / "control"),
        "SYSTOLA_RTL_TRACE": str(folder / "trace"),
        "SYSTOLA_RTL_WRITES": str(folder / "writes"),
    }
    return environment


def _shared_file(path: Path, size_bytes: int) -> npt.NDArray[np.uint8]:
    """A new file of zeros, mapped. It stays usable after the file's name is removed."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return np.memmap(path, np.uint8, "r+").view(np.ndarray)
