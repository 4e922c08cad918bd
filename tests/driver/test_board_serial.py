"""A board on a serial port: what the driver says over the line, and how what goes wrong there is said."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from digits import DIGITS, digits

from systola.driver.board.line import Line
from systola.driver.board.open import open_board
from systola.driver.board.serial_board import SerialBuffer, SerialDevice, SerialRegisters, open_serial
from systola.driver.flow import Options, run
from systola.driver.runtime import Runtime
from systola.hw.board.protocol import (
    BLOCK_BYTES,
    CRC_BYTES,
    HEADER_BYTES,
    MAGIC,
    RECEIVE_BYTES,
    VERSION,
    WORD_BYTES,
    Operation,
    Outcome,
    carries_words,
)
from systola.hw.errors import DeviceError
from systola.hw.params import Params
from systola.hw.registers import IDENTITY
from systola.sim.interp_device import InterpDevice

MEMORY_BYTES = 1 << 16


def tiny() -> Params:
    """The accelerator on the board."""
    return digits("tiny").network.params


class BoardPort:
    """A port whose other end does what a board does, with the interpreter as the accelerator.

    Requests are done when an answer is asked for: until then they are what the board has to hold.
    """

    def __init__(self, spoil: Callable[[bytes], bytes] = lambda answer: answer, version: int = VERSION) -> None:
        self.device = InterpDevice(tiny(), MEMORY_BYTES)
        self.info = [MAGIC, version, MEMORY_BYTES, 50_000_000]
        self.received = b""
        self.answers = b""
        self.most_held = 0
        self.requests: list[Operation] = []
        self.spoil = spoil
        self.closed = False

    def write(self, data: bytes) -> int:
        """Receive."""
        self.received += data
        self.most_held = max(self.most_held, len(self.received))
        return len(data)

    def read(self, size: int) -> bytes:
        """Answer the next request, if nothing of the last answer is left."""
        if not self.answers:
            self.answers = self.spoil(self._next())
        found, self.answers = self.answers[:size], self.answers[size:]
        return found

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def _next(self) -> bytes:
        operation, last, address = struct.unpack_from("<BBI", self.received)
        size = HEADER_BYTES + (WORD_BYTES * (last + 1) if carries_words(operation) else 0)
        body, crc = self.received[:size], self.received[size : size + CRC_BYTES]
        self.received = self.received[size + CRC_BYTES :]
        assert struct.pack("<I", zlib.crc32(body)) == crc
        self.requests.append(Operation(operation))
        data = np.frombuffer(body[HEADER_BYTES:], "<u4")
        answer = bytes([Outcome.DONE]) + self._done(operation, address, last + 1, data)
        return answer + struct.pack("<I", zlib.crc32(answer))

    def _done(self, operation: int, address: int, words: int, data: Any) -> bytes:
        memory, addresses = self.device.memory, [address + WORD_BYTES * n for n in range(words)]
        if operation == Operation.INFO:
            return np.array(self.info, "<u4").tobytes()
        if operation == Operation.READ_REGISTERS:
            return np.array(self.device.read_registers(addresses), "<u4").tobytes()
        if operation == Operation.WRITE_REGISTERS:
            self.device.write_registers([(a, int(value)) for a, value in zip(addresses, data, strict=True)])
        elif operation == Operation.WRITE_MEMORY:
            memory[address : address + WORD_BYTES * words] = data.view(np.uint8)
        elif operation == Operation.READ_MEMORY:
            return memory[address : address + WORD_BYTES * words].tobytes()
        elif operation == Operation.DIGEST:
            blocks = memory[address : address + BLOCK_BYTES * words].reshape(words, BLOCK_BYTES)
            return np.array([zlib.crc32(block.tobytes()) for block in blocks], "<u4").tobytes()
        return b""


def opened(port: BoardPort, timeout_seconds: float = 5.0) -> tuple[SerialDevice, SerialBuffer]:
    """The board's device and its buffer, for digits."""
    line = Line(port, "the port")
    buffer = SerialBuffer(line, digits("tiny").network.image.memory_bytes)
    return SerialDevice(line, buffer, port, timeout_seconds), buffer


def test_inference() -> None:
    """Bytes go and come; the board never has to hold more than it can; what it has is not sent again."""
    data, port = digits("tiny"), BoardPort()
    port.device.memory[:] = 0xA5
    device, buffer = opened(port)
    runtime = Runtime(device, data.network.image, tiny())
    for number in range(3):
        result = runtime.infer(data.sample(number))
        assert np.array_equal(runtime.tensor("logits"), data.values["logits"][number])
        assert np.array_equal(result.outputs["probability"], data.values["probability"][number])
        assert result.counters is not None
    blocks = -(-data.network.image.memory_bytes // BLOCK_BYTES)
    assert blocks <= buffer.blocks_sent < 2 * blocks and buffer.blocks_fetched < blocks
    assert BLOCK_BYTES < port.most_held <= RECEIVE_BYTES
    device.close()
    assert port.closed


def test_weights_of_an_earlier_run_stay() -> None:
    data, port = digits("tiny"), BoardPort()
    for _ in range(2):
        device, buffer = opened(port)
        Runtime(device, data.network.image, tiny()).infer(data.sample(0))
    assert 0 < buffer.blocks_sent < 4


def test_registers_that_are_neighbours_are_one_request() -> None:
    port = BoardPort()
    registers = SerialRegisters(Line(port, "the port"))
    port.requests.clear()
    assert registers.read_many([0, 4, 8, 0x14, 0])[::4] == [IDENTITY, IDENTITY]
    assert port.requests == [Operation.READ_REGISTERS] * 3


def refusal(outcome: int) -> Callable[[bytes], bytes]:
    """Another answer than DONE, to all but the first request."""
    answer = bytes([outcome])
    return lambda good: good if len(good) == 1 + 16 + 4 else answer + struct.pack("<I", zlib.crc32(answer))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda answer: answer[:0], r"no answer on the port \(INFO\): is it the board's port, and is a bitstream"),
        (lambda answer: answer[:7], "no answer on the port"),
        (lambda answer: answer[:2] + b"\0" + answer[3:], "arrived damaged: the line loses or changes bytes"),
        (refusal(Outcome.DAMAGED), "refuses: a request arrived damaged"),
        (refusal(Outcome.UNKNOWN), "refuses: it does not know what it was asked for"),
        (refusal(Outcome.OUTSIDE), r"refuses: it was asked for an address that it does not have \(READ_REGISTERS, 0x0\)"),
        (refusal(0x33), "refuses: it answers 0x33"),
    ],
)
def test_bad_answers(spoil: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        SerialRegisters(Line(BoardPort(spoil), "the port")).read(0)


def test_another_version() -> None:
    with pytest.raises(DeviceError, match=r"no board of this version of Systola .*version 99\): load a bitstream"):
        Line(BoardPort(version=99), "the port")


def test_small_memory() -> None:
    port = BoardPort()
    port.info[2] = 4096
    with pytest.raises(DeviceError, match="needs 12736 bytes of memory; the board has 4096"):
        opened(port)


def test_an_unplugged_board() -> None:
    class Unplugged(BoardPort):
        def read(self, size: int) -> bytes:  # noqa: ARG002 - a port's
            raise OSError(5, "Input/output error")

    with pytest.raises(DeviceError, match=r"cannot be read: .*Input/output error; was the board unplugged"):
        Line(Unplugged(), "the port")


def test_late() -> None:
    """The engines' states are in the error, as on every board."""
    device, _ = opened(BoardPort(), timeout_seconds=0.02)
    with pytest.raises(DeviceError, match=r"no interrupt in 0\.02 s: STATUS is 0x0"):
        device.wait_irq()


def test_no_such_port() -> None:
    pytest.importorskip("serial", reason="pyserial is not installed")
    with pytest.raises(DeviceError, match=r"serial port nowhere cannot be opened: .*Ports that there are: .*dialout"):
        open_board("serial:nowhere", tiny(), 4096)


def test_a_silent_port() -> None:
    """A terminal where nobody answers."""
    pytest.importorskip("serial", reason="pyserial is not installed")
    outer, inner = os.openpty()
    try:
        with pytest.raises(DeviceError, match="no answer on"):
            open_serial(os.ttyname(inner), 4096, silence_seconds=0.1)
    finally:
        os.close(outer)
        os.close(inner)


def patiently(port: str, used_bytes: int) -> SerialDevice:
    """The board on a port, again and again: a simulated one takes seconds to forget, and what is sent meanwhile begins them
    anew."""
    for _ in range(4):
        try:
            return open_serial(port, used_bytes, silence_seconds=30)
        except DeviceError as error:
            assert "no answer" in str(error)
    raise AssertionError("the board does not forget what stopped in the middle of a request")


@pytest.mark.slow
def test_a_simulated_ulx3s() -> None:
    """The board's own Verilog, cells and memory modelled with their times, behind a terminal: a run is bit-exact; a second one
    sends no weights; what another program left in the middle of a request does no harm."""
    pytest.importorskip("serial", reason="pyserial is not installed")
    pytest.importorskip("amaranth_boards", reason="amaranth-boards is not installed")
    from ulx3s_simulation import simulated_board

    data = digits("tiny")
    with simulated_board(tiny()) as board:
        record = run(Options(DIGITS, "tiny", samples=1, backend="board", board=f"serial:{board.port}"))
        assert record.check.bit_exact and record.backend == "board"
        with open(board.port, "wb", buffering=0) as port:  # noqa: PTH123 - a terminal
            port.write(bytes([Operation.WRITE_MEMORY, 200, 0, 0, 0]))
        device = patiently(board.port, data.network.image.memory_bytes)
        runtime = Runtime(device, data.network.image, tiny())
        runtime.infer(data.sample(1))
        assert np.array_equal(runtime.tensor("logits"), data.values["logits"][1])
        assert device._buffer.blocks_sent < 4  # type: ignore[attr-defined]
        device.close()
