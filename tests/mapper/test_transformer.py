"""A transformer encoder end to end on the interpreter: all matrix products on the array, every byte equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import bert_text

from systola.driver.flow import Options, run
from systola.mapper.nnef import read_model

ON_THE_HOST = {"reshape", "transpose", "weighttiles", "table", "softmax", "mean_reduce", "elementwise", "multiply"}
"""Moves and tiles of second operands, scores' scaling, softmax, and what of layer normalization works along a row."""


@pytest.mark.parametrize("accel", ["tiny", "base", "tall", "wide"])
@pytest.mark.parametrize(("width", "heads", "inner", "tokens"), [(48, 3, 96, 20), (42, 3, 50, 33)])
def test_encoder(tmp_path: Path, accel: str, width: int, heads: int, inner: int, tokens: int) -> None:
    path = tmp_path / "encoder.nnef"
    path.write_text(bert_text(2, width, heads, inner, tokens))
    record = run(Options(path, accel, samples=1, backend="interp", random_weights=3))
    assert record.check.bit_exact
    assert sum(record.check.tensors.values()) > 10_000
    layers = record.image.layers
    assert {layer.kind for layer in layers if layer.unit == "host"} <= ON_THE_HOST
    # Four square products, two with the inner width, and two for each head's tokens, in each of two layers.
    macs = 2 * tokens * (4 * width * width + 2 * width * inner + 2 * tokens * width)
    assert sum(layer.macs for layer in layers if layer.unit == "array") == macs
    assert sum(layer.kind == "product" for layer in layers) == 4
    assert min(record.sqnr_db.values()) > 10


def test_the_text_is_bert(models: Path) -> None:
    """Operation by operation the graph of the folder of networks."""
    path = models / "graphs" / "bert_base_encoder_s128.nnef"
    graph = read_model(path, random_weights=0)
    folder_names = [operation.name for operation in graph.operations]
    text = [line.split("=")[1].split("(")[0].strip() for line in bert_text().splitlines() if "=" in line]
    assert [name for name in text if not name.startswith(("external", "variable"))] == folder_names
