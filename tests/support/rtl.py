"""One RTL simulation per preset for all tests of a process, each with an interpreter that has lived through the same.

A session is opened when it is first asked for, and closed at the end of the process. Tests of one preset carry
``xdist_group(preset)``, so that one worker has them all and each model is built and started once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from systola.driver.compare import Comparison
from systola.driver.open import rtl_settings
from systola.driver.runtime import Counters, Inference, Runtime
from systola.hw.config import load_config
from systola.hw.isa import ENGINES
from systola.hw.params import Params
from systola.mapper.image import Image
from systola.mapper.quantgraph import QuantGraph
from systola.sim.golden import run_golden
from systola.sim.interp_device import InterpDevice
from systola.sim.rtl.session import RtlSession
from systola.sim.rtl.settings import DramSettings, RtlSettings

__all__ = ["PRESETS", "Pair", "RtlPool", "assert_classes_sum", "golden_values", "presets", "settings_of"]

PRESETS = ("tiny", "small", "base", "tall", "wide", "large")
DRAM_BYTES = 1 << 26
"""Sparse: only what is touched takes memory."""

TIMEOUT_CYCLES = 20_000_000


def presets(names: Sequence[str] = PRESETS) -> Any:
    """Parametrizes a test over presets, those of one preset in one worker."""
    return pytest.mark.parametrize("preset", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names])


def settings_of(params: Params, **changes: Any) -> RtlSettings:
    """The preset's own memory, with ``changes`` of DramSettings."""
    plain = rtl_settings(params, trace=False)
    return RtlSettings(DramSettings(**{"latency_cycles": plain.dram.latency_cycles, "bytes_per_cycle": plain.dram.bytes_per_cycle,
                                       **changes}))  # fmt: skip


def golden_values(graph: QuantGraph, inputs: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[Any]]:
    """Golden's tensors for one sample."""
    values = run_golden(graph, {name: codes[None] for name, codes in inputs.items()}, keep=True)
    return {name: array[0] for name, array in values.items()}


def assert_classes_sum(counters: Counters | None) -> None:
    """Each engine is in exactly one class in each cycle."""
    assert counters is not None
    for engine in ENGINES:
        assert sum(counters.classes[engine].values()) == counters.cycles, engine.name


@dataclass
class Pair:
    """A simulation and an interpreter with one history: what is left in scratchpads and memories is the same in both."""

    params: Params
    rtl: RtlSession
    interp: InterpDevice
    plain: RtlSettings

    def runtimes(self, image: Image) -> tuple[Runtime, Runtime]:
        """The image in both, (rtl, interp), all other bytes of its range 0."""
        for device in (self.rtl, self.interp):
            device.memory[: image.memory_bytes] = 0
        return Runtime(self.rtl, image, self.params), Runtime(self.interp, image, self.params)

    def infer(self, graph: QuantGraph, image: Image, inputs: Mapping[str, NDArray[np.int8]]) -> Inference:
        """Run a sample on both; every tensor equals golden's, and every byte of memory the interpreter's."""
        rtl, interp = self.runtimes(image)
        return self.again(rtl, interp, graph, inputs)

    def again(self, rtl: Runtime, interp: Runtime, graph: QuantGraph, inputs: Mapping[str, NDArray[np.int8]]) -> Inference:
        """Run one more sample."""
        expected = golden_values(graph, inputs)
        found = {}
        for name, runtime in (("interp", interp), ("rtl", rtl)):
            comparison = Comparison(graph, runtime.image)
            found[name] = runtime.infer(inputs, timeout_cycles=TIMEOUT_CYCLES)
            comparison.add(expected, runtime, found[name])
            check = comparison.check()
            assert sum(check.tensors.values()) > 0
            assert not check.mismatches, f"{name} differs from golden in {check.mismatches}"
        size = rtl.image.memory_bytes
        wrong = np.flatnonzero(self.rtl.memory[:size] != self.interp.memory[:size])
        assert not len(wrong), f"{len(wrong)} bytes of memory differ from the interpreter's, first at {wrong[0]:#x}"
        if found["rtl"].program_cycles:  # a network may be the host's alone
            assert_classes_sum(found["rtl"].counters)
        return found["rtl"]


@dataclass
class RtlPool:
    """Pairs by preset, and simulations that run without an interpreter beside them."""

    pairs: dict[str, Pair] = field(default_factory=dict)
    alone: dict[str, RtlSession] = field(default_factory=dict)

    @contextmanager
    def pair(self, preset: str) -> Iterator[Pair]:
        """The preset's pair, idle, with the preset's DRAM timing. After a failure it is not used again: its halves may differ."""
        if preset not in self.pairs:
            params = Params(load_config(preset))
            plain = settings_of(params)
            self.pairs[preset] = Pair(params, RtlSession(params, DRAM_BYTES, plain), InterpDevice(params, DRAM_BYTES), plain)
        try:
            yield self.pairs[preset]
        except BaseException:
            self.pairs.pop(preset).rtl.close()
            raise

    @contextmanager
    def session(self, preset: str) -> Iterator[tuple[RtlSession, Params]]:
        """A simulation alone. It is no pair's: what a program leaves in scratchpads would be in one half only."""
        params = Params(load_config(preset))
        if preset not in self.alone:
            self.alone[preset] = RtlSession(params, DRAM_BYTES, settings_of(params))
        try:
            yield self.alone[preset], params
        except BaseException:
            self.alone.pop(preset).close()
            raise

    def close(self) -> None:
        """End every simulation."""
        while self.alone:
            self.alone.popitem()[1].close()
        while self.pairs:
            self.pairs.popitem()[1].rtl.close()
