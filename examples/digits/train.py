"""Train a small residual network on scikit-learn's 8×8 digits and write it as a float NNEF model.

    python examples/digits/train.py [FOLDER]

NumPy only, fixed seed, about half a minute on one core. The network has what a larger one has: convolutions with and without
batch normalization, a residual addition, a depthwise convolution with stride and a pointwise one, a global average.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from layers import Array, BatchNorm, Conv, GlobalAverage, Linear, Model, Relu, Residual, Sequential, softmax
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SEED = 1
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.3
SMOOTHING = 0.1  # of each label's probability, spread evenly over the classes
# The last 360 of the 1797, not a random 360: neighbours in the file tend to share a writer, and a random split would put
# nearly every writer on both sides.
TEST_DIGITS = 360
SAMPLES = 100  # test digits, and as many training digits for calibration, that are kept beside the model

NOTE = """\
Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licence CC BY 4.0; the 1797 digits of its test set, as sklearn.datasets.load_digits
gives them. Changed: pixels are divided by 16, to 0..1, and laid out as (digit, 1, 8, 8).

input.npy        {samples} of the {test} test digits (the last {test} of the 1797), evenly spaced
label.npy        their classes
ref_output.npy   the network's probabilities for them, in float32
calibration.npy  {samples} of the {train} training digits (the first {train}), evenly spaced

Accuracy of the float network: {test_accuracy:.2%} of the {test} test digits, {sample_accuracy:.0%} of input.npy.
Written by examples/digits/train.py.
"""


def build(rng: np.random.Generator) -> Sequential:
    """The network, from (batch, 1, 8, 8) to (batch, 10) logits."""
    return Sequential(
        Conv(rng, "conv1", 1, 16, kernel=3, bias=True),
        Relu("relu1"),
        Residual(
            "residual",
            Conv(rng, "conv2", 16, 16, kernel=3),
            BatchNorm("norm2", 16),
            Relu("relu2"),
            Conv(rng, "conv3", 16, 16, kernel=3),
            BatchNorm("norm3", 16),
        ),
        Relu("relu3"),
        Conv(rng, "depthwise", 16, 16, kernel=3, stride=2, depthwise=True),
        BatchNorm("norm4", 16),
        Relu("relu4"),
        Conv(rng, "pointwise", 16, 32, kernel=1, bias=True),
        Relu("relu5"),
        GlobalAverage("average"),
        Linear(rng, "logits", 32, 10),
    )


def shifted(rng: np.random.Generator, x: Array) -> Array:
    """Each digit moved by −1, 0 or 1 pixels down and across, zeros entering: writers centre their digits differently."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    top, left = rng.integers(0, 3, (2, len(x), 1, 1))
    rows, columns = top + np.arange(8)[:, None], left + np.arange(8)
    return padded[np.arange(len(x))[:, None, None], 0, rows, columns][:, None]


def train(network: Sequential, rng: np.random.Generator, x: Array, labels: NDArray[np.int64]) -> None:
    """Minimise the cross-entropy with Adam; the rate falls to zero along a half cosine."""
    parameters = list(network.parameters())
    targets = np.eye(10, dtype=np.float32)[labels] * (1 - SMOOTHING) + np.float32(SMOOTHING / 10)
    steps = EPOCHS * (len(x) // BATCH)
    step = 0
    for epoch in range(EPOCHS):
        loss = 0.0
        for batch in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            probabilities = softmax(network.forward(shifted(rng, x[batch]), training=True))
            loss -= float((targets[batch] * np.log(probabilities)).sum())
            # The gradient of the mean cross-entropy at the logits is (probability − target) / batch.
            network.backward((probabilities - targets[batch]) / len(batch))
            step += 1
            for parameter in parameters:
                parameter.adam(LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps)), step, WEIGHT_DECAY)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss / len(x):.4f}", flush=True)


def write_model(folder: Path, network: Sequential) -> None:
    """Write graph.nnef and the tensor files."""
    model = Model()
    model.operation("input", "external<scalar>(shape = [1, 1, 8, 8])")
    output = model.operation("probability", f"softmax({network.write(model, 'input')}, axes = [1])")
    model.save(folder, "digits", output)


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "model")
    folder: Path = parser.parse_args().folder

    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    split = len(x) - TEST_DIGITS

    rng = np.random.default_rng(SEED)
    network = build(rng)
    train(network, rng, x[:split], labels[:split])

    probabilities = softmax(network.forward(x[split:], training=False))
    correct = probabilities.argmax(1) == labels[split:]
    shown = np.linspace(0, TEST_DIGITS - 1, SAMPLES).astype(int)

    (folder / "samples").mkdir(parents=True, exist_ok=True)
    write_model(folder, network)
    arrays = {
        "input": x[split:][shown],
        "label": labels[split:][shown],
        "ref_output": probabilities[shown],
        "calibration": x[np.linspace(0, split - 1, SAMPLES).astype(int)],
    }
    for name, array in arrays.items():
        np.save(folder / "samples" / f"{name}.npy", array)
    note = NOTE.format(
        samples=SAMPLES,
        test=TEST_DIGITS,
        train=split,
        test_accuracy=correct.mean(),
        sample_accuracy=correct[shown].mean(),
    )
    (folder / "samples" / "NOTE.txt").write_text(note)
    print(f"test accuracy {correct.mean():.2%} of {TEST_DIGITS}; written to {folder}")


if __name__ == "__main__":
    main()
