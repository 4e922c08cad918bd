"""FPGA resources: the model against the counts that it was fitted on, the errors it states, and what fits a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from systola.hw.config import PRESETS, Config, load_config
from systola.hw.errors import ConfigError
from systola.hw.params import Params
from systola.reports.resources import (
    DEVICES,
    UNITS,
    Estimate,
    Shortage,
    UnitResources,
    estimate_resources,
    fits,
    load_model,
    multipliers,
)
from systola.reports.resources_fit import count, fit_model, fit_whole, ranges
from systola.reports.resources_memory import Memory, Storage, storage

COUNTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "reports" / "published" / "resources-ecp5.json").read_text(encoding="utf-8")
)
NAMES = tuple(COUNTS["configurations"])
PLAIN = {
    "name": "plain",
    "array": {"rows": 8, "columns": 8},
    "memory": {"scratchpad_bytes": 65536, "accumulator_bytes": 16384},
    "bus": {"data_bytes": 8},
    "queue": {"units": 64},
}


def measured_params(name: str) -> Params:
    """The configuration that was synthesized."""
    return Params(Config.model_validate({"name": name, **COUNTS["configurations"][name]["config"]}))


def measured(name: str) -> dict[str, list[dict[str, int]]]:
    """By unit, the cells of its parts; units of which all parts were synthesized."""
    parts = COUNTS["configurations"][name]["units"]
    return {unit: [parts[p]["cells"] for p in of] for unit, of in UNITS.items() if all(p in parts for p in of)}


def plain(**changes: Any) -> Params:
    """A small accelerator with other sections."""
    sections: dict[str, Any] = {**PLAIN}
    for section, fields in changes.items():
        sections[section] = {**sections.get(section, {}), **fields}
    return Params(Config.model_validate(sections))


def test_there_are_enough_configurations() -> None:
    """A dozen, with different arrays, taps and bus widths."""
    assert len(NAMES) >= 12
    configs = [measured_params(name) for name in NAMES]
    assert {p.taps for p in configs} >= {0, 1, 3, 9}
    assert {p.bus_bytes for p in configs} >= {4, 8, 16, 32, 64}
    assert len({(p.rows, p.columns) for p in configs}) >= 5
    assert load_model()["fitted_on"] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_multipliers_and_memories_are_exact(name: str) -> None:
    """MULT18X18D, DP16KD and TRELLIS_DPR16X4 of every unit follow by rule."""
    params = measured_params(name)
    dsp, stores = multipliers(params), storage(params)
    for unit, cells in measured(name).items():
        store = stores.get(unit, Storage())
        assert sum(c["MULT18X18D"] for c in cells) == dsp.get(unit, 0), unit
        assert sum(c["DP16KD"] for c in cells) == store.block, unit
        assert sum(c["TRELLIS_DPR16X4"] for c in cells) == store.distributed, unit


@pytest.mark.parametrize("name", NAMES)
def test_the_model_gives_what_was_counted(name: str) -> None:
    """Each unit's logic and registers, within the error that the file states for points that were fitted."""
    estimate, model = estimate_resources(measured_params(name)), load_model()["units"]
    assert estimate.extrapolated == ()
    for unit, cells in measured(name).items():
        for resource, found in (("lut4", estimate.units[unit].lut4), ("ff", estimate.units[unit].ff)):
            actual = sum(count(c, resource) for c in cells)
            allowed = model[unit]["logic" if resource == "lut4" else "ff"]["largest_fit_error"]
            assert abs(found.value / actual - 1) <= allowed + 0.5 / actual + 1e-4, (unit, resource)


@pytest.mark.parametrize("name", tuple(COUNTS["whole"]))
def test_whole_accelerators(name: str) -> None:
    """Synthesized whole: within the stated error; multipliers and block RAM exactly."""
    estimate, cells = estimate_resources(measured_params(name)), COUNTS["whole"][name]["cells"]
    assert estimate.lut4.value == pytest.approx(count(cells, "lut4"), rel=estimate.lut4.relative_error)
    assert estimate.ff.value == pytest.approx(count(cells, "ff"), rel=estimate.ff.relative_error)
    assert (estimate.dsp.value, estimate.ebr.value) == (cells["MULT18X18D"], cells["DP16KD"])


def test_the_file_is_what_the_fit_gives() -> None:
    """Coefficients, errors and ranges, from the counts."""
    model, fitted = load_model(), fit_model(COUNTS)
    for unit, by_resource in fitted.items():
        for resource, fit in by_resource.items():
            stated = model["units"][unit][resource]
            assert stated["terms"] == pytest.approx(fit.terms, rel=1e-3)
            for error in ("largest_fit_error", "largest_error", "rms_error"):
                assert stated[error] == pytest.approx(getattr(fit, error), abs=1e-3), (unit, resource, error)
    for resource, whole in fit_whole(COUNTS, fitted).items():
        for figure in ("ratio", "ratio_spread", "largest_sum_error", "rms_sum_error", "largest_error"):
            assert model["whole"][resource][figure] == pytest.approx(getattr(whole, figure), abs=1e-3), (resource, figure)
    assert model["range"] == {name: list(limits) for name, limits in ranges(COUNTS).items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_an_estimate(preset: str) -> None:
    """Positive everywhere; the units' exact resources add up; the largest preset is out of range and says so."""
    estimate = estimate_resources(Params(load_config(preset)))
    assert estimate.lut4.value > 0 and estimate.ff.value > 0 and set(estimate.units) == set(UNITS)
    assert estimate.dsp.value == sum(unit.dsp.value for unit in estimate.units.values())
    assert estimate.ebr.value == sum(unit.ebr.value for unit in estimate.units.values())
    assert estimate.dsp.relative_error == estimate.ebr.relative_error == 0
    if preset == "large":
        assert any(text.startswith("rows 32 ") for text in estimate.extrapolated)


@pytest.mark.parametrize(
    "changes",
    [
        {"array": {"rows": 16, "columns": 16}},
        {"array": {"columns": 16}},
        {"vector": {"depthwise_taps": 9}},
        {"memory": {"scratchpad_bytes": 1 << 20}},
        {"memory": {"accumulator_bytes": 1 << 18}},
        {"memory": {"scratchpad_banks": 16}},
        {"bus": {"data_bytes": 64}},
        {"queue": {"units": 256}},
    ],
    ids=str,
)
def test_more_takes_no_less(changes: dict[str, Any]) -> None:
    """No resource of the whole falls; one or more rise."""
    less, more = estimate_resources(plain()), estimate_resources(plain(**changes))
    pairs = [(getattr(less, name).value, getattr(more, name).value) for name in ("lut4", "ff", "dsp", "ebr")]
    assert all(b >= a for a, b in pairs) and any(b > a for a, b in pairs)


def test_clock_and_dram_take_nothing() -> None:
    """What is no hardware does not change the estimate."""
    assert estimate_resources(plain()) == estimate_resources(plain(clock={"frequency_mhz": 50.0}, dram={"latency_cycles": 7}))


def resources(lut4: int = 0, ff: int = 0, dsp: int = 0, ebr: int = 0) -> UnitResources:
    return UnitResources(Estimate(lut4, 0.1), Estimate(ff, 0.1), Estimate(dsp, 0), Estimate(ebr, 0))


def test_fits() -> None:
    """Up to the limit it fits; one more and it is named, with how many are missing."""
    has = DEVICES["ecp5-85k"]
    assert fits(resources(lut4=int(0.8 * has.lut4), ff=has.lut4, dsp=has.dsp, ebr=has.ebr), "ecp5-85k") == []
    over = fits(resources(lut4=int(0.8 * has.lut4) + 1, dsp=has.dsp + 3), "ecp5-85k")
    assert over == [Shortage("lut4", int(0.8 * has.lut4) + 1, int(0.8 * has.lut4)), Shortage("dsp", has.dsp + 3, has.dsp)]
    assert [shortage.over for shortage in over] == [1, 3]
    assert fits(resources(lut4=has.lut4), "ecp5-85k", lut4_utilization=1.0) == []
    assert {s.resource for s in fits(resources(ff=30000, ebr=57), "ecp5-25k")} == {"ff", "ebr"}


def test_base_needs_more_multipliers_than_there_are() -> None:
    """256 processing elements; the largest ECP5 has 156."""
    assert "dsp" in {shortage.resource for shortage in fits(estimate_resources(Params(load_config("base"))), "ecp5-85k")}


def test_unknown_device() -> None:
    """Named, with those that are there."""
    with pytest.raises(ConfigError, match=r"device is 'ice40'.*ecp5-25k, ecp5-45k, ecp5-85k"):
        fits(resources(), "ice40")


@pytest.mark.parametrize(
    ("bits", "words", "block", "distributed"),
    [
        (32, 16, 0, 8), (32, 32, 0, 16), (32, 64, 1, 0), (32, 512, 1, 0), (32, 1024, 2, 0), (32, 4096, 8, 0), (64, 32, 0, 32),
        (64, 64, 2, 0), (64, 1024, 4, 0), (128, 32, 0, 64), (128, 2048, 15, 0), (128, 4096, 30, 0), (256, 512, 8, 0),
        (256, 1024, 15, 0), (256, 2048, 29, 0), (256, 4096, 58, 0),
    ],
)  # fmt: skip
def test_memory_rule(bits: int, words: int, block: int, distributed: int) -> None:
    """What yosys 0.70 made of plain memories of these sizes (one write port, one registered read port)."""
    memory = Memory("any", bits, words)
    found = (memory.block, 0) if memory.in_block else (0, memory.distributed)
    assert found == (block, distributed)
