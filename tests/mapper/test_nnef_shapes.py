"""Shape inference against the official parser, which runs in a process of its own (it can crash)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from systola.hw.errors import SemanticModelError
from systola.mapper.graph import Graph
from systola.mapper.nnef import parse_graph, read_model

pytest.importorskip("nnef")

ORACLE = """
import json, sys, nnef
texts = json.load(sys.stdin)
answers = []
for text in texts:
    try:
        graph = nnef.parse_string(text, lowered=["relu6"])
        nnef.infer_shapes(graph)
        answers.append({name: list(tensor.shape) for name, tensor in graph.tensors.items()})
    except (nnef.Error, AssertionError, ValueError) as error:
        answers.append(str(error))
json.dump(answers, sys.stdout)
"""

FOLDERS = "ad_f32 ad_int8 kws_f32 kws_int8 resnet8_f32 resnet8_int8 vww_f32 vww_int8 resnet20_cifar10_f32 mobilenet_v2_ptq_int8"
GRAPHS = "alexnet bert_base_encoder_s128 mobilenet_v2_bnfolded resnet resnet18_bnfolded resnet50_bnfolded vgg vgg16"


def oracle(texts: list[str]) -> list[dict[str, list[int]] | str]:
    """The official shapes of each text's tensors, or its error."""
    done = subprocess.run(
        [sys.executable, "-c", ORACLE], input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=120
    )
    answers: list[dict[str, list[int]] | str] = json.loads(done.stdout)
    return answers


def assert_same_shapes(graph: Graph, official: dict[str, list[int]] | str) -> None:
    assert isinstance(official, dict), official
    ours = {name: list(tensor.shape) for name, tensor in graph.tensors.items()}
    compared = ours.keys() & official.keys()
    assert {name: ours[name] for name in compared} == {name: official[name] for name in compared}
    assert len(compared) >= len(ours) - 1 - len(ours) // 50  # what fragments and nested calls make has other names
    assert set(graph.outputs) <= compared


@pytest.mark.parametrize("name", FOLDERS.split())
def test_trained_networks(models: Path, name: str) -> None:
    text = (models / name / "graph.nnef").read_text()
    assert_same_shapes(read_model(models / name), oracle([text])[0])


@pytest.mark.parametrize("name", GRAPHS.split())
def test_graphs_without_weights(models: Path, name: str) -> None:
    text = (models / "graphs" / f"{name}.nnef").read_text()
    assert_same_shapes(parse_graph(text), oracle([text])[0])


STATEMENTS = [
    "y = conv(x, f, stride = [2, 1], dilation = [1, 2], padding = [(1, 0), (2, 2)]);",
    "y = conv(x, f, stride = [3, 2]);",
    "y = deconv(x, d, stride = [2, 2]);",
    "y = deconv(x, d, stride = [2, 3], padding = [(1, 1), (0, 2)]);",
    "y = deconv(x, d, stride = [2, 2], padding = [(1, 1), (1, 1)], output_shape = [2, 5, 14, 18]);",
    "y = max_pool(x, size = [1, 1, 3, 3], stride = [1, 1, 2, 2]);",
    "y = avg_pool(x, size = [1, 1, 3, 2], padding = [(0, 0), (0, 0), (1, 1), (0, 1)], border = 'ignore');",
    "y = box(x, size = [1, 4, 1, 1]);",
    "y = debox(x, size = [1, 1, 2, 2], stride = [1, 1, 2, 2], padding = [(0, 0), (0, 0), (0, 0), (0, 0)]);",
    "y, i = max_pool_with_index(x, size = [1, 1, 2, 2], stride = [1, 1, 2, 2]);",
    "y = reshape(x, shape = [0, -1]);",
    "y = reshape(x, shape = [3, -1], axis_start = 1, axis_count = 2);",
    "y = transpose(x, axes = [1, 0]);",
    "y = unsqueeze(x, axes = [0, 3]);",
    "y = concat([x, x, x], axis = 2);",
    "y = stack([x, x], axis = 4);",
    "[y, z] = split(x, axis = 1, ratios = [1, 2]);",
    "y = slice(x, axes = [2, 3], begin = [1, -3], end = [0, -1]);",
    "y = slice(x, axes = [2], begin = [5], end = [0], stride = [-2]);",
    "y = tile(x, repeats = [1, 2, 1, 3]);",
    "y = pad(x, padding = [(0, 0), (0, 0), (1, 2), (3, 0)]);",
    "y = sum_reduce(x, axes = [1, 3]);",
    "y, z = moments(x, axes = [0]);",
    "y = nearest_upsample(x, factor = [2, 3]);",
    "y = area_downsample(x, factor = [7, 3]);",
    "y = multilinear_upsample(x, factor = [2, 2]);",
    "y = matmul(x, x, transposeB = true);",
    "y = separable_conv(x, p, q, stride = [2, 2]);",
    "y = local_response_normalization(x, size = [1, 3, 1, 1]);",
    "y = add(x, c);",
    "y = prelu(x, c);",
    "y = select(lt(x, 0.0), x, c);",
    "y = batch_normalization(x, c, c, c, c, epsilon = 0.001);",
    "y = argmax_reduce(x, axes = [1]);",
    "[y, z] = copy_n(x, times = 2);",
    "y = add_n([x, x]);",
    "y = gather(x, k, axis = 1);",
]
HEADER = """version 1.0;
graph g(x) -> (y)
{
    x = external(shape = [2, 6, 7, 9]);
    f = variable(shape = [8, 6, 3, 3], label = 'f');
    d = variable(shape = [6, 5, 4, 4], label = 'd');
    p = variable(shape = [6, 1, 3, 3], label = 'p');
    q = variable(shape = [4, 6, 1, 1], label = 'q');
    c = variable(shape = [1, 6], label = 'c');
    k = variable<integer>(shape = [5], label = 'k');
"""


def test_single_operations() -> None:
    texts = [f"{HEADER}    {statement}\n}}\n" for statement in STATEMENTS]
    for text, official in zip(texts, oracle(texts), strict=True):
        assert_same_shapes(parse_graph(text), official)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("y = conv(x, d);", "the filter's 5 channels times 1 groups are not the input's 6 channels"),
        ("y = conv(x, f, bias = f);", "a bias of shape"),
        ("y = conv(x, f, padding = [(0, 0)]);", "'padding' must have 2 entries, not 1"),
        ("y = conv(x, f, stride = [0, 1]);", "every entry of 'stride' must be at least 1"),
        ("y = conv(x, f, dilation = [4, 1], padding = [(0, 0), (0, 0)]);", "a window of 9 is larger than the input of 7"),
        ("y = max_pool(x, size = [3, 3]);", "'size' must have 4 entries"),
        ("y = max_pool(x, size = [1, 1, 3, 3], border = 'mirror');", "'border' must be one of"),
        ("y = add(x, f);", "do not go together: dimension 0 differs"),
        ("y = matmul(x, c);", "they must be equal"),
        ("y = linear(x, c);", "must have 2 dimensions"),
        ("y = reshape(x, shape = [5, -1]);", "756 elements cannot be arranged as"),
        ("y = reshape(x, shape = [-1, -1]);", "at most one entry"),
        ("y = transpose(x, axes = [0, 2]);", "must be a permutation"),
        ("y = squeeze(x, axes = [1]);", "dimension 1 of shape .* is not 1"),
        ("y = concat([x, f], axis = 1);", "cannot be joined"),
        ("y = slice(x, axes = [2], begin = [4], end = [4]);", "is empty"),
        ("y = tile(x, repeats = [1, 1, 0, 1]);", "at least 1"),
        ("y = tile(x, repeats = [1048576, 1048576, 1048576, 1]);", "more than 1099511627776 elements"),
        ("y = pad(x, padding = [(0, 0), (0, 0), (-4, -3), (0, 0)]);", "every extent must be from 1"),
        ("y = sum_reduce(x, axes = [4]);", "'axes' must be from 0 to 3"),
        ("y = sum_reduce(x, axes = [1, 1]);", "an axis twice"),
        ("[y, z] = split(x, axis = 1, ratios = [2, 2]);", "cannot be split in 4 equal parts"),
        ("[y, z] = copy_n(x, times = 1000000000);", "'times' must be from 1 to 4096"),
        ("y = area_downsample(x, factor = [2, 2]);", "does not divide"),
    ],
)
def test_shapes_that_do_not_fit(statement: str, message: str) -> None:
    with pytest.raises(SemanticModelError, match=message) as caught:
        parse_graph(f"{HEADER}    {statement}\n}}\n")
    assert caught.value.place is not None
    assert caught.value.place.line == 11
