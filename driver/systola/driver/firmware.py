"""What firmware needs of Systola: the C driver's sources, the header of registers, the host shim of the bridge, a network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from systola.driver.bridge.mailbox import mailbox_header
from systola.driver.c_header import c_header
from systola.driver.c_network import c_network
from systola.hw.params import Params
from systola.mapper.image import Image
from systola.mapper.quantgraph import QuantGraph
from systola.reports.files import output_folder, write_text

__all__ = ["SOURCES", "write_firmware"]

SOURCES = tuple(f"systola_{name}.{suffix}" for name in ("driver", "linux", "bridge") for suffix in ("h", "c"))
"""The hand-written C files: the driver; a board under Linux; a simulation behind a bridge."""


def write_firmware(image: Image, graph: QuantGraph, params: Params, folder: Path) -> tuple[Path, ...]:
    """All C files in ``folder``; their paths."""
    texts = {
        "systola.h": c_header(),
        **{name: (files("systola.driver") / "c" / name).read_text(encoding="utf-8") for name in SOURCES},
        "systola_mailbox.h": mailbox_header(),
        "network.h": c_network(image, graph, params),
    }
    home = output_folder(folder)
    for name, text in texts.items():
        write_text(home / name, text)
    return tuple(home / name for name in texts)
