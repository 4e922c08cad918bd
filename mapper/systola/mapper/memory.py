"""The DRAM range of an image: constants first, then the tensors that reach DRAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from systola.hw.params import Params
from systola.mapper.image import Placed
from systola.mapper.layers import Lowered
from systola.mapper.layout import Layout
from systola.mapper.quantgraph import Node
from systola.mapper.shapes import resolve

__all__ = ["Dram"]

Blob = tuple[int, int, Callable[[], NDArray[np.uint8]]]
"""(address, bytes, what makes them)"""


@dataclass
class Dram:
    """Hands out addresses. Everything is aligned to ``params.alignment_bytes``."""

    net: Lowered
    params: Params
    used_bytes: int = 0
    nodes: dict[str, Node] = field(default_factory=dict)
    """By output: host nodes that are complete only when addresses are known, in place of those in ``net``."""

    _blobs: list[Blob] = field(default_factory=list)
    _wholes: dict[str, Placed] = field(default_factory=dict)
    _placed: dict[str, Placed] = field(default_factory=dict)

    def reserve(self, size: int) -> int:
        """The address of ``size`` fresh bytes."""
        address = self.used_bytes
        step = self.params.alignment_bytes
        self.used_bytes = address + -(-size // step) * step
        return address

    def constant(self, size: int, make: Callable[[], NDArray[np.uint8]]) -> int:
        """The address of ``size`` bytes that the image holds from the start; ``make`` is asked for them when they are needed."""
        address = self.reserve(size)
        self._blobs.append((address, size, make))
        return address

    def tensor(self, name: str) -> Placed:
        """Where a tensor lies; it gets its place when it is first asked for."""
        if name not in self._placed:
            self._placed[name] = self._place(name)
        return self._placed[name]

    def _place(self, name: str) -> Placed:
        whole, plane = resolve(self.net, name)
        if whole not in self._wholes:
            layout = Layout.of(self.net.shapes[whole], self.params.lanes)
            codes = self.net.constants.get(whole)
            address = self.reserve(layout.bytes) if codes is None else self.constant(layout.bytes, partial(layout.pack, codes))
            self._wholes[whole] = Placed(whole, address, layout, self.net.shapes[whole])
        home = self._wholes[whole]
        layout = Layout.of(self.net.shapes[name], self.params.lanes)
        return Placed(name, home.address + plane * layout.plane_words * layout.lanes, layout, self.net.shapes[name])

    def placed(self) -> Mapping[str, Placed]:
        """Every tensor that has a place, those inside others too."""
        inside = [name for name in self.net.aliases if resolve(self.net, name)[0] in self._wholes]
        return {**self._wholes, **{name: self.tensor(name) for name in inside}}

    def image(self) -> NDArray[np.uint8]:
        """The initial bytes, up to the last constant."""
        end = max((address + size for address, size, _ in self._blobs), default=0)
        memory = np.zeros(end, dtype=np.uint8)
        for address, size, make in self._blobs:
            memory[address : address + size] = make()
        return memory
