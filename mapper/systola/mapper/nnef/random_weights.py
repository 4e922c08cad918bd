"""Random values for the variables of a graph that comes without weights.

Filters are scaled by He's rule (standard deviation √(2 / fan-in)), so that activations keep their size through the
network; batch normalization gets a positive variance. Each variable's values depend on the seed and its name only.
"""

from __future__ import annotations

import math
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from systola.mapper.graph import Graph, Tensor

__all__ = ["random_variables"]

_FILTERS = {"filter", "plane_filter", "point_filter", "B", "A"}
_POSITIVE = {"variance", "scale"}
_SMALL = {"bias", "mean", "offset"}


def random_variables(graph: Graph, seed: int) -> dict[str, Tensor]:
    """The graph's variables with seeded random float32 data (0/1 for logical, small numbers for integers)."""
    roles = _roles(graph)
    made = {}
    for name, tensor in graph.tensors.items():
        if tensor.label is not None:
            generator = np.random.default_rng([seed, crc32(name.encode())])
            data = _values(tensor, roles.get(name, ""), generator)
            made[name] = Tensor(name, tensor.shape, tensor.dtype, data, None, tensor.label)
    return made


def _roles(graph: Graph) -> dict[str, str]:
    """The parameter that each tensor is first used as; products of tensors count as a scale."""
    roles: dict[str, str] = {}
    for operation in graph.operations:
        for parameter, value in operation.inputs.items():
            if isinstance(value, str):
                role = "scale" if operation.name == "mul" else "bias" if operation.name in ("add", "sub") else parameter
                roles.setdefault(value, "deconv" if "deconv" in operation.name and role == "filter" else role)
    return roles


def _values(tensor: Tensor, role: str, generator: np.random.Generator) -> NDArray[np.generic]:
    shape = tensor.shape
    if tensor.dtype == "logical":
        return generator.integers(0, 2, shape).astype(np.bool_)
    if tensor.dtype == "integer":
        return np.zeros(shape, np.int64)
    if role in _POSITIVE:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if role in _SMALL or len(shape) < 2 or (role not in _FILTERS and shape[0] == 1):
        return generator.normal(0.0, 0.05, shape).astype(np.float32)
    fans_in = {"deconv": shape[0] * math.prod(shape[2:]), "B": shape[-2]}
    fan_in = fans_in.get(role, math.prod(shape[1:]))
    return generator.standard_normal(shape, np.float32) * np.float32(math.sqrt(2.0 / fan_in))
