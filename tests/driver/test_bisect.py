"""The search for the first difference names the place that was spoilt: layer, tensor, element, store and cycle."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixed_networks import residual_network
from random_networks import network_input
from rtl import golden_values

from systola.driver import bisect
from systola.driver import open as open_module
from systola.driver.bisect import find_difference
from systola.driver.device import Device
from systola.hw.config import load_config
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.image import Image, ProgramStep
from systola.mapper.quantgraph import Conv

Spoil = Callable[[Image, Device], None]


def spoilt(monkeypatch: pytest.MonkeyPatch, graph: Any, params: Params, spoil: Spoil) -> None:
    """Every device opened from here on does ``spoil`` to its memory at the end of each program."""
    image = compile_network(graph, params, keep_on_chip=False)

    @contextlib.contextmanager
    def opened(*arguments: Any, **named: Any) -> Iterator[Device]:
        with open_module.open_device(*arguments, **named) as device:
            wait = device.wait_irq

            def wait_and_spoil(*a: Any, **n: Any) -> int:
                cycles = wait(*a, **n)
                spoil(image, device)
                return cycles

            monkeypatch.setattr(device, "wait_irq", wait_and_spoil)
            yield device

    monkeypatch.setattr(bisect, "open_device", opened)


def flip(tensor: str, *elements: tuple[int, ...]) -> Spoil:
    """Changes elements of a tensor in memory by one bit each."""

    def spoil(image: Image, device: Device) -> None:
        codes = image.tensors[tensor].read(device.memory)
        for element in elements:
            codes[element] ^= 0x20
        image.tensors[tensor].write(device.memory, codes)

    return spoil


@pytest.fixture(params=["tiny", "base"])
def params(request: pytest.FixtureRequest) -> Params:
    return Params(load_config(request.param))


def test_nothing_is_wrong(params: Params) -> None:
    graph = residual_network()
    assert find_difference(graph, params, network_input(graph), "interp") is None


@pytest.mark.parametrize("tensor", ["wide", "depthwise", "sum", "y"])
def test_the_first_wrong_element_is_named(monkeypatch: pytest.MonkeyPatch, params: Params, tensor: str) -> None:
    graph = residual_network()
    inputs = network_input(graph)
    height, width = graph.tensors[tensor].shape[2:]
    first, second = (0, 3, height - 2, width - 1), (0, 5, 0, 0)
    spoilt(monkeypatch, graph, params, flip(tensor, second, first))
    found = find_difference(graph, params, inputs, "interp")
    assert found is not None
    expected = golden_values(graph, inputs)[tensor]
    assert (found.tensor, found.element, found.wrong) == (tensor, first, 2)
    assert (found.expected, found.found) == (expected[first], expected[first] ^ 0x20)
    image = compile_network(graph, params, keep_on_chip=False)
    assert found.layer in {layer.name for layer in image.layers if layer.output == tensor}
    assert found.store is not None and found.cycle is None
    (program,) = (step for step in image.steps if isinstance(step, ProgramStep))
    stores = [i for i in program.instructions if i.opcode.name == "STORE"]
    assert stores[found.store]["tag"] == next(layer.tag for layer in image.layers if layer.output == tensor)
    for part in (tensor, str(list(first)), f"expected {found.expected}", f"found {found.found}", "2 elements"):
        assert part in str(found)


def test_the_earliest_layer_comes_first(monkeypatch: pytest.MonkeyPatch, params: Params) -> None:
    graph = residual_network()

    def both(image: Image, device: Device) -> None:
        flip("y", (0, 0, 0, 0))(image, device)
        flip("depthwise", (0, 1, 1, 1))(image, device)

    spoilt(monkeypatch, graph, params, both)
    found = find_difference(graph, params, network_input(graph), "interp")
    assert found is not None and found.tensor == "depthwise"


def test_a_wrong_weight(monkeypatch: pytest.MonkeyPatch, params: Params) -> None:
    """The image has another weight than the network: the layer that uses it is named, not those that it spreads to."""
    graph = residual_network()
    conv = next(node for node in graph.nodes if node.name == "depthwise")
    assert isinstance(conv, Conv)
    weights = conv.weights.copy()
    weights[7, 0, 1, 1] ^= 0x40
    nodes = tuple(replace(conv, weights=weights) if node is conv else node for node in graph.nodes)
    original = bisect.compile_network

    def damaged(network: Any, *arguments: Any, **named: Any) -> Image:
        return original(replace(network, nodes=nodes), *arguments, **named)

    monkeypatch.setattr(bisect, "compile_network", damaged)
    found = find_difference(graph, params, network_input(graph), "interp")
    assert found is not None
    assert (found.tensor, found.element[:2]) == ("depthwise", (0, 7))


@pytest.mark.slow
@pytest.mark.xdist_group("tiny")
def test_cycle_and_waveform_on_the_rtl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = Params(load_config("tiny"))
    graph = residual_network()
    spoilt(monkeypatch, graph, params, flip("depthwise", (0, 2, 3, 3)))
    file = tmp_path / "window.vcd"
    found = find_difference(graph, params, network_input(graph), "rtl", file)
    assert found is not None
    assert (found.tensor, found.element, found.program) == ("depthwise", (0, 2, 3, 3), 0)
    assert found.cycle is not None and f"cycle {found.cycle} of program 0" in str(found)
    with file.open(encoding="utf-8") as text:
        stamps = [int(line[1:]) for line in text if line.startswith("#")]
    cycles = (stamps[-1] - stamps[0]) // 2
    assert bisect.WINDOW_CYCLES <= cycles <= 2 * bisect.WINDOW_CYCLES + 2
