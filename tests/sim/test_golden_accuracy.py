"""Real networks: the golden results against the source framework's outputs, and calibrated networks against themselves in float.

The multipliers have 17 bits, the most that the accelerator's description allows. ResNet8 needs them: its outputs decide between
nearly equal classes, and a single code changed in its first layers spreads (97 % agreement with 16 bits, 100 % with 17). With 24
bits every output code of the four small networks equals the reference's: nothing but the multipliers' rounding is different.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systola.mapper.graph import Graph
from systola.mapper.nnef import read_model
from systola.mapper.quantize import quantize, split_calibration
from systola.mapper.reference import run_float
from systola.sim.golden import dequantize, quantize_input, run_golden

MULTIPLIER_BITS = 17
EXACT_BITS = 24


@functools.cache
def load(folder: Path) -> tuple[Graph, Any, Any]:
    """A network, its samples [S, *shape], and the reference outputs [S, outputs]."""
    reference = np.load(folder / "samples" / "ref_output.npy")
    return read_model(folder), np.load(folder / "samples" / "input.npy")[:, None], reference.reshape(len(reference), -1)


def recentred(array: Any) -> Any:
    """Unsigned codes as the quantizer holds them."""
    return (array.astype(np.int16) - 128).astype(np.int8) if array.dtype == np.uint8 else array


def results(folder: Path, count: int | None, bits: int) -> tuple[Any, Any]:
    """Output codes and reference codes, [S, outputs] as int."""
    graph, inputs, reference = load(folder)
    qgraph = quantize(graph, multiplier_bits=bits)
    codes = run_golden(qgraph, {graph.inputs[0]: recentred(inputs[:count])}, keep=False)[graph.outputs[0]]
    return codes.reshape(len(codes), -1).astype(int), recentred(reference[:count]).astype(int)


def top1(a: Any, b: Any) -> float:
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1)))


@pytest.mark.parametrize(
    ("name", "count", "least"),
    [
        ("resnet8_int8", None, 0.99),
        ("kws_int8", None, 0.99),
        ("vww_int8", None, 1.0),
        pytest.param("mobilenet_v2_ptq_int8", 4, 1.0, marks=pytest.mark.slow),
    ],
)
def test_quantized_network_agrees(models, name, count, least):
    codes, reference = results(models / name, count, MULTIPLIER_BITS)
    assert top1(codes, reference) >= least


@pytest.mark.parametrize("bits", [16, MULTIPLIER_BITS])
def test_autoencoder_is_within_one_code(models, bits):
    codes, reference = results(models / "ad_int8", None, bits)
    assert np.mean(np.abs(codes - reference) <= 1) >= 0.99


@pytest.mark.parametrize("name", ["resnet8_int8", "kws_int8", "vww_int8", "ad_int8"])
def test_wide_multipliers_reproduce_the_reference_exactly(models, name):
    codes, reference = results(models / name, None, EXACT_BITS)
    assert np.array_equal(codes, reference)


@pytest.mark.parametrize("bits", [16, MULTIPLIER_BITS])
@pytest.mark.parametrize("name", ["kws_f32", "vww_f32", "resnet8_f32", "resnet20_cifar10_f32"])
def test_calibrated_network_agrees_with_itself_in_float(models, name, bits):
    """Up to 16 samples, evenly spread, calibrate; the figure is over all others."""
    graph, inputs, _ = load(models / name)
    source, output = graph.inputs[0], graph.outputs[0]
    split = split_calibration({source: inputs})
    qgraph = quantize(graph, multiplier_bits=bits, calibration=split.calibration)
    samples = split.evaluation[source]
    codes = run_golden(qgraph, {source: quantize_input(qgraph.tensors[source], samples)}, keep=False)[output]
    expected = run_float(graph, {source: samples[:, 0]})[output]
    assert top1(dequantize(qgraph.tensors[output], codes).reshape(expected.shape), expected) >= 0.97


def test_calibrated_autoencoder_has_little_noise(models):
    """It has no classes: its output's noise is over 40 dB below the signal."""
    graph, inputs, _ = load(models / "ad_f32")
    source, output = graph.inputs[0], graph.outputs[0]
    split = split_calibration({source: inputs})
    qgraph = quantize(graph, multiplier_bits=16, calibration=split.calibration)
    samples = split.evaluation[source]
    codes = run_golden(qgraph, {source: quantize_input(qgraph.tensors[source], samples)}, keep=False)[output]
    expected = run_float(graph, {source: samples[:, 0]})[output]
    noise = dequantize(qgraph.tensors[output], codes)[:, 0] - expected
    assert 10 * np.log10(np.square(expected).sum() / np.square(noise).sum()) > 40
