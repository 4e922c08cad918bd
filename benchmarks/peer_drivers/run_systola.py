"""Systola's compiler and cycle model on one network: ``run_systola.py MODEL SEED|none ACCELERATOR RESULTS cold|warm``.

Cold: everything once, as in a process started for it. Warm: the network, already quantized, is first compiled and run for another
array, then measured the first time for this one, as a sweep has it. A line of JSON in RESULTS: wall and CPU seconds by stage.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from systola.hw.config import load_config
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.nnef import read_model
from systola.mapper.quantgraph import QuantGraph
from systola.mapper.quantize import quantize
from systola.sim.cycles.run import run_image

OTHER = "wide"
"""A preset with another array and other memories than those measured."""


def main(model: str, seed: str, accelerator: str, results: str, how: str) -> None:
    """One measurement."""
    imported = time.process_time()
    params = Params(load_config(accelerator))
    marks = [_now()]
    graph = read_model(Path(model), random_weights=None if seed == "none" else int(seed))
    network = quantize(graph, multiplier_bits=params.multiplier_bits)
    if how == "warm":
        _cycles(network, Params(load_config(OTHER)))
    marks.append(_now())
    cycles = _cycles(network, params)
    marks.append(_now())
    (prepared, prepared_cpu), (seconds, cpu_seconds) = (
        (after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)
    )
    figures = {
        "cycles": cycles, "seconds": seconds, "cpu_seconds": cpu_seconds, "import_cpu_seconds": imported,
        "read_and_quantize_seconds": prepared, "read_and_quantize_cpu_seconds": prepared_cpu,
    }  # fmt: skip
    Path(results).write_text(json.dumps(figures) + "\n", encoding="utf-8")


def _cycles(network: QuantGraph, params: Params) -> int:
    return run_image(compile_network(network, params, contents=False), params).cycles


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main(*sys.argv[1:])
