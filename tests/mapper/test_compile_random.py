"""Drawn networks: golden and the interpreter agree on every tensor, in program order and in any order the waits allow."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import convolutions, network_input, networks, products

from systola.driver.runtime import Runtime
from systola.hw.config import load_config
from systola.hw.isa import ENGINES
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.image import ProgramStep
from systola.mapper.quantgraph import QuantGraph
from systola.mapper.waits import place_waits
from systola.sim.golden import run_golden
from systola.sim.interp_device import InterpDevice

DRAWN = st.one_of(convolutions(), networks(), products())


def disagreements(graph: QuantGraph, params: Params, *, keep_on_chip: bool, order_seed: int | None) -> list[str]:
    """Names of tensors in memory that differ from golden."""
    image = compile_network(graph, params, keep_on_chip=keep_on_chip)
    inputs = network_input(graph)
    expected = run_golden(graph, {name: codes[None] for name, codes in inputs.items()}, keep=True)
    runtime = Runtime(InterpDevice(params, image.memory_bytes, order_seed), image, params)
    result = runtime.infer(inputs, counters=False)
    made = [name for node in graph.nodes for name in node.outputs if name in image.tensors]
    assert set(graph.outputs) <= {*made, *result.outputs}
    if not keep_on_chip:
        assert len(made) >= len({layer.output for layer in image.layers if layer.unit != "host"} & set(graph.tensors))
    return [name for name in made if not np.array_equal(runtime.tensor(name), expected[name][0])]


@pytest.mark.parametrize("preset", ["tiny", "small", "base", "tall", "wide", "large"])
@settings(max_examples=25)
@given(graph=DRAWN, spill=st.booleans(), seed=st.one_of(st.none(), st.integers(0, 99)))
def test_interpreter_equals_golden(preset: str, graph: QuantGraph, spill: bool, seed: int | None) -> None:
    params = Params(load_config(preset))
    assert disagreements(graph, params, keep_on_chip=not spill, order_seed=seed) == []


@pytest.mark.parametrize("taps", [0, 1, 2, 5])
@settings(max_examples=12)
@given(graph=networks())
def test_depthwise_taps(taps: int, graph: QuantGraph) -> None:
    data: dict[str, Any] = load_config("tiny").model_dump()
    data["vector"]["depthwise_taps"] = taps
    params = Params(type(load_config("tiny")).model_validate(data))
    assert disagreements(graph, params, keep_on_chip=True, order_seed=taps) == []


def test_a_missing_wait_is_noticed() -> None:
    """The orders tried are worth something: without the waits some order gives other bytes."""
    params = Params(load_config("tiny"))
    rng = np.random.default_rng(0)
    from systola.mapper.quantgraph import Conv, QuantTensor

    conv = Conv(
        "y", ("x",), ("y",), "y", rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8), np.zeros(8, np.int32),
        np.full(8, 40000, np.int32), np.full(8, 24, np.int32), 0, 0, -128, 127, padding=((1, 1), (1, 1)),
    )  # fmt: skip
    shapes = {"x": (1, 8, 12, 12), "y": (1, 8, 12, 12)}
    graph = QuantGraph("one", ("x",), ("y",), {n: QuantTensor(n, s) for n, s in shapes.items()}, (conv,), 16)
    image = compile_network(graph, params)
    inputs = {"x": rng.integers(-128, 128, shapes["x"]).astype(np.int8)}
    expected = run_golden(graph, {"x": inputs["x"][None]})["y"][0]
    from systola.sim.interp import Interpreter

    def run(seed: int, keep_waits: bool) -> bool:
        memory = np.zeros(image.memory_bytes, np.uint8)
        memory[: image.memory.size] = image.memory
        image.tensors["x"].write(memory, inputs["x"])
        for step in image.steps:
            assert isinstance(step, ProgramStep)
            code = step.instructions
            if not keep_waits:
                code = tuple(type(i)(i.opcode, {**i.fields, "wait_enable": 0}) for i in code)
            Interpreter(params, memory).run({e: [i for i in code if i.engine is e] for e in ENGINES}, seed)
        return np.array_equal(image.tensors["y"].read(memory), expected)

    assert all(run(seed, True) for seed in range(10))
    assert not all(run(seed, False) for seed in range(10))


@settings(max_examples=25)
@given(graph=networks(), most=st.integers(1, 12), seed=st.one_of(st.none(), st.integers(0, 1000)))
def test_long_programs_are_cut(graph: QuantGraph, most: int, seed: int | None) -> None:
    """A program has at most so many instructions of an engine: what is longer becomes several, with the same result."""
    params = Params(load_config("tiny"))
    with patch("systola.mapper.compile.place_waits", partial(place_waits, most=most)):
        image = compile_network(graph, params)
    programs = [step for step in image.steps if isinstance(step, ProgramStep)]
    assert all(len(step.of_engine(e)) <= most for step in programs for e in ENGINES)
    whole = compile_network(graph, params)
    for e in ENGINES:
        count = sum(len(step.of_engine(e)) for step in whole.steps if isinstance(step, ProgramStep))
        assert sum(len(step.of_engine(e)) for step in programs) == count
    with patch("systola.mapper.compile.place_waits", partial(place_waits, most=most)):
        assert disagreements(graph, params, keep_on_chip=True, order_seed=seed) == []
