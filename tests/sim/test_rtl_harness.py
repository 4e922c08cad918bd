"""The simulation session, its trace, its build cache and how it fails; with the stand-in accelerator."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from systola.hw.errors import ConfigError, DeviceError, ToolError
from systola.sim.rtl import build as build_module
from systola.sim.rtl import session as session_module
from systola.sim.rtl import tools as tools_module
from systola.sim.rtl.settings import DramSettings, RtlSettings, TraceLevel, WaveformWindow
from systola.sim.rtl.tools import check_tools
from systola.sim.rtl.trace import TraceKind

COPY = 3
LOAD, STORE = 0, 4


def alive(pid: int) -> bool:
    """Whether a process exists and is not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


# ---- Registers and the interrupt ----


def test_registers_are_read_back(open_copier):
    with open_copier() as copier:
        copier.session.write_registers([(0x20, 0xDEADBEEF), (0x24, 0), (0x28, 0xFFFFFFFF)])
        assert copier.session.read_registers([0x20, 0x24, 0x28, 0x20]) == [0xDEADBEEF, 0, 0xFFFFFFFF, 0xDEADBEEF]
        copier.session.write_register(0x20, 5)
        assert copier.session.read_register(0x20) == 5


def test_bus_error_is_an_error_and_the_session_goes_on(open_copier):
    with open_copier() as copier:
        with pytest.raises(DeviceError, match="read of register 0x200 was answered with response 2"):
            copier.session.read_register(0x200)
        with pytest.raises(DeviceError, match="write to register 0x204 was answered with response 2"):
            copier.session.write_register(0x204, 1)
        copier.session.write_register(0x20, 77)
        assert copier.session.read_register(0x20) == 77


def test_interrupt_is_waited_for_to_the_cycle(open_copier):
    with open_copier() as copier:
        copier.start(0, 10, 100)
        cycles = copier.session.wait_irq()
        copier.start(0, 20, 100)
        assert copier.session.wait_irq() - cycles == 1000
        assert copier.session.wait_irq() == 0  # it is still high
        copier.session.write_register(0x1C, 1)
        with pytest.raises(DeviceError, match="no interrupt in 50 cycles"):
            copier.session.wait_irq(50)


def test_timeout_leaves_a_session_that_goes_on(open_copier):
    with open_copier() as copier:
        copier.start(0, 1000, 100)
        with pytest.raises(DeviceError, match="no interrupt in 60000 cycles"):
            copier.session.wait_irq(60_000)
        assert copier.session.read_register(0x14) == 1  # still busy
        assert 0 < copier.session.wait_irq(60_000) < 40_000
        assert copier.session.read_register(0x14) == 2


def test_long_run_tells_that_it_is_alive(open_copier, monkeypatch):
    monkeypatch.setattr(session_module, "REPORT_CYCLES", 1000)
    told: list[int] = []
    with open_copier() as copier:
        copier.start(0, 55, 100)
        copier.session.wait_irq(progress=told.append)
    assert told == [1000, 2000, 3000, 4000, 5000]


def test_reset_takes_new_settings_and_keeps_memory(open_copier):
    with open_copier(RtlSettings(DramSettings(latency_cycles=10))) as copier:
        copier.session.memory[:16] = 9
        fast = copier.run(1, 1)
        copier.session.write_register(0x20, 1)
        copier.session.reset(RtlSettings(DramSettings(latency_cycles=500)))
        assert copier.session.read_register(0x20) == 0
        slow = copier.run(1, 1)
        assert (fast.first_r, slow.first_r) == (10, 500)
        copier.session.write_register(0x20, 1)
        copier.session.reload(RtlSettings(DramSettings(latency_cycles=30)))
        assert copier.session.read_register(0x20) == 1
        assert copier.run(1, 1).first_r == 30
        assert (copier.session.memory[:16] == 9).all()


# ---- Trace ----


def test_trace_has_every_change_and_instruction(open_copier):
    with open_copier(RtlSettings(trace=TraceLevel.CLASSES)) as copier:
        times = [copier.run(COPY, 8), copier.run(COPY, 3)]
        trace = copier.session.trace()
    assert set(trace["run"].tolist()) == {0, 1}
    for run, bursts in enumerate((8, 3)):
        records = trace[trace["run"] == run]
        assert (np.diff(records["cycle"].astype(np.int64)) >= 0).all()
        for engine in (LOAD, STORE):
            own = records[records["engine"] == engine]
            for kind in (TraceKind.TAKEN, TraceKind.RETIRED):
                assert own["value"][own["kind"] == kind].tolist() == list(range(bursts))
        end = records[-1]
        assert end["kind"] == TraceKind.END
        assert end["cycle"] == times[run].last_b + 1
        load = records[(records["engine"] == LOAD) & (records["kind"] == TraceKind.CLASS)]
        # DRAM until the first beat; busy while beats come; idle after the last.
        assert load["cycle"][0] == 0 and load["value"][0] == 8
        assert load["cycle"][1] == times[run].first_r and load["value"][1] == 1
        assert load["cycle"][-1] == times[run].last_r + 1 and load["value"][-1] == 0
        spans = np.diff(np.append(load["cycle"], end["cycle"]))
        assert spans[load["value"] == 1].sum() == 16 * bursts  # a cycle for each beat


def test_trace_of_instructions_leaves_classes_out(open_copier):
    with open_copier(RtlSettings(trace=TraceLevel.INSTRUCTIONS)) as copier:
        copier.run(COPY, 8)
        trace = copier.session.trace()
    assert len(trace) == 4 * 8 + 1
    assert TraceKind.CLASS not in set(trace["kind"].tolist())


def test_trace_is_off_by_default_and_grows_past_a_chunk(open_copier):
    with open_copier(dram_bytes=1 << 21) as copier:
        copier.run(COPY, 4)
        assert len(copier.session.trace()) == 0
        assert len(copier.session.write_trace()) == 0
        copier.session.reset(RtlSettings(DramSettings(bytes_per_cycle=32), trace=TraceLevel.INSTRUCTIONS))
        bursts = 70_000
        copier.start(COPY, bursts, 1, destination=0)
        copier.session.wait_irq()
        trace = copier.session.trace()
    assert len(trace) == 4 * bursts + 1 > 1 << 18  # a chunk is 2**18 records
    retired = trace[(trace["engine"] == STORE) & (trace["kind"] == TraceKind.RETIRED)]
    assert retired["value"].tolist() == list(range(bursts))


def test_write_trace_says_when_memory_changed(open_copier):
    with open_copier(RtlSettings(DramSettings(base_address=0x10000), trace_writes=True)) as copier:
        times = copier.run(COPY, 5, source=0x10000, destination=0x20000)
        writes = copier.session.write_trace()
    assert writes["address"].tolist() == [0x20000 + 256 * i for i in range(5)]
    assert set(writes["length_bytes"].tolist()) == {256}
    assert writes["first_cycle"][0] == times.first_w
    assert writes["last_cycle"][-1] == times.last_w
    assert (writes["last_cycle"] - writes["first_cycle"] >= 15).all()


# ---- How it ends ----


def test_close_is_final_and_clean(open_copier):
    with open_copier() as copier:
        session = copier.session
        folder, pid = session._folder, session._process._popen.pid
        session.memory[:4] = 3
        assert folder.is_dir() and alive(pid)
    assert not folder.exists() and not alive(pid)
    assert session._process._popen.returncode == 0  # it left by itself
    assert (session.memory[:4] == 3).all()
    session.close()
    with pytest.raises(DeviceError, match="session is closed"):
        session.read_register(0)


def test_death_of_the_simulation_is_told(open_copier):
    with open_copier() as copier:
        os.kill(copier.session._process._popen.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="ended unexpectedly"):
            copier.session.read_register(0x20)
        with pytest.raises(DeviceError, match="closed"):
            copier.session.read_register(0x20)


@pytest.fixture
def interruptible():
    """Python's own answer to an interrupt, which a shell that started the tests in the background has taken away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_run_leaves_no_process(open_copier):
    pid = 0
    with pytest.raises(KeyboardInterrupt), open_copier() as copier:
        pid = copier.session._process._popen.pid
        copier.start(0, 1 << 30, 1)
        threading.Timer(0.3, _thread.interrupt_main).start()
        copier.session.wait_irq()
    assert not alive(pid)


def test_simulation_ends_with_its_parent(tmp_path):
    program = f"""
import importlib.util, sys
from systola.sim.rtl.session import RtlSession
spec = importlib.util.spec_from_file_location("helpers", {str(Path(__file__).with_name("conftest.py"))!r})
helpers = sys.modules["helpers"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
session = RtlSession(helpers.bus_params(16), 4096, verilog=helpers.COPIER.read_text())
helpers.Copier(session, 16).start(0, 1 << 30, 1)
print(session._process._popen.pid, session._folder, flush=True)
session.wait_irq()
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        assert alive(pid)
        parent.kill()
    assert wait_for_end(pid, 5)


# ---- Building ----


def test_second_build_does_nothing(open_copier):
    told: list[str] = []
    with open_copier(), open_copier(progress=told.append):
        pass
    assert told == []


def test_waveform_window_needs_a_file(open_copier):
    with open_copier() as copier, pytest.raises(ConfigError, match="no waveform_file was given"):
        copier.session.reset(RtlSettings(waveform=WaveformWindow(0, 10)))


def test_bad_verilog_is_a_tool_error_with_the_log(monkeypatch, tmp_path):
    monkeypatch.setenv("SYSTOLA_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match=r"verilator failed with status (?s:.*)syntax error"):
        build_module.build_verilog("module systola(;endmodule", data_bytes=16)
    assert not list(tmp_path.rglob("building-*"))
    assert not list(tmp_path.rglob(build_module.EXECUTABLE))


def test_two_builders_build_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SYSTOLA_CACHE", str(tmp_path))
    builds: list[Path] = []

    def slow_build(folder: Path, _job: object, _progress: object) -> None:
        builds.append(folder)
        time.sleep(0.3)
        folder.mkdir()
        (folder / build_module.EXECUTABLE).touch()

    monkeypatch.setattr(build_module, "_build_into", slow_build)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(build_module.build_verilog("text", data_bytes=16))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert len(found) == 3 and len(set(found)) == 1


def test_cache_key_names_everything():
    tools = check_tools()
    keys = {
        build_module._Job(verilog, data_bytes, address_bits, waveform, tools).key()
        for verilog in ("a", "b")
        for data_bytes in (16, 32)
        for address_bits in (32, 40)
        for waveform in (False, True)
    }
    assert len(keys) == 16


def test_unwritable_cache_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SYSTOLA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ToolError, match="build cache cannot be written"):
        build_module.build_verilog("text", data_bytes=16)


def test_missing_tools_are_named_at_once(monkeypatch):
    monkeypatch.setattr(tools_module.shutil, "which", lambda _name: None)
    monkeypatch.setattr(tools_module, "_python_library", lambda: None)
    with pytest.raises(ToolError) as raised:
        check_tools()
    assert str(raised.value) == (
        "the RTL simulation needs what is not installed here: g++, make, perl, Python's shared library "
        "(on Debian: apt install g++ make perl libpython3-dev)"
    )


# ---- Waveform ----


def test_waveform_holds_the_window_only(open_copier, tmp_path):
    file = tmp_path / "window.vcd"
    settings = RtlSettings(trace_writes=True, waveform=WaveformWindow(first=120, last=140, run=1))
    with open_copier(settings, waveform_file=file) as copier:
        copier.session.memory[:4096] = 1
        copier.run(COPY, 4)
        plain = copier.run(COPY, 4)
        assert plain.first_r == 100
    text = file.read_text(encoding="utf-8")
    assert "trace_running" in text and "rdata" in text
    stamps = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    cycles = (stamps[-1] - stamps[0]) / 2
    assert 19 <= cycles <= 22
