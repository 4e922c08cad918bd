"""One measurement in a process of its own, so that its memory and CPU time are its own.

The benchmarks call ``in_process``; that starts ``python measure.py JOB JSON``, which prints one line of JSON.
CPU time and peak memory are read from Linux's /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from array_only import expected_totals, open_array, run_pixels, totals
from catalog import cycle_bound, models_folder

from systola.driver.device import Device
from systola.driver.flow import Options, prepare, run
from systola.driver.open import open_device, rtl_settings
from systola.driver.runtime import Runtime
from systola.driver.samples import stacked
from systola.hw.config import load_config
from systola.hw.errors import DeviceError, SystolaError
from systola.hw.params import Params
from systola.mapper.image import HostStep
from systola.reports.model import build_report
from systola.reports.record import RunRecord
from systola.sim.golden import run_golden
from systola.sim.rtl.build import build

__all__ = ["in_process"]

PROC = Path("/proc")
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
Figures = dict[str, Any]


def in_process(job: str, arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Figures:
    """The figures that a job returns; ``{"error": text}`` if it failed. ``seconds_process``: wall time of the whole process."""
    begin = time.perf_counter()
    process = subprocess.run(
        [sys.executable, str(Path(__file__)), job, json.dumps(arguments)],
        env=None if environment is None else {**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if process.returncode:
        return {"error": _last_words(process.stderr) or f"exit status {process.returncode}", "seconds_process": seconds}
    figures: Figures = json.loads(process.stdout.splitlines()[-1])
    return figures | {"seconds_process": seconds}


def _last_words(text: str) -> str:
    """The exception at the end of a traceback, without the places; the last line of anything else."""
    lines = text.strip().splitlines()
    begin = next((place for place in reversed(range(len(lines))) if EXCEPTION.match(lines[place])), len(lines) - 1)
    return " ".join(line.strip() for line in lines[max(begin, 0) :])


def peak_memory_bytes(pid: int | str = "self") -> int:
    """The most physical memory that a process has held so far (VmHWM); 0 if it has ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


@dataclass
class Children:
    """The processes that this one has started, seen from outside: CPU seconds and peak memory."""

    peak_bytes: int = 0
    cpu_seconds: dict[int, float] = field(default_factory=dict)

    def look(self) -> float:
        """CPU seconds of the children so far, those that have ended meanwhile with what was seen last."""
        for task in (PROC / "self" / "task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                self._look_at(pid)
        return sum(self.cpu_seconds.values())

    def _look_at(self, pid: int) -> None:
        try:
            # The command's name is in parentheses and may hold spaces; times are fields 14 and 15 (proc(5)).
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        self.cpu_seconds[pid] = (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
        self.peak_bytes = max(self.peak_bytes, peak_memory_bytes(pid))


def build_job(accel: str) -> Figures:
    """The RTL simulation of an accelerator, built if need be."""
    said: list[str] = []
    begin = time.perf_counter()
    build(Params(load_config(accel)), progress=said.append)
    wall = time.perf_counter() - begin
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"seconds": wall, "cpu_seconds": sum(u.ru_utime + u.ru_stime for u in usage), "built": bool(said)}


def run_job(
    model: str,
    accel: str,
    samples: int | None,
    backend: str,
    random_weights: int | None,
    dram_bytes_per_cycle: int | None,
    keep_on_chip: bool = True,
) -> Figures:
    """A network, run and compared."""
    children, starting = Children(), [0.0]

    def notify(_: str) -> None:
        starting[0] = children.look()

    def progress(*_: int) -> None:
        children.look()

    options = Options(
        Path(model), accel, samples=samples, backend=backend, random_weights=random_weights,
        dram_bytes_per_cycle=dram_bytes_per_cycle, keep_on_chip=keep_on_chip,
    )  # fmt: skip
    begin, cpu = time.perf_counter(), time.process_time()
    record = run(options, notify, progress)
    simulator_cpu_seconds = sum(children.cpu_seconds.values())
    seconds_total = time.perf_counter() - begin
    return _figures(record) | _explained(record) | {
        "seconds_total": seconds_total,
        "cpu_seconds_total": time.process_time() - cpu + simulator_cpu_seconds,
        "simulation_cpu_seconds": simulator_cpu_seconds - starting[0],
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_memory_simulator_bytes": children.peak_bytes,
    }


def _figures(record: RunRecord) -> Figures:
    params, layers, check = Params(record.config), record.image.layers, record.check
    agreement = record.agreement
    return {
        "accelerator": record.config.name,
        "backend": record.backend,
        "samples": record.samples,
        "cycles": list(record.cycles),
        "simulated_cycles": record.simulated_cycles,
        "macs": sum(layer.macs for layer in layers),
        "macs_array": sum(layer.macs for layer in layers if layer.unit == "array"),
        "macs_per_cycle": params.macs_per_cycle,
        "bound_cycles": cycle_bound(record.graph, params),
        "bit_exact": check.bit_exact and sum(check.tensors.values()) > 0,
        "tensors_checked": len(check.tensors),
        "bytes_checked": sum(check.tensors.values()),
        "bytes_different": sum(check.mismatches.values()),
        "tensors_on_chip": len(check.on_chip),
        "host_operations": [_host_operation(step) for step in record.image.steps if isinstance(step, HostStep)],
        "agreement": None if agreement is None else
            {"samples": agreement.samples, "top1": agreement.top1, "equal": agreement.equal, "within_1": agreement.within_1},
        "labels_top1": record.labels_top1,
        "dram_latency_cycles": record.dram_latency_cycles,
        "dram_bytes_per_cycle": record.dram_bytes_per_cycle,
        "seconds": dict(record.host_seconds),
    }  # fmt: skip


def _explained(record: RunRecord) -> Figures:
    """The array's cycles by what they went to, and what would help most; nothing for a run without time."""
    if record.trace is None:
        return {"array_uses": None, "advice": None}
    begin = time.perf_counter()
    report = build_report(record)
    engines = report.engines or {}
    return {
        "array_uses": engines["array"],
        "advice": None if report.advice is None else report.advice.text,
        "seconds_report": time.perf_counter() - begin,
    }


def _host_operation(step: HostStep) -> str:
    operation = getattr(step.node, "operation", None)
    return type(step.node).__name__.lower() if operation is None else str(operation.name)


def compile_job(model: str, accel: str, random_weights: int | None) -> Figures:
    """A network read, quantized and compiled, then golden on one sample. Seconds: wall and CPU by stage."""
    marks: list[float] = []

    def mark(_: str = "") -> None:
        marks.append(time.process_time())

    network = prepare(Options(Path(model), accel, samples=1, random_weights=random_weights), mark)
    mark()
    assert network.samples is not None
    seconds = dict(network.seconds)
    cpu_seconds = {stage: end - begin for stage, (begin, end) in zip(seconds, pairwise(marks), strict=True)}
    inputs = stacked(network.graph, network.samples)
    begin, cpu = time.perf_counter(), time.process_time()
    run_golden(network.graph, inputs)
    seconds["golden"], cpu_seconds["golden"] = time.perf_counter() - begin, time.process_time() - cpu
    layers = network.image.layers
    return {
        "layers": len(layers),
        "macs": sum(layer.macs for layer in layers),
        "image_bytes": network.image.memory.size,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def speed_job(model: str, accel: str, samples: int | None, random_weights: int | None, repeats: int, idle_cycles: int) -> Figures:
    """Simulation speed: a network's inferences one by one, then the accelerator waiting, in one session as ``run`` has it."""
    network = prepare(Options(Path(model), accel, samples=samples, random_weights=random_weights))
    assert network.samples is not None
    inputs = stacked(network.graph, network.samples)
    count = len(next(iter(inputs.values())))
    begin = time.perf_counter()
    with open_device("rtl", network.params, network.image.memory_bytes, rtl_settings(network.params)) as device:
        runtime = Runtime(device, network.image, network.params)
        start_seconds = time.perf_counter() - begin

        def infer(number: int) -> int:
            return runtime.infer({name: codes[number % count] for name, codes in inputs.items()}).cycles

        runs = [_timed(partial(infer, number)) for number in range(repeats)]
        idle = [_timed(partial(_wait, device, idle_cycles)) for _ in range(repeats)]
    return {"start_seconds": start_seconds, "runs": runs, "idle": idle}


def _wait(device: Device, cycles: int) -> int:
    with contextlib.suppress(DeviceError):  # no interrupt comes: nothing was started
        device.wait_irq(cycles)
    return cycles


def side_by_side_job(model: str, accel: str, repeats: int, inferences: int) -> Figures:
    """Simulation speed of a network on the accelerator and of the array alone, by turns, both without a trace.

    Each measurement of the accelerator is of ``inferences`` inferences, each of the array of as many cycles.
    """
    network = prepare(Options(Path(model), accel, samples=1))
    assert network.samples is not None
    sample = {name: codes[0] for name, codes in stacked(network.graph, network.samples).items()}
    settings = rtl_settings(network.params, trace=False)
    runs, alone = [], []
    with open_array() as array, open_device("rtl", network.params, network.image.memory_bytes, settings) as device:
        runtime = Runtime(device, network.image, network.params)
        cycles = inferences * runtime.infer(sample, counters=False).cycles
        run_pixels(array, cycles)
        right = totals(array) == expected_totals(cycles)
        for _ in range(repeats):
            runs.append(_timed(lambda: sum(runtime.infer(sample, counters=False).cycles for _ in range(inferences))))
            alone.append(_timed(partial(run_pixels, array, cycles)))
    return {"accelerator": runs, "array": alone, "array_right": right}


def _timed(work: Callable[[], int]) -> Figures:
    """Cycles that ``work`` returns, wall seconds, and CPU seconds of this process and of the simulator."""
    children = Children()
    before, own, begin = children.look(), time.process_time(), time.perf_counter()
    cycles = work()
    wall = time.perf_counter() - begin
    simulator = children.look() - before
    return {"cycles": cycles, "seconds": wall, "simulator_cpu_seconds": simulator,
            "cpu_seconds": simulator + time.process_time() - own}  # fmt: skip


JOBS: Mapping[str, Callable[..., Figures]] = {
    "build": build_job, "run": run_job, "compile": compile_job, "speed": speed_job,
    "side_by_side": side_by_side_job,
}  # fmt: skip


def main(job: str, arguments: str) -> None:
    """Run a job and print its figures, or the error that a user would see."""
    try:
        figures = JOBS[job](**json.loads(arguments))
    except SystolaError as error:
        text, folder = str(error), models_folder()
        figures = {"error": text if folder is None else text.replace(f"{folder}/", "")}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
