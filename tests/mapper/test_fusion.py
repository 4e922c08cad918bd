"""Groups of layers computed band by band: nothing is read that is not there, and results equal golden whatever the bands."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import network_input

from systola.driver.runtime import Runtime
from systola.hw.config import Config, load_config
from systola.hw.isa import Opcode
from systola.hw.params import Params
from systola.mapper import planning
from systola.mapper.bands import Bands, bands_of_rows, make_ring, rows_needed
from systola.mapper.compile import compile_network
from systola.mapper.fusion import FusedTiling, choose_groups, fusable
from systola.mapper.image import Image, ProgramStep
from systola.mapper.layers import Window
from systola.mapper.lower import lower
from systola.mapper.quantgraph import Conv, Elementwise, Node, Pool, QuantGraph, QuantTensor, Upsample
from systola.sim.golden import run_golden
from systola.sim.interp_device import InterpDevice


class Chain:
    """A network in the making: each node reads the one before."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.shapes = {"x": (1, channels, height, width)}
        self.nodes: list[Node] = []
        self.last = "x"
        self.rng = np.random.default_rng(channels * height + width)

    def _add(self, node: Node, shape: tuple[int, int, int, int]) -> None:
        self.nodes.append(node)
        self.last = node.output
        self.shapes[self.last] = shape

    def _spatial(self, kernel: int, stride: int, pad: tuple[int, int]) -> tuple[int, int]:
        height, width = ((extent + sum(pad) - kernel) // stride + 1 for extent in self.shapes[self.last][2:])
        return height, width

    def conv(self, outputs: int, kernel: int = 1, stride: int = 1, pad: tuple[int, int] = (0, 0), groups: int = 1) -> None:
        """``groups`` 0: depthwise."""
        channels, rng, name = self.shapes[self.last][1], self.rng, f"t{len(self.nodes)}"
        groups, outputs = groups or channels, outputs if groups else channels
        node = Conv(
            name, (self.last,), (name,), name,
            weights=rng.integers(-127, 128, (outputs, channels // groups, kernel, kernel)).astype(np.int8),
            bias=rng.integers(-9000, 9000, outputs).astype(np.int32),
            multiplier=rng.integers(1 << 16, 1 << 17, outputs).astype(np.int32),
            shift=rng.integers(22, 27, outputs).astype(np.int32),
            zero_in=int(rng.integers(-20, 20)), zero_out=int(rng.integers(-20, 20)), low=-128, high=127,
            stride=(stride, stride), padding=(pad, pad), groups=groups,
        )  # fmt: skip
        self._add(node, (1, outputs, *self._spatial(kernel, stride, pad)))

    def pool(self, kernel: int, stride: int, pad: tuple[int, int]) -> None:
        name, channels = f"t{len(self.nodes)}", self.shapes[self.last][1]
        node = Pool(
            name, (self.last,), (name,), name, kind="max", size=(kernel, kernel), stride=(stride, stride), padding=(pad, pad),
            pad_code=-128, dilation=(1, 1), zero_in=0, multiplier=1 << 16, shift=16, zero_out=0, low=-128, high=127,
        )  # fmt: skip
        self._add(node, (1, channels, *self._spatial(kernel, stride, pad)))

    def upsample(self, factor: int) -> None:
        name, (_, channels, height, width) = f"t{len(self.nodes)}", self.shapes[self.last]
        self._add(Upsample(name, (self.last,), (name,), name, (factor, factor)), (1, channels, height * factor, width * factor))

    def residual(self, other: str) -> None:
        """Adds an earlier tensor of the same shape."""
        name = f"t{len(self.nodes)}"
        previous = self.nodes[-1]
        zero = previous.zero_out if isinstance(previous, Conv | Pool) else 0
        node = Elementwise(
            name, (self.last, other), (name,), name, zero_a=zero, multiplier_positive=70000, multiplier_negative=70000,
            zero_operand=int(self.rng.integers(-20, 20)), multiplier_operand=50000, shift=17, zero_out=3, low=-100, high=127,
        )  # fmt: skip
        self._add(node, self.shapes[self.last])

    def graph(self) -> QuantGraph:
        tensors = {name: QuantTensor(name, shape) for name, shape in self.shapes.items()}
        return QuantGraph("chain", ("x",), (self.last,), tensors, tuple(self.nodes), 17)


@st.composite
def chains(draw: Any) -> QuantGraph:
    """Two to seven layers with any windows; perhaps residuals around some of them."""
    chain = Chain(draw(st.integers(1, 20)), draw(st.integers(4, 30)), draw(st.integers(3, 9)))
    for _ in range(draw(st.integers(2, 7))):
        before = chain.last
        height, width = chain.shapes[before][2:]
        if min(height, width) > 60:
            break
        kernel = draw(st.sampled_from([k for k in (1, 1, 3, 3, 2, 5, 7) if k <= min(height, width)]))
        stride = draw(st.sampled_from((1, 1, 1, 2, 3)))
        pad = draw(st.tuples(st.integers(0, kernel - 1), st.integers(0, kernel - 1)))
        kind = draw(st.sampled_from(("dense", "dense", "depthwise", "depthwise", "grouped", "pool", "upsample")))
        if kind == "upsample" and height * width < 80:
            chain.upsample(draw(st.integers(2, 3)))
        elif kind == "pool":
            chain.pool(kernel, stride, pad)
        elif kind == "grouped" and chain.shapes[before][1] % 2 == 0:
            chain.conv(2 * draw(st.integers(1, 12)), kernel, stride, pad, groups=2)
        elif kind == "depthwise":
            chain.conv(0, kernel, stride, pad, groups=0)
        else:
            chain.conv(draw(st.integers(1, 24)), kernel, stride, pad)
        others = [name for name, shape in chain.shapes.items() if shape == chain.shapes[chain.last] and name != chain.last]
        if others and draw(st.booleans()):
            chain.residual(draw(st.sampled_from(others)))
    return chain.graph()


def bottleneck(rows: int = 28, width: int = 28, channels: int = 16, blocks: int = 2) -> QuantGraph:
    """Inverted bottlenecks: expand, depthwise, project, add."""
    chain = Chain(channels, rows, width)
    for _ in range(blocks):
        source = chain.last
        chain.conv(channels * 6)
        chain.conv(0, 3, 1, (1, 1), groups=0)
        chain.conv(channels)
        chain.residual(source)
    return chain.graph()


def with_memory(preset: str, scratchpad_bytes: int, accumulator_bytes: int | None = None) -> Params:
    """A preset with another scratchpad."""
    config = load_config(preset)
    memory: dict[str, Any] = {"scratchpad_bytes": scratchpad_bytes}
    if accumulator_bytes is not None:
        memory["accumulator_bytes"] = accumulator_bytes
    return Params(Config.model_validate({**config.model_dump(), "memory": {**config.memory.model_dump(), **memory}}))


def disagreements(graph: QuantGraph, params: Params, seed: int | None, *, keep_on_chip: bool = True) -> tuple[list[str], Image]:
    """Names of tensors in memory that differ from golden, and the image."""
    image = compile_network(graph, params, keep_on_chip=keep_on_chip)
    inputs = network_input(graph)
    expected = run_golden(graph, {name: codes[None] for name, codes in inputs.items()}, keep=True)
    runtime = Runtime(InterpDevice(params, image.memory_bytes, seed), image, params)
    runtime.infer(inputs, counters=False)
    made = [name for node in graph.nodes for name in node.outputs if name in image.tensors]
    assert set(graph.outputs) <= set(made)
    return [name for name in made if not np.array_equal(runtime.tensor(name), expected[name][0])], image


@st.composite
def windows(draw: Any) -> Window:
    kernel, dilation = draw(st.integers(1, 7)), draw(st.integers(1, 2))
    pads = draw(st.tuples(st.integers(0, 8), st.integers(0, 8)))
    return Window((kernel, 1), (draw(st.integers(1, 5)), 1), (dilation, 1), (pads, (0, 0)))


@settings(max_examples=300)
@given(
    height=st.integers(1, 40), window=windows(), rows=st.integers(1, 12), ahead=st.integers(0, 3), loaded=st.booleans(),
    multiple=st.integers(1, 3),
)  # fmt: skip
def test_a_ring_holds_what_is_read(height: int, window: Window, rows: int, ahead: int, loaded: bool, multiple: int) -> None:
    """Bands written ``ahead`` of the reader: every row that a band reads is in its place, and no more than the buffer is used."""
    height *= multiple
    reach = (window.kernel[0] - 1) * window.dilation[0] + 1
    outputs = max(1, (height + sum(window.padding[0]) - reach) // window.stride[0] + 1)
    made = bands_of_rows(outputs, rows)
    bands = rows_needed(made, window, 1, height, multiple)
    ring = make_ring(bands, ahead, loaded=loaded)
    assert (np.diff(bands.low) >= 0).all()
    assert (np.diff(bands.high) >= 0).all()
    held: dict[int, int] = {}

    def write(row: int, turn: int) -> None:
        position = row - ring.first_row(turn)
        assert 0 <= position < ring.rows
        held[position] = row

    def make(band: int) -> None:
        turn, (first, count) = band // ring.turn, ring.bands.fresh(band)
        if loaded and band % ring.turn == 0:
            first, count = ring.first_row(turn), int(bands.high[band]) - ring.first_row(turn)
        for row in range(first, first + count):
            write(row, turn)
        again, more = ring.again(band)
        for row in () if loaded else range(again, again + more):
            write(row, turn + 1)

    for band in range(len(bands) + ahead):
        if band < len(bands):
            make(band)
        reader = band - ahead
        if reader < 0:
            continue
        first, count = made.fresh(reader)
        begin, end = window.input_span(0, first, count)
        for row in range(max(begin, 0), min(end, height)):
            assert bands.low[reader] <= row < bands.high[reader]
            assert held[row - ring.first_row(reader // ring.turn)] == row


def test_rows_for_more_than_one_later_band() -> None:
    """A window of seven rows and bands of one: a row is read by seven bands, made once, written again only at turns."""
    bands = rows_needed(bands_of_rows(30, 1), Window((7, 1), padding=((3, 3), (0, 0))), 1, 30, 1)
    ring = make_ring(bands, 1, loaded=False)
    assert bands.fresh_counts.sum() == 30
    assert 0 < ring.rows_again < 30
    assert ring.rows < 30


def test_rows_that_no_band_reads_are_not_made() -> None:
    """A stride larger than the kernel."""
    bands = rows_needed(bands_of_rows(8, 1), Window((2, 1), (5, 1)), 1, 40, 1)
    assert bands.fresh_counts.tolist() == [2] * 8
    assert make_ring(bands, 1, loaded=False).rows_again == 0


def _forced(draw: Any) -> Any:
    """Groups as long as they can be, or drawn ones, whatever they cost, each with a drawn tiling."""
    from systola.mapper.fusion import Fusion

    plain = Fusion.tilings

    def tilings(self: Fusion, first: int, last: int, homes: Any) -> list[FusedTiling]:
        found = plain(self, first, last, homes)
        if not found:
            return []
        every = sorted(self._enumerate(first, last, homes), key=lambda t: (t.words, t.cost_cycles))
        return [every[draw(st.integers(0, 99)) % len(every)], found[-1]]

    def fuse(planner: Any) -> None:
        pinned = dict(planner.pinned)
        planner.pinned = {}

        def together(first: int, last: int) -> float:
            fits = planner.fusion.tilings(first, last, planner.group_homes(first, last))
            return draw(st.sampled_from((0.0, 0.0, 9.0))) if fits else float("inf")

        links = fusable(planner.net, planner.dram_readers)
        groups = choose_groups(links, lambda _: 4.0, together)
        planner.groups = {index: (first, last) for first, last in groups for index in range(first, last + 1)}
        kept = {r.name: r for r in planner.candidates()}
        for name in pinned:
            if name in kept and draw(st.booleans()):
                planner.pinned[name] = kept[name]

    return patch.object(Fusion, "tilings", tilings), patch.object(planning, "fuse_what_pays", fuse)


MEMORIES = {"tiny": 4096, "small": 8192, "base": 16384, "tall": 16384, "wide": 16384}


@pytest.mark.parametrize("preset", sorted(MEMORIES))
@settings(max_examples=25)
@given(graph=chains(), factor=st.sampled_from((1, 2, 8)), seed=st.one_of(st.none(), st.integers(0, 99)), data=st.data())
def test_any_groups_and_tilings_are_right(preset: str, graph: QuantGraph, factor: int, seed: int | None, data: Any) -> None:
    params = with_memory(preset, MEMORIES[preset] * factor)
    tilings, fuse = _forced(data.draw)
    with tilings, fuse:
        wrong, _ = disagreements(graph, params, seed)
    assert wrong == []


@pytest.mark.parametrize("preset", sorted(MEMORIES))
@settings(max_examples=15)
@given(graph=chains(), seed=st.one_of(st.none(), st.integers(0, 99)))
def test_chosen_groups_are_right(preset: str, graph: QuantGraph, seed: int | None) -> None:
    wrong, _ = disagreements(graph, with_memory(preset, MEMORIES[preset]), seed)
    assert wrong == []


@pytest.mark.parametrize("accumulator_words", [None, 32])
@pytest.mark.parametrize("preset", sorted(MEMORIES))
def test_bottlenecks_are_computed_in_bands(preset: str, accumulator_words: int | None) -> None:
    """Expanded tensors, a little larger than the scratchpad, never reach memory; layers take turns, band by band."""
    plain = Params(load_config(preset))
    accumulators = accumulator_words and accumulator_words * 4 * plain.columns
    params, graph = with_memory(preset, 4096 * plain.lanes, accumulators), bottleneck(channels=plain.lanes)
    for seed in (None, 1):
        wrong, image = disagreements(graph, params, seed)
        assert wrong == []
    net = lower(graph, params)
    groups = planning.make_plan(net, params).groups
    inside = {net.layers[i].output for group in groups.values() for i in range(group.first, group.last)}
    assert len(inside) >= 2
    assert not inside & set(image.tensors)
    program = next(step for step in image.steps if isinstance(step, ProgramStep))
    tags = [i["tag"] for i in program.instructions if i.opcode in (Opcode.ARRAY, Opcode.VECTOR)]
    group = next(iter(groups.values()))
    members = [tag for tag in tags if group.first <= tag <= group.last]
    assert sum(one != other for one, other in pairwise(members)) > 2 * (group.last - group.first + 1)


def test_groups_pay() -> None:
    """Less traffic than without: stores of expanded tensors are gone."""
    params, graph = with_memory("base", 65536), bottleneck(rows=40)
    with patch.object(planning, "fuse_what_pays", lambda _: None):
        alone = compile_network(graph, params)
    together = compile_network(graph, params)

    def stored(image: Image) -> int:
        steps = [step for step in image.steps if isinstance(step, ProgramStep)]
        stores = [i for step in steps for i in step.instructions if i.opcode is Opcode.STORE]
        return sum(i["count_x"] * i["count_y"] * i["count_z"] for i in stores)

    assert stored(together) * 4 < stored(alone)


def test_spill_makes_no_groups() -> None:
    params, graph = with_memory("tiny", 16384), bottleneck()
    assert planning.make_plan(lower(graph, params), params, keep_on_chip=False).groups == {}
    wrong, image = disagreements(graph, params, 5, keep_on_chip=False)
    assert wrong == []
    assert {layer.output for layer in image.layers} <= set(image.tensors)


def test_what_is_read_elsewhere_is_not_inside() -> None:
    """A tensor that host, user, a second reader or a residual reads ends a group."""
    chain = Chain(8, 12, 12)
    chain.conv(8, 3, 1, (1, 1))
    first = chain.last
    chain.conv(8, 3, 1, (1, 1))
    chain.conv(8)
    chain.residual(first)
    graph = chain.graph()
    params = Params(load_config("tiny"))
    net = lower(graph, params)
    links = dict(zip([layer.output for layer in net.layers], fusable(net, frozenset()), strict=True))
    assert links == {first: False, "t1": True, chain.last: False}
    net = lower(QuantGraph("two", ("x",), ("t1", chain.last), graph.tensors, graph.nodes, 17), params)
    links = dict(zip([layer.output for layer in net.layers], fusable(net, frozenset({"t1"})), strict=True))
    assert not links["t1"]


def test_choice_of_groups() -> None:
    """The cheapest division; layers that are not linked stay apart."""
    costs = {(0, 1): 12.0, (1, 2): 5.0, (0, 2): 18.0}
    together = lambda first, last: costs.get((first, last), 100.0)  # noqa: E731
    assert choose_groups([True, True, False, False], lambda _: 10.0, together) == [(1, 2)]
    costs[0, 2] = 14.0
    assert choose_groups([True, True, False, False], lambda _: 10.0, together) == [(0, 2)]
    assert choose_groups([False] * 4, lambda _: 10.0, lambda *_: 0.0) == []


def test_bands_end_with_the_tensor() -> None:
    bands = bands_of_rows(7, 3)
    assert isinstance(bands, Bands)
    assert [bands.fresh(b) for b in range(3)] == [(0, 3), (3, 3), (6, 1)]
