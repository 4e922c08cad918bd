"""Quantization: from a network of real numbers, or of NNEF's quantization entries, to exact int8 arithmetic.

    qgraph = quantize(graph, multiplier_bits=16)                              a quantized graph: its entries are followed
    qgraph = quantize(graph, multiplier_bits=16, calibration=samples)         a float graph: ranges are measured on samples
    split = split_calibration(samples)                                        samples to measure on, and others to judge by

The passes, in order: ``folding`` (constants, batch normalization), ``plan`` (what the host computes, which activations
merge), ``grids`` (a scale and zero point per tensor, from graph.quant or ``calibrate``), ``builder`` with a module per kind of
operation (nodes), ``verify``.
"""

from systola.mapper.quantize.calibrate import Method
from systola.mapper.quantize.pipeline import quantize
from systola.mapper.quantize.split import SampleSplit, split_calibration
from systola.mapper.quantize.verify import verify_quantgraph

__all__ = ["Method", "SampleSplit", "quantize", "split_calibration", "verify_quantgraph"]
