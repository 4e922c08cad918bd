"""A segment of the systolic array: all rows of some columns, on shared activation registers."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from systola.hw.params import Params, partial_sum_bits

__all__ = ["ArraySegment"]


class ArraySegment(Component):
    """``rows × columns`` processing elements, each with an active weight, the next weight, a product and a partial sum.

    Active weights, products and sums are signals of their own, not slices of a row's: compiled simulators then compute a
    row with vector instructions.

    Row r works a cycle after row r − 1. With cycle 0 that in which row 0's activation is on ``activations``, row r's is
    there in cycle r; its products are registered at the end of that cycle and added to the partial sums of row r − 1 in
    cycle r + 1; ``sums`` is valid in cycle ``rows + 1``.

    Next weights come from ``weights``, a slice of a scratchpad word: ``rows / weight_tile_words`` rows, lower row first. Word k
    of a tile can come as early as k cycles after row 0 swapped the tile before it, when row k swaps, but a row r in it may swap
    only later. Row r therefore takes its weights ``r − k`` cycles after they arrive: never before its own swap.

    Members
    -------
    activations : In(8 · rows), row 0 lowest, already skewed
    live : In(rows + 1), bit r: row r's activation, and the products of row r − 1, are a pixel's
    swap : In(rows), bit r: row r's next weights become active at the end of this cycle
    weights : In(8 · columns · rows per word)
    select : In(weight_tile_words), bit k: ``weights`` is word k of a tile
    sums : Out(columns · partial_sum_bits), column 0 lowest
    """

    activations: Signal
    live: Signal
    swap: Signal
    weights: Signal
    select: Signal
    sums: Signal

    def __init__(self, params: Params, columns: int) -> None:
        self.rows = params.rows
        self.columns = columns
        self.words = params.weight_tile_words
        self.rows_per_word = params.rows // params.weight_tile_words
        self.sum_bits = params.partial_sum_bits
        super().__init__({
            "activations": In(8 * self.rows),
            "live": In(self.rows + 1),
            "swap": In(self.rows),
            "weights": In(8 * columns * self.rows_per_word),
            "select": In(self.words),
            "sums": Out(columns * self.sum_bits),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Row by row: weights, products, partial sums."""
        m = Module()
        line = self._weight_line(m)
        above: list[Value] = []
        for row in range(self.rows):
            active = self._weights(m, row, line)
            products = self._products(m, row, active)
            above = self._sums(m, row, products, above)
        m.d.comb += self.sums.eq(Cat(above))
        return m

    def _weight_line(self, m: Module) -> list[tuple[Value, Value]]:
        """Words and their ``select`` after 0, 1, … cycles, as many as the rows' delays need (one where a word is a row)."""
        line: list[tuple[Value, Value]] = [(self.weights, self.select)]
        for stage in range(1, self.rows - self.words + 1):
            word, select = line[-1]
            held = Signal.like(self.weights, name=f"weights_{stage}", reset_less=True)
            held_select = Signal.like(self.select, name=f"select_{stage}")
            m.d.sync += held_select.eq(select)
            with m.If(select.any()):
                m.d.sync += held.eq(word)
            line.append((held, held_select))
        return line

    def _weights(self, m: Module, row: int, line: list[tuple[Value, Value]]) -> list[Value]:
        """The active weights of a row, one a column."""
        word_index, slot = divmod(row, self.rows_per_word)
        word, select = line[row - word_index]
        bits = 8 * self.columns
        following = Signal(bits, name=f"next_{row}", reset_less=True)
        active = [Signal(signed(8), name=f"active_{row}_{column}", reset_less=True) for column in range(self.columns)]
        with m.If(select[word_index]):
            m.d.sync += following.eq(word[slot * bits : (slot + 1) * bits])
        with m.If(self.swap[row]):
            m.d.sync += [weight.eq(following.word_select(column, 8)) for column, weight in enumerate(active)]
        return list(active)

    def _products(self, m: Module, row: int, weights: list[Value]) -> list[Value]:
        activation = self.activations.word_select(row, 8).as_signed()
        products = [Signal(signed(16), name=f"product_{row}_{column}", reset_less=True) for column in range(self.columns)]
        with m.If(self.live[row]):
            m.d.sync += [product.eq(activation * weight) for product, weight in zip(products, weights, strict=True)]
        return list(products)

    def _sums(self, m: Module, row: int, products: list[Value], above: list[Value]) -> list[Value]:
        bits = partial_sum_bits(row + 1)
        sums = [Signal(signed(bits), name=f"sum_{row}_{column}", reset_less=True) for column in range(self.columns)]
        with m.If(self.live[row + 1]):
            for column, product in enumerate(products):
                m.d.sync += sums[column].eq(product + above[column] if above else product)
        return list(sums)
