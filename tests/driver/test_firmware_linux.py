"""The C driver on a board under Linux: /dev and /sys are files below a root, and a thread plays the accelerator in the register
file. A file cannot trap accesses, so one program is what can be played faithfully: nothing is left in a register that a second
one would misread.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from board import ADDRESS, BASE, BoardTree, board_tree
from c_programs import program, write
from digits import digits

from systola.hw.isa import ENGINES, ISA_VERSION
from systola.hw.registers import IDENTITY, Control, Status
from systola.sim.interp_device import InterpDevice

SIZE = 1 << 16
OFFSET = 0x800
"""Of the registers in the file: what is written to the device file itself, to enable interrupts, goes before them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the program, image and input."""
    folder = tmp_path_factory.mktemp("firmware")
    write(digits("tiny"), folder)
    program(Path(__file__).with_name("firmware_linux.c"), folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> BoardTree:
    """A board whose buffer is coherent: the thread sees it at once."""
    tree = board_tree(tmp_path, SIZE, coherent=1)
    tree.set(tree.uio / "maps/map0/offset", hex(OFFSET))
    words = np.zeros((OFFSET + 0x1000) // 4, np.uint32)
    constants = {"IDENTITY": IDENTITY, "ISA_VERSION": ISA_VERSION, "FINGERPRINT": digits("tiny").network.params.fingerprint}
    for name, value in constants.items():
        words[(OFFSET + ADDRESS[name]) // 4] = value
    words.tofile(tree.root / "dev/uio0")
    return tree


@contextmanager
def accelerator(tree: BoardTree) -> Iterator[None]:
    """Executes the program that is started in the register file."""
    registers = np.memmap(tree.root / "dev/uio0", np.uint32, "r+", OFFSET)
    device = InterpDevice(digits("tiny").network.params, SIZE, memory=tree.cache)
    done = threading.Event()

    def play() -> None:
        while not done.is_set():
            if registers[ADDRESS["CONTROL"] // 4] & Control.START:
                registers[ADDRESS["CONTROL"] // 4] = 0
                assert registers[ADDRESS["DRAM_BASE_LOW"] // 4] == BASE
                names = [f"STREAM_{what}_{engine.name}" for engine in ENGINES for what in ("ADDRESS", "BYTES")]
                device.write_registers([(ADDRESS[name], int(registers[ADDRESS[name] // 4])) for name in names])
                device.write_registers([(ADDRESS["CONTROL"], Control.START)])
                registers[ADDRESS["STATUS"] // 4] = device.read_registers([ADDRESS["STATUS"]])[0]
            time.sleep(0.001)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(made: Path, tree: BoardTree, how: str = "poll") -> subprocess.CompletedProcess[str]:
    command = [made / "firmware_linux", tree.root, "image/image.bin", "input.bin", how]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=made, timeout=60)


def test_inference(made: Path, tree: BoardTree) -> None:
    tree.cache[:] = 0xA5
    with accelerator(tree):
        done = run(made, tree)
    assert done.returncode == 0, done.stderr
    assert [int(code) for code in done.stdout.split()] == digits("tiny").values["logits"][0].reshape(-1).tolist()


def test_cache(made: Path, tree: BoardTree) -> None:
    """A buffer that is not coherent is handed over: the last is what is read, from the accelerator."""
    tree.set(tree.dma / "dma_coherent", 0)
    with accelerator(tree):
        assert run(made, tree).returncode == 0
    operand = digits("tiny").network.image.tensors["logits"]
    found = {name: int((tree.dma / name).read_text()) for name in ("sync_for_cpu", "sync_for_device", "sync_direction")}
    assert found == {"sync_for_cpu": 1, "sync_for_device": 1, "sync_direction": 2}
    assert (tree.dma / "sync_offset").read_text().startswith(str(operand.address))
    (tree.dma / "sync_for_device").unlink()
    done = run(made, tree)
    assert done.returncode == 1 and "cache cannot be controlled: sync_for_device cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tree: shutil.rmtree(tree.uio), "uio0: there is no such UIO device"),
        (lambda tree: shutil.rmtree(tree.dma), "udmabuf0: there is no such u-dma-buf buffer"),
        (lambda tree: (tree.root / "dev/uio0").unlink(), "uio0: No such file or directory"),
        (lambda tree: (tree.root / "dev/udmabuf0").unlink(), "udmabuf0: No such file or directory"),
        (lambda tree: tree.set(tree.uio / "maps/map0/size", "0x800"), "uio0: its register window is smaller"),
        (lambda tree: tree.set(tree.dma / "phys_addr", hex(BASE + 4)), "is not aligned"),
        (lambda tree: tree.set(tree.dma / "phys_addr", hex((1 << 32) - 4096)), "above the accelerator's address bits"),
        (lambda tree: tree.set(tree.dma / "size", "4096"), "smaller than the network needs"),
        (lambda tree: (tree.root / "dev/uio0").write_bytes(bytes(OFFSET + 0x1000)), "there is no Systola accelerator"),
    ],
)
def test_refusals(made: Path, tree: BoardTree, spoil: object, message: str) -> None:
    spoil(tree)  # type: ignore[operator]  # one of the functions above
    done = run(made, tree)
    assert done.returncode not in (0, 101) and message in done.stderr, done.stderr


def test_older_name_of_the_class(made: Path, tree: BoardTree) -> None:
    tree.dma.parent.rename(tree.dma.parent.with_name("udmabuf"))
    with accelerator(tree):
        assert run(made, tree).returncode == 0


def test_status_of_the_file(made: Path, tree: BoardTree) -> None:
    """With the interrupt: a file's read returns at once, as if one had come; the program ends when STATUS says so."""
    words = np.memmap(tree.root / "dev/uio0", np.uint32, "r+")
    words[(OFFSET + ADDRESS["STATUS"]) // 4] = Status.DONE
    words.flush()
    assert run(made, tree, "wait").returncode == 0
    found = np.fromfile(tree.root / "dev/uio0", np.uint32)
    assert found[0] == 1 and found[1] == 1, "interrupts were enabled, when it was opened and when it waited"
