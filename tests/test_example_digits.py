"""The digits example: its files agree with each other, and its trainer's gradients with its layers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nnef
import numpy as np
import pytest
from numpy.typing import NDArray

from systola.mapper.nnef import read_model
from systola.mapper.reference import run_float

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
MODEL = DIGITS / "model"
SIZE_LIMIT_BYTES = 200_000


def sample(name: str) -> NDArray[Any]:
    """One array of the model's samples."""
    array: NDArray[Any] = np.load(MODEL / "samples" / f"{name}.npy", allow_pickle=False)
    return array


def load_layers() -> ModuleType:
    """The example's layers.py, which is not part of the package."""
    spec = importlib.util.spec_from_file_location("digits_layers", DIGITS / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_samples_are_what_the_note_says() -> None:
    assert sample("input").shape == sample("calibration").shape == (100, 1, 8, 8)
    assert sample("input").dtype == sample("calibration").dtype == sample("ref_output").dtype == np.float32
    for name in ("input", "calibration"):
        sixteenths = sample(name) * 16
        assert np.array_equal(sixteenths, np.round(sixteenths))
        assert (sixteenths.min(), sixteenths.max()) == (0, 16)
    assert np.array_equal(np.unique(sample("label")), np.arange(10))
    note = (MODEL / "samples" / "NOTE.txt").read_text()
    assert "CC BY 4.0" in note
    assert "https://doi.org/10.24432/C50P49" in note


def test_no_test_digit_is_used_for_calibration() -> None:
    tested = {digit.tobytes() for digit in sample("input")}
    assert len(tested) == 100
    assert not tested & {digit.tobytes() for digit in sample("calibration")}


def test_model_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) < SIZE_LIMIT_BYTES


def test_reference_output_is_accurate() -> None:
    correct = sample("ref_output").argmax(1) == sample("label")
    assert np.count_nonzero(correct) >= 97


def test_written_weights_give_the_reference_output() -> None:
    output = run_float(read_model(MODEL), {"input": sample("input")})["probability"]
    np.testing.assert_allclose(output, sample("ref_output"), atol=1e-5, rtol=0)


def test_official_executor_gives_the_reference_output() -> None:
    # The executor has no batch normalization of its own: it expands the standard's definition.
    with nnef.Session(str(MODEL), lowered=["batch_normalization"]) as session:
        output = np.concatenate([session(digit[None])[0] for digit in sample("input")])
    np.testing.assert_allclose(output, sample("ref_output"), atol=1e-5, rtol=0)


def test_official_parser_infers_the_shapes() -> None:
    graph = nnef.load_graph(str(MODEL))
    nnef.infer_shapes(graph)
    shapes = {name: tuple(graph.tensors[name].shape) for name in ("residual", "depthwise", "pointwise", "probability")}
    assert shapes == {
        "residual": (1, 16, 8, 8),
        "depthwise": (1, 16, 4, 4),
        "pointwise": (1, 32, 4, 4),
        "probability": (1, 10),
    }


Maker = Callable[[ModuleType, np.random.Generator], Any]
LAYERS: dict[str, tuple[Maker, tuple[int, ...]]] = {
    "conv": (lambda m, rng: m.Conv(rng, "c", 3, 4, kernel=3, bias=True), (2, 3, 7, 8)),
    "strided conv": (lambda m, rng: m.Conv(rng, "c", 3, 4, kernel=3, stride=2), (2, 3, 8, 8)),
    "pointwise": (lambda m, rng: m.Conv(rng, "c", 3, 4, kernel=1), (2, 3, 4, 4)),
    "depthwise": (lambda m, rng: m.Conv(rng, "c", 4, 4, kernel=3, stride=2, depthwise=True), (2, 4, 8, 8)),
    "batch norm": (lambda m, _: m.BatchNorm("n", 3), (4, 3, 5, 5)),
    "relu": (lambda m, _: m.Relu("r"), (2, 3, 4, 4)),
    "residual": (lambda m, rng: m.Residual("s", m.Conv(rng, "c", 3, 3, kernel=3)), (2, 3, 6, 6)),
    "head": (lambda m, rng: m.Sequential(m.GlobalAverage("a"), m.Linear(rng, "l", 3, 5)), (2, 3, 4, 4)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_backward_is_the_derivative_of_forward(kind: str) -> None:
    make, shape = LAYERS[kind]
    rng = np.random.default_rng(0)
    layer = make(load_layers(), rng)
    for parameter in layer.parameters():
        parameter.value = parameter.value.astype(np.float64)  # so that central differences have digits to spare
    x = rng.normal(size=shape)
    weight = rng.normal(size=layer.forward(x, True).shape)
    gradients = [(x, layer.backward(weight)), *((p.value, p.grad) for p in layer.parameters())]

    for values, gradient in gradients:
        for _ in range(8):
            at = tuple(int(rng.integers(n)) for n in values.shape)
            kept, losses = values[at], []
            for step in (1e-5, -1e-5):
                values[at] = kept + step
                losses.append(float((layer.forward(x, True) * weight).sum()))
            values[at] = kept
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[at], abs=1e-6)
