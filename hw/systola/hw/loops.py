"""A loop nest in hardware: counters, and addresses or coordinates that follow them without a multiplier.

Used by every block that walks a loop nest, one step a cycle. A *level* is a loop; a *track* is a number that is linear in
the loops' indices::

    value = base + Σ index[level] · stride[level]      (modulo 2**bits)

Example: a two-dimensional walk with an address and a column::

    nest = LoopNest(
        levels=[LoopLevel("y", 16), LoopLevel("x", 16)],
        tracks=[LoopTrack("address", 14, {"y": 24, "x": 16}), LoopTrack("column", 17, {"x": 8})],
    )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

__all__ = ["LoopLevel", "LoopNest", "LoopTrack"]


@dataclass(frozen=True)
class LoopLevel:
    """One loop; its count has ``count_bits`` bits."""

    name: str
    count_bits: int


@dataclass(frozen=True)
class LoopTrack:
    """One number that follows the loops, ``bits`` wide (modulo 2**bits; read it as signed where it is).

    ``stride_bits`` gives, for each level that moves it, the width of the signed stride; other levels leave it alone.
    """

    name: str
    bits: int
    stride_bits: Mapping[str, int]


class LoopNest(Component):
    """Walks ``levels`` (outermost first), a step for each cycle with ``advance``.

    Everything is sampled in the cycle with ``load`` (only while not ``active``, or with ``advance`` from the last step); from
    the next cycle on ``active`` is 1 and ``values``, ``first`` and ``last`` describe the first step. ``advance`` (only while
    ``active``) moves to the next step in the next cycle; from the last step it ends the nest: ``active`` falls, unless ``load``
    starts the next nest in that same cycle. All outputs come from registers, but ``done`` (an AND of registers).

    Members
    -------
    load, advance : In(1)
    counts : In, per level; 1 or more
    bases : In, per track
    strides : In, per track and level that moves it, signed
    active : Out(1)
    values : Out, per track
    first, last, near : Out, a bit per level: its index is 0; it is count − 1; it is count − 2
    single : Out, a bit per level: its count is 1
    done : Out(1), ``active`` and every level is at its last index

    Raises ValueError for a name used twice or a stride of a level that does not exist.
    """

    load: Signal
    advance: Signal
    counts: Any
    bases: Any
    strides: Any
    active: Signal
    values: Any
    first: Any
    last: Any
    near: Any
    single: Any
    done: Signal

    def __init__(self, levels: Sequence[LoopLevel], tracks: Sequence[LoopTrack]) -> None:
        names = [level.name for level in levels]
        if len(set(names)) != len(names) or len({t.name for t in tracks}) != len(tracks):
            raise ValueError("levels and tracks of a loop nest must each have names of their own")
        for track in tracks:
            unknown = set(track.stride_bits) - set(names)
            if unknown:
                raise ValueError(f"track {track.name} has strides for levels that do not exist: {', '.join(sorted(unknown))}")
        self.levels = tuple(levels)
        self.tracks = tuple(tracks)
        flags = data.StructLayout(dict.fromkeys(names, 1))
        strides = {
            t.name: data.StructLayout({name: signed(t.stride_bits[name]) for name in names if name in t.stride_bits})
            for t in tracks
        }
        super().__init__({
            "load": In(1),
            "advance": In(1),
            "counts": In(data.StructLayout({level.name: level.count_bits for level in levels})),
            "bases": In(data.StructLayout({t.name: t.bits for t in tracks})),
            "strides": In(data.StructLayout(strides)),
            "active": Out(1),
            "values": Out(data.StructLayout({t.name: t.bits for t in tracks})),
            "first": Out(flags),
            "last": Out(flags, init=dict.fromkeys(names, 1)),
            "near": Out(flags),
            "single": Out(flags),
            "done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """What the next step does, the counters of all levels, then the registers of each track.

        Before a nest, as at its end, every ``last`` is 1: that, and not ``load``, chooses what the next step follows from. So
        a nest's first step takes the way of every other, and ``load``, which may come late in a cycle, only enables. What
        ``advance`` enables and chooses is known a step ahead, in registers. What a nest only keeps (counts, strides, bases) is
        taken in every such cycle, so that ``load`` need not enable it.
        """
        m = Module()
        self._ended = Signal(init=1, name="ended")
        self._grows = Signal(len(self.levels), name="grows")
        self._moves = Signal(len(self.levels), name="moves")
        following = [self._count(m, index) for index in range(len(self.levels))]
        self._foresee(m, following)
        m.d.comb += self.done.eq(self.active & self._ended)
        with m.If(self.load):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.advance & self._ended):
            m.d.sync += self.active.eq(0)
        for track in self.tracks:
            self._follow(m, track)
        return m

    def _foresee(self, m: Module, following: Sequence[Value]) -> None:
        """What the step after the next one does, from ``last`` of all levels after the next one.

        ``grows`` bit i: level i's index grows; ``moves`` bit i: it grows or begins again; ``ended``: neither is left to do.
        """
        inner_last: list[Value] = [Const(1, 1)]  # of levels i and further in, innermost first
        for last in reversed(following):
            inner_last.append(last & inner_last[-1])
        inner_last.reverse()
        with m.If(self._stepping(len(self.levels) - 1)):
            m.d.sync += [
                self._ended.eq(inner_last[0]),
                self._grows.eq(Cat(inner & ~last for last, inner in zip(following, inner_last[1:], strict=True))),
                self._moves.eq(Cat(inner & ~inner_last[0] for inner in inner_last[1:])),
            ]

    def _stepping(self, index: int) -> Value:
        """A level grows or begins again at the end of this cycle."""
        return self.load | (self.advance & self._moves[index])

    def _restarting(self, index: int) -> Value:
        """A level begins again."""
        return self.load | (self.advance & self._moves[index - 1]) if index else self.load

    def _count(self, m: Module, index: int) -> Value:
        """A level's index and flags; returns ``last`` after the next step.

        The index is two steps ahead, where it is compared: ``last`` and what it is next come from registers. It begins again
        by a reset, which takes no logic.
        """
        name, bits = self.levels[index].name, self.levels[index].count_bits
        offered = self.counts[name]
        count = Signal(bits, name=f"{name}_count", reset_less=True)
        ahead = Signal(bits, name=f"{name}_ahead", init=3 % (1 << bits))  # index + 3, modulo 2**bits
        pair = Signal(name=f"{name}_pair", reset_less=True)  # the count is 2
        single_offered, pair_offered = Signal(name=f"{name}_single_offered"), Signal(name=f"{name}_pair_offered")
        near, single = self.near[name], self.single[name]
        last_next, near_next = Signal(name=f"{name}_last_next"), Signal(name=f"{name}_near_next")
        m.d.comb += [
            single_offered.eq(offered == 1),
            pair_offered.eq(offered == 2 % (1 << bits)),
            last_next.eq(Mux(self._ended, single_offered, Mux(self._grows[index], near, single))),
            near_next.eq(Mux(self._ended, pair_offered, Mux(self._grows[index], ahead == count, pair))),
        ]
        with m.If(self._ended):
            m.d.sync += [count.eq(offered), single.eq(single_offered), pair.eq(pair_offered)]
        with m.If(self._restarting(index)):
            m.d.sync += ahead.eq(ahead.init)
        with m.Elif(self.advance & self._moves[index]):
            m.d.sync += ahead.eq(ahead + 1)
        with m.If(self._stepping(index)):
            m.d.sync += [self.first[name].eq(~self._grows[index]), self.last[name].eq(last_next), near.eq(near_next)]
        return Mux(self._ended | self._moves[index], last_next, self.last[name])

    def _follow(self, m: Module, track: LoopTrack) -> None:
        """The track's value, and for each level that moves it the value at which that level's inner loops began.

        When a level's index grows, its start plus its stride becomes the start of it and of all inner levels: one adder
        a track, whatever the number of levels. Of a new nest, its base becomes the start of all.
        """
        value = self.values[track.name]
        moved = [index for index, level in enumerate(self.levels) if level.name in track.stride_bits]
        starts: dict[int, Value] = {
            index: Signal(track.bits, name=f"{track.name}_start_{self.levels[index].name}", reset_less=True)
            for index in moved[:-1]
        }
        base: Value = value
        if moved:
            starts[moved[-1]] = value
            base = value if moved[0] == 0 else Signal(track.bits, name=f"{track.name}_base", reset_less=True)
        strides: dict[int, Value] = {}
        for index in moved:
            name = self.levels[index].name
            bits = min(track.stride_bits[name], track.bits)
            strides[index] = Signal(signed(bits), name=f"{track.name}_stride_{name}", reset_less=True)
            with m.If(self._ended):
                m.d.sync += strides[index].eq(self.strides[track.name][name])

        # Exactly one of the conditions is 1: an AND and an OR for each, instead of a chain of multiplexers.
        sources: list[tuple[Value, list[Value]]] = [(self.bases[track.name], [self._ended]), (base, [])]
        sources += [(register, []) for register in starts.values()]
        for index in range(len(self.levels)):
            held = sum(outer <= index for outer in moved)
            sources[1 + held][1].append(self._grows[index])
        start, stride = Signal(track.bits, name=f"{track.name}_from"), Signal(signed(track.bits), name=f"{track.name}_by")
        total = Signal(track.bits, name=f"{track.name}_next")
        m.d.comb += [
            start.eq(_chosen([(source, _any(when)) for source, when in sources if when], track.bits)),
            stride.eq(_chosen([(strides[index], self._grows[index]) for index in moved], track.bits)),
            total.eq(start + stride),
        ]
        if not moved or moved[0] != 0:
            with m.If(self._ended if moved else self.load):
                m.d.sync += base.eq(self.bases[track.name])
        for index, register in starts.items():
            with m.If(self._stepping(index)):
                m.d.sync += register.eq(total)


def _chosen(sources: Sequence[tuple[Value, Value]], bits: int) -> Value:
    """The one whose condition is 1, sign extended to ``bits``."""
    result: Value = Const(0, bits)
    for source, when in sources:
        result = result | (_extended(source, bits) & when.replicate(bits))
    return result


def _extended(value: Value, bits: int) -> Value:
    value = Value.cast(value)
    return Cat(value, value[-1].replicate(bits - len(value))) if value.shape().signed else value[:bits]


def _any(bits: Sequence[Value]) -> Value:
    result = bits[0]
    for bit in bits[1:]:
        result = result | bit
    return result
