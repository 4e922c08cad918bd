"""What yosys makes of the accelerator for ECP5 computes the same: the netlist, with models of its cells, simulated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fixed_networks import residual_network
from random_networks import network_input
from rtl import DRAM_BYTES, Pair, settings_of

from systola.driver.flow import Options, prepare
from systola.driver.samples import stacked
from systola.driver.synth.families import FAMILIES
from systola.driver.synth.gates import simulation_verilog
from systola.driver.synth.yosys import synthesize
from systola.hw.config import load_config
from systola.hw.emit import TOP_MODULE
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.sim.cycles.run import run_image
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.build import verilog_of
from systola.sim.rtl.session import RtlSession

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("netlist")]

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model"


@pytest.fixture(scope="module")
def gates() -> Iterator[Pair]:
    """The netlist of tiny, and an interpreter beside it."""
    params = Params(load_config("tiny"))
    netlist = synthesize(verilog_of(params), TOP_MODULE, FAMILIES["ecp5"])
    settings = settings_of(params)
    with RtlSession(params, DRAM_BYTES, settings, verilog=simulation_verilog(netlist), quick=True) as session:
        yield Pair(params, session, InterpDevice(params, DRAM_BYTES), settings)


def check(gates: Pair, graph: QuantGraph) -> None:
    """Every tensor is golden's, every byte of memory the interpreter's, and the cycles are those of the RTL."""
    image = compile_network(graph, gates.params)
    found = gates.infer(graph, image, network_input(graph))
    assert found.program_cycles == list(run_image(image, gates.params).program_cycles)


def test_digits(gates: Pair) -> None:
    network = prepare(Options(DIGITS, "tiny", samples=1))
    assert network.samples is not None
    inputs = {name: codes[0] for name, codes in stacked(network.graph, network.samples).items()}
    found = gates.infer(network.graph, network.image, inputs)
    assert found.program_cycles == list(run_image(network.image, gates.params).program_cycles)


@pytest.mark.parametrize("channels", [3, 6])
def test_layers(gates: Pair, channels: int) -> None:
    """Convolution, depthwise convolution, addition, pooling; channels that fill the array and that do not."""
    check(gates, residual_network(channels))
