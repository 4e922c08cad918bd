"""Tensor files, graph.quant, and writing what was read."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from systola.hw.errors import DataModelError, ModelError, Place, SemanticModelError, SyntaxModelError
from systola.mapper.graph import Graph, QuantEntry
from systola.mapper.nnef import (
    ItemType,
    dequantize,
    expand_parameter,
    parse_graph,
    read_header,
    read_model,
    read_tensor,
    write_model,
    write_tensor,
)

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
TEXT = """version 1.0;
graph g(x) -> (y)
{
    x = external(shape = [1, 3]);
    w = variable(shape = [2, 3], label = 'weights/w');
    y = linear(x, w);
}
"""


def header(shape: tuple[int, ...], bits: int, item: int, length: int, reserved: int = 0) -> bytes:
    extents = (*shape, *(0,) * (8 - len(shape)))
    return struct.pack("<4B2I8I2I19I", 0x4E, 0xEF, 1, 0, length, len(shape), *extents, bits, item, reserved, *(0,) * 18)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model on disk."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "graph.nnef").write_text(TEXT)
    write_tensor(tmp_path / "weights" / "w.dat", np.arange(6, dtype=np.float32).reshape(2, 3))
    return tmp_path


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_survives(tmp_path: Path, dtype: str) -> None:
    data = (np.arange(30) % 2 if dtype == "bool" else np.arange(30) * 3 - (0 if "u" in dtype else 40)).astype(dtype)
    write_tensor(tmp_path / "t.dat", data.reshape(2, 3, 5))
    head, back = read_tensor(tmp_path / "t.dat")
    assert back.dtype == data.dtype
    assert np.array_equal(back, data.reshape(2, 3, 5))
    assert head.shape == (2, 3, 5)
    assert not back.flags.writeable


@settings(max_examples=60)
@given(bits=st.integers(1, 64), signed=st.booleans(), data=st.data())
def test_every_width_survives(tmp_path_factory: pytest.TempPathFactory, bits: int, signed: bool, data: Any) -> None:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=40))
    array = np.array(values, dtype=np.int64 if signed else np.uint64)
    path = tmp_path_factory.mktemp("dat") / "t.dat"
    write_tensor(path, array, quantized=True, bits=bits)
    head, back = read_tensor(path)
    assert head.quantized
    assert head.bits == bits
    assert path.stat().st_size == 128 + (len(values) * bits + 7) // 8
    assert back.tolist() == values


def test_bits_are_packed_from_the_most_significant(tmp_path: Path) -> None:
    write_tensor(tmp_path / "b.dat", np.array([True, False, False, False, False, False, False, True, True]))
    assert (tmp_path / "b.dat").read_bytes()[128:] == b"\x81\x80"
    write_tensor(tmp_path / "n.dat", np.array([1, 2, 15], np.uint8), bits=4)
    assert (tmp_path / "n.dat").read_bytes()[128:] == b"\x12\xf0"


def test_long_packed_data_is_read_in_portions(tmp_path: Path) -> None:
    data = (np.arange(700_001) * 7 % 31 - 16).astype(np.int8)
    write_tensor(tmp_path / "t.dat", data, bits=5)
    assert np.array_equal(read_tensor(tmp_path / "t.dat")[1], data)


def test_legacy_signed_integers(tmp_path: Path) -> None:
    (tmp_path / "t.dat").write_bytes(header((2,), 8, 1, 2, reserved=1) + b"\xff\x01")
    head, data = read_tensor(tmp_path / "t.dat")
    assert head.item is ItemType.INT
    assert data.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file has 0 bytes"),
        (b"\x4e\xef\x01\x00" + bytes(60), "the file has 64 bytes"),
        (bytes(128), "does not begin with the bytes 4E EF"),
        (b"\x4e\xef\x02\x00" + bytes(124), "version 2.0 is not known"),
        (header((2,), 32, 0, 8) + bytes(7), "the file has 7 bytes of data"),
        (header((2,), 32, 0, 8) + bytes(9), "the file has 9 bytes of data"),
        (header((2,), 32, 0, 4) + bytes(8), "and 4 bytes of data"),
        (header((1 << 20, 1 << 20), 32, 0, 8) + bytes(8), "4398046511104 bytes"),
        (header((0xFFFFFFFF,) * 8, 64, 4, 8) + bytes(8), "but the file has 8"),
        (header((2, 0), 32, 0, 0), "an extent of 0"),
        (header((2,), 31, 0, 8) + bytes(8), "float cannot have 31 bits"),
        (header((2,), 0, 1, 0), "uint cannot have 0 bits"),
        (header((2,), 65, 4, 17) + bytes(17), "int cannot have 65 bits"),
        (header((2,), 32, 6, 8) + bytes(8), "item type 6 is not known"),
        (header((2,), 32, 0, 8) + struct.pack("<2f", 1, float("nan")), "infinite or not a number"),
        (header((2,), 32, 0, 8)[:8] + b"\x09" + header((2,), 32, 0, 8)[9:] + bytes(8), "the header says 9 dimensions"),
    ],
)
def test_damaged_tensor_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.dat"
    path.write_bytes(content)
    with pytest.raises(DataModelError, match=message) as caught:
        read_tensor(path)
    assert caught.value.place == Place(str(path))


@settings(max_examples=150)
@given(
    position=st.integers(0, 151), value=st.integers(0, 255), length=st.integers(0, 160), cut=st.booleans()
)
def test_changed_bytes_never_crash(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, length: int, cut: bool
) -> None:
    content = bytearray(header((2, 3), 32, 0, 24) + np.arange(6, dtype="<f4").tobytes())
    content[position] = value
    path = tmp_path_factory.mktemp("dat") / "t.dat"
    path.write_bytes(content[:length] if cut else content)
    try:
        head, data = read_tensor(path)
    except DataModelError:
        return
    assert data.shape == head.shape
    assert data.nbytes <= 64 * 24


def test_a_folder_is_read(folder: Path) -> None:
    graph = read_model(folder)
    assert graph.tensors["w"].data is not None
    assert graph.tensors["w"].data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not graph.quantized


def test_random_weights(folder: Path) -> None:
    first, again = (read_model(folder / "graph.nnef", random_weights=5).tensors["w"].data for _ in range(2))
    other = read_model(folder / "graph.nnef", random_weights=6).tensors["w"].data
    assert first is not None and other is not None
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(DataModelError, match="ask for random weights"):
        read_model(folder / "graph.nnef")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("../w", "does not name a file inside"),
        ("weights/../../w", "does not name a file inside"),
        ("/etc/passwd", "does not name a file inside"),
        ("", "does not name a file inside"),
        ("..", "does not name a file inside"),
        ("weights\\\\w", "does not name a file inside"),
        ("out/w", "a link that leads out"),
        ("link", "a link that leads out"),
        ("loop", "link"),
        ("pipe", "pipe or device"),
        ("weights", "pipe or device|is missing|folder"),
        ("nothing", "'nothing.dat' of variable 'w' .label 'nothing'. is missing"),
        ("n" * 2000, "does not name a file inside"),
        ("n" * 500, "missing|cannot be opened"),
    ],
)
def test_labels_stay_inside_the_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory, label: str, message: str) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write_tensor(outside / "w.dat", np.zeros((2, 3), np.float32))
    (folder / "out").symlink_to(outside)
    (folder / "link.dat").symlink_to(outside / "w.dat")
    (folder / "loop.dat").symlink_to(folder / "loop.dat")
    (folder / "weights.dat").mkdir()
    os.mkfifo(folder / "pipe.dat")
    (folder / "graph.nnef").write_text(TEXT.replace("weights/w", label))
    with pytest.raises(DataModelError, match=message):
        read_model(folder)


def test_writing_stays_inside_the_folder(folder: Path, tmp_path: Path) -> None:
    graph = read_model(folder)
    weights = replace(graph.tensors["w"], label="../escaped")
    with pytest.raises(DataModelError, match="does not name a file inside"):
        write_model(replace(graph, tensors={**graph.tensors, "w": weights}), tmp_path / "copy")
    assert not (tmp_path / "escaped.dat").exists()


def test_shape_and_type_must_match_the_graph(folder: Path) -> None:
    path = folder / "weights" / "w.dat"
    write_tensor(path, np.zeros((3, 2), np.float32))
    with pytest.raises(DataModelError, match=r"shape \[2, 3\] in the graph but \[3, 2\] in its file"):
        read_model(folder)
    write_tensor(path, np.zeros((2, 3), np.int8), quantized=True)
    with pytest.raises(DataModelError, match=r"graph\.quant has no entry"):
        read_model(folder)
    write_tensor(path, np.zeros((2, 3), np.bool_))
    with pytest.raises(DataModelError, match="is scalar, but its file has bool items"):
        read_model(folder)


ZERO_POINT = "zero_point_linear_quantize(zero_point = 0, scale = 0.5, bits = 8, signed = true, symmetric = false)"


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (f'"q": {ZERO_POINT};', SemanticModelError, "the graph has no tensor 'q'"),
        (f'"w": {ZERO_POINT}; "w": {ZERO_POINT};', SemanticModelError, "two entries"),
        ('"w": quantize(bits = 8);', SemanticModelError, "'quantize' is no quantize operation"),
        (f'"w": {ZERO_POINT.replace("zero_point = 0", "0")};', SemanticModelError, "must be named"),
        (f'"w": {ZERO_POINT.replace("= 0,", "= 0.5,")};', SemanticModelError, "'zero_point' must be an integer"),
        (f'"w": {ZERO_POINT.replace("0.5", "-0.5")};', SemanticModelError, "'scale' must be positive"),
        (f'"w": {ZERO_POINT.replace("0.5", "[0.5, 0.5, 0.5]")};', SemanticModelError, "does not broadcast"),
        (f'"w": {ZERO_POINT.replace("0.5", "[[0.5], [0.5, 0.5]]")};', SemanticModelError, "not equally long"),
        (f'"w": {ZERO_POINT.replace("= 8", "= 99")};', SemanticModelError, "'bits' must be an integer from 1 to 64"),
        (f'"w": {ZERO_POINT.replace("scale", "scael")};', SemanticModelError, "did you mean 'scale'"),
        (f'"w": {ZERO_POINT.replace(", bits = 8", "")};', SemanticModelError, "parameter 'bits' is missing"),
        ('"w": linear_quantize(min = 1.0, max = 1.0, bits = 8);', SemanticModelError, "'min' must be below 'max'"),
        (f'"w" {ZERO_POINT};', SyntaxModelError, "expected ':'"),
        (f'"w": {ZERO_POINT}', SyntaxModelError, "the file ends; expected ';'"),
    ],
)
def test_errors_in_graph_quant(folder: Path, line: str, kind: type[ModelError], message: str) -> None:
    (folder / "graph.quant").write_text(f"# comment\n{line}\n")
    with pytest.raises(kind, match=message) as caught:
        read_model(folder)
    assert caught.value.place is not None
    assert caught.value.place.line == 2


def test_stored_integers_must_fit_their_bits(folder: Path) -> None:
    (folder / "graph.quant").write_text(f'"w": {ZERO_POINT.replace("bits = 8", "bits = 4")};')
    write_tensor(folder / "weights" / "w.dat", np.full((2, 3), 9, np.int8), quantized=True)
    with pytest.raises(DataModelError, match="no 4-bit signed integers"):
        read_model(folder)


def test_parameters_broadcast_from_the_leading_dimension() -> None:
    assert expand_parameter((1.0, 2.0), (2, 3, 1)).shape == (2, 1, 1)
    assert expand_parameter((1.0, 2.0, 3.0), (1, 3)).shape == (1, 3)
    assert expand_parameter(1.0, (2, 3)).shape == (1, 1)


@pytest.mark.parametrize(
    ("op", "parameters", "stored", "real"),
    [
        (
            "zero_point_linear_quantize",
            {"zero_point": (1, -1), "scale": (0.5, 2.0), "bits": 8, "signed": True, "symmetric": False},
            [[3, 1], [3, -1]],
            [[1.0, 0.0], [8.0, 0.0]],
        ),
        ("linear_quantize", {"min": -1.0, "max": 2.0, "bits": 2}, [[0, 1], [2, 3]], [[-1.0, 0.0], [1.0, 2.0]]),
        (
            "min_max_linear_quantize",
            {"min": -1.0, "max": 1.0, "bits": 2, "signed": True, "symmetric": True},
            [[-1, 0], [1, 1]],
            [[-1.0, 0.0], [1.0, 1.0]],
        ),
        ("logarithmic_quantize", {"max": 4.0, "bits": 2}, [[3, 2], [1, 0]], [[4.0, 2.0], [1.0, 0.5]]),
    ],
)
def test_dequantize(op: str, parameters: dict[str, Any], stored: list[Any], real: list[Any]) -> None:
    entry = QuantEntry(op, parameters, Place("q"))
    assert dequantize(np.array(stored), entry).tolist() == real


def assert_same_graph(one: Graph, other: Graph) -> None:
    assert [(o.name, o.inputs, o.attributes, o.outputs) for o in one.operations] == [
        (o.name, o.inputs, o.attributes, o.outputs) for o in other.operations
    ]
    assert (one.inputs, one.outputs, one.quantized) == (other.inputs, other.outputs, other.quantized)
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        match = other.tensors[name]
        assert (tensor.shape, tensor.dtype, tensor.label) == (match.shape, match.dtype, match.label)
        assert (tensor.data is None) == (match.data is None)
        if tensor.data is not None and match.data is not None:
            assert tensor.data.dtype == match.data.dtype
            assert np.array_equal(tensor.data, match.data)
        assert (tensor.quant is None) == (match.quant is None)
        if tensor.quant is not None and match.quant is not None:
            assert (tensor.quant.op, tensor.quant.parameters) == (match.quant.op, match.quant.parameters)


@pytest.mark.parametrize("name", ["resnet8_int8", "kws_f32", "mobilenet_v2_ptq_int8"])
def test_networks_survive_writing(models: Path, tmp_path: Path, name: str) -> None:
    graph = read_model(models / name)
    write_model(graph, tmp_path / "copy")
    assert_same_graph(graph, read_model(tmp_path / "copy"))
    assert read_header(tmp_path / "copy" / "variable1.dat").quantized == graph.quantized


def test_all_forms_survive_writing(tmp_path: Path) -> None:
    graph = parse_graph(
        """version 1.0;
        graph g(x, n) -> (y, v, p)
        {
            x = external(shape = [1, 4, 6]);
            n = external<integer>(shape = [1]);
            c = constant(shape = [1, 4], value = [1.0, 2.0, 3.0, 4.5e-8]);
            t = constant<logical>(shape = [2, 2], value = [true]);
            [a, b] = split(x, axis = 1, ratios = [1, 3]);
            m, v = moments(b, axes = [2]);
            p = pad(a, padding = [(0, 0), (1, 0), (0, 2)], border = 'reflect-even');
            f = cast<scalar>(n);
            j = concat([a, b], axis = 1);
            y = clamp(add(j, c), -1.0, f);
        }"""
    )
    write_model(graph, tmp_path)
    assert_same_graph(graph, read_model(tmp_path))


@settings(max_examples=40)
@given(data=hnp.arrays(np.float32, hnp.array_shapes(max_dims=4, max_side=4), elements=st.floats(-1e6, 1e6, width=32)))
def test_random_arrays_survive(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("dat") / "t.dat"
    write_tensor(path, data)
    assert np.array_equal(read_tensor(path)[1], data)
