"""Drawn convolutions and networks: golden = interpreter = RTL, in every tensor and in every byte of memory; RTL = cycle model, in
every counter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from random_networks import convolutions, network_input, networks, products
from rtl import RtlPool, presets

from systola.hw.isa import ENGINES
from systola.hw.registers import REGISTERS
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.sim.cycles.run import run_image

ADDRESS = {register.name: register.address for register in REGISTERS}
CASES = {"tiny": 120, "small": 100, "base": 60, "tall": 60, "wide": 60, "large": 20}
NO_SHRINKING = (Phase.explicit, Phase.generate)
"""Drawn networks are small as they are; to shrink one through simulations takes minutes."""

DRAWN = st.one_of(convolutions(), networks(), products())


def other_data(inputs: dict[str, Any]) -> dict[str, Any]:
    """Other codes of the same shapes, with long runs of the same one."""
    return {name: np.where(codes < 0, np.int8(-128), codes ^ 0x55).astype(np.int8) for name, codes in inputs.items()}


def check_drawn(rtl: RtlPool, preset: str, graph: QuantGraph, *, spill: bool) -> None:
    """One drawn network, twice, with different data."""
    with rtl.pair(preset) as pair:
        image = compile_network(graph, pair.params, keep_on_chip=not spill)
        inputs = network_input(graph)
        runtimes = pair.runtimes(image)
        first = pair.again(*runtimes, graph, inputs)
        second = pair.again(*runtimes, graph, other_data(inputs))
        assert second.program_cycles == first.program_cycles, "the time depends on the data"
        model = run_image(image, pair.params)
        assert list(model.program_cycles) == first.program_cycles, "the cycle model differs"
        if first.program_cycles:  # a network may be the host's alone
            assert first.counters is not None and second.counters is not None
            assert second.counters.events == first.counters.events == model.events
            assert first.counters.classes == model.classes
            finished = pair.rtl.read_registers([ADDRESS[f"FINISHED_{e.name}"] for e in ENGINES])
            assert finished == pair.interp.read_registers([ADDRESS[f"FINISHED_{e.name}"] for e in ENGINES])


def check_many(rtl: RtlPool, preset: str) -> None:
    """As many as the preset has, each preset with cases of its own."""

    @seed(list(CASES).index(preset))
    @settings(max_examples=CASES[preset], phases=NO_SHRINKING)
    @given(graph=DRAWN, spill=st.booleans())
    def check(graph: QuantGraph, spill: bool) -> None:
        check_drawn(rtl, preset, graph, spill=spill)

    check()


@presets(["tiny", "small", "base", "tall", "wide"])
def test_rtl_equals_interpreter_and_golden(rtl: RtlPool, preset: str) -> None:
    check_many(rtl, preset)


@pytest.mark.slow
@presets(["large"])
def test_rtl_equals_interpreter_and_golden_large(rtl: RtlPool, preset: str) -> None:
    check_many(rtl, preset)
