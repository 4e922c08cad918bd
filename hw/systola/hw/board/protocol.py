"""What a computer and a board say to each other over a serial line: one table for the hardware, the driver and the docs.

The computer asks with a *request*, and the board answers each, in order::

    request: operation (1 byte), number of words - 1 (1 byte), address (4 bytes), words of a write (4 bytes each), CRC-32
    answer:  outcome (1 byte), words of a read (4 bytes each), CRC-32

Numbers are little-endian, lowest byte first. The CRC is that of Ethernet and zlib, over all bytes before it. A request is done
only once it is whole and its CRC is right. Bytes that stop in the middle of a request are forgotten after QUIET_SECONDS.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BAUD", "BLOCK_BYTES", "CRC_BYTES", "HEADER_BYTES", "MAGIC", "MEMORY_ADDRESS", "MOST_WORDS", "QUIET_SECONDS",
    "RECEIVE_BYTES", "VERSION", "WORD_BYTES", "Info", "Operation", "Outcome", "answer_words", "carries_words",
]  # fmt: skip

BAUD = 1_000_000
"""Bits per second: 8 data bits, no parity, a stop bit."""

WORD_BYTES = 4
HEADER_BYTES = 6
CRC_BYTES = 4
MOST_WORDS = 256
"""In one request."""

BLOCK_BYTES = WORD_BYTES * MOST_WORDS
"""What one digest is of."""

RECEIVE_BYTES = 4096
"""Bytes of unanswered requests that the board holds: more may be lost."""

QUIET_SECONDS = 0.02
MEMORY_ADDRESS = 0
"""Where the accelerator sees the memory's first byte."""

MAGIC = 0x4B4E_4C53  # "SLNK"
VERSION = 1


class Operation(IntEnum):
    """What a request asks for. Addresses are in bytes, and multiples of 4."""

    INFO = 0  # read words of ``Info``
    READ_REGISTERS = 1  # of the accelerator
    WRITE_REGISTERS = 2
    READ_MEMORY = 3  # from the memory's first byte on
    WRITE_MEMORY = 4
    DIGEST = 5  # CRC-32 of each of as many blocks of BLOCK_BYTES bytes of memory as words are asked for


class Outcome(IntEnum):
    """How an answer begins. What is not DONE has no words."""

    DONE = 0x5A
    DAMAGED = 0xE1  # the request's CRC is wrong: nothing was done
    UNKNOWN = 0xE2  # no such operation
    OUTSIDE = 0xE3  # an address beyond what there is, or of no word


class Info(IntEnum):
    """Words that say what the board is; each at four times its number."""

    MAGIC = 0
    VERSION = 1
    MEMORY_BYTES = 2
    CLOCK_HZ = 3


def carries_words(operation: Operation) -> bool:
    """Whether a request of this kind has words to write."""
    return operation in (Operation.WRITE_REGISTERS, Operation.WRITE_MEMORY)


def answer_words(operation: Operation, words: int) -> int:
    """How many words a DONE answer has."""
    return 0 if carries_words(operation) else words
