"""The scratchpad: banks, and the crossbar between them and the engines."""

from __future__ import annotations

from enum import IntEnum
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import ScratchpadReadSignature, ScratchpadWriteSignature
from systola.hw.params import Params

__all__ = ["Bank", "Reader", "Scratchpad", "Writer"]


class Reader(IntEnum):
    """Who reads, in order of priority."""

    ACT = 0
    WEIGHTS = 1
    DRAIN = 2
    VECTOR = 3
    STORE = 4


class Writer(IntEnum):
    """Who writes, in order of priority."""

    DRAIN = 0
    VECTOR = 1
    LOAD = 2


class Bank(Block):
    """``bank_words`` words with one read and one write port.

    ``read_data`` holds the word of ``read_address`` a cycle after ``read_enable``, until the next read's. A write with mask bit g
    set replaces column group g; it is seen by reads of the next cycle. What is read of a word that is just written is unknown.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        address_bits = (params.bank_words - 1).bit_length()
        super().__init__({
            "read_enable": In(1),
            "read_address": In(address_bits),
            "read_data": Out(8 * params.lanes),
            "write_mask": In(params.column_groups),
            "write_address": In(address_bits),
            "write_data": In(8 * params.lanes),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """The memory. Programs order reads and writes of a word, so that no logic need watch for the two meeting."""
        m = Module()
        p = self._params
        m.submodules.memory = memory = Memory(shape=8 * p.lanes, depth=p.bank_words, init=[], attrs={"no_rw_check": 1})
        write = memory.write_port(granularity=8 * p.columns)
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_mask),
            read.addr.eq(self.read_address),
            read.en.eq(self.read_enable),
            self.read_data.eq(read.data),
        ]
        return m


class Scratchpad(Block):
    """``banks`` banks, word w in bank w mod banks; each serves one read and one write a cycle: the first of its requesters in
    the order of ``Reader`` and ``Writer``. The others see ``ready`` 0; without ``valid`` it says whether one would be.

    ``read[r]`` and ``write[w]`` are the clients' signatures, seen from the scratchpad. A word arrives
    SCRATCHPAD_READ_LATENCY_CYCLES after its request was accepted: bank, register of bank and client, register of the client.
    A write is in the bank a cycle after it was accepted: reads that are accepted two cycles after it, or later, see it. No engine
    can be faster: what waits for an instruction to retire is told so by a register, and takes an instruction before it reads.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self._bank_bits = (params.banks - 1).bit_length()
        super().__init__({
            "read": In(ScratchpadReadSignature(params)).array(len(Reader)),
            "write": In(ScratchpadWriteSignature(params)).array(len(Writer)),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Arbitration, the banks, and the way back."""
        m = Module()
        banks = [Bank(self._params) for _ in range(self._params.banks)]
        for index, bank in enumerate(banks):
            m.submodules[f"bank_{index}"] = bank
        read_grants = _arbitrate(m, "read", list(self.read), self._params)
        write_grants = _arbitrate(m, "write", list(self.write), self._params)
        for index, bank in enumerate(banks):
            self._connect_read(m, bank, [grant[index] for grant in read_grants])
            self._connect_write(m, index, bank, [grant[index] for grant in write_grants])
        for client, grant in zip(self.read, read_grants, strict=True):
            self._return_data(m, client, grant, banks)
        return m

    def _connect_read(self, m: Module, bank: Bank, grants: list[Value]) -> None:
        """The granted address; 0 where nobody reads, so that an idle bank's address does not toggle."""
        m.d.comb += [
            bank.read_enable.eq(Cat(grants).any()),
            bank.read_address.eq(_granted(grants, [client.address[self._bank_bits :] for client in self.read])),
        ]

    def _connect_write(self, m: Module, index: int, bank: Bank, grants: list[Value]) -> None:
        """A register for each client, 0 unless its write was granted; the bank takes their OR, in the cycle after.

        As on the way back, this costs less logic than to choose one of the clients. And a write's grant, which comes late in
        the cycle, has nothing behind it but these registers.
        """
        ports = (bank.write_address, bank.write_data, bank.write_mask)
        words = []
        for client, grant, writer in zip(self.write, grants, Writer, strict=True):
            word = Signal(sum(map(len, ports)), name=f"write_{index}_{writer.name.lower()}", reset_less=True)
            m.d.sync += word.eq(Mux(grant, Cat(client.address[self._bank_bits :], client.data, client.mask), 0))
            words.append(word)
        m.d.comb += Cat(*ports).eq(reduce(or_, words))

    def _return_data(self, m: Module, client: Any, grant: Value, banks: list[Bank]) -> None:
        """A register for each bank, 0 unless the bank has a word for this client; the client's register takes their OR.

        Registers are reset without logic, so this costs less of it than to choose the word of one of the banks.
        """
        served, arrived = Signal.like(grant), Signal()
        m.d.sync += [served.eq(grant), arrived.eq(served.any())]
        words = []
        for index, bank in enumerate(banks):
            word = Signal(8 * self._params.lanes, name=f"word_{index}", reset_less=True)
            m.d.sync += word.eq(Mux(served[index], bank.read_data, 0))
            words.append(word)
        result = Signal(8 * self._params.lanes, reset_less=True)
        with m.If(arrived):
            m.d.sync += result.eq(reduce(or_, words))
        m.d.comb += client.data.eq(result)


def _granted(grants: list[Value], values: list[Value]) -> Value:
    """The value of the one that is granted, 0 if none is: AND and OR take less logic than a choice by priority."""
    return reduce(or_, (value & grant.replicate(len(value)) for grant, value in zip(grants, values, strict=True)))


def _arbitrate(m: Module, name: str, clients: list[Any], params: Params) -> list[Value]:
    """Fixed priority per bank, and each client's ``ready``, which does not wait for its ``valid``; a grant has a bit per bank.

    All banks are decided at once on vectors of a bit per bank: a few wide operations instead of many narrow ones.
    """
    bank_bits = (params.banks - 1).bit_length()
    grants: list[Value] = []
    taken: Value | None = None
    for index, client in enumerate(clients):
        grant = Signal(params.banks, name=f"{name}_{index}_grant")
        m.d.comb += [
            grant.eq(client.request if taken is None else client.request & ~taken),
            client.free.eq(-1 if taken is None else ~taken),
            client.ready.eq(client.free.bit_select(client.address[:bank_bits], 1)),
        ]
        taken = client.request if taken is None else taken | client.request
        grants.append(grant)
    return grants
