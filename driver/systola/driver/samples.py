"""Samples: what is run, what is calibrated on, what is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DataModelError, Place
from systola.mapper.graph import Graph
from systola.mapper.quantgraph import QuantGraph, QuantTensor
from systola.mapper.quantize.split import split_calibration
from systola.sim.golden import quantize_input

__all__ = ["Samples", "codes_of", "load_samples", "random_samples", "stacked"]

MAX_CALIBRATION = 100


@dataclass(frozen=True)
class Samples:
    """Stacked along axis 0, as in the files: ``inputs`` of the network's (only) input, one row per sample.

    ``calibration``: real inputs to calibrate a float network on. ``compared``: positions of the samples that calibration did
    not use; only these are compared with ``reference`` and ``labels``. ``are_codes``: integer inputs are the quantized
    network's codes; otherwise they are real values.
    """

    inputs: NDArray[Any]
    reference: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    calibration: NDArray[Any] | None = None
    compared: NDArray[np.int64] | None = None
    are_codes: bool = False


def load_samples(graph: Graph, folder: Path, given: Path | None, calibration: Path | None, count: int | None) -> Samples:
    """The samples of a model: ``given``, else ``samples/input.npy`` beside it.

    Reference outputs and labels belong to the latter. A float network is calibrated on ``calibration``, else on
    ``samples/calibration.npy``, else on part of ``samples/input.npy``; then only the others are compared. Raises DataModelError
    if there is nothing to run or a shape does not fit.
    """
    home = folder / "samples"
    own = _load(home / "input.npy", graph) if (home / "input.npy").is_file() else None
    inputs = _load(given, graph) if given is not None else own
    if inputs is None:
        raise DataModelError(
            "there are no samples to run: give some with --input X.npy (one row per sample), or put them at samples/input.npy "
            "in the model's folder",
            Place(str(folder)),
        )
    reference = labels = None
    if given is None:
        reference, labels = _beside(home / "ref_output.npy", inputs), _beside(home / "label.npy", inputs)
    compared = np.arange(len(inputs))
    calibrated: NDArray[Any] | None = None
    if not graph.quantized:
        calibrated, compared = _calibration(graph, home, own, given, calibration, compared)
    taken = len(inputs) if count is None else min(count, len(inputs))
    used = compared[compared < taken]
    return Samples(inputs[:taken], _cut(reference, taken), _cut(labels, taken), calibrated, used, graph.quantized)


def _calibration(
    graph: Graph, home: Path, own: NDArray[Any] | None, given: Path | None, named: Path | None, every: NDArray[np.int64]
) -> tuple[NDArray[Any] | None, NDArray[np.int64]]:
    """Calibration samples, and the positions of those run that they leave for comparison."""
    if named is not None:
        return _load(named, graph), every
    if (home / "calibration.npy").is_file():
        return _load(home / "calibration.npy", graph), every
    if own is None:
        return None, every
    if given is not None:
        return own[:MAX_CALIBRATION], every
    split = split_calibration({graph.inputs[0]: own})
    return split.calibration[graph.inputs[0]], split.evaluation_indices


def random_samples(graph: Graph, seed: int, count: int) -> Samples:
    """Samples for a network with random weights: normally distributed, mean 0, deviation 1; codes for a quantized network.

    There is nothing real to calibrate on: the quantizer draws its own samples, and says so.
    """
    rng = np.random.default_rng(seed)
    shape = graph.tensors[graph.inputs[0]].shape
    rows = (max(count, 1) * shape[0], *shape[1:])
    if graph.quantized:
        return Samples(rng.integers(-128, 128, rows).astype(np.int8), are_codes=True)
    return Samples(rng.standard_normal(rows).astype(np.float32))


def codes_of(samples: NDArray[Any], tensor: QuantTensor, *, are_codes: bool) -> NDArray[np.int8]:
    """int8 codes of samples: integers that are codes already (unsigned ones are re-centred), or real values, quantized."""
    if are_codes and samples.dtype.kind == "u":
        return (samples.astype(np.int16) - 128).astype(np.int8)
    if are_codes and samples.dtype.kind == "i":
        return samples.astype(np.int8)
    codes: NDArray[np.int8] = quantize_input(tensor, np.asarray(samples, dtype=np.float64))
    return codes


def stacked(graph: QuantGraph, samples: Samples) -> Mapping[str, NDArray[np.int8]]:
    """Input codes on a sample axis of their own: [samples, *shape]."""
    tensor = graph.tensors[graph.inputs[0]]
    codes = codes_of(samples.inputs, tensor, are_codes=samples.are_codes)
    return {tensor.name: codes.reshape(-1, *tensor.shape)}


def _load(path: Path, graph: Graph) -> NDArray[Any]:
    place = Place(str(path))
    if not path.is_file():
        raise DataModelError("there is no such file; samples are a .npy file with one row each", place)
    if len(graph.inputs) != 1:
        raise DataModelError(f"samples are given for one input; the network has {len(graph.inputs)}", place)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataModelError(f"this is not a NumPy array file: {error}", place) from error
    shape = graph.tensors[graph.inputs[0]].shape
    if array.ndim != len(shape) or array.shape[1:] != shape[1:] or array.shape[0] % shape[0] or not array.size:
        raise DataModelError(
            f"the array's shape is {list(array.shape)}; the network's input '{graph.inputs[0]}' takes {['samples', *shape[1:]]}",
            place,
        )
    if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 1):
        raise DataModelError(f"the array holds {array.dtype}; float, int8 or uint8 is expected", place)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise DataModelError(f"element {first} is {array[tuple(first)]}; every element must be finite", place)
    return array


def _beside(path: Path, inputs: NDArray[Any]) -> NDArray[Any] | None:
    if not path.is_file():
        return None
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataModelError(f"this is not a NumPy array file: {error}", Place(str(path))) from error
    if array.shape[:1] != inputs.shape[:1]:
        raise DataModelError(f"it has {array.shape[0]} rows for {inputs.shape[0]} samples", Place(str(path)))
    return array


def _cut(array: NDArray[Any] | None, rows: int) -> NDArray[Any] | None:
    return None if array is None else array[:rows]
