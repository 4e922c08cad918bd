"""The table of all operations that have an integer form; everything else is the host's."""

from systola.mapper.quantize.convolutions import CONVOLUTIONS
from systola.mapper.quantize.elementwise import ELEMENTWISE
from systola.mapper.quantize.layouts import LAYOUTS
from systola.mapper.quantize.pools import POOLS
from systola.mapper.quantize.rules import Rule

__all__ = ["RULES"]

RULES: dict[str, Rule] = {**CONVOLUTIONS, **ELEMENTWISE, **LAYOUTS, **POOLS}
