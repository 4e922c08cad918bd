"""The stand-in accelerator (copier.sv) in a simulation session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from systola.hw.config import load_config
from systola.hw.params import Params
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.settings import RtlSettings

COPIER = Path(__file__).with_name("copier.sv")


def bus_params(data_bytes: int) -> Params:
    """The base accelerator with another bus width."""
    config = load_config("base")
    return Params(config.model_copy(update={"bus": config.bus.model_copy(update={"data_bytes": data_bytes})}))


@dataclass(frozen=True)
class Times:
    """What the copier saw: cycles of the run, the first being 0; responses; beats read with an error."""

    ar: int
    first_r: int
    last_r: int
    aw: int
    first_w: int
    last_w: int
    first_b: int
    last_b: int
    read_response: int
    write_response: int
    read_errors: int


class Copier:
    """Drives the copier's registers."""

    def __init__(self, session: RtlSession, data_bytes: int) -> None:
        self.session = session
        self.data_bytes = data_bytes

    def start(self, mode: int, bursts: int, beats: int = 16, source: int = 0, destination: int = 0x80000) -> None:
        """Starts a run; ``mode`` 0 only counts ``bursts · beats`` cycles."""
        self.session.write_registers([
            (0x18, 1), (0x1C, 1), (0x20, source), (0x24, destination), (0x28, bursts), (0x2C, beats), (0x30, mode), (0x10, 1),
        ])  # fmt: skip

    def run(self, mode: int, bursts: int, beats: int = 16, source: int = 0, destination: int = 0x80000) -> Times:
        """A whole run."""
        self.start(mode, bursts, beats, source, destination)
        self.session.wait_irq(1_000_000)
        *times, responses, errors = self.session.read_registers(range(0x40, 0x68, 4))
        return Times(*times, responses & 3, responses >> 2 & 3, errors)


OpenCopier = Callable[..., AbstractContextManager[Copier]]


@pytest.fixture(scope="session")
def open_copier() -> OpenCopier:
    """Opens a session with the copier: ``open_copier(settings, data_bytes=16, dram_bytes=1 << 20, **session_arguments)``."""

    @contextmanager
    def opened(
        settings: RtlSettings | None = None, data_bytes: int = 16, dram_bytes: int = 1 << 20, **arguments: object
    ) -> Iterator[Copier]:
        verilog = COPIER.read_text(encoding="utf-8").replace("DATA_BYTES = 16", f"DATA_BYTES = {data_bytes}")
        with RtlSession(bus_params(data_bytes), dram_bytes, settings, verilog=verilog, **arguments) as session:  # type: ignore[arg-type]  # passed through
            yield Copier(session, data_bytes)

    return opened
