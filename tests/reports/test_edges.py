"""Edge waste is what the tiles' geometry says, in whole cycles that sum exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import convolutions, networks

from systola.hw.config import load_config
from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.image import Image, LayerInfo, Occupancy, ProgramStep
from systola.mapper.quantgraph import QuantGraph
from systola.reports.attribution import pixels
from systola.reports.classes import Use
from systola.reports.edges import BUSY_USES, divide, with_edges

BASE = Params(load_config("base"))


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**12), min_size=1, max_size=5).filter(any))
def test_parts_are_whole_and_sum(total: int, shares: list[int]) -> None:
    """None is a cycle or more from its exact part."""
    parts = divide(total, shares)
    assert sum(parts) == total
    for part, share in zip(parts, shares, strict=True):
        assert abs(part * sum(shares) - total * share) < sum(shares)


def _layer(macs: int, edges: Occupancy, unit: str = "array") -> LayerInfo:
    return LayerInfo(0, "layer", unit, "conv", macs, "y", (), (1, edges.channels, 1, 1), "", edges)


def _busy(*cycles: int) -> np.ndarray:
    uses = np.zeros((len(ENGINES), 1, len(Use)), dtype=np.int64)
    uses[:, 0, Use.USEFUL] = cycles
    uses[:, 0, Use.BANK] = 5
    return uses


def test_a_first_layer_and_a_last() -> None:
    """Three channels in, sixteen rows; ten classes out, sixteen columns."""
    first = _layer(100 * 9 * 3 * 16, Occupancy(16, tiles=9, rows=27, weights=9 * 3 * 16))
    parts = with_edges(_busy(70, 900, 100, 40, 7), [first], BASE)[Engine.ARRAY, 0]
    assert parts[list(BUSY_USES)].tolist() == [169, 731, 0, 0]  # 900 · 3 / 16 = 168.75
    last = _layer(64 * 10, Occupancy(10, tiles=4, rows=64, weights=640))
    table = with_edges(_busy(70, 4, 16, 40, 7), [last], BASE)
    assert table[Engine.ARRAY, 0, list(BUSY_USES)].tolist() == [3, 0, 1, 0]  # 2.5 and 1.5
    assert table[Engine.DRAIN, 0, list(BUSY_USES)].tolist() == [10, 0, 6, 0]
    assert table[Engine.VECTOR, 0, list(BUSY_USES)].tolist() == [25, 0, 15, 0]
    assert table[Engine.LOAD, 0, list(BUSY_USES)].tolist() == [70, 0, 0, 0]
    assert (table[:, 0, Use.BANK] == 5).all()


def test_what_is_computed_twice_is_no_useful_work() -> None:
    """A layer of 100 pixels whose tiles computed 125."""
    layer = _layer(100 * 16 * 16, Occupancy(16, tiles=1, rows=16, weights=256))
    parts = with_edges(_busy(0, 125, 0, 0, 0), [layer], BASE)[Engine.ARRAY, 0]
    assert parts[list(BUSY_USES)].tolist() == [100, 0, 0, 25]


@pytest.mark.parametrize("preset", ["tiny", "tall", "wide"])
def test_useful_work_is_the_networks(preset: str) -> None:
    """Whatever the network: the array's pixels hold its MACs at least, and what they hold beyond is edges and repetition."""
    params, seen = Params(load_config(preset)), 0

    @given(graph=st.one_of(convolutions(), networks()))
    def check(graph: QuantGraph) -> None:
        nonlocal seen
        image = compile_network(graph, params)
        busy = _pixels(image)
        for layer in image.layers:
            edges = layer.occupancy
            assert 0 <= edges.weights <= edges.rows * params.columns <= edges.tiles * params.macs_per_cycle
            if layer.unit != "array" or not layer.macs:
                continue
            seen += 1
            computed = int(busy[layer.tag]) * edges.weights
            assert computed >= layer.macs * edges.tiles // params.macs_per_cycle
            table = np.zeros((len(ENGINES), len(image.layers), len(Use)), dtype=np.int64)
            table[Engine.ARRAY, :, Use.USEFUL] = busy
            parts = with_edges(table, image.layers, params)[Engine.ARRAY, layer.tag, list(BUSY_USES)]
            assert parts.sum() == busy[layer.tag] and (parts >= 0).all()
            assert abs(int(parts[0]) * params.macs_per_cycle - layer.macs) < params.macs_per_cycle

    check()
    assert seen


def _pixels(image: Image) -> np.ndarray:
    result = np.zeros(len(image.layers), dtype=np.int64)
    for step in image.steps:
        for i in step.instructions if isinstance(step, ProgramStep) else ():
            if i.engine is Engine.ARRAY:
                result[i["tag"]] += pixels(i)
    return result
