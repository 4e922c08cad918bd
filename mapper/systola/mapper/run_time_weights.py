"""Weights that are only known at run time: the second operand of a product, which the host writes as the array reads it.

The host's node says for every byte where it comes from, so that the host needs no knowledge of tiles.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import RECORD_BYTES
from systola.hw.params import Params
from systola.mapper.layers import ArrayLayer, Lowered
from systola.mapper.memory import Dram
from systola.mapper.quantgraph import WeightTiles

__all__ = ["Blob", "place_run_time_weights"]


@dataclass(frozen=True, eq=False)
class Blob:
    """What one load fetches: ``records`` (none, or of whole blocks from ``first_block`` on), then ``tiles``, for each byte a
    place in the operand, counted from 1, or 0."""

    records: NDArray[np.uint8]
    first_block: int
    tiles: NDArray[np.int32]

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return int(self.records.size + self.tiles.size)


def place_run_time_weights(
    net: Lowered, dram: Dram, layer: ArrayLayer, blobs: Mapping[Hashable, Blob]
) -> dict[Hashable, tuple[int, int]]:
    """DRAM address and words of each blob; the host's node that writes them all is put into ``dram.nodes``."""
    params = dram.params
    step = params.alignment_bytes
    begins = np.concatenate([[0], np.cumsum([-(-blob.bytes // step) * step for blob in blobs.values()])]).tolist()
    template, places = np.zeros(begins[-1], np.uint8), np.zeros(begins[-1], np.int32)
    bias_bytes, bias_outputs = [], []
    for begin, blob in zip(begins, blobs.values(), strict=False):
        tiles = begin + blob.records.size
        template[begin:tiles] = blob.records
        places[tiles : tiles + blob.tiles.size] = blob.tiles
        offsets, outputs = _biases(blob, params, len(layer.bias))
        bias_bytes.append(begin + offsets)
        bias_outputs.append(outputs)
    shape = (begins[-1] // params.lanes, params.lanes)
    cast("dict[str, tuple[int, ...]]", net.shapes)[layer.tiles] = shape
    address = dram.tensor(layer.tiles).address
    host = next(each.nodes[0] for each in net.layers if each.output == layer.tiles)
    dram.nodes[layer.tiles] = replace(
        cast("WeightTiles", host), template=template.view(np.int8).reshape(shape), places=places.reshape(shape),
        bias_bytes=np.concatenate(bias_bytes).astype(np.int32), bias_outputs=np.concatenate(bias_outputs).astype(np.int32),
    )  # fmt: skip
    return {
        key: (address + begin, blob.bytes // params.lanes) for begin, (key, blob) in zip(begins, blobs.items(), strict=False)
    }  # fmt: skip


def _biases(blob: Blob, params: Params, outputs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(offset of the bias in the blob, output) of every record that an output has."""
    block_bytes = params.drain_record_words * params.lanes
    blocks = np.arange(blob.records.size // block_bytes)[:, None]
    columns = np.arange(params.columns)
    here = ((blob.first_block + blocks) * params.columns + columns).reshape(-1)
    offsets = (blocks * block_bytes + columns * RECORD_BYTES).reshape(-1)
    return offsets[here < outputs], here[here < outputs]
