"""The digits network on an accelerator, with samples and golden's tensors; compiled once for each accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.flow import Network, Options, prepare
from systola.driver.samples import stacked
from systola.sim.golden import run_golden

__all__ = ["DIGITS", "Digits", "digits"]

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model"
SAMPLES = 3


@dataclass(frozen=True, eq=False)
class Digits:
    """``inputs`` and golden's ``values``: [samples, *shape] by name."""

    network: Network
    inputs: Mapping[str, NDArray[np.int8]]
    values: Mapping[str, NDArray[Any]]

    def sample(self, number: int) -> dict[str, NDArray[np.int8]]:
        """One sample's input."""
        return {name: codes[number] for name, codes in self.inputs.items()}


@cache
def digits(accel: str) -> Digits:
    """The network on a preset."""
    network = prepare(Options(DIGITS, accel, samples=SAMPLES))
    assert network.samples is not None
    inputs = stacked(network.graph, network.samples)
    return Digits(network, inputs, run_golden(network.graph, dict(inputs), keep=True))
