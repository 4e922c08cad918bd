"""How fast configurations are tried: one at a time in a warm process, and as a sweep with a process for every core.

    python benchmarks/sweep_speed.py            # 1,000 configurations of MobileNetV2, 200 of ResNet-50
    python benchmarks/sweep_speed.py --quick    # 40 and 10
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from catalog import FULL_SPEED, Entry, find_model
from tables import NOTHING, add_output_options, environment, markdown_table, met, number, seconds, write_results

from systola.driver.sweep.networks import Model, quantized
from systola.hw.config import Config, load_config
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.reports.sweep import load_results
from systola.sim.cycles.run import run_image

__all__ = ["main"]

SPACE = """
base = "base"

[axes]
array.rows = [8, 16, 32]
array.columns = [8, 16, 32]
memory.scratchpad_bytes = {{ from = 65536, to = 1048576, factor = 2 }}
memory.accumulator_bytes = [32768, 65536, 131072]
bus.data_bytes = [8, 16, 32]
vector.depthwise_taps = [1, 3, 9]
dram.bytes_per_cycle = [8, 16, 32]
dram.latency_cycles = [50, 100, 200]

[sampling]
strategy = "random"
points = {points}
seed = 1
"""


@dataclass(frozen=True)
class Asked:
    """What is asked of a network: seconds for one configuration, and for a sweep of ``points`` in minutes, on two cores."""

    entry: Entry
    one_seconds: float
    points: int
    quick_points: int
    minutes: float


def _entry(name: str) -> Entry:
    found = (entry for entry in FULL_SPEED if entry.name == name and entry.accel == "base")
    return next(entry for entry in found if entry.dram_bytes_per_cycle is None)


MEMORY_MIB = 500

ASKED = (
    Asked(_entry("mobilenet_v2_ptq_int8"), 0.3, 1000, 40, 5.0),
    Asked(_entry("resnet50_bnfolded"), 0.9, 200, 10, 3.0),
)

ONE_HEADER = (
    "network", "configurations", "compile s", "cycle model s", "both, median s", "target ≤", "met", "cycles of base",
    "cycles/s, model", "peak memory MiB", "target ≤", "met",
)  # fmt: skip
SWEEP_HEADER = ("network", "points", "done", "workers", "wall s", "target ≤ s", "met", "points/s", "ms a point and worker")


def variants(count: int) -> list[Config]:
    """Configurations near base that nothing can have been kept for: memory and bank counts differ."""
    base = load_config("base")
    found = []
    for index in range(count):
        data = base.model_dump()
        data["memory"] |= {"scratchpad_bytes": 1 << (17 + index % 3), "scratchpad_banks": (8, 4, 16)[index // 3 % 3]}
        data["dram"] |= {"latency_cycles": 100 + index}
        found.append(Config.model_validate(data))
    return found


def one_at_a_time(asked: Asked, count: int) -> tuple[str, ...] | None:
    """Compile and model, each configuration new; CPU seconds of this process."""
    graph = _graph(asked.entry)
    if graph is None:
        return None
    params = Params(load_config("base"))
    cycles = run_image(compile_network(graph, params, contents=False), params).cycles  # compiles what is compiled once
    gc.collect()
    _forget_peak()
    compiling, modelling, totals, speeds = [], [], [], []
    for config in variants(count):
        new = Params(config)
        gc.collect()
        begin = time.process_time()
        image = compile_network(graph, new, contents=False)
        middle = time.process_time()
        result = run_image(image, new)
        end = time.process_time()
        compiling.append(middle - begin)
        modelling.append(end - middle)
        totals.append(end - begin)
        speeds.append(result.cycles / (end - middle))
    peak = _peak_mib()
    return (
        asked.entry.name, number(count), f"{median(compiling):.3f}", f"{median(modelling):.3f}", f"{median(totals):.3f}",
        f"{asked.one_seconds}", _yes(met(median(totals), asked.one_seconds)), number(cycles), number(median(speeds)),
        number(peak), number(MEMORY_MIB), _yes(met(peak, MEMORY_MIB)),
    )  # fmt: skip


def _forget_peak() -> None:
    """The peak begins anew at what the process holds now: the network as read and quantized (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) >> 10


def _graph(entry: Entry) -> QuantGraph | None:
    model = find_model(entry)
    if model is None:
        return None
    bits = load_config("base").requantize.multiplier_bits
    return quantized(Model(entry.name, str(model), entry.random_weights), "mse", bits)


def sweep(asked: Asked, points: int) -> tuple[str, ...] | None:
    """``systola sweep``, start to end, reports included."""
    model = find_model(asked.entry)
    if model is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.toml"
        space.write_text(SPACE.format(points=points))
        command = [sys.executable, "-m", "systola.driver.cli", "sweep", str(model), "--space", str(space), "-o", f"{folder}/out"]
        if asked.entry.random_weights is not None:
            command += ["--random-weights", str(asked.entry.random_weights)]
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - begin
        done = sum(point.state == "done" for point in load_results(Path(folder) / "out").points)
    workers = len(os.sched_getaffinity(0))
    limit = asked.minutes * 60 * points / asked.points
    return (
        asked.entry.name, number(points), number(done), number(workers), seconds(wall), seconds(limit), _yes(met(wall, limit)),
        f"{points / wall:.1f}", number(1000 * wall * workers / points),
    )  # fmt: skip


def _yes(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"


def main(arguments: list[str] | None = None) -> int:
    """The command. Speed does not fail it: machines differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few configurations")
    parser.add_argument("--skip-sweep", action="store_true", help="one at a time only")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    about = environment()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as own:  # a process for each: its memory is its own
        ones: list[Any] = list(own.map(one_at_a_time, ASKED, [3 if options.quick else 9] * len(ASKED)))
    sweeps: list[Any] = []
    if not options.skip_sweep:
        sweeps = [sweep(asked, asked.quick_points if options.quick else asked.points) for asked in ASKED]
    tables = {
        "One configuration, CPU seconds of one core": markdown_table(ONE_HEADER, [row for row in ones if row]),
        "Sweeps, start to end": markdown_table(SWEEP_HEADER, [row for row in sweeps if row]),
    }
    write_results("Sweep speed", tables, {"one": ones, "sweeps": sweeps}, about, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
