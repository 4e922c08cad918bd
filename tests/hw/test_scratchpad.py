"""The scratchpad against a plain model: who is served, what is read, when it arrives."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from systola.hw.config import load_config
from systola.hw.interfaces import SCRATCHPAD_READ_LATENCY_CYCLES
from systola.hw.params import Params
from systola.hw.scratchpad import Reader, Scratchpad, Writer


class Model:
    """Words, and the answers that are on their way."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.words = [0] * params.scratchpad_words

    def bank(self, address: int) -> int:
        return address % self.params.banks

    def served(self, requests: list[int | None]) -> list[bool]:
        """The first requester of each bank."""
        taken: set[int] = set()
        result = []
        for address in requests:
            free = address is not None and self.bank(address) not in taken
            if address is not None:
                taken.add(self.bank(address))
            result.append(free)
        return result

    def write(self, address: int, data: int, mask: int) -> None:
        group_bits = 8 * self.params.columns
        for group in range(self.params.column_groups):
            if mask >> group & 1:
                field = ((1 << group_bits) - 1) << group * group_bits
                self.words[address] = self.words[address] & ~field | data & field


def pick_address(rng: random.Random, params: Params) -> int:
    """Few addresses in few banks, so that conflicts and reads after writes are common."""
    return rng.randrange(min(3, params.banks)) + params.banks * rng.randrange(4)


def asked(params: Params, address: int | None) -> int:
    """A request's bit."""
    return 0 if address is None else 1 << address % params.banks


def run(preset: str, cycles: int, seed: int) -> dict[str, int]:
    """Random traffic for ``cycles``; returns how often something was refused or read."""
    params = Params(load_config(preset))
    dut, model, rng = Scratchpad(params), Model(params), random.Random(seed)
    seen = {"refused": 0, "read": 0, "conflict_free": 0}

    async def bench(ctx: Any) -> None:
        reads: list[int | None] = [None] * len(Reader)
        writes: list[tuple[int, int, int] | None] = [None] * len(Writer)
        pipeline: list[list[int | None]] = [[None] * len(Reader) for _ in range(SCRATCHPAD_READ_LATENCY_CYCLES)]
        arriving: set[int] = set()
        for _ in range(cycles):
            for i in Reader:
                if reads[i] is None and rng.random() < 0.6:
                    reads[i] = pick_address(rng, params)
                ctx.set(dut.read[i].valid, reads[i] is not None)
                ctx.set(dut.read[i].address, rng.randrange(params.scratchpad_words) if reads[i] is None else reads[i])
                ctx.set(dut.read[i].request, asked(params, reads[i]))
            for i in Writer:
                if writes[i] is None and rng.random() < 0.6:
                    data, mask = rng.getrandbits(8 * params.lanes), rng.getrandbits(params.column_groups)
                    writes[i] = (pick_address(rng, params), data, mask)
                address, data, mask = writes[i] or (rng.randrange(params.scratchpad_words), 0, 1)
                ctx.set(dut.write[i].valid, writes[i] is not None)
                ctx.set(dut.write[i].address, address)
                ctx.set(dut.write[i].request, asked(params, None if writes[i] is None else address))
                ctx.set(dut.write[i].data, data)
                ctx.set(dut.write[i].mask, mask)
            read_served = model.served(reads)
            write_served = model.served([None if w is None else w[0] for w in writes])
            assert [reads[i] is not None and bool(ctx.get(dut.read[i].ready)) for i in Reader] == read_served
            assert [writes[i] is not None and bool(ctx.get(dut.write[i].ready)) for i in Writer] == write_served
            for i, word in zip(Reader, pipeline.pop(0), strict=True):
                if word is not None:
                    assert ctx.get(dut.read[i].data) == word
                    seen["read"] += 1
            answers: list[int | None] = [None] * len(Reader)
            for i in Reader:
                address_read = reads[i]
                if address_read is None:
                    continue
                seen["refused"] += not read_served[i]
                if read_served[i]:
                    # A word is unknown in the cycle in which it is written, the one after the write was accepted.
                    answers[i] = None if address_read in arriving else model.words[address_read]
                    reads[i] = None
            pipeline.append(answers)
            arriving = {w[0] for w, ok in zip(writes, write_served, strict=True) if w and ok}
            for i in Writer:
                request = writes[i]
                if request and write_served[i]:
                    model.write(*request)
                    writes[i] = None
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("preset", ["tiny", "small", "tall", "wide"])
def test_random_traffic(preset: str) -> None:
    seen = run(preset, 400, seed=1)
    assert seen["read"] > 300
    assert seen["refused"] > 300


def test_every_bank_at_once() -> None:
    """Clients in different banks never wait for each other, and reads do not wait for writes."""
    params = Params(load_config("base"))
    dut = Scratchpad(params)

    async def bench(ctx: Any) -> None:
        for i in Reader:
            ctx.set(dut.read[i].valid, 1)
            ctx.set(dut.read[i].address, i + 3 * params.banks)
            ctx.set(dut.read[i].request, asked(params, i))
        for j in Writer:
            ctx.set(dut.write[j].valid, 1)
            ctx.set(dut.write[j].address, j + 3 * params.banks)
            ctx.set(dut.write[j].request, asked(params, j))
        assert all(ctx.get(dut.read[i].ready) for i in Reader)
        assert all(ctx.get(dut.write[j].ready) for j in Writer)

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
