"""What runs inside the simulation: a server of register accesses and runs, asleep while the machine works.

The parent process (``session``) sends tuples ``(command, *arguments)`` over a socket; each is answered by ``("ok", value)`` or
``("error", text)``, a run by any number of ``("running", cycles)`` before. Simulated time passes only while a command is
served. Signals are driven and read at the falling edge of the clock, so that they never race with the registers.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, First, ReadOnly, RisingEdge, Timer
from cocotb.utils import get_sim_time

RESET_CYCLES = 4
STEPS_PER_CYCLE = 2
SETTLE_CYCLES = 4
"""Cycles that pass after an interrupt, so that the run's last trace record is written."""

BUS_PATIENCE_CYCLES = 1000
"""Cycles that an AXI4-Lite access may take before it is called hung."""


class BusError(Exception):
    """The register bus did not answer, or answered with an error."""


class RegisterBus:
    """A manager on the harness's AXI4-Lite ports, one access at a time."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut

    def idle(self) -> None:
        """Drives the whole bus idle."""
        dut = self._dut
        for signal in (dut.axil_awvalid, dut.axil_wvalid, dut.axil_bready, dut.axil_arvalid, dut.axil_rready):
            signal.value = 0
        for signal in (dut.axil_awaddr, dut.axil_wdata, dut.axil_wstrb, dut.axil_araddr):
            signal.value = 0

    async def write(self, address: int, value: int) -> None:
        """Writes a 32-bit register; address and data are offered in the same cycle."""
        dut = self._dut
        await FallingEdge(dut.clk)
        dut.axil_awaddr.value = address
        dut.axil_wdata.value = value
        dut.axil_wstrb.value = 0xF
        dut.axil_bready.value = 1
        await self._offer([(dut.axil_awvalid, dut.axil_awready), (dut.axil_wvalid, dut.axil_wready)], dut.axil_bvalid)
        response = int(dut.axil_bresp.value)
        await FallingEdge(dut.clk)
        dut.axil_bready.value = 0
        _check_response(response, "write to", address)

    async def read(self, address: int) -> int:
        """Reads a 32-bit register."""
        dut = self._dut
        await FallingEdge(dut.clk)
        dut.axil_araddr.value = address
        dut.axil_rready.value = 1
        await self._offer([(dut.axil_arvalid, dut.axil_arready)], dut.axil_rvalid)
        value, response = int(dut.axil_rdata.value), int(dut.axil_rresp.value)
        await FallingEdge(dut.clk)
        dut.axil_rready.value = 0
        _check_response(response, "read of", address)
        return value

    async def _offer(self, pending: list[tuple[Any, Any]], answer: Any) -> None:
        """Raises each VALID until its READY was seen, then waits for ``answer``.

        Returns in the low half of the clock in which ``answer`` is 1, before the rising edge that takes it: what is stable in
        the low half is what that edge sees.
        """
        clock = self._dut.clk
        for valid, _ in pending:
            valid.value = 1
        for _ in range(BUS_PATIENCE_CYCLES):
            await ReadOnly()
            if not pending and int(answer.value):
                return
            taken = [valid for valid, ready in pending if int(ready.value)]
            pending = [(valid, ready) for valid, ready in pending if not int(ready.value)]
            await FallingEdge(clock)
            for valid in taken:
                valid.value = 0
        raise BusError(f"the register bus did not answer in {BUS_PATIENCE_CYCLES} cycles")


def _check_response(response: int, what: str, address: int) -> None:
    if response:
        raise BusError(f"the {what} register {address:#05x} was answered with response {response}")


class Server:
    """Serves the parent's commands until it hangs up."""

    def __init__(self, dut: Any, connection: Connection) -> None:
        self._dut = dut
        self._bus = RegisterBus(dut)
        self._connection = connection
        self._commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "reset": self._reset,
            "reload": self._reload,
            "write": self._write,
            "read": self._read,
            "wait": self._wait,
        }

    async def serve(self) -> None:
        """Resets the model, says so, and answers commands."""
        await self._reset()
        self._connection.send(("ok", None))
        while True:
            try:
                name, *arguments = self._connection.recv()
            except EOFError:
                return
            try:
                value = await self._commands[name](*arguments)
            except BusError as error:
                self._bus.idle()
                self._connection.send(("error", str(error)))
            else:
                self._connection.send(("ok", value))

    async def _reset(self) -> None:
        self._bus.idle()
        self._dut.reload.value = 0
        self._dut.asleep.value = 0
        await self._pulse(self._dut.rst, RESET_CYCLES)

    async def _reload(self) -> None:
        await self._pulse(self._dut.reload, 1)

    async def _pulse(self, signal: Any, cycles: int) -> None:
        await FallingEdge(self._dut.clk)
        signal.value = 1
        for _ in range(cycles):
            await FallingEdge(self._dut.clk)
        signal.value = 0
        await FallingEdge(self._dut.clk)

    async def _write(self, writes: list[tuple[int, int]]) -> None:
        for address, value in writes:
            await self._bus.write(address, value)

    async def _read(self, addresses: list[int]) -> list[int]:
        return [await self._bus.read(address) for address in addresses]

    async def _wait(self, limit_cycles: int, report_cycles: int) -> tuple[bool, int]:
        """Runs until the interrupt, at most ``limit_cycles``, telling every ``report_cycles``.

        Returns whether the interrupt was seen, and the cycles that passed until then.
        """
        irq, asleep = self._dut.irq, self._dut.asleep
        start = get_sim_time("step")
        asleep.value = 1
        passed = 0
        while not int(irq.value) and passed < limit_cycles:
            slice_cycles = min(report_cycles, limit_cycles - passed)
            await First(RisingEdge(irq), Timer(STEPS_PER_CYCLE * slice_cycles, "step"))
            passed = int(get_sim_time("step") - start) // STEPS_PER_CYCLE
            if not int(irq.value):
                self._connection.send(("running", passed))
        asleep.value = 0
        seen = bool(int(irq.value))
        for _ in range(SETTLE_CYCLES if seen and passed else 0):
            await FallingEdge(self._dut.clk)
        return seen, passed


@cocotb.test()
async def serve(dut: Any) -> None:
    """The one cocotb test: lasts as long as the session."""
    with Connection(int(os.environ["SYSTOLA_RTL_SOCKET"])) as connection:
        await Server(dut, connection).serve()
