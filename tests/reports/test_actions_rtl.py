"""What the program says of accesses is what the RTL counts, event by event, whatever the network."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from random_networks import convolutions, network_input, networks
from rtl import RtlPool, presets

from systola.hw.isa import Engine
from systola.hw.registers import CycleClass, Event
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.reports.actions import layer_actions

CASES = 12
NOT_DERIVED = (Event.READ_BURSTS, Event.WRITE_BURSTS)
"""Bursts cost nothing of their own in the energy tables."""


@pytest.mark.slow
@presets(("tiny", "tall", "wide", "base"))
def test_program_and_counters_agree(rtl: RtlPool, preset: str) -> None:
    """Summed over the layers, every event that energy is made of equals its counter."""
    seen: set[Event] = set()

    @seed(50)
    @settings(max_examples=CASES, phases=(Phase.explicit, Phase.generate))
    @given(graph=st.one_of(convolutions(), networks()), spill=st.booleans())
    def check(graph: QuantGraph, spill: bool) -> None:
        with rtl.pair(preset) as pair:
            image = compile_network(graph, pair.params, keep_on_chip=not spill)
            counters = pair.infer(graph, image, network_input(graph)).counters
            if counters is None:  # a network may be the host's alone
                return
            actions = layer_actions(image, pair.params)
            derived = {event: int(actions.of(event).sum()) for event in Event if event not in NOT_DERIVED}
            assert derived == {event: count for event, count in counters.events.items() if event not in NOT_DERIVED}
            assert counters.classes[Engine.ARRAY].get(CycleClass.BUSY, 0) == derived[Event.ARRAY_PIXELS]  # a pixel a cycle
            seen.update(event for event, count in derived.items() if count)

    check()
    assert {Event.ARRAY_PIXELS, Event.VECTOR_STEPS, Event.STORE_READS} <= seen
