"""NNEF tensor files (.dat): a 128-byte little-endian header and row-major data.

Header: ``4E EF``, version ``01 00``, then u32 each: length of the data in bytes, rank, eight extents, bits per item,
item type, 19 reserved. Items of 8, 16, 32 and 64 bits are mapped from the file, not copied; other widths (and bool) are
a stream of bits, the most significant first.
"""

from __future__ import annotations

import os
import struct
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DataModelError, Place
from systola.mapper.nnef.safefile import open_regular

__all__ = ["ItemType", "TensorHeader", "read_header", "read_tensor", "write_atomically", "write_tensor"]

_HEADER: Final = struct.Struct("<4B2I8I2I19I")
_MAX_RANK: Final = 8
_CHUNK_ITEMS: Final = 1 << 20


class ItemType(IntEnum):
    """What an item of a tensor file is."""

    FLOAT = 0
    UINT = 1
    QUINT = 2
    QINT = 3
    INT = 4
    BOOL = 5


@dataclass(frozen=True)
class TensorHeader:
    """A checked header. ``quantized`` items are integers whose meaning is in graph.quant."""

    shape: tuple[int, ...]
    item: ItemType
    bits: int

    @property
    def quantized(self) -> bool:
        """Whether the items are the integers of a quantized tensor."""
        return self.item in (ItemType.QINT, ItemType.QUINT)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest NumPy type that holds an item."""
        if self.item is ItemType.BOOL:
            return np.dtype(np.bool_)
        kind = {ItemType.FLOAT: "f", ItemType.INT: "i", ItemType.QINT: "i"}.get(self.item, "u")
        width = next(each for each in (1, 2, 4, 8) if each * 8 >= self.bits)
        return np.dtype(f"<{kind}{width}")

    @property
    def packed(self) -> bool:
        """Whether the data is a stream of bits and not an array of ``dtype``."""
        return self.item is ItemType.BOOL or self.bits not in (8, 16, 32, 64)

    @property
    def data_bytes(self) -> int:
        """Length of the data."""
        return (prod(self.shape) * self.bits + 7) // 8


def _parse_header(data: bytes, file_bytes: int, place: Place) -> TensorHeader:
    """Check a header against the size of its file; nothing is allocated before that."""
    if len(data) < _HEADER.size:
        raise DataModelError(f"the file has {len(data)} bytes; the header of a tensor file alone has 128", place)
    fields = _HEADER.unpack(data)
    if fields[:2] != (0x4E, 0xEF):
        raise DataModelError("this is no NNEF tensor file: it does not begin with the bytes 4E EF", place)
    if fields[2:4] != (1, 0):
        raise DataModelError(f"tensor file version {fields[2]}.{fields[3]} is not known; this reader knows 1.0", place)
    length, rank, extents, bits, code, reserved = fields[4], fields[5], fields[6:14], fields[14], fields[15], fields[16:]
    if rank > _MAX_RANK:
        raise DataModelError(f"the header says {rank} dimensions; at most {_MAX_RANK} are possible", place)
    if code not in tuple(ItemType):
        raise DataModelError(f"item type {code} is not known; types are 0 to 5", place)
    item = ItemType(code)
    if item is ItemType.UINT and reserved[0]:
        item = ItemType.INT  # how files of before NNEF 1.0.3 said "signed"
    allowed = {ItemType.FLOAT: (16, 32, 64), ItemType.BOOL: (1, 8)}.get(item, tuple(range(1, 65)))
    if bits not in allowed:
        raise DataModelError(f"items of type {item.name.lower()} cannot have {bits} bits", place)
    header = TensorHeader(extents[:rank], item, bits)
    if any(extent == 0 for extent in header.shape):
        raise DataModelError(f"the shape {list(header.shape)} has an extent of 0", place)
    if length != header.data_bytes or file_bytes != _HEADER.size + length:
        raise DataModelError(
            f"the header says shape {list(header.shape)} of {bits}-bit items ({header.data_bytes} bytes) and "
            f"{length} bytes of data, but the file has {file_bytes - _HEADER.size} bytes of data",
            place,
        )
    return header


def read_header(path: Path) -> TensorHeader:
    """The checked header of a tensor file.

    Raises:
        DataModelError: the file is missing, no regular file, or its header does not describe it.
    """
    with open_regular(path) as stream:
        return _parse_header(stream.read(_HEADER.size), os.fstat(stream.fileno()).st_size, Place(str(path)))


def read_tensor(path: Path) -> tuple[TensorHeader, NDArray[Any]]:
    """The header and data of a tensor file; the data is read-only, and mapped where the width allows.

    Raises:
        DataModelError: as ``read_header``, or float data that is not finite.
    """
    place = Place(str(path))
    with open_regular(path) as stream:
        header = _parse_header(stream.read(_HEADER.size), os.fstat(stream.fileno()).st_size, place)
        dtype = np.dtype(np.uint8) if header.packed else header.dtype
        count = header.data_bytes // dtype.itemsize
        data: NDArray[Any] = np.memmap(stream, dtype, "r", _HEADER.size, (count,))
    if header.packed:
        data = _unpack(data, header)
    elif header.item is ItemType.FLOAT:
        _check_finite(data, place)
    shaped = np.asarray(data).reshape(header.shape)
    shaped.flags.writeable = False
    return header, shaped


def _check_finite(data: NDArray[Any], place: Place) -> None:
    for start in range(0, data.size, _CHUNK_ITEMS):
        if not np.isfinite(data[start : start + _CHUNK_ITEMS]).all():
            raise DataModelError("the data has values that are infinite or not a number", place)


def _unpack(data: NDArray[np.uint8], header: TensorHeader) -> NDArray[Any]:
    """Items of ``bits`` bits each, most significant bit first, sign extended where signed."""
    bits, count = header.bits, prod(header.shape)
    if header.item is ItemType.BOOL and bits == 8:
        return np.not_equal(data, 0)
    if bits == 1 and header.item is ItemType.BOOL:
        return np.unpackbits(data, count=count).view(np.bool_)
    out = np.empty(count, header.dtype)
    weights = np.uint64(1) << np.arange(bits - 1, -1, -1, dtype=np.uint64)
    step = max(8, _CHUNK_ITEMS // bits // 8 * 8)  # a multiple of 8 items begins on a byte
    for start in range(0, count, step):
        items = min(step, count - start)
        chunk = data[start * bits // 8 : ((start + items) * bits + 7) // 8]
        stream = np.unpackbits(chunk, count=items * bits).reshape(items, bits)
        values = (stream.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
        if header.dtype.kind == "i":
            sign = np.uint64(1) << np.uint64(bits - 1)
            values = ((values ^ sign) - sign).astype(np.int64) if bits < 64 else values.view(np.int64)
        out[start : start + items] = values.astype(header.dtype)
    return out


def _pack(data: NDArray[Any], bits: int) -> bytes:
    """The inverse of ``_unpack``."""
    if data.dtype == np.bool_:
        return np.packbits(data.reshape(-1)).tobytes()
    values = data.reshape(-1).astype(np.int64).view(np.uint64) if data.dtype.kind == "i" else data.reshape(-1)
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    parts = []
    step = max(8, _CHUNK_ITEMS // bits // 8 * 8)
    for start in range(0, values.size, step):
        chunk = values[start : start + step, None].astype(np.uint64)
        parts.append(np.packbits(((chunk >> shifts) & np.uint64(1)).astype(np.uint8).reshape(-1)).tobytes())
    return b"".join(parts)


def write_tensor(path: Path, data: NDArray[Any], *, quantized: bool = False, bits: int | None = None) -> None:
    """Write a tensor file; it appears under its name only when it is complete.

    Args:
        path: the file.
        data: float16/32/64, any integer type or bool; at most 8 dimensions.
        quantized: mark integers as the items of a quantized tensor (qint, quint).
        bits: bits per integer item, if fewer than the type has (1 to 64).

    Raises:
        DataModelError: data that the format cannot hold.
    """
    place = Place(str(path))
    kinds = {"f": ItemType.FLOAT, "i": ItemType.INT, "u": ItemType.UINT, "b": ItemType.BOOL}
    item = kinds.get(data.dtype.kind)
    if item is None or data.ndim > _MAX_RANK or 0 in data.shape or data.dtype.itemsize > 8:
        raise DataModelError(f"an array of {data.dtype} with shape {data.shape} cannot be stored", place)
    if quantized and item in (ItemType.INT, ItemType.UINT):
        item = ItemType.QINT if item is ItemType.INT else ItemType.QUINT
    width = 1 if item is ItemType.BOOL else data.dtype.itemsize * 8
    if bits is not None and bits != width:
        signed = data.dtype.kind == "i"
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if data.dtype.kind not in "iu" or not 1 <= bits <= width or int(data.min()) < low or int(data.max()) > high:
            raise DataModelError(f"the values of this {data.dtype} array do not fit items of {bits} bits", place)
        width = bits
    header = TensorHeader(data.shape, item, width)
    extents = (*data.shape, *(0,) * (_MAX_RANK - data.ndim))
    head = _HEADER.pack(0x4E, 0xEF, 1, 0, header.data_bytes, data.ndim, *extents, width, item, *(0,) * 19)
    body = _pack(data, width) if header.packed else np.ascontiguousarray(data, header.dtype).data
    write_atomically(path, head, body)


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file beside ``path`` and rename it: readers see the old file or the whole new one.

    Raises:
        DataModelError: the folder cannot be written.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        with os.fdopen(descriptor, "wb") as stream:
            for part in parts:
                stream.write(part)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DataModelError(f"the file cannot be written: {error.strerror}", Place(str(path))) from None
