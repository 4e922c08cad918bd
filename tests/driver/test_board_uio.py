"""A board behind UIO and u-dma-buf: what the runtime computes on it, and how what is wrong with it is said."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board import ADDRESS, BASE, BoardTree, Trapped, board_tree
from digits import DIGITS, digits

from systola.driver.board.device import BoardDevice
from systola.driver.board.files import open_device_file
from systola.driver.board.interrupt import Polling, UioInterrupt
from systola.driver.board.open import open_board
from systola.driver.board.uio import find_uio, open_uio
from systola.driver.flow import Options, run
from systola.driver.open import rtl_settings
from systola.driver.runtime import Runtime
from systola.hw.errors import ConfigError, DeviceError, ImageError
from systola.hw.isa import ENGINES, ISA_VERSION, Engine
from systola.hw.params import Params
from systola.hw.registers import IDENTITY, CycleClass, Irq, Status, class_address
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.settings import DramSettings, RtlSettings

SIZE = 1 << 18


@pytest.fixture
def tree(tmp_path: Path) -> BoardTree:
    """A board's files."""
    return board_tree(tmp_path / "root", SIZE)


@pytest.fixture
def board(tree: BoardTree, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trapped]:
    """A tiny accelerator on it, behind a cache."""
    trapped = Trapped(InterpDevice(tiny(), SIZE), tree)
    trapped.with_cache(monkeypatch)
    yield trapped
    trapped.close()


def tiny() -> Params:
    """The parameters of the accelerator on the board."""
    return digits("tiny").network.params


def opened(board: Trapped, **options: object) -> BoardDevice:
    """The board's device for the digits image."""
    size = digits("tiny").network.image.memory_bytes
    return open_uio(tiny(), size, root=board.tree.root, registers=lambda *_: board, **options)  # type: ignore[arg-type]


def assert_right(runtime: Runtime) -> None:
    """Every sample gives golden's outputs."""
    data = digits("tiny")
    for number in range(3):
        result = runtime.infer(data.sample(number))
        assert np.array_equal(runtime.tensor("logits"), data.values["logits"][number])
        assert np.array_equal(result.outputs["probability"], data.values["probability"][number])


# ---- What it does ----


def test_inference(board: Trapped) -> None:
    """Every byte passes through the cache in the right order, or the result would be wrong."""
    device = opened(board)
    runtime = Runtime(device, digits("tiny").network.image, tiny())
    assert_right(runtime)
    assert board.log == ["sync_for_device", "start", "sync_for_cpu"] * 3
    assert board.read(ADDRESS["DRAM_BASE_LOW"]) == BASE == device.memory_address and board.read(ADDRESS["DRAM_BASE_HIGH"]) == 0
    assert int((board.tree.dma / "sync_direction").read_text()) == 0
    device.close()
    device.close()


def test_what_the_image_does_not_set_is_cleared(board: Trapped) -> None:
    """A buffer holds what it held before: the image's zeros have to be written."""
    whole = digits("tiny").network.image
    image = replace(whole, make_memory=lambda: whole.memory[:4096])
    board.tree.cache[:] = 0xA5
    Runtime(opened(board), image, tiny())
    found = board.tree.cache
    assert np.array_equal(found[:4096], whole.memory[:4096])
    assert not found[4096 : whole.memory_bytes].any() and (found[whole.memory_bytes :] == 0xA5).all()


def test_coherent_buffers_are_left_alone(tmp_path: Path) -> None:
    tree = board_tree(tmp_path, SIZE, coherent=1, kind="udmabuf")
    for name in ("sync_for_cpu", "sync_for_device", "sync_size"):
        (tree.dma / name).unlink()  # a write would fail
    board = Trapped(InterpDevice(tiny(), SIZE, memory=tree.cache), tree)
    assert_right(Runtime(opened(board), digits("tiny").network.image, tiny()))
    board.close()


def test_without_an_interrupt_it_is_polled(board: Trapped, monkeypatch: pytest.MonkeyPatch) -> None:
    written = os.write

    def refuse(handle: int, data: bytes) -> int:
        if data == b"\1\0\0\0":
            raise OSError(errno.EIO, "Input/output error")  # as the kernel does for a device without an interrupt
        return written(handle, data)

    board.deliver = False
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        device = opened(board)
    assert isinstance(device._interrupt, Polling)
    assert_right(Runtime(device, digits("tiny").network.image, tiny()))


def test_an_interrupt_of_before_is_not_the_end(board: Trapped) -> None:
    """The kernel may have counted one that was meant for somebody else."""
    board.interrupt()
    device = opened(board, timeout_seconds=0.2)
    with pytest.raises(DeviceError, match=r"no interrupt in 0\.2 s: STATUS is 0x0 \(nothing started\)"):
        device.wait_irq()


@pytest.mark.slow
def test_rtl_behind_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hardware itself, its memory at the buffer's address: the same bytes and, interrupt and cache or not, the same cycles as
    in a simulation without a board."""
    data = digits("tiny")
    plain = rtl_settings(tiny(), trace=False)
    base = DramSettings(plain.dram.latency_cycles, plain.dram.bytes_per_cycle, base_address=BASE)
    with RtlSession(tiny(), SIZE, plain) as session:
        expected = Runtime(session, data.network.image, tiny()).infer(data.sample(0))
    with RtlSession(tiny(), SIZE, RtlSettings(base)) as session:
        board = Trapped(session, board_tree(tmp_path, SIZE))
        board.with_cache(monkeypatch)
        runtime = Runtime(opened(board), data.network.image, tiny())
        assert_right(runtime)
        found = runtime.infer(data.sample(0))
        assert found.counters is not None and found.cycles > 0
        assert (found.cycles, found.counters) == (expected.cycles, expected.counters)
        board.close()


def test_run_on_a_board(board: Trapped, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole flow: the same comparison with golden as of a simulation."""
    monkeypatch.setattr("systola.driver.board.open.open_uio", lambda *a, **k: open_uio(*a, **k, registers=lambda *_: board))
    record = run(Options(DIGITS, "tiny", samples=2, backend="board", board="uio", root=board.tree.root))
    assert record.check.bit_exact and record.backend == "board" and record.samples == 2


def test_registers_are_mapped(tmp_path: Path) -> None:
    """A real mapping, of a file: each register at its address from the map's offset on."""
    tree = board_tree(tmp_path, SIZE)
    tree.set(tree.uio / "maps/map0/offset", "0x800")
    words = np.zeros((0x800 + 0x1000 + 0x800) // 4, np.uint32)
    identity = {"IDENTITY": IDENTITY, "ISA_VERSION": ISA_VERSION, "FINGERPRINT": tiny().fingerprint, "STATUS": Status.DONE,
                "IRQ_STATUS": Irq.DONE, "CYCLES_LOW": 7, "CYCLES_HIGH": 1}  # fmt: skip
    for name, value in identity.items():
        words[(0x800 + ADDRESS[name]) // 4] = value
    words.tofile(tree.root / "dev/uio0")
    device = open_board("uio0", tiny(), 4096, root=tree.root)
    Runtime(device, digits("tiny").network.image, tiny())
    device.write_registers([(ADDRESS["STREAM_BYTES_STORE"], 0xFEDC_BA98)])
    assert device.wait_irq() == (1 << 32) + 7
    found = np.fromfile(tree.root / "dev/uio0", np.uint32)
    expected = {"DRAM_BASE_LOW": BASE, "IRQ_ENABLE": 3, "STREAM_BYTES_STORE": 0xFEDC_BA98}
    assert {name: int(found[(0x800 + ADDRESS[name]) // 4]) for name in expected} == expected
    assert np.array_equal(tree.cache[: digits("tiny").network.image.memory.size], digits("tiny").network.image.memory)


# ---- How it refuses ----


def test_no_device(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no UIO device 'systola'; those that there are: none: is uio_pdrv_genirq loaded"):
        open_board("uio", tiny(), 4096, root=tmp_path)


def test_other_devices(tree: BoardTree) -> None:
    tree.set(tree.uio / "name", "dma")
    with pytest.raises(DeviceError, match=r"no UIO device 'systola'; those that there are: uio0 \(dma\)"):
        find_uio(tree.root)
    assert find_uio(tree.root, "uio0") == tree.uio
    tree.set(tree.uio / "name", "systola@43c00000")
    assert find_uio(tree.root) == tree.uio
    shutil.copytree(tree.uio, tree.uio.with_name("uio1"))
    with pytest.raises(DeviceError, match=r"several UIO devices are called 'systola': name one of uio0 .*, uio1"):
        find_uio(tree.root)


def test_no_such_board() -> None:
    with pytest.raises(ConfigError, match="there is no board 'moon': give uio"):
        open_board("moon", tiny(), 4096)


def test_no_buffer(board: Trapped) -> None:
    shutil.rmtree(board.tree.dma)
    with pytest.raises(DeviceError, match=r"no u-dma-buf buffer in .*modprobe u-dma-buf udmabuf0="):
        opened(board)


def test_small_buffer(board: Trapped) -> None:
    board.tree.set(board.tree.dma / "size", 4096)
    with pytest.raises(DeviceError, match=r"udmabuf0 has 4096 bytes; the network needs 12736: .*udmabuf0=0x100000"):
        opened(board)


def test_the_largest_buffer_is_taken(board: Trapped) -> None:
    shutil.copytree(board.tree.dma, board.tree.dma.with_name("udmabuf1"))
    board.tree.set(board.tree.dma.with_name("udmabuf1") / "size", 4096)
    opened(board)
    with pytest.raises(DeviceError, match="udmabuf1 has 4096 bytes"):
        opened(board, buffer="udmabuf1")
    with pytest.raises(DeviceError, match="no u-dma-buf buffer 'udmabuf7'"):
        opened(board, buffer="udmabuf7")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (BASE + 16, "bus address 0x1e900010; this accelerator needs a multiple of 64"),
        (0xFFFF_F000, "ends at bus address 0x1000021bf, above the 32 address bits"),
    ],
)
def test_misplaced_buffer(board: Trapped, address: int, message: str) -> None:
    board.tree.set(board.tree.dma / "phys_addr", hex(address))
    with pytest.raises(DeviceError, match=message):
        Runtime(opened(board), digits("tiny").network.image, tiny())


def test_small_window(tree: BoardTree) -> None:
    tree.set(tree.uio / "maps/map0/size", "0x100")
    with pytest.raises(DeviceError, match="window of uio0 has 256 bytes; a Systola accelerator has 4096"):
        open_uio(tiny(), 4096, root=tree.root)


def test_broken_attribute(board: Trapped) -> None:
    board.tree.set(board.tree.dma / "size", "many")
    with pytest.raises(DeviceError, match="size holds 'many', which is no number"):
        opened(board)


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EACCES, "chmod a.rw"), (errno.EBUSY, "another program"), (errno.ENOENT, "kernel module")]
)
def test_no_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError, match=rf"uio0 cannot be opened: {os.strerror(number)}; .*{advice}"):
        open_device_file(tmp_path / "uio0")


def test_no_accelerator(board: Trapped) -> None:
    board.device = InterpDevice(tiny(), SIZE)
    board.device._registers[ADDRESS["IDENTITY"]] = 0
    with pytest.raises(DeviceError, match="no Systola accelerator here: its identity register reads 0x00000000"):
        Runtime(opened(board), digits("tiny").network.image, tiny())


def test_wrong_image(board: Trapped) -> None:
    other = digits("small").network
    with pytest.raises(ImageError, match=r"the image was compiled for hardware 0x.*compile the network for this accelerator"):
        Runtime(opened(board), other.image, other.params)


class Busy:
    """Registers of an accelerator that never ends: its load engine waits for the memory, the others for each other."""

    def __init__(self, *, moves: bool) -> None:
        self.looks = 0
        self.moves = moves

    def read(self, address: int) -> int:
        self.looks += 1
        if address == ADDRESS["STATUS"]:
            return int(Status.BUSY)
        stalled = {Engine.LOAD: CycleClass.DRAM_LATENCY, Engine.ARRAY: CycleClass.WAIT_LOAD, Engine.DRAIN: CycleClass.WAIT_ARRAY,
                   Engine.VECTOR: CycleClass.IDLE, Engine.STORE: CycleClass.BUSY}  # fmt: skip
        if self.moves and address in {class_address(engine, stalled[engine]) for engine in ENGINES}:
            return self.looks
        return 3 if address == ADDRESS["FINISHED_LOAD"] else 0

    def write(self, address: int, value: int) -> None:
        pass


@pytest.mark.parametrize("cycles", [None, 2_000_000])
def test_late(board: Trapped, cycles: int | None) -> None:
    """The error says what each engine does."""
    size = digits("tiny").network.image.memory_bytes
    device = open_uio(tiny(), size, root=board.tree.root, registers=lambda *_: Busy(moves=True), timeout_seconds=0.02)
    seconds = 0.02 if cycles is None else cycles / (tiny().config.clock.frequency_mhz * 1e6)
    told: list[int] = []
    with pytest.raises(DeviceError) as caught:
        device.wait_irq(cycles, progress=told.append)
    text = str(caught.value)
    assert f"no interrupt in {seconds:g} s: STATUS is 0x1 (BUSY)" in text
    assert "load waits for the memory, and the bus stands still after 3 instructions" in text
    assert "array waits for the load engine" in text and "drain waits for the array engine" in text
    assert "vector has no instruction" in text and "store works" in text


def test_late_without_a_clock(board: Trapped) -> None:
    size = digits("tiny").network.image.memory_bytes
    device = open_uio(tiny(), size, root=board.tree.root, registers=lambda *_: Busy(moves=False), timeout_seconds=0.01)
    with pytest.raises(DeviceError, match="array stands still after 0 instructions: is its clock on"):
        device.wait_irq()


def test_the_interrupt_is_lost(board: Trapped) -> None:
    board.deliver = False
    device = opened(board, timeout_seconds=0.05)
    runtime = Runtime(device, digits("tiny").network.image, tiny())
    with pytest.raises(DeviceError, match=r"has finished \(STATUS is 0x2 \(DONE\)\), but its interrupt did not arrive"):
        runtime.infer(digits("tiny").sample(0))


def test_a_closed_interrupt(board: Trapped) -> None:
    interrupt = UioInterrupt(board.tree.root / "dev/uio0")
    interrupt.close()
    with pytest.raises(DeviceError, match="cannot be enabled"):
        interrupt.wait(0.0)
