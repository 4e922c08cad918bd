"""What would help most: the largest root cause of lost cycles, and what to change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine
from systola.mapper.image import LayerInfo
from systola.reports.attribution import Attribution
from systola.reports.causes import CAUSE_MEANINGS, CAUSE_WORDS, Cause
from systola.reports.classes import Use
from systola.reports.schema import Advice
from systola.reports.words import ENGINE_NAMES, percent

__all__ = ["advice", "judged_engine"]

BEYOND_CHANGE = (Cause.USEFUL, Cause.FINISH)


def judged_engine(attribution: Attribution) -> Engine:
    """The engine whose cycles are explained: the array, whose multipliers the accelerator is made for; where it has no work, the
    engine with most."""
    busy = attribution.uses[:, :, Use.USEFUL].sum(axis=1)
    return Engine.ARRAY if busy[Engine.ARRAY] else ENGINES[int(busy.argmax())]


def advice(causes: NDArray[np.int64], engine: Engine, cycles: int, layers: Sequence[LayerInfo]) -> Advice | None:
    """The largest cause in ``causes`` ([layer, ``Cause``]) that a change could shorten, and the most that its end would save of
    ``cycles``; None if there is none. An upper bound: without that cause another may take part of its place."""
    table = causes.copy()
    table[:, BEYOND_CHANGE] = 0
    totals = table.sum(axis=0)
    worst = Cause(int(totals.argmax()))
    lost = int(totals[worst])
    if not lost:
        return None
    layer = layers[int(table[:, worst].argmax())]
    part, share = int(table[:, worst].max()) / lost, lost / cycles
    meaning, change = CAUSE_MEANINGS[worst]
    why, change = meaning.replace("`", ""), change.replace("`", "")
    name = ENGINE_NAMES[engine.name.lower()]
    text = (
        f"{CAUSE_WORDS[worst]}: {lost:,} of the {name}'s {cycles:,} cycles; without it at most {percent(share)} of the "
        f"time would be saved ({percent(part)} of it in {layer.name}). {why} What to change: {change}"
    )
    return Advice(
        engine=engine.name.lower(), cause=worst.name.lower(), cycles=lost, share=share, layer=layer.name, change=change, text=text
    )
