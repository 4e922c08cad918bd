"""The systolic array: segments side by side, the skew before them, the alignment behind them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from systola.hw.array.segment import ArraySegment
from systola.hw.params import Params

__all__ = ["SystolicArray"]


class SystolicArray(Component):
    """Multiplies pixels by the active weight tile: ``sums[c] = Σ_r activations[r] · weight[r][c]``.

    A pixel may enter in every cycle; its sums leave ARRAY_FIRST_SUM_CYCLES later, plus a cycle for each further row and segment,
    all columns together. ``swap`` with a pixel makes the tile written last active for it and the pixels after it.

    Members
    -------
    enter : In(1), a pixel is at the entry
    swap : In(1), it is the first of a pass; only with ``enter``
    activations : In(8 · rows), the pixel, row 0 lowest
    weights : In(8 · lanes), a word of the next tile
    select : In(weight_tile_words), bit k: it is word k
    sums : Out(columns · partial_sum_bits), column 0 lowest

    Word k of a tile may come k cycles after the entry of the swap before it, or later, and must come at most k − 1 cycles after
    the entry of its own swap.
    """

    enter: Signal
    swap: Signal
    activations: Signal
    weights: Signal
    select: Signal
    sums: Signal

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__({
            "enter": In(1),
            "swap": In(1),
            "activations": In(8 * params.rows),
            "weights": In(8 * params.lanes),
            "select": In(params.weight_tile_words),
            "sums": Out(params.columns * params.partial_sum_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Skew, then the segments; what goes into a segment reaches the next one a cycle later."""
        m = Module()
        rows = self.params.rows
        live = _taps(m, self.enter, rows + 2, "live")
        inputs: list[Value] = [
            self._skew(m, live),
            live[1:],
            _taps(m, self.swap, rows, "swap"),
            self.weights,
            self.select,
        ]
        columns = self.params.columns // self.params.segments
        for index in range(self.params.segments):
            segment = ArraySegment(self.params, columns)
            m.submodules[f"segment_{index}"] = segment
            activations, pixels, swap, weights, select = inputs
            m.d.comb += [
                segment.activations.eq(activations),
                segment.live.eq(pixels),
                segment.swap.eq(swap),
                segment.weights.eq(self._slice(weights, index, columns)),
                segment.select.eq(select),
                self._sums_of(index, columns).eq(_delay(m, segment.sums, self.params.segments - 1 - index, f"sums_{index}")),
            ]
            inputs = [_delay(m, value, 1, f"segment_{index + 1}_{n}") for n, value in enumerate(inputs)]
        return m

    def _skew(self, m: Module, live: Value) -> Value:
        """Row r's activation, r + 1 cycles after the entry: a triangle of registers."""
        rows = self.params.rows
        skewed, source = [], Value.cast(self.activations)
        for row in range(rows):
            held = Signal(8 * (rows - row), name=f"skew_{row}", reset_less=True)
            with m.If(live[row]):
                m.d.sync += held.eq(source)
            skewed.append(held[:8])
            source = held[8:]
        return Cat(skewed)

    def _slice(self, weights: Value, index: int, columns: int) -> Value:
        """The columns of a segment, of each row in a word."""
        params = self.params
        starts = range(index * columns, params.lanes, params.columns)
        return Cat(weights[8 * start : 8 * (start + columns)] for start in starts)

    def _sums_of(self, index: int, columns: int) -> Value:
        return self.sums.word_select(index, columns * self.params.partial_sum_bits)


def _taps(m: Module, bit: Value, count: int, name: str) -> Value:
    """A bit after 0, 1, … count − 1 cycles."""
    held = Signal(count - 1, name=f"{name}_held")
    m.d.sync += held.eq(Cat(bit, held))
    return Cat(bit, held)


def _delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    for cycle in range(cycles):
        held = Signal(len(value), name=f"{name}_delayed_{cycle}")
        m.d.sync += held.eq(value)
        value = held
    return value
