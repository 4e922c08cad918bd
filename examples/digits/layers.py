"""Neural-network layers in NumPy: forward, backward, and the NNEF operation each one is.

Activations are float32, (batch, channels, height, width). A layer's ``backward`` takes the loss gradient of its last
``forward``'s output, stores those of its parameters and returns that of its input. ``write`` appends the layer to an
NNEF model and returns the name of its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from systola.mapper.nnef import write_tensor

Array = NDArray[np.float32]


class Parameter:
    """A trained array with its gradient and Adam's two moments; ``decays`` says if weight decay applies to it."""

    def __init__(self, value: NDArray[np.floating], *, decays: bool = False) -> None:
        self.value: Array = value.astype(np.float32)
        self.decays = decays
        self.grad: Array = np.zeros_like(self.value)
        self.mean = np.zeros_like(self.value)
        self.square = np.zeros_like(self.value)

    def adam(self, rate: float, step: int, decay: float, beta1: float = 0.9, beta2: float = 0.999) -> None:
        """One step of Adam with decoupled weight decay (Loshchilov and Hutter, 2019); ``step`` counts from 1."""
        self.mean += (1 - beta1) * (self.grad - self.mean)
        self.square += (1 - beta2) * (self.grad**2 - self.square)
        mean, square = self.mean / (1 - beta1**step), self.square / (1 - beta2**step)
        direction = mean / (np.sqrt(square) + np.float32(1e-8)) + self.decays * np.float32(decay) * self.value
        self.value -= np.float32(rate) * direction


class Model:
    """A flat NNEF graph under construction, and the tensors of its variables."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tensors: dict[str, Array] = {}

    def variable(self, name: str, value: Array) -> str:
        """Declare a variable; its label, and so its file, has its name."""
        self.tensors[name] = value
        return self.operation(name, f"variable<scalar>(shape = {list(value.shape)}, label = '{name}')")

    def operation(self, result: str, call: str) -> str:
        """Append ``result = call;``."""
        self.lines.append(f"    {result} = {call};")
        return result

    def save(self, folder: Path, graph: str, output: str) -> None:
        """Write graph.nnef and one tensor file per variable."""
        body = "\n".join(self.lines)
        text = f"version 1.0;\n\ngraph {graph}(input) -> ({output})\n{{\n{body}\n}}\n"
        (folder / "graph.nnef").write_text(text)
        for name, value in self.tensors.items():
            write_tensor(folder / f"{name}.dat", value)


class Layer(Protocol):
    """What ``Sequential`` and ``Residual`` are made of."""

    def forward(self, x: Array, training: bool) -> Array: ...
    def backward(self, dy: Array) -> Array: ...
    def parameters(self) -> Iterator[Parameter]: ...
    def write(self, model: Model, x: str) -> str: ...


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """NNEF's automatic padding, ``padding = []``: the output has ceil(size / stride) items, the odd zero comes last."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


class Conv:
    """A convolution with automatic padding and no bias: dense, or depthwise with one filter per channel.

    The filter is (outputs, inputs, kernel, kernel), or (channels, 1, kernel, kernel) where depthwise.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        name: str,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = False,
    ) -> None:
        self.name, self.kernel, self.stride, self.depthwise = name, kernel, stride, depthwise
        fan_in = (1 if depthwise else inputs) * kernel * kernel
        # He initialisation: keeps the variance of activations through relu.
        shape = (outputs, 1 if depthwise else inputs, kernel, kernel)
        self.filter = Parameter(rng.normal(0, np.sqrt(2 / fan_in), shape), decays=True)
        self.bias = Parameter(np.zeros((1, outputs))) if bias else None

    def forward(self, x: Array, training: bool) -> Array:  # noqa: ARG002  # one signature for all layers
        self.padding = [(0, 0), (0, 0), *(same_padding(n, self.kernel, self.stride) for n in x.shape[2:])]
        self.padded = np.pad(x, self.padding)
        windows = sliding_window_view(self.padded, (self.kernel, self.kernel), (2, 3))
        self.windows = windows[:, :, :: self.stride, :: self.stride]  # (batch, channels, y, x, kernel, kernel)
        if self.depthwise:
            y = np.einsum("ncyxij,cij->ncyx", self.windows, self.filter.value[:, 0])
        else:
            y = np.tensordot(self.windows, self.filter.value, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        return y if self.bias is None else y + self.bias.value[:, :, None, None]

    def backward(self, dy: Array) -> Array:
        if self.bias is not None:
            self.bias.grad = dy.sum((2, 3)).sum(0, keepdims=True)
        if self.depthwise:
            self.filter.grad = np.einsum("ncyxij,ncyx->cij", self.windows, dy)[:, None]
            taps = dy[..., None, None] * self.filter.value[:, 0][:, None, None]
        else:
            self.filter.grad = np.tensordot(dy, self.windows, ((0, 2, 3), (0, 2, 3)))
            taps = np.tensordot(dy, self.filter.value, (1, 0)).transpose(0, 3, 1, 2, 4, 5)
        return self._scatter(taps)

    def _scatter(self, taps: Array) -> Array:
        """Add each window's gradient, (batch, channels, y, x, kernel, kernel), where the window read its input."""
        dx = np.zeros_like(self.padded)
        height, width = (n * self.stride for n in taps.shape[2:4])
        for i in range(self.kernel):
            for j in range(self.kernel):
                dx[:, :, i : i + height : self.stride, j : j + width : self.stride] += taps[..., i, j]
        (top, bottom), (left, right) = self.padding[2:]
        return dx[:, :, top : dx.shape[2] - bottom, left : dx.shape[3] - right]

    def parameters(self) -> Iterator[Parameter]:
        yield self.filter
        if self.bias is not None:
            yield self.bias

    def write(self, model: Model, x: str) -> str:
        weights = model.variable(f"{self.name}_filter", self.filter.value)
        bias = "0.0" if self.bias is None else model.variable(f"{self.name}_bias", self.bias.value)
        groups = 0 if self.depthwise else 1  # NNEF's groups = 0 means as many groups as channels
        return model.operation(
            self.name,
            f"conv({x}, {weights}, {bias}, border = 'constant', padding = [], "
            f"stride = [{self.stride}, {self.stride}], dilation = [1, 1], groups = {groups})",
        )


class BatchNorm:
    """Batch normalization (Ioffe and Szegedy, 2015): the batch's statistics in training, their running mean after."""

    def __init__(self, name: str, channels: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        self.name, self.epsilon, self.momentum = name, epsilon, momentum
        self.mean, self.variance = np.zeros((1, channels), np.float32), np.ones((1, channels), np.float32)
        self.offset, self.scale = Parameter(np.zeros((1, channels))), Parameter(np.ones((1, channels)))

    def forward(self, x: Array, training: bool) -> Array:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean((0, 2, 3))[None], x.var((0, 2, 3))[None]
            self.mean = self.mean + self.momentum * (mean - self.mean)
            self.variance = self.variance + self.momentum * (variance - self.variance)
        self.deviation = np.sqrt(variance + self.epsilon)[:, :, None, None]
        self.normal = (x - mean[:, :, None, None]) / self.deviation
        return self.offset.value[:, :, None, None] + self.scale.value[:, :, None, None] * self.normal

    def backward(self, dy: Array) -> Array:
        self.offset.grad = dy.sum((0, 2, 3))[None]
        self.scale.grad = (dy * self.normal).sum((0, 2, 3))[None]
        dn = dy * self.scale.value[:, :, None, None]
        centred = dn - dn.mean((0, 2, 3), keepdims=True)
        return (centred - self.normal * (dn * self.normal).mean((0, 2, 3), keepdims=True)) / self.deviation

    def parameters(self) -> Iterator[Parameter]:
        yield self.offset
        yield self.scale

    def write(self, model: Model, x: str) -> str:
        named = {"mean": self.mean, "variance": self.variance, "offset": self.offset.value, "scale": self.scale.value}
        operands = ", ".join(model.variable(f"{self.name}_{kind}", value) for kind, value in named.items())
        return model.operation(self.name, f"batch_normalization({x}, {operands}, epsilon = {self.epsilon})")


class Relu:
    """max(x, 0)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: Array, training: bool) -> Array:  # noqa: ARG002  # one signature for all layers
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy: Array) -> Array:
        return dy * self.positive

    def parameters(self) -> Iterator[Parameter]:
        yield from ()

    def write(self, model: Model, x: str) -> str:
        return model.operation(self.name, f"relu({x})")


class GlobalAverage:
    """The mean over height and width, which it removes: (batch, channels)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: Array, training: bool) -> Array:  # noqa: ARG002  # one signature for all layers
        self.shape = x.shape
        return x.mean((2, 3))

    def backward(self, dy: Array) -> Array:
        height, width = self.shape[2:]
        return np.broadcast_to(dy[:, :, None, None] / np.float32(height * width), self.shape)

    def parameters(self) -> Iterator[Parameter]:
        yield from ()

    def write(self, model: Model, x: str) -> str:
        window = [1, 1, *self.shape[2:]]
        pooled = model.operation(
            f"{self.name}_pool",
            f"avg_pool({x}, size = {window}, border = 'ignore', padding = [(0, 0), (0, 0), (0, 0), (0, 0)], "
            "stride = [1, 1, 1, 1], dilation = [1, 1, 1, 1])",
        )
        return model.operation(self.name, f"squeeze({pooled}, axes = [2, 3])")


class Linear:
    """A fully connected layer: the filter is (outputs, inputs)."""

    def __init__(self, rng: np.random.Generator, name: str, inputs: int, outputs: int) -> None:
        self.name = name
        self.filter = Parameter(rng.normal(0, np.sqrt(1 / inputs), (outputs, inputs)), decays=True)
        self.bias = Parameter(np.zeros((1, outputs)))

    def forward(self, x: Array, training: bool) -> Array:  # noqa: ARG002  # one signature for all layers
        self.x = x
        return x @ self.filter.value.T + self.bias.value

    def backward(self, dy: Array) -> Array:
        self.filter.grad, self.bias.grad = dy.T @ self.x, dy.sum(0, keepdims=True)
        return dy @ self.filter.value

    def parameters(self) -> Iterator[Parameter]:
        yield self.filter
        yield self.bias

    def write(self, model: Model, x: str) -> str:
        weights = model.variable(f"{self.name}_filter", self.filter.value)
        bias = model.variable(f"{self.name}_bias", self.bias.value)
        return model.operation(self.name, f"linear({x}, {weights}, {bias})")


class Sequential:
    """Layers one after the other."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def forward(self, x: Array, training: bool) -> Array:
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array) -> Array:
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def parameters(self) -> Iterator[Parameter]:
        for layer in self.layers:
            yield from layer.parameters()

    def write(self, model: Model, x: str) -> str:
        for layer in self.layers:
            x = layer.write(model, x)
        return x


class Residual:
    """x + body(x)."""

    def __init__(self, name: str, *body: Layer) -> None:
        self.name, self.body = name, Sequential(*body)

    def forward(self, x: Array, training: bool) -> Array:
        return x + self.body.forward(x, training)

    def backward(self, dy: Array) -> Array:
        return dy + self.body.backward(dy)

    def parameters(self) -> Iterator[Parameter]:
        yield from self.body.parameters()

    def write(self, model: Model, x: str) -> str:
        return model.operation(self.name, f"add({x}, {self.body.write(model, x)})")


def softmax(x: Array) -> Array:
    """Probabilities over axis 1."""
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
