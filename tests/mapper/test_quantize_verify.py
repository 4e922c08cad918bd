"""The verifier of quantized graphs finds each kind of defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixed_networks import MULTIPLIER_BITS, residual_network

from systola.hw.errors import QuantizationError
from systola.mapper.quantgraph import Conv, Elementwise
from systola.mapper.quantize import verify_quantgraph


def broken(kind, **changes):
    """The network with the first node of a kind changed."""
    graph = residual_network()
    nodes = list(graph.nodes)
    position = next(i for i, node in enumerate(nodes) if isinstance(node, kind))
    nodes[position] = replace(nodes[position], **changes)
    return replace(graph, nodes=tuple(nodes))


def test_a_sound_graph_passes():
    verify_quantgraph(residual_network())


CONV = next(node for node in residual_network().nodes if isinstance(node, Conv))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Conv, {"multiplier": CONV.multiplier * 2}, "a multiplier lies outside"),
        (Conv, {"multiplier": -CONV.multiplier}, "a multiplier lies outside"),
        (Conv, {"shift": CONV.shift + 64}, "a shift lies outside"),
        (Conv, {"bias": CONV.bias.astype(np.int64)}, "biases are int64"),
        (Conv, {"weights": CONV.weights[:, :-1]}, "its result has shape"),
        (Conv, {"stride": (2, 1)}, "its result has shape"),
        (Conv, {"zero_in": 200}, "zero_in is no int8 code"),
        (Conv, {"low": 5, "high": 4}, "its clamp is empty"),
        (Conv, {"padding": ((-1, 3), (1, 1))}, "its padding is negative"),
        (Conv, {"inputs": ("sum",)}, "used before it is made"),
        (Conv, {"inputs": ("nothing",)}, "does not exist"),
        (Elementwise, {"multiplier_operand": -(1 << MULTIPLIER_BITS)}, "magnitude is over"),
        (Elementwise, {"shift": 64}, "its shift 64"),
    ],
)
def test_defects(kind, changes, message):
    with pytest.raises(QuantizationError, match=message):
        verify_quantgraph(broken(kind, **changes))


def test_defects_of_the_graph():
    graph = residual_network()
    with pytest.raises(QuantizationError, match="'other' is not computed"):
        verify_quantgraph(replace(graph, outputs=("other",)))
    with pytest.raises(QuantizationError, match="there twice"):
        verify_quantgraph(replace(graph, nodes=(*graph.nodes, graph.nodes[-1])))
    with pytest.raises(QuantizationError, match="its scale is"):
        verify_quantgraph(replace(graph, tensors={**graph.tensors, "x": replace(graph.tensors["x"], scale=0.0)}))
