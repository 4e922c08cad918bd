"""Why an engine did no useful work: each of its cycles by root cause.

Where the engine waits for another, the cause is what that one did in the same cycle: its work, if it worked; what held it up, if
it waited for memory or a bank; and if it waited for a third engine, what that one did, and so on. Engines that wait for each
other in a ring, or for one that has nothing left to do (a finish takes two cycles to be seen), wait for the order of the work
itself. After the engine's last instruction the cause is what the engine that finishes last does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine
from systola.hw.params import Params
from systola.reports.attribution import Attribution, Spans
from systola.reports.causes import Cause
from systola.reports.classes import WAITS, Use
from systola.reports.edges import BUSY_USES

__all__ = ["root_causes"]

_SAME = {
    use: Cause[use.name]
    for use in (Use.WEIGHTS, Use.BANK, Use.DRAM_LATENCY, Use.DRAM_BANDWIDTH, Use.FILL, Use.FETCH, Use.START)
}
_WORK = {Engine.ARRAY: Cause.ARRAY, Engine.DRAIN: Cause.DRAIN, Engine.VECTOR: Cause.VECTOR}


def root_causes(attribution: Attribution, uses: NDArray[np.int64], engine: Engine, params: Params) -> NDArray[np.int64]:
    """[layer, ``Cause``]: the engine's cycles, the layers as in ``uses`` ([engine, layer, ``Use``], edge waste apart)."""
    begin, table = _together(attribution)
    cycles = np.diff(begin, append=attribution.cycles)
    spans = attribution.spans[engine]
    layer = spans.layer[np.searchsorted(spans.begin, begin, "right") - 1].astype(np.int64)
    who = _first_to_ask(attribution, begin, table, engine)
    causes = _follow(table, who, engine, params)
    count, layers = len(Cause), uses.shape[1]
    sums = np.bincount(layer * count + causes, weights=cycles, minlength=layers * count)
    result = sums.astype(np.int64).reshape(layers, count)
    busy = [Cause[use.name] for use in BUSY_USES]
    result[:, busy] = uses[engine][:, list(BUSY_USES)]
    return result


def _together(attribution: Attribution) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Segments in which no engine's use changes: where they begin, and the uses [engine, segment]."""
    begin = np.unique(np.concatenate([attribution.spans[e].begin for e in ENGINES]))

    def use(spans: Spans) -> NDArray[np.int8]:
        return spans.use[np.searchsorted(spans.begin, begin, "right") - 1]

    return begin, np.stack([use(attribution.spans[e]) for e in ENGINES])


def _first_to_ask(
    attribution: Attribution, begin: NDArray[np.int64], table: NDArray[np.int8], engine: Engine
) -> NDArray[np.int8]:
    """The engine whose use explains each segment to begin with: ``engine``, but once it has finished the last to finish."""
    who = np.full(len(begin), int(engine), dtype=np.int8)
    times, low = attribution.instructions, 0
    for length in attribution.program_cycles:
        inside = (times.begin >= low) & (times.begin < low + length)
        if inside.any():
            last = times.engine[inside][times.end[inside].argmax()]
            segments = slice(*np.searchsorted(begin, [low, low + length]))
            who[segments][table[engine, segments] == Use.FINISH] = last
        low += length
    return who


def _follow(table: NDArray[np.int8], who: NDArray[np.int8], engine: Engine, params: Params) -> NDArray[np.int8]:
    """The cause of each segment: from engine to engine, as each waits for the next."""
    who, everyone = who.copy(), np.arange(len(who))
    use = table[who, everyone]
    seen = np.left_shift(1, who)
    ring = np.zeros(len(who), dtype=bool)
    rest = np.flatnonzero(np.isin(use, WAITS))
    while len(rest):
        after = use[rest] - Use.WAIT_LOAD
        again = (seen[rest] >> after & 1).astype(bool)
        ring[rest[again]] = True
        rest, after = rest[~again], after[~again]
        who[rest], use[rest] = after, table[after, rest]
        seen[rest] |= np.left_shift(1, after)
        rest = rest[np.isin(use[rest], WAITS)]
    causes = _cause_table(params)[who, use]
    causes[ring | ((use == Use.FINISH) & (table[engine] != Use.FINISH))] = Cause.ORDER
    causes[(who == engine) & (use == Use.USEFUL)] = Cause.USEFUL
    return causes


def _cause_table(params: Params) -> NDArray[np.int8]:
    """[engine, ``Use``]: the cause that an engine's use is for those who wait for it."""
    result = np.full((len(ENGINES), len(Use)), int(Cause.FINISH), dtype=np.int8)
    moves = Cause.DRAM_BANDWIDTH if params.lanes >= params.bus_bytes else Cause.TRANSFER
    for engine in ENGINES:
        for use, cause in _SAME.items():
            result[engine, use] = cause
        result[engine, Use.USEFUL] = _WORK.get(engine, moves)
    return result
