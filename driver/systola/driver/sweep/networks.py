"""Networks as a process of a sweep has them: read once, quantized once for each method and multiplier width."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from systola.driver.accuracy import agreement
from systola.driver.flow import tool_versions
from systola.driver.samples import Samples, load_samples, stacked
from systola.hw.errors import DataModelError, Place
from systola.mapper.graph import Graph
from systola.mapper.nnef import read_model
from systola.mapper.quantgraph import QuantGraph
from systola.mapper.quantize import Method, quantize
from systola.mapper.reference import run_float
from systola.reports.sweep.results import Agreement
from systola.sim.golden import run_golden

__all__ = ["Described", "Model", "describe", "measure_agreement", "model_name", "network_inputs", "quantized", "samples_of"]

CHUNK_BYTES = 1 << 28
MODEL_SUFFIXES = (".nnef", ".quant", ".dat", ".npy")
FLOAT_REFERENCE = "the float network"


@dataclass(frozen=True)
class Model:
    """A model of a sweep. ``source``: absolute path of its folder or .nnef file; ``random_weights``: a seed for a graph alone."""

    name: str
    source: str
    random_weights: int | None = None

    @property
    def folder(self) -> Path:
        """Where its samples are."""
        path = Path(self.source)
        return path if path.is_dir() else path.parent


@dataclass(frozen=True)
class Described:
    """A model that could be read. ``digest``: of its files and samples. ``systola``: the version that read it."""

    digest: str
    systola: str


def model_name(path: Path) -> str:
    """How a sweep names a model: as its folder or file is called."""
    return path.resolve().name if path.is_dir() else path.stem


def describe(model: Model) -> Described:
    """Read a model. Raises the errors of reading; DataModelError for one whose files are not here."""
    path = Path(model.source)
    if not path.exists():
        raise DataModelError("there is no such model; with --cluster every worker must find it under this path", Place(str(path)))
    _read(model)
    return Described(_digest(path), tool_versions()["systola"])


@lru_cache(maxsize=2)
def _read(model: Model) -> tuple[Graph, Samples | None]:
    graph = read_model(model.source, random_weights=model.random_weights)
    return graph, samples_of(model, graph)


def samples_of(model: Model, graph: Graph) -> Samples | None:
    """The model's own samples; None where it has none, or weights that are no real ones."""
    if model.random_weights is not None or not (model.folder / "samples" / "input.npy").is_file():
        return None
    return load_samples(graph, model.folder, None, None, None)


@lru_cache(maxsize=64)
def quantized(model: Model, method: str, multiplier_bits: int) -> QuantGraph:
    """The quantized network. Raises the errors of reading and quantizing."""
    graph, samples = _read(model)
    calibration = None
    if samples is not None and samples.calibration is not None:
        name = graph.inputs[0]
        calibration = {name: np.asarray(samples.calibration).reshape(-1, *graph.tensors[name].shape)}
    network = quantize(graph, multiplier_bits=multiplier_bits, calibration=calibration, method=cast("Method", method))
    _give_back_memory()
    return network


def _give_back_memory() -> None:
    """What quantizing took and freed goes back to the system: of ResNet-50 more than 1 GiB, which a worker would keep to its end.
    Only glibc has this function, and keeps so much. What refers to itself in a circle is not freed before it is collected."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def measure_agreement(model: Model, method: str, multiplier_bits: int, most_samples: int) -> Agreement | None:
    """Golden's top-1 agreement with the model's reference outputs, or where it has none with the float network, over samples
    that calibration did not use; None where there is nothing to compare."""
    graph, samples = _read(model)
    if samples is None or not most_samples or samples.compared is None or not len(samples.compared):
        return None
    if graph.tensors[graph.inputs[0]].shape[0] != 1:
        return None  # a row of the files is not a sample
    network = quantized(model, method, multiplier_bits)
    taken = samples.compared[:most_samples]
    reference = None if samples.reference is None else samples.reference[taken]
    few = Samples(samples.inputs[taken], reference, compared=np.arange(len(taken)), are_codes=samples.are_codes)
    inputs = stacked(network, few)
    name, source = network.outputs[0], "ref_output.npy"
    if few.reference is None:
        few, source = _with_float_reference(graph, network, few, inputs), FLOAT_REFERENCE
    measured = agreement(network, few, {name: _golden_output(network, inputs)})
    return None if measured is None else Agreement(measured.samples, measured.top1, source)


def network_inputs(model: Model, network: QuantGraph) -> Mapping[str, NDArray[Any]]:
    """Codes of one sample to run: the model's first, else a random one. Cycles do not depend on which."""
    _, samples = _read(model)
    if samples is not None:
        return {name: codes[0] for name, codes in stacked(network, samples).items()}
    generator = np.random.default_rng(0)
    tensors = {name: network.tensors[name] for name in network.inputs}
    return {
        name: generator.standard_normal(t.shape) if t.is_float else generator.integers(-128, 128, t.shape).astype(np.int8)
        for name, t in tensors.items()
    }


def _with_float_reference(
    graph: Graph, network: QuantGraph, samples: Samples, inputs: Mapping[str, NDArray[np.int8]]
) -> Samples:
    """The float network's outputs for the same input codes."""
    name = network.inputs[0]
    tensor, codes = network.tensors[name], inputs[name]
    real = ((codes.astype(np.float64) - tensor.zero_point) * tensor.scale).reshape(-1, *codes.shape[2:])
    reference = run_float(graph, {name: real}, dtype=np.float32)[graph.outputs[0]].reshape(len(codes), -1)
    return Samples(samples.inputs, reference, compared=samples.compared, are_codes=samples.are_codes)


def _golden_output(network: QuantGraph, inputs: Mapping[str, NDArray[np.int8]]) -> NDArray[Any]:
    """The first output, of all samples; as many at once as memory allows."""
    tensor_bytes = sum(int(np.prod(t.shape)) for t in network.tensors.values() if t.data is None)
    count = len(next(iter(inputs.values())))
    together = max(1, min(count, CHUNK_BYTES // max(tensor_bytes, 1)))
    parts = []
    for begin in range(0, count, together):
        part = {name: codes[begin : begin + together] for name, codes in inputs.items()}
        parts.append(run_golden(network, part)[network.outputs[0]])
    return np.concatenate(parts)


def _digest(path: Path) -> str:
    """Of the network's files and its samples: of what the results depend on."""
    files = sorted(p for p in path.rglob("*") if p.suffix in MODEL_SUFFIXES and p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            own = hashlib.file_digest(content, "sha256").hexdigest()
        digest.update(f"{file.relative_to(path) if path.is_dir() else ''} {own}\n".encode())
    return digest.hexdigest()[:16]
