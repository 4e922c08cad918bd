"""Integer multipliers for stage B that change as few results as possible.

Two operands share one shift, so the smaller factor keeps fewer bits, and the nearest multipliers need not be the best ones: a
frequent pair of codes whose exact sum lies a hair from a rounding tie goes wrong on every pixel where it occurs. All 65,536
pairs can be tried, so they are.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from systola.hw.numerics import quantize_factors
from systola.mapper.quantize.parameters import ActivationParameters

__all__ = ["pair_factors"]


def pair_factors(
    factors: tuple[float, float], grids: tuple[ActivationParameters, ActivationParameters], multiplier_bits: int
) -> tuple[tuple[int, int], int]:
    """Multipliers and shift for ``d · factors[0] + e · factors[1]``, d and e being codes less their zero points.

    The multipliers are the factors rounded up or down at the finest shift that ``multiplier_bits`` allow; chosen is the
    pair with the least weight of results that differ from exact scaling. A pair of codes weighs 1 / ((1 + |d|) (1 + |e|)):
    values near zero are the frequent ones. Raises QuantizationError as ``numerics.quantize_factors`` does.
    """
    nearest, shift = quantize_factors(factors, multiplier_bits)
    limit = (1 << multiplier_bits) - 1
    d, e = (np.arange(-128, 128, dtype=np.float64) - grid.zero_point for grid in grids)
    d = d[:, None]
    exact = np.floor(d * factors[0] + e * factors[1] + 0.5)
    weight = 1.0 / ((1.0 + np.abs(d)) * (1.0 + np.abs(e)))

    def cost(pair: tuple[int, int]) -> float:
        a, b = (math.ldexp(multiplier, -shift) for multiplier in pair)
        return float(weight[np.floor(d * a + e * b + 0.5) != exact].sum())

    sides = [{round_(math.ldexp(factor, shift)) for round_ in (math.floor, math.ceil)} for factor in factors]
    pairs = [(a, b) for a, b in product(*map(sorted, sides)) if max(abs(a), abs(b)) <= limit]
    return min([(nearest[0], nearest[1]), *pairs], key=cost), shift
