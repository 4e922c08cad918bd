"""The vector engine.

::

    instruction ─▶ walk ──steps──▶ fetch ──words──▶ (table) ─▶ window ──sums──▶ stages A, B ─▶ output
               └─▶ parameters ──▶    └─▶ records, weights, table

A step carries all that is to be done with its word; from its issue on nothing stalls, because its output's place in the
output queue is reserved.
"""

from systola.hw.vector.engine import VectorEngine

__all__ = ["VectorEngine"]
