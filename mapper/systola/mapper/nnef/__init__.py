"""Reading and writing networks in NNEF 1.0.

    graph = read_model(folder)                          graph.nnef, graph.quant and the tensor files
    graph = read_model(file, random_weights=0)          a graph without weights
    graph = parse_graph(text)                           text only, no data
    write_model(graph, folder)                          the inverse of read_model
    header, data = read_tensor(path); write_tensor(path, array)
    values = dequantize(data, tensor.quant)             real values of stored integers
    signatures = standard_signatures()                  names, types and defaults of the 121 standard operations

Everything a file can do wrong is a ``systola.hw.errors.ModelError`` with the place. The reader takes the whole language
(flat and compositional, both KHR extensions); the graph it returns is flat, in order, typed and has every shape.
"""

from systola.mapper.nnef.limits import MAX_EXTENT, MAX_VOLUME
from systola.mapper.nnef.quantfile import QUANTIZE_OPERATIONS, dequantize, expand_parameter
from systola.mapper.nnef.reader import parse_graph, read_model
from systola.mapper.nnef.signature import standard_signatures
from systola.mapper.nnef.tensorfile import ItemType, TensorHeader, read_header, read_tensor, write_tensor
from systola.mapper.nnef.writer import format_graph, write_model

__all__ = [
    "MAX_EXTENT",
    "MAX_VOLUME",
    "QUANTIZE_OPERATIONS",
    "ItemType",
    "TensorHeader",
    "dequantize",
    "expand_parameter",
    "format_graph",
    "parse_graph",
    "read_header",
    "read_model",
    "read_tensor",
    "standard_signatures",
    "write_model",
    "write_tensor",
]
