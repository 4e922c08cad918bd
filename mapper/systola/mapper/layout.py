"""How a tensor lies in memory: planes of words, as ``docs/explanation/machine.md`` states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import MappingError

__all__ = ["Layout", "channels_height_width"]


def channels_height_width(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of an NNEF shape with one sample.

    [N, C] is N pixels of C channels; [1, C, L] one row; [1, C, H, W] itself. Raises MappingError for other ranks and for
    a batch greater than one.
    """
    if len(shape) == 1:
        return shape[0], 1, 1
    if len(shape) == 2:
        return shape[1], 1, shape[0]
    if shape[0] != 1:
        raise MappingError(f"a tensor of shape {list(shape)} has {shape[0]} samples; the accelerator takes one at a time")
    if len(shape) == 3:
        return shape[1], 1, shape[2]
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if all(extent == 1 for extent in shape[4:]):
        return shape[1], shape[2], shape[3]
    raise MappingError(f"a tensor of shape {list(shape)} has {len(shape)} dimensions; the accelerator takes up to four")


@dataclass(frozen=True)
class Layout:
    """A tensor of ``channels`` × ``height`` × ``width`` codes as planes of ``lanes``-byte words."""

    channels: int
    height: int
    width: int
    lanes: int

    @staticmethod
    def of(shape: tuple[int, ...], lanes: int) -> Layout:
        """The layout of a tensor of NNEF's ``shape``."""
        return Layout(*channels_height_width(shape), lanes)

    @property
    def planes(self) -> int:
        """Blocks of ``lanes`` channels."""
        return -(-self.channels // self.lanes)

    @property
    def plane_words(self) -> int:
        """Words of a plane."""
        return self.height * self.width

    @property
    def words(self) -> int:
        """Words of the tensor."""
        return self.planes * self.plane_words

    @property
    def bytes(self) -> int:
        """Bytes of the tensor, unused lanes included."""
        return self.words * self.lanes

    def pack(self, codes: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Memory bytes of codes in any shape that :func:`channels_height_width` accepts; unused lanes are zero."""
        chw = _to_chw(codes, self)
        padded = np.zeros((self.planes * self.lanes, self.plane_words), dtype=np.int8)
        padded[: self.channels] = chw.reshape(self.channels, -1)
        blocks = padded.reshape(self.planes, self.lanes, self.plane_words).transpose(0, 2, 1)
        return np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)

    def unpack(self, memory: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
        """Codes in NNEF's ``shape`` from ``self.bytes`` memory bytes: a copy, which later runs leave alone."""
        blocks = memory.view(np.int8).reshape(self.planes, self.plane_words, self.lanes).transpose(0, 2, 1)
        chw = blocks.reshape(-1, self.plane_words)[: self.channels].reshape(self.channels, self.height, self.width)
        if len(shape) == 2:
            return chw.reshape(self.channels, self.width).T.copy().reshape(shape)
        return chw.copy().reshape(shape)


def _to_chw(codes: NDArray[np.int8], layout: Layout) -> NDArray[np.int8]:
    if codes.ndim == 2:
        return np.ascontiguousarray(codes.T).reshape(layout.channels, layout.height, layout.width)
    return codes.reshape(layout.channels, layout.height, layout.width)
