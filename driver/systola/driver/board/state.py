"""What a running accelerator is at, in words: for the error that says that it did not answer."""

from __future__ import annotations

from collections.abc import Callable

from systola.hw.isa import ENGINES, Engine
from systola.hw.registers import REGISTERS, CycleClass, Status, class_address

__all__ = ["describe_state"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
_WORDS = {
    CycleClass.IDLE: "has no instruction",
    CycleClass.BUSY: "works",
    CycleClass.BANK: "is refused by a bank",
    CycleClass.DRAM_LATENCY: "waits for the memory, and the bus stands still",
    CycleClass.WEIGHTS: "waits for weights",
    CycleClass.SETUP: "sets up",
    CycleClass.FLUSH: "empties its pipeline",
    CycleClass.DRAM_BANDWIDTH: "waits for the bus",
}


def describe_state(read: Callable[[int], int]) -> str:
    """STATUS in words and, of a busy accelerator, what each engine does now: the counter of cycles that has grown most from
    one look to the next. ``read`` gives a register's value by address."""
    status = read(_ADDRESS["STATUS"])
    flags = " ".join(flag.name or "" for flag in Status if status & flag) or "nothing started"
    text = f"STATUS is {status:#x} ({flags})"
    if not status & Status.BUSY:
        return text
    before = {engine: _classes(read, engine) for engine in ENGINES}
    engines = [f"{engine.name.lower()} {_now(before[engine], _classes(read, engine), read, engine)}" for engine in ENGINES]
    return f"{text}; {', '.join(engines)}"


def _classes(read: Callable[[int], int], engine: Engine) -> dict[CycleClass, int]:
    return {kind: read(class_address(engine, kind)) for kind in CycleClass}


def _now(before: dict[CycleClass, int], after: dict[CycleClass, int], read: Callable[[int], int], engine: Engine) -> str:
    grown = {kind: (after[kind] - before[kind]) % (1 << 32) for kind in CycleClass}
    most = max(grown, key=lambda kind: grown[kind])
    finished = f"after {read(_ADDRESS[f'FINISHED_{engine.name}'])} instructions"
    if not grown[most]:
        return f"stands still {finished}: is its clock on?"
    if most.name.startswith("WAIT_"):
        return f"waits for the {most.name.removeprefix('WAIT_').lower()} engine {finished}"
    return f"{_WORDS[most]} {finished}"
