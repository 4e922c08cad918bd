"""A bridge: another process's view of a simulated accelerator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from board import ADDRESS
from digits import DIGITS, digits

from systola.driver.bridge.client import BridgeDevice
from systola.driver.bridge.command import serve_bridge
from systola.driver.bridge.mailbox import Word
from systola.driver.bridge.server import bridge_folder
from systola.driver.open import rtl_settings
from systola.driver.runtime import Runtime
from systola.hw.errors import ConfigError, DeviceError
from systola.hw.registers import IDENTITY, Control, Status
from systola.sim.rtl.session import RtlSession

COMMAND = (sys.executable, "-m", "systola.driver.cli")
MEMORY = 1 << 20


@contextmanager
def bridge(folder: Path, backend: str = "interp") -> Iterator[list[str]]:
    """A bridge to a tiny accelerator, served by a thread; what it told."""
    told: list[str] = []
    done = threading.Event()
    with serve_bridge(digits("tiny").network.params, folder, backend, MEMORY, tell=told.append) as served:
        thread = threading.Thread(target=served.serve, args=(done.is_set,))
        thread.start()
        try:
            yield told
        finally:
            done.set()
            thread.join()


def test_inference(tmp_path: Path) -> None:
    data = digits("tiny")
    with bridge(tmp_path):
        device = BridgeDevice(tmp_path)
        assert device.memory.size == MEMORY and device.memory_address == 0
        runtime = Runtime(device, data.network.image, data.network.params)
        for number in range(3):
            result = runtime.infer(data.sample(number))
            assert np.array_equal(result.outputs["probability"], data.values["probability"][number])
        device.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_rtl(tmp_path: Path) -> None:
    """The bytes, cycles and counters are those of a simulation without a bridge, interrupt or polling."""
    data = digits("tiny")
    params, image = data.network.params, data.network.image
    with RtlSession(params, MEMORY, rtl_settings(params, trace=False)) as session:
        expected = Runtime(session, image, params).infer(data.sample(0))
    with bridge(tmp_path, "rtl"):
        device = BridgeDevice(tmp_path)
        runtime = Runtime(device, image, params)
        found = runtime.infer(data.sample(0))
        assert np.array_equal(runtime.tensor("logits"), data.values["logits"][0])
        assert (found.cycles, found.counters) == (expected.cycles, expected.counters)
        told: list[int] = []
        device.write_registers([(ADDRESS["CONTROL"], Control.START)])
        with pytest.raises(DeviceError, match="behind the bridge raised no interrupt in 500 cycles"):
            device.wait_irq(500, progress=told.append)
        assert told == [500]
        reads = 0
        while device.read_registers([ADDRESS["STATUS"]])[0] & Status.BUSY:  # each lets 1000 cycles pass
            reads += 1
        assert reads <= expected.cycles // 1000
        device.close()


@pytest.mark.slow
def test_run_on_a_bridge(tmp_path: Path) -> None:
    """What a user types: one command serves, another runs."""
    folder = tmp_path / "bridge"
    line = f"{' '.join(COMMAND)} run {DIGITS} --accel tiny --board {folder} --samples 2"
    command = [*COMMAND, "bridge", "--accel", "tiny", "--backend", "interp", "-o", str(folder), "--run", line]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "board" in done.stdout and "Exact" in done.stdout
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("program", "status"), [("false", 1), ("sh -c 'exit 7'", 7), ("sh -c 'kill -9 $$'", 137)])
def test_status_of_the_program(tmp_path: Path, program: str, status: int) -> None:
    command = [*COMMAND, "bridge", "--accel", "tiny", "--backend", "interp", "-o", str(tmp_path / "b"), "--run", program]
    assert subprocess.run(command, capture_output=True, check=False).returncode == status


def test_terminated(tmp_path: Path) -> None:
    """A bridge that is told to end removes its files."""
    command = [*COMMAND, "bridge", "--accel", "tiny", "--backend", "interp", "-o", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        connected(tmp_path).close()
        server.terminate()
    assert server.returncode == 128 + signal.SIGTERM and not list(tmp_path.iterdir())


# ---- How it refuses ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "golden"), "there is no device 'golden': the devices are rtl and interp"),
        (("--backend", "interp", "--run", ""), "--run is empty"),
        (("--backend", "interp", "--run", "'"), "--run is no command line"),
        (("--backend", "interp", "--run", "./moon"), "the program ./moon cannot be run: No such file"),
    ],
)
def test_wrong_options(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    command = [*COMMAND, "bridge", "--accel", "tiny", "-o", str(tmp_path / "b"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_no_bridge(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no bridge is in .*start one with `systola bridge -o"):
        BridgeDevice(tmp_path)


def test_one_server_and_one_client(tmp_path: Path) -> None:
    with bridge(tmp_path):
        with pytest.raises(ConfigError, match="another bridge serves"), bridge_folder(tmp_path):
            pass
        first = BridgeDevice(tmp_path)
        with pytest.raises(DeviceError, match="another program uses the bridge"):
            BridgeDevice(tmp_path)
        first.close()
        BridgeDevice(tmp_path).close()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used: "), bridge_folder(tmp_path / "file"):
        pass


def test_another_version(tmp_path: Path) -> None:
    with bridge(tmp_path):
        np.memmap(tmp_path / "mailbox", np.uint32, "r+")[Word.VERSION] = 99
        with pytest.raises(DeviceError, match="of another version of Systola"):
            BridgeDevice(tmp_path)


def test_a_program_that_waits_for_itself(tmp_path: Path) -> None:
    """The interpreter's error goes to who serves; the program sees a fault, as on hardware."""
    data = digits("tiny")
    with bridge(tmp_path) as told:
        device = BridgeDevice(tmp_path)
        runtime = Runtime(device, data.network.image, data.network.params)
        stream = data.network.image.steps[1].streams  # type: ignore[union-attr]  # the program
        load = next(iter(stream.values()))
        device.memory[load.address] |= 0x10  # the first load waits for itself
        device.memory[load.address + 1] |= 0x02
        with pytest.raises(DeviceError, match="stopped"):
            runtime.infer(data.sample(0))
        assert told and "can never begin" in told[0]
        device.close()


def test_a_server_that_dies(tmp_path: Path) -> None:
    """A client that waits is told, instead of waiting for ever."""
    command = [*COMMAND, "bridge", "--accel", "tiny", "--backend", "interp", "-o", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        device = connected(tmp_path)
        assert device.read_registers([ADDRESS["IDENTITY"]]) == [IDENTITY]
        server.send_signal(signal.SIGSTOP)
        threading.Timer(0.3, lambda: server.send_signal(signal.SIGKILL)).start()
        with pytest.raises(DeviceError, match=r"server of the bridge in .* ended"):
            device.read_registers([ADDRESS["IDENTITY"]])
    with pytest.raises(DeviceError, match="nobody serves"):
        BridgeDevice(tmp_path)
    device.close()


def connected(folder: Path) -> BridgeDevice:
    """A device, as soon as the bridge is there."""
    end = time.monotonic() + 60
    while True:
        try:
            return BridgeDevice(folder)
        except DeviceError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
