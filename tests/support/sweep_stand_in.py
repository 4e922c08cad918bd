"""A stand-in for what a sweep's workers compute: cheap, and the same everywhere. Importable in worker processes.

``SWEEP_CALLS``: a folder in which every computed point leaves a file, so that a test can count them. ``SWEEP_DELAY``: seconds
that a point takes. ``SWEEP_DEADLY``: hash beginnings of points at which the process dies, once if a marker can be made.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from systola.driver.sweep.networks import Model
from systola.driver.sweep.outcomes import Evaluation, PointOutcome, worker_name
from systola.driver.sweep.points import Point
from systola.hw.config import Config
from systola.hw.errors import QuantizationError
from systola.reports.schema import Bounded
from systola.reports.sweep.results import Agreement, Estimate, NetworkResult, Resources, Roofline

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model"


def network_result(name: str, config: Any, factor: float = 1.0) -> NetworkResult:
    """Figures that follow from a description by a formula: bigger arrays are faster and take more energy."""
    rows, columns = config["array"]["rows"], config["array"]["columns"]
    dram = config["dram"]["bytes_per_cycle"]
    cycles = int(factor * 1e6 / (rows * columns) + 1e5 / dram)
    energy = factor * 1e-6 * (rows + columns + dram / 4)
    return NetworkResult(
        network=name,
        cycles=cycles,
        latency_ms=cycles / config["clock"]["frequency_mhz"] / 1e3,
        energy_j=Bounded(value=energy, low=energy / 2, high=energy * 2),
        energy_components={"array": energy},
        macs=1_000_000,
        host_macs=1_000,
        layers=5,
        host_layers=1,
        dram_read_bytes=10_000,
        dram_write_bytes=1_000,
        memory_bytes=100_000,
        utilization=999_000 / (rows * columns * cycles),
        classes={"array": {"busy": cycles - 10, "idle": 10}},
        events={"read_beats": 1000},
        roofline=Roofline(1e6 / rows / columns, 11_000 / dram, 90.0, rows * columns / dram),
    )


def evaluate(point: Point, models: Sequence[Model]) -> PointOutcome:
    """A point's figures; arrays with 64 rows do not fit."""
    _note(point.hash)
    _die(point.hash)
    time.sleep(float(os.environ.get("SWEEP_DELAY", "0")))
    if point.config["array"]["rows"] == 64:
        return PointOutcome("invalid", "does not fit", worker=worker_name())
    networks = tuple(network_result(model.name, point.config, 1 + number) for number, model in enumerate(models))
    resources = Resources(*(Estimate(float(point.config["array"]["rows"]), 0.1) for _ in range(4)))
    return PointOutcome("done", "", networks, resources, 0.001, worker_name())


def agree(model: Model, method: str, multiplier_bits: int, most_samples: int) -> Agreement | None:
    """More bits agree better; percentile cannot be measured."""
    _note(f"{model.name}-{method}-{multiplier_bits}")
    if method == "percentile":
        raise QuantizationError("there is nothing to calibrate on")
    return Agreement(most_samples, multiplier_bits / 20, "ref_output.npy")


def prepare(model: Model, config: Config) -> None:
    """Nothing is to be prepared."""


STAND_IN = Evaluation(evaluate, agree, prepare)


def calls(folder: Path) -> list[str]:
    """What was computed, once for each time."""
    return sorted(path.name.rpartition(".")[0] for path in folder.iterdir())


def _note(name: str) -> None:
    folder = os.environ.get("SWEEP_CALLS")
    if folder:
        (Path(folder) / f"{name}.{uuid.uuid4().hex}").touch()


def _die(name: str) -> None:
    """Die at the points named, as long as their marker (if there is one) can be taken away."""
    for start in os.environ.get("SWEEP_DEADLY", "").split():
        if not name.startswith(start):
            continue
        marker = Path(os.environ["SWEEP_CALLS"]).parent / f"once-{start}"
        if marker.exists():
            marker.unlink()
        elif (marker.parent / f"had-once-{start}").exists():
            return
        os.kill(os.getpid(), signal.SIGKILL)
