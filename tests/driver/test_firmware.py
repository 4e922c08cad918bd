"""The C driver: it compiles without a library, refuses what is wrong, and computes behind a bridge what golden does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_programs import LANGUAGES, compile_c, program, write
from digits import Digits, digits

from systola.driver.artifacts import write_image
from systola.driver.bridge.server import Bridge, bridge_folder, memory_file
from systola.driver.c_network import c_network
from systola.driver.firmware import SOURCES
from systola.driver.flow import Options, prepare
from systola.driver.open import rtl_settings
from systola.driver.runtime import Counters, Runtime
from systola.driver.samples import stacked
from systola.hw.config import PRESETS
from systola.hw.errors import DeviceError
from systola.hw.isa import ENGINES
from systola.hw.registers import CycleClass, Event
from systola.mapper.image import HostStep
from systola.reports.files import output_folder
from systola.sim.golden import run_golden
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.session import RtlSession

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``systola compile`` writes of digits on tiny, and samples' codes beside it."""
    folder = tmp_path_factory.mktemp("firmware")
    write(digits("tiny"), folder)
    return folder


def behind_bridge(folder: Path, backend: str, line: list[str | Path], accel: str = "tiny") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "systola.driver.cli", "bridge", "--accel", accel, "--backend", backend,
             "-o", str(folder / "bridge"), "--run", shlex.join(map(str, line))]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | {"COLUMNS": "200"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_freestanding(written: Path, tmp_path: Path, language: str) -> None:
    """No library's function is called, not even memcpy; and nothing is kept between calls."""
    made = tmp_path / "driver.o"
    compile_c(language, "-ffreestanding", "-c", written / "image/c/systola_driver.c", "-o", made, folder=written)
    if shutil.which("nm") is None:
        pytest.skip("nm is not here")
    symbols = subprocess.run(["nm", made], capture_output=True, text=True, check=True).stdout.split("\n")
    assert not [line for line in symbols if re.search(r" [UBDC] ", line)]
    names = {line.split()[-1] for line in symbols if " T " in line}
    assert all(name.startswith("systola_") for name in names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_against_arrays(written: Path, language: str) -> None:
    """Wrong hardware, wrong memory, late, faulty; the cache; the layout of tensors."""
    made = program(HERE / "firmware_checks.c", written, language)
    done = subprocess.run([made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("language", LANGUAGES)
def test_digits_behind_the_interpreter(written: Path, language: str) -> None:
    made = program(ROOT / "examples/firmware/main.c", written, language)
    done = behind_bridge(written, "interp", [made, "image/image.bin", "input.bin", "codes.bin"])
    assert done.returncode == 0, done.stderr
    assert_golden(written)


@pytest.mark.slow
def test_digits_behind_rtl(written: Path) -> None:
    """The same bytes, and the cycles and counters that the Python runtime reads of a simulation; too early is too early."""
    made = program(ROOT / "examples/firmware/main.c", written)
    done = behind_bridge(written, "rtl", [made, "image/image.bin", "input.bin", "codes.bin"])
    assert done.returncode == 0, done.stderr
    assert_golden(written)
    made = program(HERE / "firmware_counters.c", written)
    done = behind_bridge(written, "rtl", [made, "image/image.bin", "input.bin"])
    assert done.returncode == 0, done.stderr
    found, late = done.stdout.splitlines()
    data = digits("tiny")
    params, image = data.network.params, data.network.image
    with RtlSession(params, 1 << 20, rtl_settings(params, trace=False)) as session:
        counters = Runtime(session, image, params).infer(data.sample(0)).counters
    assert counters is not None
    assert [int(number) for number in found.split()] == listed(counters)
    assert late == "late"


def listed(counters: Counters) -> list[int]:
    """In the C program's order."""
    classes = [counters.classes[engine][kind] for engine in ENGINES for kind in CycleClass]
    return [counters.cycles, *classes, *(counters.events[event] for event in Event)]


def assert_golden(folder: Path) -> None:
    found = np.fromfile(folder / "codes.bin", np.int8)
    assert np.array_equal(found, digits("tiny").values["logits"].reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kws_int8", "ad_int8"])
def test_other_networks(tmp_path: Path, models: Path, name: str) -> None:
    """More channels than lanes, an output in memory, an operation for the processor at the end."""
    network = prepare(Options(models / name, "base", samples=2))
    assert network.samples is not None
    inputs = stacked(network.graph, network.samples)
    data = Digits(network, inputs, run_golden(network.graph, dict(inputs), keep=True))
    write(data, tmp_path)
    made = program(ROOT / "examples/firmware/main.c", tmp_path)
    done = behind_bridge(tmp_path, "interp", [made, "image/image.bin", "input.bin", "codes.bin"], "base")
    assert done.returncode == 0, done.stderr
    last = network.image.steps[-1]
    wanted = last.node.inputs[0] if isinstance(last, HostStep) else network.image.outputs[0]
    assert np.array_equal(np.fromfile(tmp_path / "codes.bin", np.int8), data.values[wanted].reshape(-1))


def test_an_image_for_another_accelerator(tmp_path: Path) -> None:
    write(digits("small"), tmp_path)
    made = program(ROOT / "examples/firmware/main.c", tmp_path)
    done = behind_bridge(tmp_path, "interp", [made, "image/image.bin", "input.bin", "codes.bin"])
    assert done.returncode == 1 and "compiled for another accelerator" in done.stderr


def test_no_bridge(written: Path) -> None:
    made = program(ROOT / "examples/firmware/main.c", written)
    files = ["image/image.bin", "input.bin", "codes.bin"]
    environment = {name: value for name, value in os.environ.items() if name != "SYSTOLA_BRIDGE"}
    for folder, message in ((None, "SYSTOLA_BRIDGE is not set"), ("moon", "no bridge is there")):
        named = environment | ({} if folder is None else {"SYSTOLA_BRIDGE": folder})
        done = subprocess.run([made, *files], capture_output=True, text=True, check=False, cwd=written, env=named)
        assert done.returncode == 1 and message in done.stderr


def test_code_of_the_page(written: Path, tmp_path: Path) -> None:
    """What the page shows of a board compiles."""
    page = (ROOT / "docs/how-to/firmware.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```c\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown
    for number, text in enumerate(shown):
        source = tmp_path / f"shown{number}.c"
        source.write_text(text, encoding="utf-8")
        for language in LANGUAGES:
            compile_c(language, "-fsyntax-only", source, folder=written)


FILES = ("image/image.bin", "input.bin", "codes.bin")


def on_bridge(made: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the example with a bridge that is there, or not."""
    return subprocess.run(
        [made, *FILES], cwd=made.parent, env={"SYSTOLA_BRIDGE": str(folder)}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def test_a_server_that_dies(written: Path) -> None:
    """The program ends, instead of waiting for ever."""
    made, folder = program(ROOT / "examples/firmware/main.c", written), written / "dying"
    command = [sys.executable, "-m", "systola.driver.cli", "bridge", "--accel", "tiny", "--backend", "interp", "-o", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            while on_bridge(made, folder).returncode:
                assert server.poll() is None
                time.sleep(0.1)
            server.send_signal(signal.SIGSTOP)
            threading.Timer(0.3, server.kill).start()
            done = on_bridge(made, folder)
        finally:
            server.kill()
    assert done.returncode == 1 and "its server ended" in done.stderr
    done = on_bridge(made, folder)
    assert done.returncode == 1 and "nobody serves it any more" in done.stderr


class Broken(InterpDevice):
    """A simulation that died."""

    def read_registers(self, addresses: Sequence[int]) -> list[int]:  # noqa: ARG002 - the device's interface
        raise DeviceError("the simulation has ended")


def test_a_device_that_dies(written: Path) -> None:
    """As on a processor, what cannot be read ends the program; it says why."""
    made = program(ROOT / "examples/firmware/main.c", written)
    told: list[str] = []
    with bridge_folder(written / "broken") as folder:
        device = Broken(digits("tiny").network.params, 1 << 16, memory=memory_file(folder, 1 << 16))
        bridge = Bridge(device, folder, tell=told.append)
        environment = {"SYSTOLA_BRIDGE": str(folder)}
        with subprocess.Popen([made, *FILES], cwd=written, env=environment, stderr=subprocess.PIPE, text=True) as client:
            bridge.serve(lambda: client.poll() is not None)
            assert client.stderr is not None
            said = client.stderr.read()
    assert client.returncode == 1 and said == "systola bridge: the simulation has ended\n"
    assert told == ["the simulation has ended"]


# ---- The network's description ----


@pytest.mark.parametrize("preset", PRESETS)
def test_network_compiles(tmp_path: Path, preset: str) -> None:
    """In C and in C++, with every preset; its constants are the image's."""
    data = digits(preset).network
    text = c_network(data.image, data.graph, data.params)
    write_image(data.image, data.graph, data.params, output_folder(tmp_path / "image"))
    assert (tmp_path / "image/c/network.h").read_text(encoding="utf-8") == text
    image = data.image
    numbers = {"memory_bytes": image.memory_bytes, "image_bytes": image.memory.size, "step_count": len(image.steps)}
    assert f"    {image.fingerprint:#010x}u, /* fingerprint */" in text
    assert all(f"    {value}u, /* {name} */" in text for name, value in numbers.items())
    source = tmp_path / "use.c"
    source.write_text('#include "network.h"\nint main(void) { return (int)network.step_count; }\n', encoding="utf-8")
    for language in LANGUAGES:
        compile_c(language, "-fsyntax-only", source, folder=tmp_path)


def test_names_are_only_text(tmp_path: Path) -> None:
    """A name with quotes, line ends or comment marks stays a name."""
    data = digits("tiny").network
    image = replace(data.image, name='a"; */ int x;\n\\é')
    text = c_network(image, data.graph, data.params)
    write_image(data.image, data.graph, data.params, output_folder(tmp_path / "image"))
    (tmp_path / "image/c/network.h").write_text(text, encoding="utf-8")
    source = tmp_path / "use.c"
    lines = '#include <stdio.h>', '#include "network.h"', 'int main(void) { return printf("%s", network.name) < 0; }'
    source.write_text("\n".join((*lines, "")), encoding="utf-8")
    compile_c("c", source, "-o", tmp_path / "use", folder=tmp_path)
    assert subprocess.run([tmp_path / "use"], capture_output=True, check=True).stdout.decode() == image.name


def test_sources_are_shipped() -> None:
    """Each in the package's folder."""
    assert all((ROOT / "driver/systola/driver/c" / name).is_file() for name in SOURCES)
