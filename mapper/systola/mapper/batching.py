"""Which tensors of a graph keep the samples apart in their first dimension.

A graph is written for a fixed batch (mostly 1). If every operation treats the entries of dimension 0 independently, many
samples can be evaluated at once by making that dimension longer; otherwise they must run one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from systola.mapper.graph import Graph, Operation

__all__ = ["batched_tensors"]

_ELEMENTWISE = frozenset(
    "add sub mul div pow min max lt le gt ge eq ne and or select clamp prelu batch_normalization copy_n add_n copy neg rcp "  # noqa: SIM905
    "abs sign not floor ceil round exp log log2 sqr sqrt rsqr rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh relu sigmoid softabs softplus elu selu gelu silu leaky_relu cast min_max_linear_quantize linear_quantize "
    "zero_point_linear_quantize logarithmic_quantize".split()
)
_FILTERED = frozenset(("conv", "deconv", "separable_conv", "separable_deconv", "linear"))
_SPATIAL = frozenset(("nearest_downsample", "area_downsample", "nearest_upsample", "multilinear_upsample"))
_AXES = frozenset(
    "sum_reduce mean_reduce max_reduce min_reduce any_reduce all_reduce argmax_reduce argmin_reduce moments softmax "  # noqa: SIM905
    "l1_normalization l2_normalization squeeze unsqueeze slice".split()
)
_AXIS = frozenset(("concat", "stack", "split", "unstack"))
_POOLS = frozenset(("box", "avg_pool", "max_pool", "rms_pool", "debox", "avg_unpool"))
_LOCAL = frozenset(
    (
        "local_response_normalization",
        "local_mean_normalization",
        "local_variance_normalization",
        "local_contrast_normalization",
    )
)


def batched_tensors(graph: Graph) -> frozenset[str] | None:
    """The tensors whose dimension 0 is the batch; None if samples cannot be evaluated together."""
    shapes = [graph.tensors[name].shape for name in graph.inputs]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        return None
    batch = shapes[0][0]
    batched = set(graph.inputs)
    for operation in graph.operations:
        if not any(name in batched for name in _operands(operation)):
            continue
        if not _keeps_batch(graph, operation, batched, batch):
            return None
        batched.update(operation.outputs)
    return frozenset(batched) if all(name in batched for name in graph.outputs) else None


def _operands(operation: Operation) -> list[str]:
    """Names of the tensors that an operation reads."""
    flat: list[Any] = []
    for value in operation.inputs.values():
        flat.extend(value if isinstance(value, tuple) else [value])
    return [value for value in flat if isinstance(value, str)]


def _keeps_batch(graph: Graph, operation: Operation, batched: set[str], batch: int) -> bool:
    """Whether the results of an operation on batched operands are batched, entry by entry."""
    outputs = [graph.tensors[name].shape for name in operation.outputs]
    if any(not shape or shape[0] != batch for shape in outputs):
        return False
    others = [graph.tensors[name].shape for name in _operands(operation) if name not in batched]
    if operation.name in _FILTERED:
        return operation.inputs["input"] in batched and len(others) == len(_operands(operation)) - 1
    rule = _RULES.get(operation.name)
    if rule is None or not rule(graph, operation):
        return False
    # An operand that is the same for all samples must not line up with the batch; joining needs all of them.
    if operation.name in ("concat", "stack"):
        return not others
    return all(not shape or shape[0] == 1 for shape in others)


def _axes_rule(graph: Graph, operation: Operation) -> bool:  # noqa: ARG001
    return 0 not in operation.attributes["axes"]


def _pool_rule(graph: Graph, operation: Operation) -> bool:  # noqa: ARG001
    a = operation.attributes
    return a["size"][0] == 1 and (not a["stride"] or a["stride"][0] == 1) and (not a["padding"] or a["padding"][0] == (0, 0))


def _reshape_rule(graph: Graph, operation: Operation) -> bool:
    source, result = graph.tensors[operation.inputs["input"]].shape, graph.tensors[operation.outputs[0]].shape
    return bool(source) and source[0] == result[0]


def _matmul_rule(graph: Graph, operation: Operation) -> bool:
    return len(graph.tensors[operation.outputs[0]].shape) > 2


_RULES: dict[str, Callable[[Graph, Operation], bool]] = {
    **dict.fromkeys(_ELEMENTWISE | _SPATIAL, lambda _graph, _operation: True),
    **dict.fromkeys(_AXES, _axes_rule),
    **dict.fromkeys(_AXIS, lambda _, operation: operation.attributes["axis"] != 0),
    **dict.fromkeys(_POOLS, _pool_rule),
    **dict.fromkeys(_LOCAL, lambda _, operation: operation.attributes["size"][0] == 1),
    "reshape": _reshape_rule,
    "transpose": lambda _, operation: (*operation.attributes["axes"], 0)[0] == 0,
    "tile": lambda _, operation: operation.attributes["repeats"][0] == 1,
    "pad": lambda _, operation: operation.attributes["padding"][0] == (0, 0),
    "matmul": _matmul_rule,
}
