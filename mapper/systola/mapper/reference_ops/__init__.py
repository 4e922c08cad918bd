"""Float evaluation of the standard operations, one small function each.

A function takes the tensor arguments by parameter name (arrays; a plain number is a 0-d array; an array of tensors is a
list), the attributes, and the shapes of the results as the graph states them, scaled to the samples that run together.
It returns one array per result tensor. Definitions are those of the NNEF 1.0 standard.
"""

from systola.mapper.reference_ops.common import Function
from systola.mapper.reference_ops.elementwise import ELEMENTWISE
from systola.mapper.reference_ops.layout import LAYOUT
from systola.mapper.reference_ops.reductions import REDUCTIONS
from systola.mapper.reference_ops.windows import WINDOWS

__all__ = ["FUNCTIONS", "Function"]

FUNCTIONS: dict[str, Function] = {**ELEMENTWISE, **LAYOUT, **REDUCTIONS, **WINDOWS}
