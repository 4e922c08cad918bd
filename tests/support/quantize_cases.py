"""Small networks for the quantizer's tests: one operation each, with real values and with quantization entries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import Place
from systola.mapper.graph import Graph, QuantEntry
from systola.mapper.nnef import parse_graph
from systola.mapper.nnef.random_weights import random_variables
from systola.mapper.reference import run_float

IMAGE = [1, 6, 9, 8]
PLACE = Place("graph.quant", 1)


def network(body: str, inputs: dict[str, list[int]], outputs: str = "y", seed: int = 0) -> Graph:
    """A float graph. In ``body``, ``{name: shape}`` declarations are written as ``name = variable…`` lines by the caller."""
    externals = "".join(f"{name} = external<scalar>(shape = {shape});\n" for name, shape in inputs.items())
    text = f"version 1.0;\ngraph test({', '.join(inputs)}) -> ({outputs})\n{{\n{externals}{body}\n}}\n"
    graph = parse_graph(text)
    return replace(graph, tensors={**graph.tensors, **random_variables(graph, seed)})


def variable(name: str, *shape: int) -> str:
    """A line that declares a variable."""
    return f"{name} = variable<scalar>(shape = {list(shape)}, label = '{name}');\n"


def samples(graph: Graph, count: int = 3, seed: int = 1) -> dict[str, NDArray[np.float64]]:
    """Real inputs [count, *shape]."""
    generator = np.random.default_rng(seed)
    return {name: generator.normal(0.2, 1.0, (count, *graph.tensors[name].shape)) for name in graph.inputs}


def float_results(graph: Graph, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Every tensor [count, *shape], each sample evaluated by itself."""
    count = len(next(iter(inputs.values())))
    runs = [run_float(graph, {name: array[s] for name, array in inputs.items()}, keep=True) for s in range(count)]
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def entry(scale: Any, zero_point: Any, *, signed: bool = True, bits: int = 8, symmetric: bool = False) -> QuantEntry:
    """A line of graph.quant."""
    return QuantEntry(
        "zero_point_linear_quantize",
        {"scale": scale, "zero_point": zero_point, "bits": bits, "signed": signed, "symmetric": symmetric},
        PLACE,
    )


def range_entry(values: NDArray[Any]) -> QuantEntry:
    """An entry over the range of values."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.1)
    scale = (high - low) / 255
    return entry(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def with_entries(graph: Graph, inputs: dict[str, NDArray[Any]], skip: tuple[str, ...] = ()) -> Graph:
    """The graph as a quantized one: entries for all activations but ``skip``, and int8 weights with one scale per tensor."""
    values = float_results(graph, inputs)
    tensors = dict(graph.tensors)
    for name, tensor in graph.tensors.items():
        if name in skip or tensor.dtype != "scalar":
            continue
        if tensor.data is None:
            tensors[name] = replace(tensor, quant=range_entry(values[name]))
        elif tensor.label is not None:
            scale = float(np.abs(tensor.data).max()) / 127
            codes = np.rint(tensor.data / scale).astype(np.int8)
            tensors[name] = replace(tensor, data=codes, quant=entry(scale, 0))
    return replace(graph, tensors=tensors, quantized=True)


X = {"x": IMAGE}
XY = {"x": IMAGE, "z": IMAGE}
NORM = "".join(variable(name, 1, 6) for name in ("mean", "variance", "offset", "scale"))

CASES: dict[str, tuple[str, dict[str, list[int]]]] = {
    "conv_same": (variable("w", 5, 6, 3, 3) + variable("b", 1, 5) + "y = conv(x, w, b);", X),
    "conv_stride": (variable("w", 5, 6, 3, 2) + "y = conv(x, w, 0.0, stride = [2, 1], padding = [(1, 0), (0, 1)]);", X),
    "conv_dilated": (variable("w", 4, 6, 3, 3) + "y = conv(x, w, 0.5, dilation = [2, 1], padding = []);", X),
    "conv_groups": (variable("w", 4, 3, 3, 3) + "y = conv(x, w, 0.0, groups = 2);", X),
    "depthwise": (variable("w", 6, 1, 3, 3) + variable("b", 1, 6) + "y = conv(x, w, b, groups = 0);", X),
    "depthwise_multiplier": (variable("w", 12, 1, 3, 3) + "y = conv(x, w, 0.0, groups = 0);", X),
    "conv_1d": (variable("w", 4, 3, 5) + "y = conv(x, w, 0.0, stride = [2]);", {"x": [1, 3, 20]}),
    "linear": (variable("w", 7, 12) + variable("b", 1, 7) + "y = linear(x, w, b);", {"x": [4, 12]}),
    "matmul": (variable("w", 12, 5) + "y = matmul(x, w);", {"x": [3, 12]}),
    "matmul_transposed": (variable("w", 5, 12) + "y = matmul(x, w, transposeA = true, transposeB = true);", {"x": [12, 3]}),
    "matmul_rank3": (variable("w", 1, 12, 5) + "y = matmul(x, w);", {"x": [1, 3, 12]}),
    "matmul_activations": ("y = matmul(x, z, transposeB = true);", {"x": [3, 8], "z": [4, 8]}),
    "matmul_turned": ("y = matmul(x, z, transposeA = true);", {"x": [8, 3], "z": [8, 5]}),
    "matmul_matrices": ("y = matmul(x, z);", {"x": [2, 3, 4, 7], "z": [2, 3, 7, 5]}),
    "matmul_matrices_turned": ("y = matmul(x, z, transposeA = true, transposeB = true);", {"x": [3, 7, 4], "z": [3, 5, 7]}),
    "matmul_itself": ("y = matmul(x, x, transposeB = true);", {"x": [5, 9]}),
    "normalization": (NORM + "y = batch_normalization(x, mean, variance, offset, scale, epsilon = 0.001);", X),
    "relu": ("y = relu(x);", X),
    "clamp": ("y = clamp(x, -0.5, 1.5);", X),
    "leaky_relu": ("y = leaky_relu(x, alpha = 0.1);", X),
    "prelu": ("y = prelu(x, 0.25);", X),
    "abs": ("y = abs(x);", X),
    "neg": ("y = neg(x);", X),
    "sigmoid": ("y = sigmoid(x);", X),
    "tanh": ("y = tanh(x);", X),
    "exp": ("y = exp(x);", X),
    "sqr": ("y = sqr(x);", X),
    "max_number": ("y = max(x, 0.25);", X),
    "add": ("y = add(x, z);", XY),
    "sub": ("y = sub(x, z);", XY),
    "mul": ("y = mul(x, z);", XY),
    "add_self": ("y = add(x, x);", X),
    "add_broadcast": ("y = add(z, x);", {"x": IMAGE, "z": [1, 6, 1, 1]}),
    "sub_broadcast": ("y = sub(z, x);", {"x": IMAGE, "z": [1, 6]}),
    "mul_broadcast": ("y = mul(x, z);", {"x": IMAGE, "z": [1, 6, 1, 1]}),
    "add_number": ("y = add(x, 0.3);", X),
    "number_minus": ("y = sub(1.0, x);", X),
    "div_number": ("y = div(x, 3.0);", X),
    "power": ("y = pow(x, 3.0);", X),
    "add_channel": (variable("c", 1, 6) + "y = add(x, c);", X),
    "mul_channel": (variable("c", 1, 6, 1, 1) + "y = mul(c, x);", X),
    "add_constant": (variable("c", 1, 6, 9, 8) + "y = add(x, c);", X),
    "mul_constant": (variable("c", 1, 1, 9, 8) + "y = mul(x, c);", X),
    "max_pool": ("y = max_pool(x, size = [1, 1, 3, 3], stride = [1, 1, 2, 2], border = 'ignore');", X),
    "max_pool_zeros": ("y = max_pool(x, size = [1, 1, 2, 2], padding = [(0, 0), (0, 0), (1, 1), (1, 1)]);", X),
    "avg_pool": ("y = avg_pool(x, size = [1, 1, 3, 2], padding = [(0, 0), (0, 0), (0, 0), (0, 0)], border = 'ignore');", X),
    "avg_pool_zeros": ("y = avg_pool(x, size = [1, 1, 3, 3], border = 'constant');", X),
    "avg_pool_1d": ("y = avg_pool(x, size = [1, 1, 4], stride = [1, 1, 2], border = 'constant');", {"x": [1, 3, 20]}),
    "box": ("y = box(x, size = [1, 1, 2, 2], padding = [(0, 0), (0, 0), (0, 0), (0, 0)], normalize = false);", X),
    "mean_reduce": ("y = mean_reduce(x, axes = [2, 3]);", X),
    "mean_rows": ("y = mean_reduce(x, axes = [2]);", X),
    "sum_reduce": ("y = sum_reduce(x, axes = [2, 3]);", X),
    "max_reduce": ("y = max_reduce(x, axes = [3]);", X),
    "concat": ("y = concat([x, z], axis = 1);", {"x": IMAGE, "z": [1, 2, 9, 8]}),
    "concat_constant": (variable("c", 1, 2, 9, 8) + "y = concat([c, x], axis = 1);", X),
    "stack": ("y = stack([x, z], axis = 2);", {"x": [1, 3, 8], "z": [1, 3, 8]}),
    "slice": ("y = slice(x, axes = [1, 2], begin = [1, 2], end = [5, 0], stride = [2, 1]);", X),
    "pad": ("y = pad(x, padding = [(0, 0), (1, 0), (1, 2), (0, 3)], value = 0.25);", X),
    "transpose": ("y = transpose(x, axes = [0, 2, 3, 1]);", X),
    "reshape": ("y = reshape(x, shape = [1, -1]);", X),
    "squeeze": ("y = squeeze(x, axes = [2]);", {"x": [1, 6, 1, 8]}),
    "unsqueeze": ("y = unsqueeze(x, axes = [3]);", {"x": [1, 6, 8]}),
    "copy": ("y = copy(x);", X),
    "upsample": ("y = nearest_upsample(x, factor = [2, 3]);", X),
    "conv_relu": (variable("w", 5, 6, 3, 3) + "y = relu(conv(x, w, 0.0));", X),
    "conv_relu6": (variable("w", 5, 6, 3, 3) + "y = clamp(conv(x, w, 0.0), 0.0, 1.5);", X),
    "add_relu": ("y = relu(add(x, z));", XY),
    "softmax": ("y = softmax(x);", {"x": [2, 6]}),
    "avg_pool_borders": ("y = avg_pool(x, size = [1, 1, 3, 3], border = 'ignore');", X),
    "mean_channels": ("y = mean_reduce(x, axes = [1]);", X),
    "matmul_constant_first": (variable("w", 5, 12) + "y = matmul(w, x);", {"x": [12, 3]}),
}
"""name: (statements, inputs)."""

HOST_CASES = ("softmax", "avg_pool_borders", "mean_channels", "matmul_constant_first")
"""Cases that the host computes."""
