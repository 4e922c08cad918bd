"""A board with PYNQ, through a stand-in for the package that has what its documentation says of Overlay, MMIO, allocate and
Interrupt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from board import ADDRESS
from digits import digits

from systola.driver.board.open import open_board
from systola.driver.board.pynq import open_pynq
from systola.driver.runtime import Runtime
from systola.hw.errors import ConfigError, DeviceError, ToolError
from systola.hw.params import Params
from systola.hw.registers import Control
from systola.sim.interp_device import InterpDevice

BLOCKS = {
    "axi_intc_0": {"type": "xilinx.com:ip:axi_intc:4.1", "phys_addr": 0x4180_0000, "addr_range": 0x1_0000},
    "systola_0": {"type": "xilinx.com:module_ref:systola_top:1.0", "phys_addr": 0x43C0_0000, "addr_range": 0x1000},
}
BASE = 0x1680_0000


class Pynq(SimpleNamespace):
    """The package, with a tiny accelerator that sees a buffer's bytes when they were flushed."""

    def __init__(self, blocks: dict[str, dict[str, Any]], pins: dict[str, Any]) -> None:
        super().__init__()
        self.device = InterpDevice(tiny(), 1 << 16)
        self.blocks, self.pins = blocks, pins
        self.log: list[str] = []
        self.happened: Callable[[], None] = lambda: None

    def Overlay(self, name: str) -> SimpleNamespace:  # noqa: N802 - PYNQ's name
        self.log.append(f"load {Path(name).name}")
        return SimpleNamespace(ip_dict=self.blocks, interrupt_pins=self.pins)

    def MMIO(self, base_addr: int, length: int) -> SimpleNamespace:  # noqa: N802
        assert (base_addr, length) == (0x43C0_0000, 0x1000)

        def write(address: int, value: int) -> None:
            self.device.write_registers([(address, value)])
            if address == ADDRESS["CONTROL"] and value & Control.START:
                self.log.append("start")

        return SimpleNamespace(read=lambda address: self.device.read_registers([address])[0], write=write)

    def allocate(self, shape: tuple[int], dtype: str) -> Any:
        return np.zeros(shape, dtype).view(Buffer).of(self)

    def Interrupt(self, pin: str) -> SimpleNamespace:  # noqa: N802
        assert pin == "systola_0/irq"

        async def wait() -> None:
            while not self.device.read_registers([ADDRESS["IRQ_STATUS"]])[0]:
                await asyncio.sleep(0.001)
            self.log.append("interrupt")

        return SimpleNamespace(wait=wait)


class Buffer(np.ndarray[Any, Any]):
    """What allocate returns."""

    physical_address = BASE

    def of(self, pynq: Pynq) -> Buffer:
        self.pynq = pynq
        return self

    def flush(self) -> None:
        self.pynq.log.append("flush")
        self.pynq.device.memory[: self.size] = self

    def invalidate(self) -> None:
        self.pynq.log.append("invalidate")
        self[:] = self.pynq.device.memory[: self.size]

    def freebuffer(self) -> None:
        self.pynq.log.append("free")


def tiny() -> Params:
    return digits("tiny").network.params


@pytest.fixture
def bitstream(tmp_path: Path) -> Path:
    for suffix in (".bit", ".hwh"):
        (tmp_path / f"tiny{suffix}").touch()
    return tmp_path / "tiny.bit"


def stand_in(monkeypatch: pytest.MonkeyPatch, pins: dict[str, Any] | None = None, **blocks: Any) -> Pynq:
    pynq = Pynq(blocks or BLOCKS, pins or {})
    monkeypatch.setitem(sys.modules, "pynq", pynq)  # type: ignore[arg-type]  # it is asked for attributes only
    return pynq


@pytest.mark.parametrize("pins", [{"systola_0/irq": {"controller": "axi_intc_0", "index": 0}}, {}])
def test_inference(bitstream: Path, monkeypatch: pytest.MonkeyPatch, pins: dict[str, Any]) -> None:
    """With the interrupt, and polled where none is wired."""
    pynq, data = stand_in(monkeypatch, pins), digits("tiny")
    device = open_board(str(bitstream), tiny(), data.network.image.memory_bytes)
    runtime = Runtime(device, data.network.image, tiny())
    for number in range(3):
        runtime.infer(data.sample(number))
        assert np.array_equal(runtime.tensor("logits"), data.values["logits"][number])
    device.close()
    one = ["flush", "start", *(["interrupt"] if pins else []), "invalidate"]
    assert pynq.log == ["load tiny.bit", *one * 3, "free"]
    assert pynq.device.read_registers([ADDRESS["DRAM_BASE_LOW"]]) == [BASE]


def test_late(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"systola_0/irq": {}})
    device = open_pynq(bitstream, tiny(), 4096, timeout_seconds=0.05)
    with pytest.raises(DeviceError, match=r"no interrupt in 0\.05 s: STATUS is 0x0"):
        device.wait_irq()
    device.close()


def test_files(tmp_path: Path) -> None:
    (tmp_path / "tiny.bit").touch()
    with pytest.raises(ConfigError, match=r"there is no .*tiny\.hwh: PYNQ needs a bitstream and"):
        open_board(str(tmp_path / "tiny.bit"), tiny(), 4096)
    with pytest.raises(ConfigError, match=r"there is no .*moon\.bit"):
        open_board(str(tmp_path / "moon.bit"), tiny(), 4096)


def test_without_pynq(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(ToolError, match=r"loaded with PYNQ, which is not here .*use --board uio"):
        open_board(str(bitstream), tiny(), 4096)


def test_no_block(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, axi_intc_0=BLOCKS["axi_intc_0"])
    with pytest.raises(DeviceError, match=r"tiny\.bit has no block of a type called systola; its blocks: axi_intc_0 \(xil"):
        open_board(str(bitstream), tiny(), 4096)


def test_named_block(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, **BLOCKS, other=BLOCKS["systola_0"])
    with pytest.raises(DeviceError, match="has 2 blocks of a type called systola"):
        open_pynq(bitstream, tiny(), 4096)
    assert open_pynq(bitstream, tiny(), 4096, block="other").memory_address == BASE
    with pytest.raises(DeviceError, match="has no block 'third'"):
        open_pynq(bitstream, tiny(), 4096, block="third")


def test_small_window(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, systola_0=BLOCKS["systola_0"] | {"addr_range": 256})
    with pytest.raises(DeviceError, match="window of systola_0 has 256 bytes"):
        open_board(str(bitstream), tiny(), 4096)
