"""The interpreter as a device: what its registers say of streams that are none, as the hardware does."""

from __future__ import annotations

import pytest

from systola.hw.config import load_config
from systola.hw.errors import DeviceError
from systola.hw.isa import ENGINES, UNIT_BYTES, Engine, Instruction, Opcode, encode
from systola.hw.params import Params
from systola.hw.registers import REGISTERS, Control, Fault, Irq, Status
from systola.sim.interp_device import InterpDevice

ADDRESS = {register.name: register.address for register in REGISTERS}
NO_ENGINE = 7
COPY = {"op": 4, "count_x": 1, "count_y": 1, "count_n": 1, "count_kx": 1, "count_ky": 1, "limit_x": 1, "limit_y": 1}


def run(streams: dict[Engine, bytes]) -> tuple[int, int, int]:
    """STATUS, FAULT_ADDRESS and FAULT_ENGINE after a program of these streams."""
    device = InterpDevice(Params(load_config("tiny")), 8192)
    for engine, code in streams.items():
        device.memory[1024 * engine : 1024 * engine + len(code)] = list(code)
        device.write_registers([
            (ADDRESS[f"STREAM_ADDRESS_{engine.name}"], 1024 * engine), (ADDRESS[f"STREAM_BYTES_{engine.name}"], len(code)),
        ])  # fmt: skip
    device.write_registers([(ADDRESS["CONTROL"], Control.START)])
    status, address, number, pending = device.read_registers(
        [ADDRESS[name] for name in ("STATUS", "FAULT_ADDRESS_LOW", "FAULT_ENGINE", "IRQ_STATUS")]
    )
    assert pending == (Irq.FAULT if status & Status.FAULT else Irq.DONE)
    if status == Status.DONE:
        counts = device.read_registers([ADDRESS[f"FINISHED_{engine.name}"] for engine in ENGINES])
        assert counts[Engine.VECTOR] == 2
    return status, address, number


def stream(*instructions: Instruction) -> bytes:
    code = b"".join(map(encode, instructions))
    return code + bytes(-len(code) % 64)


VECTOR = Instruction(Opcode.VECTOR, COPY)
END = Instruction(Opcode.END, {})
ILLEGAL = Status.FAULT | Fault.ILLEGAL_INSTRUCTION << 8


def test_a_program() -> None:
    assert run({Engine.VECTOR: stream(VECTOR, VECTOR, END)})[0] == Status.DONE


def test_no_streams() -> None:
    assert run({}) == (ILLEGAL, 0, NO_ENGINE)


@pytest.mark.parametrize("opcode", [0, Opcode.LOAD, 7, 15])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_illegal_opcodes(opcode: int, place: int) -> None:
    code = bytearray(stream(VECTOR, VECTOR, END))
    offset = 3 * UNIT_BYTES * place
    code[offset] = code[offset] & 0xF0 | opcode
    assert run({Engine.STORE: stream(END), Engine.VECTOR: bytes(code)}) == (ILLEGAL, offset, Engine.VECTOR)


@pytest.mark.parametrize("size", [64, 128, 192])
def test_a_stream_that_ends_without_end(size: int) -> None:
    assert run({Engine.VECTOR: stream(VECTOR, VECTOR, VECTOR, END)[:size]}) == (ILLEGAL, size, Engine.VECTOR)


def test_an_end_that_waits_for_ever() -> None:
    end = Instruction(Opcode.END, {"wait_enable": 1 << Engine.VECTOR, "wait_vector": 3})
    with pytest.raises(DeviceError, match="the next instruction of vector can never begin"):
        run({Engine.VECTOR: stream(VECTOR, VECTOR, end)})
