"""The ports of ``systola_axi``: the accelerator's, with the names and the completeness that AXI integrators expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from systola.hw.readable.units import Port

__all__ = ["AxiPort", "axi_ports"]

_CHANNELS = {
    "m_axi": {
        "aw": "id addr len size burst lock cache prot qos region valid ready",
        "w": "data strb last valid ready",
        "b": "id resp valid ready",
        "ar": "id addr len size burst lock cache prot qos region valid ready",
        "r": "id data resp last valid ready",
    },
    "s_axi": {
        "aw": "addr prot valid ready",
        "w": "data strb valid ready",
        "b": "resp valid ready",
        "ar": "addr prot valid ready",
        "r": "data resp valid ready",
    },
}
"""The signals of each channel, in the order of ARM IHI 0022 (sections A2 and B1.1)."""

_ADDED = {"lock": 1, "qos": 4, "region": 4, "prot": 3}
"""Widths of the signals that the accelerator does not have."""

_INNER = {"m_axi": "m_axi", "s_axi": "s_axil"}
"""A bus's name in the accelerator's ports."""


@dataclass(frozen=True)
class AxiPort:
    """``name`` of the signal on ``bus``; ``inner``: the accelerator's port, None if it has none."""

    bus: str
    name: str
    is_input: bool
    width: int
    inner: str | None


def axi_ports(ports: Sequence[Port]) -> Iterator[AxiPort]:
    """The signals of both buses, the registers' first. ``ports``: the accelerator's."""
    known = {port.name: port for port in ports}
    for bus in ("s_axi", "m_axi"):
        for channel, signals in _CHANNELS[bus].items():
            for signal in signals.split():
                inner = f"{_INNER[bus]}_{channel}{signal}"
                if port := known.get(inner):
                    yield AxiPort(bus, channel + signal, port.is_input, port.width, inner)
                else:
                    yield AxiPort(bus, channel + signal, bus == "s_axi", _ADDED[signal], None)
