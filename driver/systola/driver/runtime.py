"""The runtime: load an image, run it, read results and counters. The same code for every device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.device import Device
from systola.hw.errors import DeviceError, ImageError
from systola.hw.isa import ENGINES, ISA_VERSION, Engine
from systola.hw.params import Params
from systola.hw.registers import (
    IDENTITY,
    REGISTERS,
    Control,
    CycleClass,
    Event,
    Fault,
    Irq,
    Status,
    class_address,
    event_address,
)
from systola.mapper.image import HostStep, Image, ProgramStep
from systola.sim.golden import run_node

__all__ = ["Counters", "Inference", "Runtime"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
WATCHDOG_CYCLES = 50_000_000
_WORD = 1 << 32


@dataclass(frozen=True)
class Counters:
    """The counters after a program, or summed over an inference's programs."""

    cycles: int
    classes: Mapping[Engine, Mapping[CycleClass, int]]
    events: Mapping[Event, int]

    def __add__(self, other: Counters) -> Counters:
        """The sums."""
        return Counters(
            self.cycles + other.cycles,
            {e: {c: self.classes[e][c] + other.classes[e][c] for c in CycleClass} for e in ENGINES},
            {event: self.events[event] + other.events[event] for event in Event},
        )


@dataclass
class Inference:
    """One run of an image: ``outputs`` by name (int8 codes, or floats for tensors that stay with the host), cycles, and the
    counters where they were asked for. ``program_cycles``: of each program step."""

    outputs: dict[str, NDArray[Any]]
    cycles: int = 0
    counters: Counters | None = None
    program_cycles: list[int] = field(default_factory=list)


class Runtime:
    """An opened device with an image. Raises DeviceError if the device is not a Systola accelerator, ImageError if the image was
    made for another one.

    The image is put into the device's memory, and the rest of what it needs is cleared."""

    def __init__(self, device: Device, image: Image, params: Params) -> None:
        self.device = device
        self.image = image
        self._check(params)
        device.memory[: image.memory.size] = image.memory
        device.memory[image.memory.size : image.memory_bytes] = 0
        base = device.memory_address
        self._write(
            IRQ_ENABLE=int(Irq.DONE | Irq.FAULT),
            DRAM_BASE_LOW=base % _WORD,
            DRAM_BASE_HIGH=base // _WORD,
            WATCHDOG_CYCLES=WATCHDOG_CYCLES,
        )

    def infer(
        self,
        inputs: Mapping[str, NDArray[np.int8]],
        *,
        counters: bool = True,
        timeout_cycles: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Inference:
        """Run the network on one sample: int8 codes in NNEF's shapes. Raises DeviceError if the accelerator stops on a fault."""
        memory = self.device.memory
        floats: dict[str, NDArray[Any]] = {}
        for name in self.image.inputs:
            if name in self.image.tensors:
                self.image.tensors[name].write(memory, inputs[name])
        result = Inference({})
        for step in self.image.steps:
            if isinstance(step, HostStep):
                floats.update(self._host(step, inputs, floats))
            else:
                self._program(step, result, counters, timeout_cycles, progress)
        result.outputs = {name: self.tensor(name) if name in self.image.tensors else floats[name] for name in self.image.outputs}
        return result

    def tensor(self, name: str) -> NDArray[np.int8]:
        """A tensor that reached DRAM."""
        return self.image.tensors[name].read(self.device.memory)

    def _host(
        self, step: HostStep, inputs: Mapping[str, NDArray[Any]], floats: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Compute a host step; its int8 results go to DRAM, the others are returned."""
        values: dict[str, NDArray[Any]] = {}
        for name in step.node.inputs:
            if name in floats:
                values[name] = floats[name]
            else:
                values[name] = self.tensor(name) if name in self.image.tensors else inputs[name]
        kept = {}
        for name, value in run_node(step.node, values, step.tensors).items():
            if name in self.image.tensors:
                self.image.tensors[name].write(self.device.memory, value)
            else:
                kept[name] = value
        return kept

    def _program(
        self,
        step: ProgramStep,
        result: Inference,
        counters: bool,
        timeout_cycles: int | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._write(**step.registers(), CONTROL=int(Control.START))
        self.device.wait_irq(timeout_cycles, progress=progress)
        status, low, high = self._read("STATUS", "CYCLES_LOW", "CYCLES_HIGH")
        self._write(IRQ_STATUS=int(Irq.DONE | Irq.FAULT))
        if status & Status.FAULT:
            raise self._fault(status)
        cycles = low + high * _WORD
        result.cycles += cycles
        result.program_cycles.append(cycles)
        if counters:
            new = self._counters(cycles)
            result.counters = new if result.counters is None else result.counters + new

    def _counters(self, cycles: int) -> Counters:
        addresses = [class_address(e, c) for e in ENGINES for c in CycleClass] + [event_address(event) for event in Event]
        values = iter(self.device.read_registers(addresses))
        classes = {e: {c: next(values) for c in CycleClass} for e in ENGINES}
        return Counters(cycles, classes, {event: next(values) for event in Event})

    def _check(self, params: Params) -> None:
        identity, version, fingerprint = self._read("IDENTITY", "ISA_VERSION", "FINGERPRINT")
        if identity != IDENTITY:
            raise DeviceError(
                f"there is no Systola accelerator here: its identity register reads {identity:#010x}, not {IDENTITY:#010x}"
            )
        if version != ISA_VERSION:
            raise DeviceError(f"the accelerator's instruction set is version {version}; this driver speaks version {ISA_VERSION}")
        if fingerprint != self.image.fingerprint:
            raise ImageError(
                f"the image was compiled for hardware {self.image.fingerprint:#010x}, the accelerator is {fingerprint:#010x} "
                f"('{params.config.name}' is {params.fingerprint:#010x}): compile the network for this accelerator"
            )
        if self.image.memory_bytes > self.device.memory.size:
            raise DeviceError(
                f"the image takes {self.image.memory_bytes} bytes of memory; the device has {self.device.memory.size}"
            )
        self._check_address(params)

    def _check_address(self, params: Params) -> None:
        """Memory must be aligned, and within reach of the accelerator's addresses."""
        base, last = self.device.memory_address, self.device.memory_address + self.image.memory_bytes - 1
        if base % params.alignment_bytes:
            raise DeviceError(
                f"the memory begins at bus address {base:#x}; this accelerator needs a multiple of {params.alignment_bytes}"
            )
        if last >> params.config.bus.address_bits:
            raise DeviceError(
                f"the memory ends at bus address {last:#x}, above the {params.config.bus.address_bits} address bits of this "
                "accelerator: take a lower buffer, or give [bus] more address_bits"
            )

    def _fault(self, status: int) -> DeviceError:
        low, high, engine = self._read("FAULT_ADDRESS_LOW", "FAULT_ADDRESS_HIGH", "FAULT_ENGINE")
        fault = Fault(status >> 8 & 0xFF)
        where = ENGINES[engine].name.lower() if engine < len(ENGINES) else "fetch"
        address = low + high * _WORD
        meaning = {
            Fault.READ_RESPONSE: f"the memory answered a read at address {address:#x} with an error",
            Fault.WRITE_RESPONSE: f"the memory answered a write at address {address:#x} with an error",
            Fault.WATCHDOG: "no instruction finished for the time that WATCHDOG_CYCLES allows",
            Fault.ILLEGAL_INSTRUCTION: f"there is no instruction at byte {address:#x} of its stream: is the image damaged?",
            Fault.STOPPED: "it was told to",
        }.get(fault, "for no stated reason")
        return DeviceError(f"the accelerator stopped ({fault.name}, {where}): {meaning}")

    def _read(self, *names: str) -> list[int]:
        return self.device.read_registers([_ADDRESS[name] for name in names])

    def _write(self, **values: int) -> None:
        self.device.write_registers([(_ADDRESS[name], value) for name, value in values.items()])
