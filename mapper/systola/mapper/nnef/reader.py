"""Reading a model: graph.nnef, graph.quant and the tensor files into a ``Graph``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DataModelError, ModelError, Place, SyntaxModelError
from systola.mapper.graph import Graph, QuantEntry, Tensor
from systola.mapper.nnef.expand import Expander
from systola.mapper.nnef.parse import parse_document, read_text
from systola.mapper.nnef.quantfile import read_quantization
from systola.mapper.nnef.random_weights import random_variables
from systola.mapper.nnef.safefile import path_inside
from systola.mapper.nnef.syntax import Source
from systola.mapper.nnef.tensorfile import ItemType, read_tensor

__all__ = ["parse_graph", "read_model"]

GRAPH_FILE = "graph.nnef"
QUANT_FILE = "graph.quant"

Shapes = Mapping[str, tuple[int, ...]]


def parse_graph(text: str, file: str = GRAPH_FILE, *, external_shapes: Shapes | None = None) -> Graph:
    """The flat graph of NNEF text; variables have no data yet.

    Args:
        text: the content of a graph.nnef.
        file: the name that errors give.
        external_shapes: shapes of inputs whose shape in the text is open (0 or -1).

    Raises:
        SyntaxModelError: the text is not NNEF.
        SemanticModelError: it breaks a rule of NNEF.
    """
    return _parse(Source(text, file), external_shapes or {})


def _parse(source: Source, external_shapes: Shapes) -> Graph:
    try:
        document = parse_document(source)
        expander = Expander(source, document, external_shapes)
        expander.run()
    except RecursionError:  # the limits stop deep input before this; a caller may have used up the stack
        raise SyntaxModelError("the text is nested too deeply", Place(source.file)) from None
    except MemoryError:
        raise SyntaxModelError("the graph needs more memory than there is", Place(source.file)) from None
    graph = document.graph
    return Graph(
        name=graph.name,
        inputs=tuple(name.id for name in graph.inputs),
        outputs=tuple(name.id for name in graph.outputs),
        tensors=expander.builder.tensors,
        operations=tuple(expander.builder.operations),
        source=source.file,
    )


def read_model(path: Path | str, *, random_weights: int | None = None, external_shapes: Shapes | None = None) -> Graph:
    """Read a network.

    Args:
        path: a folder with graph.nnef, its tensor files and perhaps graph.quant; or a .nnef file alone.
        random_weights: a seed. Variables get random float values instead of their files' content (and graph.quant is
            not read): what a graph without weights needs.
        external_shapes: shapes of inputs whose shape in the file is open (0 or -1).

    Raises:
        SyntaxModelError: graph.nnef or graph.quant is not what it should be.
        SemanticModelError: a rule of NNEF is broken.
        DataModelError: a file is missing, damaged, or outside the folder.
    """
    path = Path(path)
    alone = not path.is_dir()
    source = read_text(path if alone else path / GRAPH_FILE)
    graph = _parse(source, external_shapes or {})
    if random_weights is not None:
        return replace(graph, tensors={**graph.tensors, **random_variables(graph, random_weights)})
    if alone:
        if any(tensor.label is not None for tensor in graph.tensors.values()):
            raise DataModelError(
                "the graph has variables and a single .nnef file has no weights: give the model's folder, or ask for "
                "random weights",
                Place(str(path)),
            )
        return graph
    return _with_data(graph, path, source)


def _with_data(graph: Graph, folder: Path, source: Source) -> Graph:
    """Add quantization entries and the variables' data."""
    entries: dict[str, QuantEntry] = {}
    quant_path = folder / QUANT_FILE
    if quant_path.exists() or quant_path.is_symlink():
        entries = read_quantization(read_text(quant_path), graph.tensors)
    tensors: dict[str, Tensor] = {}
    for name, tensor in graph.tensors.items():
        quant = entries.get(name)
        data = tensor.data
        if tensor.label is not None:
            data = _variable_data(folder, replace(tensor, quant=quant), source)
        tensors[name] = replace(tensor, quant=quant, data=data)
    return replace(graph, tensors=tensors, quantized=bool(entries))


def _variable_data(folder: Path, tensor: Tensor, source: Source) -> NDArray[Any]:
    """The data of one variable, in the type that ``Tensor`` promises."""
    assert tensor.label is not None  # the caller asks for variables only
    path = path_inside(folder, tensor.label, ".dat", Place(source.file))
    try:
        header, data = read_tensor(path)
    except ModelError as error:
        if not os.path.lexists(path):
            raise DataModelError(
                f"the file {path.name!r} of variable {tensor.name!r} (label {tensor.label!r}) is missing", Place(str(path))
            ) from None
        raise error
    place = Place(str(path))
    if header.shape != tensor.shape:
        raise DataModelError(
            f"variable {tensor.name!r} has shape {list(tensor.shape)} in the graph but {list(header.shape)} in its file", place
        )
    _check_type(tensor, header.item, place)
    if tensor.dtype == "integer":
        return _as_integers(data, tensor, place)
    if data.dtype == np.float16:
        return data.astype(np.float32)
    if tensor.quant is not None and data.dtype.kind in "iu":
        _check_range(data, tensor, place)
    return data


def _as_integers(data: NDArray[Any], tensor: Tensor, place: Place) -> NDArray[np.int64]:
    if data.dtype == np.uint64 and int(data.max()) > np.iinfo(np.int64).max:
        raise DataModelError(f"variable {tensor.name!r} has integers of more than 63 bits", place)
    return data.astype(np.int64)


def _check_type(tensor: Tensor, item: ItemType, place: Place) -> None:
    """The file's items must be what the graph declares."""
    allowed = {
        "scalar": (ItemType.FLOAT, ItemType.QINT, ItemType.QUINT, ItemType.INT, ItemType.UINT),
        "integer": (ItemType.INT, ItemType.UINT),
        "logical": (ItemType.BOOL,),
    }.get(tensor.dtype, ())
    if item not in allowed:
        raise DataModelError(f"variable {tensor.name!r} is {tensor.dtype}, but its file has {item.name.lower()} items", place)
    if tensor.dtype == "scalar" and item is not ItemType.FLOAT and tensor.quant is None:
        raise DataModelError(
            f"variable {tensor.name!r} is stored as integers, but graph.quant has no entry that says what they mean", place
        )


def _check_range(data: NDArray[Any], tensor: Tensor, place: Place) -> None:
    """Stored integers must be within the bits that graph.quant states."""
    assert tensor.quant is not None  # the caller asks for quantized tensors only
    bits, signed = tensor.quant.parameters["bits"], tensor.quant.parameters.get("signed", False)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if int(data.min()) < low or int(data.max()) > high:
        kind = "signed" if signed else "unsigned"
        raise DataModelError(
            f"variable {tensor.name!r} has values from {data.min()} to {data.max()}, which are no {bits}-bit {kind} "
            "integers as graph.quant says",
            place,
        )
