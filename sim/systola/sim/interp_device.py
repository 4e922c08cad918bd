"""The interpreter as a device: registers, memory and interrupt as the hardware has them. It has no cycles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DeviceError, ImageError
from systola.hw.isa import ENGINES, ISA_VERSION, Engine, Instruction, Opcode, decode, instruction_units
from systola.hw.isa import UNIT_BYTES as UNIT
from systola.hw.params import Params
from systola.hw.registers import IDENTITY, REGISTERS, Control, Fault, Irq, Status
from systola.sim.interp import Interpreter

__all__ = ["InterpDevice"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
_NO_ENGINE = 7


class InterpDevice:
    """An accelerator that executes programs at once. ``order_seed``: see Interpreter.run. ``memory``: the DRAM, else a new one of
    ``dram_bytes``; its bus address is 0."""

    def __init__(
        self, params: Params, dram_bytes: int, order_seed: int | None = None, *, memory: NDArray[np.uint8] | None = None
    ) -> None:
        self._params = params
        self._memory = np.zeros(dram_bytes, dtype=np.uint8) if memory is None else memory
        self._interpreter = Interpreter(params, self._memory)
        self._order_seed = order_seed
        self._registers = {_ADDRESS[name]: value for name, value in _identity(params).items()}

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The DRAM's bytes."""
        return self._memory

    @property
    def memory_address(self) -> int:
        """The DRAM's bus address; DRAM_BASE is not looked at."""
        return 0

    def read_registers(self, addresses: Sequence[int]) -> list[int]:
        """Values of registers; counters of cycles are zero."""
        return [self._registers.get(address, 0) for address in addresses]

    def write_registers(self, writes: Sequence[tuple[int, int]]) -> None:
        """Write registers, one after the other; START executes the program."""
        for address, value in writes:
            if address == _ADDRESS["CONTROL"]:
                if value & Control.START:
                    self._start()
            elif address == _ADDRESS["IRQ_STATUS"]:
                self._registers[address] = self._registers.get(address, 0) & ~value
            else:
                self._registers[address] = value

    def wait_irq(self, timeout_cycles: int | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Returns at once: programs end when they are started."""
        del timeout_cycles, progress
        return 0

    def close(self) -> None:
        """Nothing to end."""

    def _start(self) -> None:
        streams = {}
        for engine in ENGINES:
            stream = self._stream(engine)
            if stream is None:
                return
            streams[engine] = stream
        if not any(streams.values()):
            self._illegal(0, _NO_ENGINE)
            return
        try:
            self._interpreter.run(streams, self._order_seed)
        except DeviceError:
            self._end(Status.FAULT | Fault.WATCHDOG << 8, Irq.FAULT)
            raise
        for engine, stream in streams.items():
            self._registers[_ADDRESS[f"FINISHED_{engine.name}"]] = max(0, len(stream) - 1)
        self._end(Status.DONE, Irq.DONE)

    def _end(self, status: int, irq: Irq) -> None:
        self._registers[_ADDRESS["STATUS"]] = status
        pending = self._registers.get(_ADDRESS["IRQ_STATUS"], 0)
        self._registers[_ADDRESS["IRQ_STATUS"]] = pending | irq

    def _illegal(self, offset: int, engine: int) -> None:
        self._registers[_ADDRESS["FAULT_ADDRESS_LOW"]] = offset
        self._registers[_ADDRESS["FAULT_ENGINE"]] = engine
        self._end(Status.FAULT | Fault.ILLEGAL_INSTRUCTION << 8, Irq.FAULT)

    def _stream(self, engine: Engine) -> list[Instruction] | None:
        """The instructions of an engine, END last; none if it has no stream. Returns None, after a fault, if it is no stream."""
        first, size = (self._registers.get(_ADDRESS[f"STREAM_{what}_{engine.name}"], 0) for what in ("ADDRESS", "BYTES"))
        code = self._memory[first : first + size].tobytes()
        stream: list[Instruction] = []
        position = 0
        while size and (not stream or stream[-1].opcode is not Opcode.END):
            if position < len(code) and code[position] & 15 not in (engine + 1, Opcode.END):
                self._illegal(position, engine)
                return None
            try:
                stream.append(decode(code[position : position + 3 * UNIT]))
            except ImageError:
                self._illegal(len(code), engine)
                return None
            position += instruction_units(stream[-1].opcode) * UNIT
        return stream


def _identity(params: Params) -> dict[str, int]:
    geometry = params.rows | params.columns << 8 | params.lanes << 16 | params.bus_bytes << 24
    return {
        "IDENTITY": IDENTITY,
        "ISA_VERSION": ISA_VERSION,
        "FINGERPRINT": params.fingerprint,
        "GEOMETRY": geometry,
    }
