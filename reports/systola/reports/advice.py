"""What would help most: where the array engine lost most cycles."""

from __future__ import annotations

from collections.abc import Sequence

from systola.hw.isa import Engine
from systola.hw.registers import CycleClass
from systola.mapper.image import LayerInfo
from systola.reports.attribution import Attribution
from systola.reports.classes import CLASS_REMEDIES, CLASS_WORDS
from systola.reports.schema import Advice
from systola.reports.words import percent

__all__ = ["advice"]


def advice(attribution: Attribution, layers: Sequence[LayerInfo]) -> Advice | None:
    """The array engine's largest class that is not work, and the most that its end would save; None if it lost no cycle.

    It is an upper bound: without that class another may take part of its place.
    """
    table = attribution.classes[Engine.ARRAY].copy()
    table[:, CycleClass.BUSY] = 0
    totals = table.sum(axis=0)
    worst = CycleClass(int(totals.argmax()))
    cycles = int(totals[worst])
    if not cycles:
        return None
    layer = layers[int(table[:, worst].argmax())]
    part = int(table[:, worst].max()) / cycles
    share = cycles / attribution.cycles
    text = (
        f"The array's largest loss is '{CLASS_WORDS[worst]}': {cycles:,} cycles; at most {percent(share)} of the time could be "
        f"saved ({percent(part)} of it in {layer.name}); {CLASS_REMEDIES[worst]}."
    )
    return Advice(engine="array", cycle_class=worst.name.lower(), cycles=cycles, share=share, layer=layer.name, text=text)
