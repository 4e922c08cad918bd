"""Samples that choose the ranges, apart from samples that judge the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import QuantizationError

__all__ = ["SampleSplit", "split_calibration"]


@dataclass(frozen=True, eq=False)
class SampleSplit:
    """Two disjoint parts of a set of samples: positions and the arrays themselves (the leading axis counts samples)."""

    calibration_indices: NDArray[np.int64]
    evaluation_indices: NDArray[np.int64]
    calibration: Mapping[str, NDArray[Any]]
    evaluation: Mapping[str, NDArray[Any]]


def split_calibration(samples: Mapping[str, NDArray[Any]], *, at_most: int = 16) -> SampleSplit:
    """Split samples for calibration and evaluation.

    Half of the samples, but no more than ``at_most``, evenly spread over the set, calibrate; all others evaluate. A
    single sample does both (there is no other). ``samples``: arrays with one leading sample axis of equal length.
    """
    counts = {len(array) for array in samples.values()}
    if len(counts) != 1 or 0 in counts:
        raise QuantizationError(f"calibration needs samples, as many for each input; the inputs have {sorted(counts)}")
    count = counts.pop()
    everything = np.arange(count, dtype=np.int64)
    chosen = everything if count == 1 else np.unique(np.arange(min(count // 2, at_most)) * count // min(count // 2, at_most))
    rest = everything if count == 1 else np.setdiff1d(everything, chosen)
    return SampleSplit(chosen, rest, *({name: array[part] for name, array in samples.items()} for part in (chosen, rest)))
