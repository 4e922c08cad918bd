"""From program order to waits: which instruction of another engine each instruction must wait for.

For every word of every shared memory the tracker knows, per engine, the last instruction that wrote and that read it. An
instruction waits for the last writer of what it reads, and for the last writers and readers of what it writes. Within an
engine order is given, except that an engine may read early: a drain or vector instruction that reads what the engine's own
earlier instruction wrote waits for that, too.

A wait that is already implied by an earlier wait of the same engine is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from systola.hw.errors import MappingError
from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.mapper.operations import Space, Work

__all__ = ["place_waits"]

COUNT_BITS = 16
_WINDOW = 1 << COUNT_BITS - 2
"""A wait names one of the engine's last 2**14 instructions; an older one is replaced by the oldest of these. The comparison in
hardware is good for differences below 2**15."""


class _Memory:
    """Last writer and reader of each word, per engine; instruction numbers count from 1, 0 is none."""

    def __init__(self, words: int) -> None:
        self.written = np.zeros((len(ENGINES), words), dtype=np.int32)
        self.read = np.zeros((len(ENGINES), words), dtype=np.int32)


def place_waits(program: Iterable[Work], sizes: Mapping[Space, int]) -> tuple[Instruction, ...]:
    """The instructions of ``program``, in its order, with the waits that keep its meaning, and an END that waits for all.

    ``sizes``: words of each memory. Raises MappingError for a region outside its memory (an error in the mapper).
    """
    memories = {space: _Memory(words) for space, words in sizes.items()}
    issued = [0] * len(ENGINES)
    known = np.zeros((len(ENGINES), len(ENGINES)), dtype=np.int64)
    result = []
    for work in program:
        engine = Engine(work.opcode - 1)
        needed = _needed(work, engine, memories)
        waits = {}
        for other in ENGINES:
            count = max(int(needed[other]), 0)
            if count <= known[engine, other]:
                continue
            known[engine, other] = count
            waits[other] = max(count, issued[other] - _WINDOW)
        result.append(Instruction(work.opcode, {**work.fields, **_wait_fields(waits), "tag": work.tag}))
        issued[engine] += 1
        _record(work, engine, issued[engine], memories)
    last = {engine: count for engine, count in zip(ENGINES, issued, strict=True) if count}
    result.append(Instruction(Opcode.END, _wait_fields(last)))
    return tuple(result)


def _needed(work: Work, engine: Engine, memories: Mapping[Space, _Memory]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    needed = np.zeros(len(ENGINES), dtype=np.int32)
    for region in work.reads:
        words = _checked(work, region.space, region.words, memories)
        np.maximum(needed, memories[region.space].written[:, words].max(axis=1, initial=0), out=needed)
    own = needed[engine]
    for region in work.writes:
        words = _checked(work, region.space, region.words, memories)
        memory = memories[region.space]
        np.maximum(needed, memory.written[:, words].max(axis=1, initial=0), out=needed)
        np.maximum(needed, memory.read[:, words].max(axis=1, initial=0), out=needed)
    # An engine writes in order; only its own early reads need a wait, and the array never reads early what it wrote.
    needed[engine] = own if engine in (Engine.DRAIN, Engine.VECTOR) else 0
    return needed


def _checked(work: Work, space: Space, words: np.ndarray[tuple[int], np.dtype[np.int64]], memories: Mapping[Space, _Memory]) -> (
    np.ndarray[tuple[int], np.dtype[np.int64]]
):  # fmt: skip
    size = memories[space].written.shape[1]
    if words.size and (int(words.min()) < 0 or int(words.max()) >= size):
        raise MappingError(
            f"internal: a {work.opcode.name} instruction reaches word {int(words.max())} of the {space.value}'s {size}"
        )
    return words


def _record(work: Work, engine: Engine, number: int, memories: Mapping[Space, _Memory]) -> None:
    for region in work.reads:
        memories[region.space].read[engine, region.words] = number
    for region in work.writes:
        memories[region.space].written[engine, region.words] = number


def _wait_fields(waits: Mapping[Engine, int]) -> dict[str, int]:
    fields = {"wait_enable": sum(1 << engine for engine in waits)}
    fields.update({f"wait_{engine.name.lower()}": count % (1 << COUNT_BITS) for engine, count in waits.items()})
    return fields
