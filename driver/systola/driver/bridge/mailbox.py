"""The shared file through which another process reaches a simulated accelerator's registers.

The file holds 32-bit words of the machine's own byte order; ``Word`` is the one table of their places, from which the C header
comes. One client asks at a time: it writes what it wants, then raises REQUEST by one; the server answers, then sets ANSWER to
the same number. The server holds an exclusive ``flock`` on the file as long as it lives, so a client that waits can tell.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "MAGIC",
    "MAILBOX_BYTES",
    "MAILBOX_VERSION",
    "TEXT_BYTES",
    "TEXT_OFFSET",
    "Operation",
    "Outcome",
    "Word",
    "mailbox_header",
]

MAGIC = 0x5342_5247  # "SBRG"
MAILBOX_VERSION = 1
MAILBOX_BYTES = 4096
TEXT_OFFSET = 1024
TEXT_BYTES = 2048
"""Where the last error's text is: UTF-8, ended by a zero."""


_HEAD = """\
/* Places in the file between a program and a simulated accelerator.
 * Made from systola.driver.bridge.mailbox; do not edit. */
#ifndef SYSTOLA_MAILBOX_H
#define SYSTOLA_MAILBOX_H
"""


class Word(IntEnum):
    """Places of the words, in 4-byte units."""

    MAGIC = 0
    VERSION = 1
    MEMORY_BYTES_LOW = 2  # size of the file "memory"
    MEMORY_BYTES_HIGH = 3
    MEMORY_ADDRESS_LOW = 4  # where the accelerator sees it
    MEMORY_ADDRESS_HIGH = 5
    REQUEST = 8  # how many the client made
    ANSWER = 9  # how many the server answered
    OPERATION = 10
    ADDRESS = 11  # of the register, in bytes
    VALUE = 12  # to write, or read
    CYCLES_LOW = 13  # of a wait: the limit, 0 for none; then the cycles that passed
    CYCLES_HIGH = 14
    OUTCOME = 15


class Operation(IntEnum):
    """What a client can ask."""

    READ = 1
    WRITE = 2
    WAIT = 3  # run until the interrupt


class Outcome(IntEnum):
    """How it went."""

    DONE = 0
    LATE = 1  # no interrupt within the limit
    FAILED = 2  # the text says why


def mailbox_header() -> str:
    """The text of ``systola_mailbox.h``."""
    constants = {"MAGIC": f"{MAGIC:#x}", "VERSION": MAILBOX_VERSION, "BYTES": MAILBOX_BYTES, "TEXT_OFFSET": TEXT_OFFSET}
    lines = [f"#define SYSTOLA_MAILBOX_{name} {value}u" for name, value in constants.items()]
    for enum in (Word, Operation, Outcome):
        lines += [f"#define SYSTOLA_MAILBOX_{enum.__name__.upper()}_{member.name} {int(member)}u" for member in enum]
    return "\n".join([_HEAD, *lines, "", "#endif", ""])
