"""Graph → QuantGraph, end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from systola.hw.errors import QuantizationError
from systola.mapper.graph import Graph
from systola.mapper.quantgraph import QuantGraph
from systola.mapper.quantize.builder import Builder
from systola.mapper.quantize.calibrate import Calibration, Method, random_samples
from systola.mapper.quantize.folding import fold_arithmetic, fold_constants
from systola.mapper.quantize.graphs import Index
from systola.mapper.quantize.grids import Grids
from systola.mapper.quantize.moves import without_idle_moves
from systola.mapper.quantize.operations import RULES
from systola.mapper.quantize.plan import make_plan
from systola.mapper.quantize.verify import verify_quantgraph

__all__ = ["quantize"]


def quantize(
    graph: Graph,
    *,
    multiplier_bits: int,
    calibration: Mapping[str, NDArray[Any]] | None = None,
    method: Method = "mse",
    percentile: float = 99.99,
    seed: int = 0,
) -> QuantGraph:
    """The quantized network.

    Args:
        graph: with entries of graph.quant (they are followed) or without (ranges are measured).
        multiplier_bits: width of the accelerator's requantization multiplier.
        calibration: real-valued samples by input name, [S, *shape]. A float graph without any is measured on random inputs
            drawn with ``seed``, which is of use for graphs with random weights only; it is noted. In a quantized graph they
            serve tensors without an entry.
        method: how a range follows from the values seen; see ``Calibration``. "mse" agreed best with float networks.
        percentile: for method "percentile".

    Raises:
        QuantizationError: parameters that have no int8 form, an undetermined scale, or samples of the wrong form.
    """
    graph = fold_constants(graph)
    index = Index(graph) if graph.quantized else fold_arithmetic(graph)
    notes = []
    if calibration is None and not graph.quantized:
        calibration = random_samples(index.graph, seed)
        notes.append("no calibration samples were given: ranges were measured on random inputs")
    ranges = Calibration(index.graph, calibration, method, percentile) if calibration is not None else None
    plan = make_plan(index, RULES)
    builder = Builder(index, plan, Grids(index, plan, RULES, ranges), multiplier_bits)
    builder.notes += notes
    _build(builder)
    result = without_idle_moves(builder.finish())
    verify_quantgraph(result)
    return result


def _build(builder: Builder) -> None:
    """Nodes for every operation, in order; a merged activation is part of its producer's node."""
    merged = {op.outputs[0] for op in builder.plan.merged.values()}
    for op in builder.graph.operations:
        name = op.outputs[0]
        if name in builder.plan.host:
            builder.host(op, builder.plan.host[name])
        elif name not in merged:
            try:
                RULES[op.name].build(builder, op)
            except QuantizationError as error:
                raise QuantizationError(f"{op.place}: {op.name} '{name}': {error}") from None
