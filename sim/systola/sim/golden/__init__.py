"""The golden model: a quantized network in NumPy, exact to the bit, many samples at once.

    results = run_golden(qgraph, {name: codes})          codes: int8 [S, *shape]
    results = run_node(node, tensors, qgraph.tensors)    one node, one sample
    codes = quantize_input(tensor, values); values = dequantize(tensor, codes)

It follows the definitions in ``systola.mapper.quantgraph`` and ``systola.hw.numerics``, and nothing of how the mapper splits
or fuses the work.
"""

from systola.sim.golden.codes import dequantize, quantize_input
from systola.sim.golden.run import run_golden, run_node

__all__ = ["dequantize", "quantize_input", "run_golden", "run_node"]
