"""Requests to a board over a serial line, and their answers."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from systola.hw.board.protocol import (
    CRC_BYTES,
    MAGIC,
    RECEIVE_BYTES,
    VERSION,
    WORD_BYTES,
    Info,
    Operation,
    Outcome,
    answer_words,
)
from systola.hw.errors import DeviceError

__all__ = ["Line", "Port", "Request"]

_MEANINGS = {
    Outcome.DAMAGED: "a request arrived damaged: the line loses or changes bytes",
    Outcome.UNKNOWN: "it does not know what it was asked for: its bitstream is of another version of Systola",
    Outcome.OUTSIDE: "it was asked for an address that it does not have",
}


class Port(Protocol):
    """An open serial port whose reads end after a while."""

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes, or fewer if no more come."""


@dataclass(frozen=True)
class Request:
    """``words``: to read; of a write, what ``data`` has, uint32."""

    operation: Operation
    address: int
    words: int = 1
    data: NDArray[np.uint32] | None = None

    def encode(self) -> bytes:
        """As it is sent."""
        body = struct.pack("<BBI", self.operation, self.words - 1, self.address)
        if self.data is not None:
            body += self.data.astype("<u4").tobytes()
        return body + _crc(body)


class Line:
    """A board on an open port; ``name`` says which. Raises DeviceError if no board answers there, or one of another version.

    ``info``: what the board says of itself.
    """

    def __init__(self, port: Port, name: str) -> None:
        self._port = port
        self._name = name
        (words,) = self.ask([Request(Operation.INFO, 0, len(Info))])
        self.info = {info: int(words[info]) for info in Info}
        if self.info[Info.MAGIC] != MAGIC or self.info[Info.VERSION] != VERSION:
            raise DeviceError(
                f"what answers on {name} is no board of this version of Systola ({self.info[Info.MAGIC]:#x}, version "
                f"{self.info[Info.VERSION]}): load a bitstream that this version made"
            )

    def ask(self, requests: Iterable[Request]) -> list[NDArray[np.uint32]]:
        """The words of each answer. Requests are sent ahead of answers as far as the board can hold them.

        Raises DeviceError if an answer is late, damaged or a refusal.
        """
        return list(self._answers(requests))

    def _answers(self, requests: Iterable[Request]) -> Iterator[NDArray[np.uint32]]:
        waiting: deque[tuple[Request, int]] = deque()
        unanswered = 0
        for request in requests:
            data = request.encode()
            while unanswered + len(data) > RECEIVE_BYTES:
                first, size = waiting.popleft()
                yield self._answer(first)
                unanswered -= size
            self._send(data)
            waiting.append((request, len(data)))
            unanswered += len(data)
        for request, _ in waiting:
            yield self._answer(request)

    def _send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be written: {error}; was the board unplugged?") from error

    def _answer(self, request: Request) -> NDArray[np.uint32]:
        head = self._receive(1, request)
        done = head[0] == Outcome.DONE
        words = answer_words(request.operation, request.words) if done else 0
        rest = self._receive(WORD_BYTES * words + CRC_BYTES, request)
        body, crc = rest[:-CRC_BYTES], rest[-CRC_BYTES:]
        if _crc(head + body) != crc:
            raise DeviceError(f"an answer of the board on {self._name} arrived damaged: the line loses or changes bytes")
        if not done:
            meaning = next((text for outcome, text in _MEANINGS.items() if outcome == head[0]), f"it answers {head[0]:#x}")
            raise DeviceError(f"the board on {self._name} refuses: {meaning} ({request.operation.name}, {request.address:#x})")
        return np.frombuffer(body, "<u4").astype(np.uint32)

    def _receive(self, size: int, request: Request) -> bytes:
        try:
            data = self._port.read(size)
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be read: {error}; was the board unplugged?") from error
        if len(data) != size:
            raise DeviceError(
                f"no answer on {self._name} ({request.operation.name}): is it the board's port, and is a bitstream of "
                "`systola synth --board` loaded? Its lamp 0 blinks then"
            )
        return data


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
