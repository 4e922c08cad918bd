"""Shape inference: one small function per kind of operation.

Each takes the shapes of the tensor arguments by parameter name (``()`` for a plain number, a list for an array of
tensors) and the attributes by name, and returns one shape per result (a list of shapes for an array result). Formulas
are those of the NNEF 1.0 standard. ``SHAPE_FUNCTIONS`` is complete when its keys are the standard's operations that
make tensors out of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from systola.mapper.nnef.shape_rules import Shape, ShapeError, broadcast, check_axes, check_broadcastable, require
from systola.mapper.nnef.window_shapes import WINDOW_SHAPE_FUNCTIONS

__all__ = ["SHAPE_FUNCTIONS", "Shape", "ShapeError", "broadcast"]

_MAX_RESULTS = 4096

Shapes = dict[str, Any]
Attributes = dict[str, Any]


def _first(s: Shapes) -> Shape:
    """The shape of the first operand."""
    return next(iter(s.values()))


def _unary(s: Shapes, a: Attributes) -> list[Any]:  # noqa: ARG001
    return [_first(s)]


def _elementwise(s: Shapes, a: Attributes) -> list[Any]:  # noqa: ARG001
    return [broadcast(*s.values())]


def _parametric(s: Shapes, a: Attributes) -> list[Any]:
    """The result has the first operand's shape; the others must broadcast to it."""
    shape = _first(s)
    for name, other in s.items():
        check_broadcastable(other, shape, name)
    if "bits" in a:
        require(1 <= a["bits"] <= 64, f"'bits' must be from 1 to 64, not {a['bits']}")
    require(a.get("epsilon", 0.0) >= 0, "'epsilon' must not be negative")
    return [shape]


def _update(s: Shapes, a: Attributes) -> list[Any]:  # noqa: ARG001
    require(s["variable"] == s["value"], f"a variable of shape {s['variable']} cannot take a value of {s['value']}")
    return [s["variable"]]


def _reduce(s: Shapes, a: Attributes) -> list[Any]:
    shape = _first(s)
    check_axes(a["axes"], len(shape))
    return [tuple(1 if i in a["axes"] else extent for i, extent in enumerate(shape))]


def _moments(s: Shapes, a: Attributes) -> list[Any]:
    return _reduce(s, a) * 2


def _same_axes(s: Shapes, a: Attributes) -> list[Any]:
    check_axes(a["axes"], len(_first(s)))
    return [_first(s)]


def _local(s: Shapes, a: Attributes) -> list[Any]:
    shape, size = s["input"], a["size"]
    require(len(size) == len(shape), f"'size' must have {len(shape)} entries, not {len(size)}")
    require(all(extent >= 1 for extent in size), "every entry of 'size' must be at least 1")
    return [shape]


def _reshape(s: Shapes, a: Attributes) -> list[Any]:
    shape, wanted, start, count = s["input"], list(a["shape"]), a["axis_start"], a["axis_count"]
    rank = len(shape)
    require(0 <= start <= rank, f"'axis_start' must be from 0 to {rank}, not {start}")
    require(-1 <= count <= rank - start, f"'axis_count' must be from -1 to {rank - start}, not {count}")
    end = rank if count == -1 else start + count
    for i, extent in enumerate(wanted):
        if extent == 0:
            require(start + i < rank, f"entry {i} of 'shape' is 0, but the input has no dimension {start + i}")
            wanted[i] = shape[start + i]
    require(all(extent >= -1 for extent in wanted), f"'shape' must not have entries below -1: {a['shape']}")
    require(wanted.count(-1) <= 1, "at most one entry of 'shape' may be -1")
    volume = prod(shape[start:end])
    if -1 in wanted:
        known = -prod(wanted)
        require(known > 0 and volume % known == 0, f"{volume} elements cannot be arranged as {a['shape']}")
        wanted[wanted.index(-1)] = volume // known
    require(prod(wanted) == volume, f"{volume} elements cannot be arranged as {a['shape']}")
    return [(*shape[:start], *wanted, *shape[end:])]


def _transpose(s: Shapes, a: Attributes) -> list[Any]:
    shape, axes = s["input"], a["axes"]
    right = len(axes) <= len(shape) and sorted(axes) == list(range(len(axes)))
    require(right, f"'axes' must be a permutation of the first dimensions of a rank {len(shape)} tensor, not {axes}")
    return [(*(shape[axis] for axis in axes), *shape[len(axes) :])]


def _squeeze(s: Shapes, a: Attributes) -> list[Any]:
    shape = s["input"]
    check_axes(a["axes"], len(shape))
    wide = next((axis for axis in a["axes"] if shape[axis] != 1), None)
    require(wide is None, f"dimension {wide} of shape {shape} is not 1 and cannot be squeezed")
    return [tuple(extent for i, extent in enumerate(shape) if i not in a["axes"])]


def _unsqueeze(s: Shapes, a: Attributes) -> list[Any]:
    shape, axes = list(s["input"]), a["axes"]
    check_axes(axes, len(shape) + len(axes))
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _concat(s: Shapes, a: Attributes) -> list[Any]:
    values, axis = s["values"], a["axis"]
    require(bool(values), "'values' must not be empty")
    first = values[0]
    check_axes([axis], len(first), "axis")
    for other in values:
        same = len(other) == len(first) and all(
            x == y for i, (x, y) in enumerate(zip(other, first, strict=True)) if i != axis
        )
        if not same:
            raise ShapeError(f"shapes {first} and {other} differ in more than dimension {axis} and cannot be joined")
    return [(*first[:axis], sum(each[axis] for each in values), *first[axis + 1 :])]


def _split(s: Shapes, a: Attributes) -> list[Any]:
    shape, axis, ratios = s["value"], a["axis"], a["ratios"]
    check_axes([axis], len(shape), "axis")
    require(0 < len(ratios) <= _MAX_RESULTS, f"'ratios' must have from 1 to {_MAX_RESULTS} entries")
    require(all(ratio > 0 for ratio in ratios), "every entry of 'ratios' must be positive")
    total = sum(ratios)
    require(shape[axis] % total == 0, f"an extent of {shape[axis]} cannot be split in {total} equal parts")
    unit = shape[axis] // total
    return [[(*shape[:axis], unit * ratio, *shape[axis + 1 :]) for ratio in ratios]]


def _stack(s: Shapes, a: Attributes) -> list[Any]:
    values, axis = s["values"], a["axis"]
    require(bool(values), "'values' must not be empty")
    check_axes([axis], len(values[0]) + 1, "axis")
    other = next((each for each in values if each != values[0]), None)
    require(other is None, f"shapes {values[0]} and {other} differ and cannot be stacked")
    return [(*values[0][:axis], len(values), *values[0][axis:])]


def _unstack(s: Shapes, a: Attributes) -> list[Any]:
    shape, axis = s["value"], a["axis"]
    check_axes([axis], len(shape), "axis")
    require(shape[axis] <= _MAX_RESULTS, f"more than {_MAX_RESULTS} results ({shape[axis]})")
    return [[(*shape[:axis], *shape[axis + 1 :])] * shape[axis]]


def _slice(s: Shapes, a: Attributes) -> list[Any]:
    shape = list(s["input"])
    for axis, start, stop, step in slice_ranges(tuple(shape), a):
        shape[axis] = len(range(start, stop, step))
        require(shape[axis] > 0, f"the slice of dimension {axis} from {start} to {stop} by {step} is empty")
    return [tuple(shape)]


def slice_ranges(shape: Shape, a: Attributes) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of a ``slice``, as of Python's ``range``.

    Negative positions count from the end; with a positive step an ``end`` of 0 is the end of the dimension, with a
    negative step an ``end`` before the first element is written as minus the extent, minus 1.
    """
    axes, begin, end = a["axes"], a["begin"], a["end"]
    stride = a["stride"] or [1] * len(axes)
    check_axes(axes, len(shape))
    require(
        len(begin) == len(end) == len(stride) == len(axes),
        "'axes', 'begin', 'end' and 'stride' must have equally many entries",
    )
    ranges = []
    for axis, first, last, step in zip(axes, begin, end, stride, strict=True):
        extent = shape[axis]
        require(step != 0, "an entry of 'stride' is 0")
        start = first + extent if first < 0 else first
        stop = extent if last == 0 and step == 1 else last + extent if last < 0 else last
        start, stop = max(-1, min(extent, start)), max(-1, min(extent, stop))
        inside = 0 <= start <= stop if step > 0 else stop <= start < extent
        require(inside, f"the slice of dimension {axis} from {first} to {last} by {step} is outside of {extent}")
        ranges.append((axis, start, stop, step))
    return ranges


def _tile(s: Shapes, a: Attributes) -> list[Any]:
    shape, repeats = s["input"], a["repeats"]
    require(len(repeats) == len(shape), f"'repeats' must have {len(shape)} entries, not {len(repeats)}")
    require(all(count >= 1 for count in repeats), "every entry of 'repeats' must be at least 1")
    return [tuple(extent * count for extent, count in zip(shape, repeats, strict=True))]


def _pad(s: Shapes, a: Attributes) -> list[Any]:
    shape, padding, border = s["input"], a["padding"], a["border"]
    require(len(padding) == len(shape), f"'padding' must have {len(shape)} entries, not {len(padding)}")
    known = ("constant", "replicate", "reflect", "reflect-even")
    require(border in known, f"'border' must be one of {', '.join(known)}, not {border!r}")
    out = tuple(before + extent + after for extent, (before, after) in zip(shape, padding, strict=True))
    if border in ("reflect", "reflect-even"):
        slack = 1 if border == "reflect" else 0
        fit = all(max(pair) <= extent - slack for extent, pair in zip(shape, padding, strict=True))
        require(fit, f"padding {padding} reflects more than the input of shape {shape} has")
    return [out]


def _gather(s: Shapes, a: Attributes) -> list[Any]:
    shape, axis = s["input"], a["axis"]
    check_axes([axis], len(shape), "axis")
    return [(*shape[:axis], *s["indices"], *shape[axis + 1 :])]


def _matmul(s: Shapes, a: Attributes) -> list[Any]:
    left, right = s["A"], s["B"]
    require(len(left) == len(right), f"'A' has {len(left)} dimensions and 'B' has {len(right)}; they must be equal")
    require(len(left) >= 2, "'A' and 'B' must have at least 2 dimensions")
    rows, inner = left[-2:][::-1] if a["transposeA"] else left[-2:]
    other, columns = right[-2:][::-1] if a["transposeB"] else right[-2:]
    require(inner == other, f"the inner dimensions of {left} and {right} differ: {inner} and {other}")
    return [(*broadcast(left[:-2], right[:-2]), rows, columns)]


def _linear(s: Shapes, a: Attributes) -> list[Any]:  # noqa: ARG001
    shape, weights, bias = s["input"], s["filter"], s["bias"]
    require(len(shape) == 2 and len(weights) == 2, f"input {shape} and filter {weights} must have 2 dimensions")
    require(shape[1] == weights[1], f"the input has {shape[1]} channels, the filter wants {weights[1]}")
    require(bias in ((), (1,), (weights[0],), (1, weights[0]), (1, 1)), f"bias {bias} does not fit {weights[0]} channels")
    return [(shape[0], weights[0])]


def _copy_n(s: Shapes, a: Attributes) -> list[Any]:
    require(1 <= a["times"] <= _MAX_RESULTS, f"'times' must be from 1 to {_MAX_RESULTS}, not {a['times']}")
    return [[s["x"]] * a["times"]]


def _add_n(s: Shapes, a: Attributes) -> list[Any]:  # noqa: ARG001
    values: Sequence[Shape] = s["x"]
    require(bool(values), "'x' must not be empty")
    other = next((each for each in values if each != values[0]), None)
    require(other is None, f"shapes {values[0]} and {other} differ and cannot be added")
    return [values[0]]


def _roi(s: Shapes, a: Attributes) -> list[Any]:
    shape, rois, size = s["input"], s["rois"], a["output_size"]
    spatial = len(shape) - 2
    require(len(size) == spatial and spatial > 0, f"'output_size' must have {spatial} entries, not {len(size)}")
    require(len(rois) == 2 and rois[1] == 4, f"'rois' must have the shape [count, 4], not {rois}")
    require(s["batch_index"] == (rois[0],), f"'batch_index' must have the shape [{rois[0]}], not {s['batch_index']}")
    rate = a.get("sampling_rate", [1] * spatial)
    require(len(rate) == spatial and all(each > 0 for each in rate), f"'sampling_rate' must be {spatial} positive numbers")
    return [(rois[0], shape[1], *size)]


_UNARY = (
    "copy", "neg", "rcp", "exp", "log", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "abs", "sign", "not", "floor", "ceil", "round", "sqr", "sqrt", "rsqr",
    "rsqrt", "relu", "sigmoid", "softabs", "softplus", "elu", "selu", "gelu", "silu", "leaky_relu", "cast",
)  # fmt: skip
_ELEMENTWISE = (
    "add", "sub", "mul", "div", "pow", "min", "max", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "select",
    "clamp",
)  # fmt: skip
_PARAMETRIC = (
    "prelu", "batch_normalization", "min_max_linear_quantize", "zero_point_linear_quantize", "linear_quantize",
    "logarithmic_quantize",
)  # fmt: skip
_REDUCE = (
    "sum_reduce", "max_reduce", "min_reduce", "mean_reduce", "argmax_reduce", "argmin_reduce", "any_reduce",
    "all_reduce",
)  # fmt: skip
_LOCAL = (
    "local_response_normalization", "local_mean_normalization", "local_variance_normalization",
    "local_contrast_normalization",
)  # fmt: skip
_ROI = (
    "avg_roi_pool", "max_roi_pool", "roi_resample", "avg_roi_align", "max_roi_align",
)  # fmt: skip

SHAPE_FUNCTIONS: dict[str, Callable[[Shapes, Attributes], list[Any]]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_PARAMETRIC, _parametric),
    **dict.fromkeys(_REDUCE, _reduce),
    **dict.fromkeys(_LOCAL, _local),
    **dict.fromkeys(("softmax", "l1_normalization", "l2_normalization"), _same_axes),
    **dict.fromkeys(_ROI, _roi),
    **WINDOW_SHAPE_FUNCTIONS,
    "update": _update,
    "moments": _moments,
    "reshape": _reshape,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "concat": _concat,
    "split": _split,
    "stack": _stack,
    "unstack": _unstack,
    "slice": _slice,
    "tile": _tile,
    "pad": _pad,
    "gather": _gather,
    "matmul": _matmul,
    "linear": _linear,
    "copy_n": _copy_n,
    "add_n": _add_n,
}
