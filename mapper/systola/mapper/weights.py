"""Weights, records and tables as bytes in the order in which the engines read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import RECORD, RECORD_BYTES
from systola.hw.params import Params
from systola.mapper.layers import ArrayLayer, VectorLayer
from systola.mapper.tiles import Run

__all__ = ["array_records", "array_tiles", "vector_params"]

Bytes = NDArray[np.uint8]


def _records(bias: NDArray[np.int32], multiplier: NDArray[np.int32], shift: NDArray[np.int32], count: int) -> Bytes:
    """Records of ``count`` channels; those past the given ones are zero: their codes are the zero point."""
    packed = np.zeros(count, dtype=np.uint64)
    given = len(bias)
    position = 0
    for item, values in zip(RECORD, (bias, multiplier, shift), strict=False):
        mask = np.uint64((1 << item.width_bits) - 1)
        packed[:given] |= (values.astype(np.int64).view(np.uint64) & mask) << np.uint64(position)
        position += item.width_bits
    return packed.astype("<u8").view(np.uint8)


def array_records(layer: ArrayLayer, params: Params, first_block: int, blocks: int) -> Bytes:
    """Records of ``blocks`` blocks of output channels from ``first_block``, each block in whole words."""
    part = slice(first_block * params.columns, (first_block + blocks) * params.columns)
    packed = _records(layer.bias[part], layer.multiplier[part], layer.shift[part], blocks * params.columns)
    words = np.zeros((blocks, params.drain_record_words * params.lanes), dtype=np.uint8)
    words[:, : params.columns * RECORD_BYTES] = packed.reshape(blocks, -1)
    return words.reshape(-1)


def dense_weights(layer: ArrayLayer, params: Params, run: Run) -> NDArray[Any]:
    """Weights of a run, [blocks · columns, row_blocks · rows, kh, kw]: zero where there is no channel or another group."""
    outputs, per_group, kh, kw = layer.weights.shape
    dense = np.zeros((run.blocks * params.columns, run.row_blocks * params.rows, kh, kw), dtype=layer.weights.dtype)
    first = run.first_block * params.columns
    here = np.arange(first, min(first + run.blocks * params.columns, outputs))
    offset = here // (outputs // layer.groups) * per_group - run.first_plane * params.lanes
    channels = offset[:, None] + np.arange(per_group)
    dense[(here - first)[:, None], channels] = layer.weights[here]
    return dense


def array_tiles(dense: NDArray[Any], params: Params, blocks: slice, row_blocks: slice) -> NDArray[Any]:
    """Weight tiles of output blocks × row blocks in the array's loop order: n, ky, kx, kb; in a tile row by row. One item is a
    byte in memory; int8 ones are given as bytes."""
    kh, kw = dense.shape[2:]
    split = dense.reshape(-1, params.columns, dense.shape[1] // params.rows, params.rows, kh, kw)
    part = split[blocks, :, row_blocks]
    tiles = np.ascontiguousarray(part.transpose(0, 4, 5, 2, 3, 1)).reshape(-1)
    return tiles.view(np.uint8) if tiles.dtype == np.int8 else tiles


def vector_params(layer: VectorLayer, params: Params, planes: int) -> Bytes:
    """Records and weights, or the table, of a vector layer: all planes one after the other, or the one set that they share."""
    if layer.table is not None:
        return np.ascontiguousarray(layer.table).view(np.uint8)
    if layer.records is None:
        return np.zeros(0, dtype=np.uint8)
    lanes = params.lanes
    if layer.weights is None and len(layer.records[0]) == 1:
        bias, multiplier, shift = (np.repeat(values, lanes) for values in layer.records)
        return _records(bias, multiplier, shift, lanes)
    records = _records(*layer.records, planes * lanes).reshape(planes, lanes * RECORD_BYTES)
    if layer.weights is None:
        return records.reshape(-1)
    channels, kh, kw = layer.weights.shape
    weights = np.zeros((planes * lanes, kh * kw), dtype=np.int8)
    weights[:channels] = layer.weights.reshape(channels, -1)
    blocks = weights.reshape(planes, lanes, kh * kw).transpose(0, 2, 1).reshape(planes, -1).view(np.uint8)
    return np.concatenate([records, blocks], axis=1).reshape(-1)
