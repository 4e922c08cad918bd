"""The cycle model and the RTL: the same cycle of every instruction's begin and end, the same class of every engine in every
cycle, the same counters."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from odd_accelerators import MEMORIES, ODD, odd_accelerator
from random_networks import convolutions, networks, products
from rtl import DRAM_BYTES, RtlPool, presets

from systola.driver.cycle_check import differences, run_on_rtl
from systola.driver.flow import Options, prepare, with_dram
from systola.driver.open import rtl_settings
from systola.hw.errors import MappingError
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.sim.rtl.session import RtlSession

DRAWN = {"tiny": 14, "small": 14, "base": 7, "tall": 7, "wide": 7, "large": 7}
DRAWN_ODD = 14
TRAINED = ("resnet8_int8", "vww_int8", "kws_int8", "ad_int8", "resnet20_cifar10_f32", "mobilenet_v2_ptq_int8")


def drawn(count: int, number: int) -> list[QuantGraph]:
    """Networks drawn from a seed."""
    graphs: list[QuantGraph] = []

    @seed(number)
    @settings(max_examples=count, phases=(Phase.generate,), database=None, suppress_health_check=list(HealthCheck))
    @given(graph=st.one_of(convolutions(), networks(), products()))
    def draw(graph: QuantGraph) -> None:
        graphs.append(graph)

    draw()
    return graphs[:count]


def check(session: RtlSession, params: Params, graph: QuantGraph) -> int:
    """Cycles of a network, the same in both, whether the model takes them one by one or skips; 0 if it does not fit."""
    try:
        image = compile_network(graph, params)
    except MappingError:
        return 0
    session.reload(rtl_settings(params))
    run = run_on_rtl(session, image, params)
    assert differences(run, image, params) == []
    return sum(run.program_cycles)


def check_drawn(session: RtlSession, params: Params, graphs: list[QuantGraph]) -> None:
    """With the accelerator's own memory and others."""
    own = (params.config.dram.latency_cycles, params.config.dram.bytes_per_cycle)
    memories = islice(cycle((own, *MEMORIES)), len(graphs))
    cycles = [check(session, with_dram(params, *memory), graph) for graph, memory in zip(graphs, memories, strict=True)]
    assert sum(count > 0 for count in cycles) > len(cycles) // 3


def check_preset(rtl: RtlPool, preset: str) -> None:
    with rtl.session(preset) as (session, params):
        check_drawn(session, params, drawn(DRAWN[preset], list(DRAWN).index(preset)))


@presets(["tiny", "small", "base", "tall", "wide"])
def test_drawn_networks(rtl: RtlPool, preset: str) -> None:
    check_preset(rtl, preset)


@pytest.mark.slow
@presets(["large"])
def test_drawn_networks_large(rtl: RtlPool, preset: str) -> None:
    check_preset(rtl, preset)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["odd_narrow", "odd_least", "odd_queue", "odd_tall", "odd_lanes"])
def test_drawn_networks_on_odd_accelerators(name: str) -> None:
    params = Params(odd_accelerator(name))
    with RtlSession(params, DRAM_BYTES, rtl_settings(params)) as session:
        check_drawn(session, params, drawn(DRAWN_ODD, 100 + list(ODD).index(name)))


@pytest.mark.slow
@presets(["base", "small"])
def test_trained_networks(rtl: RtlPool, models: Path, preset: str) -> None:
    with rtl.session(preset) as (session, params):
        for name in TRAINED if preset == "base" else TRAINED[:4]:
            assert check(session, params, prepare(Options(models / name, preset, samples=1)).graph) > 10_000
