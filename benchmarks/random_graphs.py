"""Networks drawn from a seed, as NNEF text: what real ones are made of, in sizes that fit no array.

A network is a chain of blocks: convolutions from 1×1 to 11×11, residual blocks, bottlenecks, inverted bottlenecks with a
depthwise convolution, branches joined along channels, pools. Channels and extents are drawn without regard to powers of two. The
graph comes without weights; the reader draws them from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

__all__ = ["random_graph"]

LEAST_EXTENT = 5
_T = TypeVar("_T")
KERNELS = (1, 2, 3, 3, 5, 7, 9, 11)


def random_graph(seed: int) -> str:
    """The network of a seed: one input [1, C, H, W], one output."""
    draw = _Draw(np.random.default_rng(seed))
    name = draw.conv(draw.start(), draw.channels(), draw.pick(KERNELS), stride=draw.pick((1, 2)))
    for _ in range(draw.between(3, 6)):
        name = draw.pick(_BLOCKS)(draw, name)
    name = draw.conv(name, draw.channels(), 1)
    return draw.text(name)


@dataclass
class _Draw:
    """A network in the making: its lines, and channels, height and width of each tensor."""

    rng: np.random.Generator
    lines: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def pick(self, choices: tuple[_T, ...]) -> _T:
        return choices[int(self.rng.integers(len(choices)))]

    def between(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def channels(self) -> int:
        """As many small numbers as large ones."""
        return round(2 ** self.rng.uniform(3, 7.5))

    def start(self) -> str:
        shape = (self.pick((1, 3, 3, 8, 19, 40)), self.between(19, 61), self.between(19, 61))
        self.shapes["x"] = shape
        self.lines.append(f"x = external<scalar>(shape = [1, {shape[0]}, {shape[1]}, {shape[2]}]);")
        return "x"

    def add(self, expression: str, shape: tuple[int, int, int]) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {expression};")
        self.shapes[name] = shape
        return name

    def conv(self, source: str, outputs: int, kernel: int, *, stride: int = 1, depthwise: bool = False, relu: bool = True) -> str:
        """A convolution with the padding that keeps the extents at stride 1, and its relu."""
        channels, height, width = self.shapes[source]
        height, width = -(-height // stride), -(-width // stride)
        per_group = 1 if depthwise else channels
        label = f"w{len(self.lines)}"
        self.lines += [
            f"{label} = variable<scalar>(shape = [{outputs}, {per_group}, {kernel}, {kernel}], label = '{label}');",
            f"{label}_bias = variable<scalar>(shape = [1, {outputs}], label = '{label}_bias');",
        ]
        window = f"stride = [{stride}, {stride}], padding = [], groups = {0 if depthwise else 1}"
        result = self.add(f"conv({source}, {label}, {label}_bias, {window})", (outputs, height, width))
        return self.add(f"relu({result})", self.shapes[result]) if relu else result

    def joined(self, one: str, other: str) -> str:
        total = self.add(f"add({one}, {other})", self.shapes[one])
        return self.add(f"relu({total})", self.shapes[total])

    def text(self, output: str) -> str:
        lines = "\n".join(f"    {line}" for line in self.lines)
        return f"version 1.0;\n\ngraph drawn(x) -> ({output})\n{{\n{lines}\n}}\n"


def _plain(draw: _Draw, source: str) -> str:
    stride = draw.pick((1, 1, 2)) if min(draw.shapes[source][1:]) >= 2 * LEAST_EXTENT else 1
    most = draw.pick(KERNELS)
    # A wide kernel over many channels is no layer of any network, and would outweigh all others.
    return draw.conv(source, draw.channels(), most if draw.shapes[source][0] <= 48 else min(most, 3), stride=stride)


def _residual(draw: _Draw, source: str) -> str:
    channels = draw.shapes[source][0]
    inside = draw.conv(source, draw.channels(), 3)
    return draw.joined(draw.conv(inside, channels, 3, relu=False), source)


def _bottleneck(draw: _Draw, source: str) -> str:
    outputs = draw.channels()
    inside = draw.conv(source, max(4, outputs // 3), 1)
    inside = draw.conv(inside, max(4, outputs // 3), 3)
    return draw.joined(draw.conv(inside, outputs, 1, relu=False), draw.conv(source, outputs, 1, relu=False))


def _inverted(draw: _Draw, source: str) -> str:
    channels = draw.shapes[source][0]
    wide = draw.conv(source, channels * draw.pick((2, 3, 6)), 1)
    wide = draw.conv(wide, draw.shapes[wide][0], draw.pick((3, 3, 5)), depthwise=True)
    return draw.add(f"add({draw.conv(wide, channels, 1, relu=False)}, {source})", draw.shapes[source])


def _branches(draw: _Draw, source: str) -> str:
    squeezed = draw.conv(source, max(4, draw.shapes[source][0] // 4), 1)
    parts = [draw.conv(squeezed, draw.between(5, 70), kernel) for kernel in (1, 3, 5)[: draw.between(2, 3)]]
    total = sum(draw.shapes[part][0] for part in parts)
    return draw.add(f"concat([{', '.join(parts)}], axis = 1)", (total, *draw.shapes[source][1:]))


def _pool(draw: _Draw, source: str) -> str:
    channels, height, width = draw.shapes[source]
    if min(height, width) < 2 * LEAST_EXTENT:
        return _plain(draw, source)
    kind, size = draw.pick(("max_pool", "avg_pool")), draw.pick((2, 3))
    border = "ignore" if kind == "max_pool" else "constant"
    return draw.add(
        f"{kind}({source}, size = [1, 1, {size}, {size}], stride = [1, 1, 2, 2], padding = [], border = '{border}')",
        (channels, -(-height // 2), -(-width // 2)),
    )


_BLOCKS: tuple[Callable[[_Draw, str], str], ...] = (_plain, _plain, _residual, _bottleneck, _inverted, _branches, _pool)
