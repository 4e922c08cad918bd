"""Energy: bounds, sources, splits, and nothing made up where nothing is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic_runs import run_record

from systola.hw.config import load_config
from systola.hw.errors import ConfigError
from systola.hw.isa import Instruction, Opcode, VectorOp
from systola.hw.params import Params
from systola.hw.registers import Event
from systola.reports.actions import Arithmetic, instruction_actions, layer_actions
from systola.reports.energy import inference_energy, memory_access_scale
from systola.reports.technology import PRIMITIVES, Primitive, load_technology, technologies


@pytest.mark.parametrize("name", technologies())
def test_every_entry_has_a_source_and_bounds(name: str) -> None:
    """Value between its bounds, source and method stated; no static power, as there is no source for it."""
    table = load_technology(name)
    assert table.name == name
    for primitive in PRIMITIVES:
        entry: Primitive = getattr(table, primitive)
        assert 0 < entry.low < entry.value < entry.high
        assert entry.source and entry.method and entry.unit
    assert table.static_w is None


def test_scaled_tables() -> None:
    """A published factor for what is on the chip; DRAM stays, and the factor is in the source."""
    base, scaled = load_technology("45nm"), load_technology("28nm")
    assert scaled.int8_multiply.value == pytest.approx(0.51 * base.int8_multiply.value)
    assert scaled.int8_multiply.high == pytest.approx(0.51 * base.int8_multiply.high)
    assert scaled.dram_bit == base.dram_bit
    assert "Stillmaker" in scaled.sram_access.source


def test_unknown_technology() -> None:
    """The error names the tables there are."""
    with pytest.raises(ConfigError, match=r"'3nm'.*20nm, 28nm, 32nm, 45nm, 7nm"):
        load_technology("3nm")


def test_bounds_out_of_order_are_refused() -> None:
    """A table cannot claim less than nothing."""
    with pytest.raises(ValidationError, match="must not fall"):
        Primitive(value=1, low=2, high=3, unit="x", source="y", method="z")


def test_memory_rule() -> None:
    """Proportional to the word, square root of the capacity."""
    assert memory_access_scale(64, 8192) == 1
    assert memory_access_scale(128, 8192) == 2
    assert memory_access_scale(64, 32768) == 2


@pytest.mark.parametrize("preset", ["tiny", "base", "tall", "wide"])
def test_parts_make_the_whole(preset: str) -> None:
    """Components and layers each sum to the total, in value and bounds; static is unknown, never 0."""
    record = run_record(preset)
    params = Params(record.config)
    actions = layer_actions(record.image, params)
    energy = inference_energy(actions, params, load_technology("45nm"), record.events, 1e-3)
    for name in ("value", "low", "high"):
        total = getattr(energy.total, name)
        assert sum(getattr(part, name) for part in energy.report.components.values()) == pytest.approx(total)
        assert sum(getattr(part, name) for part in energy.layers) == pytest.approx(total)
        assert sum(getattr(action.energy_j, name) for action in energy.report.actions) == pytest.approx(total)
    assert 0 < energy.total.low < energy.total.value < energy.total.high
    assert energy.report.static_j == "unknown"
    assert any("leakage" in item for item in energy.report.not_counted)
    assert all(action.source and action.count > 0 for action in energy.report.actions)


def test_counters_come_first() -> None:
    """With counters their figures are used, without them the program's."""
    record = run_record()
    params, table = Params(record.config), load_technology("45nm")
    actions = layer_actions(record.image, params)
    assert record.events is not None
    doubled = {event: 2 * count for event, count in record.events.items()}
    counted, derived = (inference_energy(actions, params, table, events, None) for events in (doubled, None))
    assert (counted.report.counts_from, derived.report.counts_from) == ("counters", "program")
    assert counted.report.components["DRAM"].value == pytest.approx(2 * derived.report.components["DRAM"].value)
    assert counted.report.components["drain"] == derived.report.components["drain"]


def test_static_power_where_a_table_has_it() -> None:
    """Listed apart, over the latency; leakage is then no longer among what is not counted."""
    record = run_record()
    params, actions = Params(record.config), layer_actions(record.image, Params(record.config))
    leak = Primitive(value=0.01, low=0.005, high=0.02, unit="watt", source="a measurement", method="measured")
    table = load_technology("45nm").model_copy(update={"static_w": leak})
    energy = inference_energy(actions, params, table, record.events, 2e-3)
    assert not isinstance(energy.report.static_j, str)
    assert energy.report.static_j.value == pytest.approx(2e-5)
    assert not any("leakage" in item for item in energy.report.not_counted)


WINDOWS = st.fixed_dictionaries({
    "count_x": st.integers(1, 6), "count_y": st.integers(1, 6), "count_n": st.integers(1, 3), "count_kx": st.integers(1, 3),
    "count_ky": st.integers(1, 3), "origin_x": st.integers(-3, 2), "origin_y": st.integers(-3, 2), "step_x": st.integers(1, 3),
    "step_y": st.integers(1, 3), "dilation_x": st.integers(1, 2), "dilation_y": st.integers(1, 2), "limit_x": st.integers(1, 9),
    "limit_y": st.integers(1, 9), "count_kb": st.integers(1, 3),
})  # fmt: skip


def _inside(f: dict[str, int]) -> int:
    """Window positions in the tile, one by one."""
    return sum(
        0 <= f["origin_y"] + y * f["step_y"] + ky * f["dilation_y"] < f["limit_y"]
        and 0 <= f["origin_x"] + x * f["step_x"] + kx * f["dilation_x"] < f["limit_x"]
        for y in range(f["count_y"]) for x in range(f["count_x"]) for ky in range(f["count_ky"]) for kx in range(f["count_kx"])
    )  # fmt: skip


@given(WINDOWS)
def test_array_reads(fields: dict[str, int]) -> None:
    """Padding is not read; every pixel is either."""
    actions = instruction_actions(Instruction(Opcode.ARRAY, fields), Params(load_config("tiny")))
    assert actions[Event.ACT_READS] == fields["count_n"] * fields["count_kb"] * _inside(fields)
    assert actions[Event.ACT_READS] + actions[Event.ARRAY_PADDING] == actions[Event.ARRAY_PIXELS]


@given(WINDOWS, st.sampled_from([VectorOp.MAX, VectorOp.DEPTHWISE]))
def test_vector_reads(fields: dict[str, int], op: VectorOp) -> None:
    """Plain mode: a step for every window position, a read where it is no padding, and the block's constants."""
    params = Params(load_config("tiny"))
    actions = instruction_actions(Instruction(Opcode.VECTOR, {**fields, "op": int(op), "param_stride_n": 1}), params)
    kernel = fields["count_kx"] * fields["count_ky"]
    constants = fields["count_n"] * (params.vector_record_words + kernel) if op is VectorOp.DEPTHWISE else 0
    assert actions[Event.VECTOR_READS] == fields["count_n"] * _inside(fields) + constants
    steps = fields["count_n"] * fields["count_x"] * fields["count_y"] * kernel
    assert actions[Event.VECTOR_STEPS] == steps
    work = Arithmetic.VECTOR_MULTIPLY if op is VectorOp.DEPTHWISE else Arithmetic.VECTOR_COMPARE
    assert actions[work] == steps * params.lanes


@given(st.integers(0, 500), st.integers(1, 9), st.integers(1, 3), st.integers(-40, 40))
def test_beats(address: int, words: int, rows: int, stride: int) -> None:
    """Each row begins in a beat of its own and touches every beat that holds one of its bytes."""
    params = Params(load_config("base").model_copy(update={"bus": load_config("base").bus.model_copy(update={"data_bytes": 32})}))
    start, pitch = (1000 + address) * 16, stride * 16
    fields = {"dram_address": start, "count_x": words, "count_y": rows, "count_z": 1, "dram_stride_y": pitch}
    expected = sum(len({b // 32 for b in range(start + y * pitch, start + y * pitch + words * 16)}) for y in range(rows))
    assert instruction_actions(Instruction(Opcode.LOAD, fields), params)[Event.READ_BEATS] == expected


def test_fetch_is_the_program() -> None:
    """All beats of the program are counted once, whatever the bus."""
    for preset in ("tiny", "base", "large"):
        record = run_record(preset)
        params = Params(record.config)
        size = sum(step.bytes for step in record.image.steps if hasattr(step, "instructions"))
        assert int(layer_actions(record.image, params).of(Event.FETCH_BEATS).sum()) == size // params.bus_bytes


def test_layers_without_instructions_cost_nothing() -> None:
    """A host layer has no share."""
    record = run_record()
    params = Params(record.config)
    actions = layer_actions(record.image, params)
    energy = inference_energy(actions, params, load_technology("45nm"), record.events, None)
    busy = np.array([actions.of(Event.FETCH_BEATS)[tag] for tag in range(actions.layers)]) > 0
    assert [layer.value > 0 for layer in energy.layers] == busy.tolist()
    assert dataclasses.is_dataclass(energy)
