"""What workers compute: the same figures as a run's report, what is no point, what RTL says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_stand_in import DIGITS

from systola.driver.flow import Options
from systola.driver.flow import run as run_network
from systola.driver.sweep import evaluate as module
from systola.driver.sweep.evaluate import EVALUATION, evaluate_network, evaluate_point
from systola.driver.sweep.networks import Model, describe, measure_agreement, quantized
from systola.driver.sweep.points import Point, PointMaker
from systola.driver.sweep.run import SweepOptions, sweep
from systola.driver.sweep.space import load_space
from systola.driver.sweep.verify import chosen_points, verify_network
from systola.driver.sweep.workers import WorkerPool
from systola.hw.config import config_from, load_config
from systola.hw.errors import ConfigError, DataModelError, MappingError
from systola.hw.params import Params
from systola.hw.registers import Event
from systola.mapper.compile import compile_network
from systola.reports.actions import Arithmetic, layer_actions
from systola.reports.energy import inference_energy
from systola.reports.sweep.arithmetic import arithmetic_actions
from systola.reports.sweep.results import PointResult
from systola.reports.technology import load_technology
from systola.sim.cycles.run import run_image

MODEL = Model("digits", str(DIGITS))
MakePoint = Callable[..., Point]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakePoint]:
    """Points of tiny with other values, by dotted name."""

    def point(**values: Any) -> Point:
        axes = "".join(f'"{name.replace("__", ".")}" = [{value!r}]\n' for name, value in values.items())
        (tmp_path / "space.toml").write_text(f'base = "tiny"\n[axes]\n"queue.units" = [16]\n{axes}', encoding="utf-8")
        maker = PointMaker(*load_space(tmp_path / "space.toml"))
        return maker.point(maker.fields([axis.values[0] for axis in maker.axes]), 0)

    yield point
    module._measure.cache_clear()


def as_result(point: Point, networks: Any) -> PointResult:
    """A point that is done."""
    return PointResult(point.hash, 0, point.axes, point.config, point.method, "done", networks=networks)


@pytest.mark.parametrize("preset", ["tiny", "tall", "wide"])
def test_lane_operations(preset: str) -> None:
    """Counted by kind of instruction, they are what is counted one by one."""
    params = Params(load_config(preset))
    image = compile_network(quantized(MODEL, "mse", params.multiplier_bits), params, contents=False)
    whole, few = layer_actions(image, params), arithmetic_actions(image, params)
    for action in Arithmetic:
        assert few.of(action).sum() == whole.of(action).sum()
    assert any(few.of(action).sum() for action in Arithmetic)


def test_figures(make: MakePoint) -> None:
    """Cycles are the cycle model's; energy, bytes and bounds follow from its counters."""
    point = make(dram__bytes_per_cycle=2, clock__frequency_mhz=50.0)
    outcome = evaluate_point(point, [MODEL])
    assert outcome.state == "done", outcome.reason
    (result,) = outcome.networks
    config = config_from(point.config, "here")
    params = Params(config)
    image = compile_network(quantized(MODEL, "mse", params.multiplier_bits), params)
    counts = run_image(image, params)
    assert result.cycles == counts.cycles and result.latency_ms == pytest.approx(counts.cycles / 50e3)
    energy = inference_energy(layer_actions(image, params), params, load_technology("45nm"), counts.events, 1.0)
    assert result.energy_j.value == pytest.approx(energy.total.value) and result.energy_j.high == pytest.approx(energy.total.high)
    assert sum(result.energy_components.values()) == pytest.approx(energy.total.value)
    assert result.dram_read_bytes == counts.events[Event.READ_BEATS] * params.bus_bytes
    assert result.roofline.dram_cycles == result.dram_bytes / 2
    assert result.roofline.bound_cycles <= result.cycles
    assert result.macs == sum(layer.macs for layer in image.layers) and result.memory_bytes == image.memory_bytes
    assert result.utilization == pytest.approx((result.macs - result.host_macs) / params.macs_per_cycle / result.cycles)
    assert all(sum(classes.values()) == result.cycles for classes in result.classes.values())
    assert outcome.resources is not None and outcome.resources.lut4.value > 0


def test_a_clock_alone_is_not_compiled_again(make: MakePoint) -> None:
    """Clock and technology change time and energy, and nothing that is counted."""
    slow, fast, small = (
        evaluate_network(MODEL, "mse", config_from(make(**values).config, "here"))
        for values in ({}, {"clock__frequency_mhz": 200.0}, {"technology__name": "28nm"})
    )
    assert module._measure.cache_info().misses == 1
    assert slow.latency_ms == 2 * fast.latency_ms and slow.cycles == fast.cycles == small.cycles
    assert slow.energy_j == fast.energy_j and small.energy_j.value < slow.energy_j.value


def test_points_that_are_none(make: MakePoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description that is not valid, a technology without a table, a network that does not fit: invalid. A bug: failed."""
    for values, message in (
        ({"array__rows": 12}, "array.rows is 12: must be a power of two"),
        ({"array__rows": 128}, "(allowed: 4 to 64)"),
        ({"technology__name": "3nm"}, "there is no such energy table"),
    ):
        outcome = evaluate_point(make(**values), [MODEL])
        assert outcome.state == "invalid" and message in outcome.reason and not outcome.networks

    def small(*_: Any, **__: Any) -> None:
        raise MappingError("a row does not fit")

    module._measure.cache_clear()
    monkeypatch.setattr(module, "compile_network", small)
    outcome = evaluate_point(make(), [MODEL])
    assert (outcome.state, outcome.reason) == ("invalid", "a row does not fit")
    monkeypatch.setattr(module, "compile_network", lambda *_, **__: 1 // 0)
    outcome = evaluate_point(make(), [MODEL])
    assert outcome.state == "failed" and outcome.reason.startswith("ZeroDivisionError") and "line" in outcome.reason


def test_agreement_is_a_runs() -> None:
    """As a run's report has it; fewer samples are its first ones; none where nothing is to be compared."""
    record = run_network(Options(DIGITS, "tiny", backend="golden"))
    assert record.agreement is not None
    found = measure_agreement(MODEL, "mse", 17, 10**6)
    assert found is not None and (found.samples, found.top1) == (record.agreement.samples, record.agreement.top1)
    few = measure_agreement(MODEL, "mse", 17, 5)
    assert few is not None and few.samples == 5
    assert measure_agreement(MODEL, "mse", 17, 0) is None
    assert measure_agreement(Model("alone", str(DIGITS / "graph.nnef"), 1), "mse", 17, 5) is None


def test_agreement_with_the_float_network(tmp_path: Path) -> None:
    """A model without reference outputs is judged by its float network; a bad multiplier shows."""
    import shutil

    shutil.copytree(DIGITS, tmp_path / "model")
    for name in ("ref_output.npy", "label.npy"):
        (tmp_path / "model" / "samples" / name).unlink(missing_ok=True)
    model = Model("digits", str(tmp_path / "model"))
    found = measure_agreement(model, "mse", 17, 50)
    assert found is not None and found.reference == "the float network" and found.top1 > 0.9
    samples = np.load(tmp_path / "model" / "samples" / "input.npy")
    before = describe(model).digest
    np.save(tmp_path / "model" / "samples" / "input.npy", samples[::-1])
    assert describe(model).digest != before
    with pytest.raises(DataModelError, match="no such model"):
        describe(Model("x", str(tmp_path / "nowhere")))


@pytest.mark.slow
def test_verified_on_rtl(tmp_path: Path) -> None:
    """A sweep's best points run on RTL: equal cycles, counters and bytes. A figure that is off by one is seen."""
    (tmp_path / "space.toml").write_text('base = "tiny"\n[axes]\n"dram.latency_cycles" = [20, 40]\n', encoding="utf-8")
    options = SweepOptions((DIGITS,), tmp_path / "space.toml", tmp_path / "out", verify=1)
    results, verified = sweep(options, lambda: WorkerPool(1), EVALUATION)
    ((point, verification),) = verified
    assert verification.equal and verification.bytes_checked and point.hash == results.front[0]
    assert results.front_points[0].verified and not results.front_points[0].refuted
    again, none = sweep(options, lambda: WorkerPool(1), EVALUATION)
    assert not none and again == results
    wrong = replace(point.networks[0], cycles=point.networks[0].cycles + 1)
    found = verify_network(point, wrong, Model(wrong.network, str(DIGITS)))
    assert not found.equal and found.rtl_cycles == wrong.cycles - 1 and found.counters_equal


def test_points_to_verify(make: MakePoint) -> None:
    """The best of the front, and others by the beginning of their hash."""
    from systola.reports.sweep.results import SweepDefinition, SweepResults

    points = [replace(as_result(make(), ()), hash=name) for name in ("aaaa", "abbb", "bbbb")]
    definition = SweepDefinition((), {}, (), (), (), "grid", None, 0, 0)
    results = SweepResults(definition, {}, tuple(points), ("bbbb", "aaaa"))
    assert [p.hash for p in chosen_points(results, 1, ["ab", "bb"])] == ["bbbb", "abbb"]
    with pytest.raises(ConfigError, match="2 points begin so"):
        chosen_points(results, 0, ["a"])
    with pytest.raises(ConfigError, match="no point that is done"):
        chosen_points(results, 0, ["c"])
