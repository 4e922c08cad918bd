"""Trained networks on the RTL: exact in every tensor that reaches memory, near their reference, within their cycles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from rtl import presets

from systola.driver.flow import Options, run
from systola.reports.model import build_report
from systola.reports.record import RunRecord

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Wanted:
    """What a network has to reach on base over all ``samples`` of its folder; ``top1`` and ``within_1``: of ref_output.npy."""

    samples: int
    top1: float = 0.0
    within_1: float = 0.0
    most_cycles: int = 1 << 40


NETWORKS = {
    "resnet8_int8": Wanted(100, top1=0.99, most_cycles=78_000),
    "vww_int8": Wanted(12, top1=1.0),
    "kws_int8": Wanted(100, top1=0.99),
    "ad_int8": Wanted(40, within_1=0.99),
    "resnet8_f32": Wanted(60, top1=0.97),
    "vww_f32": Wanted(12, top1=0.97),
    "kws_f32": Wanted(100, top1=0.97),
    "ad_f32": Wanted(40),
    "resnet20_cifar10_f32": Wanted(60, top1=0.97),
}
PRESETS = ("tiny", "small", "tall", "wide", "large")


def exact(record: RunRecord) -> None:
    """Every byte compared is golden's; every sample took the same time."""
    assert record.check.mismatches == {}
    assert sum(record.check.tensors.values()) > 0
    assert len(record.cycles) == record.samples
    assert len(set(record.cycles)) == 1, "the time depends on the data"
    explained(record)


def explained(record: RunRecord) -> None:
    """Every cycle of every engine is in one class and one layer, as counted; the array's useful work is the network's."""
    report = build_report(record)
    assert report.engines is not None and report.counters is not None and report.causes is not None
    layers = [layer for layer in report.layers if layer.unit != "host"]
    for engine, uses in report.engines.items():
        assert sum(uses.values()) == sum(report.counters[engine].values()) == record.cycles[0]
        assert uses.get("dram_latency", 0) == report.counters[engine].get("dram_latency", 0)
        assert uses.get("dram_bandwidth", 0) == report.counters[engine].get("dram_bandwidth", 0)
        for name, cycles in uses.items():
            assert sum((layer.engines or {})[engine].get(name, 0) for layer in layers) == cycles
    assert sum(report.causes.values()) == sum(layer.cycles or 0 for layer in layers) == record.cycles[0]
    for name, cycles in report.causes.items():
        assert sum((layer.causes or {}).get(name, 0) for layer in layers) == cycles
    peak = record.config.array.rows * record.config.array.columns
    for layer in (layer for layer in layers if layer.unit == "array"):
        useful = (layer.engines or {})["array"].get("useful", 0)
        assert abs(useful * peak - layer.macs) < peak, layer.name
    assert report.advice is not None and 0 < report.advice.cycles < record.cycles[0]


@presets(["base"])
@pytest.mark.parametrize("network", list(NETWORKS))
def test_all_samples(models: Path, network: str, preset: str) -> None:
    wanted = NETWORKS[network]
    record = run(Options(models / network, preset))
    exact(record)
    assert record.samples == wanted.samples
    assert record.cycles[0] <= wanted.most_cycles
    assert record.agreement is not None
    assert record.agreement.top1 >= wanted.top1
    if wanted.within_1:
        assert record.agreement.within_1 is not None and record.agreement.within_1 >= wanted.within_1
    calibrated = network.endswith("_f32")
    assert 0 < record.agreement.samples < wanted.samples if calibrated else record.agreement.samples == wanted.samples


@presets(["base"])
@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_tensor(models: Path, network: str, preset: str) -> None:
    """With nothing kept on chip, all tensors that exist at all are compared."""
    record = run(Options(models / network, preset, samples=2, keep_on_chip=False))
    exact(record)
    assert record.check.on_chip == ()
    layers = {layer.output for layer in record.image.layers if layer.output in record.graph.tensors}
    assert layers <= set(record.check.tensors)


@presets(["base"])
@pytest.mark.parametrize("keep_on_chip", [True, False])
def test_mobilenet_v2(models: Path, keep_on_chip: bool, preset: str) -> None:
    record = run(Options(models / "mobilenet_v2_ptq_int8", preset, samples=2, keep_on_chip=keep_on_chip))
    exact(record)
    assert record.samples == 2
    assert record.agreement is not None and record.agreement.top1 == 1.0
    if keep_on_chip:
        assert record.cycles[0] <= 2_800_000
    else:
        assert record.check.on_chip == ()


@presets([preset for preset in PRESETS if preset != "base"])
@pytest.mark.parametrize("network", ["resnet8_int8", "kws_int8"])
def test_other_accelerators(models: Path, network: str, preset: str) -> None:
    few = 2 if preset == "large" else None
    record = run(Options(models / network, preset, samples=few))
    exact(record)
    assert record.samples == (few or 100)
    assert record.agreement is not None and record.agreement.top1 >= 0.99
