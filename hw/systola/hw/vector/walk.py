"""From an instruction to its steps: loop nest, addresses, padding, and what each step does to the partial sums."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from systola.hw.block import Block
from systola.hw.interfaces import instruction_layout
from systola.hw.isa import Opcode, VectorOp
from systola.hw.latencies import COLUMN_COUNT_CYCLES
from systola.hw.loops import LoopLevel, LoopNest, LoopTrack
from systola.hw.numerics import INT8_LOW
from systola.hw.params import Params
from systola.hw.post import connect_post_config
from systola.hw.vector.layout import config_layout, request_layout, slots, tap_address_bits, tap_column_bits, uses_parameters
from systola.hw.vector.outputs import OutputTrack

__all__ = ["ColumnCount", "ColumnMask", "StepWalker"]

POSITION_BITS = 18
"""Bits of a column or row of the input tile: 16-bit counts and origins, borders on both sides."""

_COLUMN_BITS = 18

_held_layout = data.StructLayout({
    **dict.fromkeys(
        ("column_mode", "operand", "weighted", "multiply", "table", "maximum", "uses_parameters", "per_block"), 1
    ),
    "limit_x": 16,
    "limit_y": 16,
})


class ColumnCount(Block):
    """``columns`` = (count_x − 1) · step_x + count_kx: input columns that a row of outputs covers.

    A pipeline of three registers behind the instruction that waits: ``ready`` after the third cycle with ``valid``, until
    ``clear``.
    """

    def __init__(self) -> None:
        super().__init__({
            "valid": In(1),
            "clear": In(1),
            "count_x": In(16),
            "step_x": In(8),
            "count_kx": In(8),
            "ready": Out(1),
            "columns": Out(_COLUMN_BITS),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Subtract, multiply, add."""
        m = Module()
        steps, product, age = Signal(16), Signal(_COLUMN_BITS), Signal(2)
        m.d.comb += self.ready.eq(age == COLUMN_COUNT_CYCLES)
        with m.If(self.clear):
            m.d.sync += age.eq(0)
        with m.Elif(self.valid & ~self.ready):
            m.d.sync += [
                age.eq(age + 1),
                steps.eq(self.count_x - 1),
                product.eq(steps * self.step_x),
                self.columns.eq(product + self.count_kx),
            ]
        return m


class ColumnMask(Block):
    """Column mode: which partial sums the current input column adds to.

    An output's partial sum moves up one slot with each input column and ends in the last slot, whatever the stride; it
    begins in slot ``taps − count_kx``. ``mask`` has a bit per slot with an output in it. ``load`` samples all that follows;
    ``advance`` goes to the next column, with ``restart`` to the first of a row. Nobody counts outputs: one that begins beyond
    the row's last is not complete before the row ends, and all columns left are the last one's as well.
    """

    def __init__(self, params: Params) -> None:
        self._slots = slots(params)
        super().__init__({
            "load": In(1),
            "advance": In(1),
            "restart": In(1),
            "column_mode": In(1),
            "count_kx": In(8),
            "step_x": In(8),
            "mask": Out(self._slots),
            "start": Out(self._slots),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Counter of columns until the next output begins, shift register of slots."""
        m = Module()
        wrap, left, begins = Signal(8), Signal(8), Signal()
        start = Signal(self._slots)
        top = 1 << self._slots - 1
        m.d.comb += start.eq(Mux(self.column_mode, Cat(self.count_kx == self._slots - slot for slot in range(self._slots)), top))
        with m.If(self.load):
            m.d.sync += [wrap.eq(self.step_x - 1), left.eq(self.step_x - 1), begins.eq(self.step_x == 1)]
            m.d.sync += [self.start.eq(start), self.mask.eq(start)]
        with m.Elif(self.advance):
            again = begins | self.restart
            m.d.sync += [
                left.eq(Mux(again, wrap, left - 1)),
                begins.eq(Mux(again, wrap == 0, left == 1)),
                self.mask.eq(Mux(self.restart, 0, self.mask << 1) | Mux(again, self.start, 0)),
            ]
        return m


class StepWalker(Block):
    """The steps of one instruction after another, in order, with no gap between two whose instruction is waiting.

    ``instruction``: taken when its first step can be made. ``seen``: the parameter loader has taken note of the instruction
    that waits. ``available``: a set of parameters is loaded that no block uses yet; the first step of a block that needs one
    waits for it. ``consumed``: that step is made. ``requests``: the steps. ``config``: of the instruction whose steps are made;
    the next instruction is not taken before ``config_taken``. ``active``: there are steps to make.

    Column mode walks n, y, column, ky; plain mode n, y, x, ky, kx and, where there is a second operand, a step for it after
    each window. In column mode the column's level takes the place of x, its stride is that of kx.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        super().__init__({
            "instruction": In(stream.Signature(cast("Any", instruction_layout(Opcode.VECTOR)))),
            "seen": In(1),
            "available": In(1),
            "requests": Out(stream.Signature(cast("Any", request_layout(params)))),
            "config": Out(cast("Any", config_layout)),
            "config_taken": In(1),
            "consumed": Out(1),
            "active": Out(1),
        })

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's interface
        """Input nest, addresses of outputs, column mask; their values are the step."""
        m = Module()
        m.submodules.inputs = inputs = self._input_nest()
        m.submodules.destination = destination = OutputTrack(self._params)
        m.submodules.second = second = OutputTrack(self._params)
        m.submodules.mask = mask = ColumnMask(self._params)
        m.submodules.columns = columns = ColumnCount()
        payload = self.instruction.payload
        held: Any = Signal(_held_layout)
        take, step, done, pending, hold = Signal(), Signal(), Signal(), Signal(), Signal()
        operand, window_end, emit = Signal(), Signal(), Signal()

        m.d.comb += [
            columns.valid.eq(self.instruction.valid),
            columns.clear.eq(take),
            *(getattr(columns, name).eq(payload[name]) for name in ("count_x", "step_x", "count_kx")),
            take.eq(self.instruction.valid & columns.ready & self.seen & ~pending & (~inputs.active | done)),
            self.instruction.ready.eq(take),
            self.active.eq(inputs.active),
            self.consumed.eq(step & hold),
            self.requests.valid.eq(inputs.active & (~hold | self.available)),
            step.eq(self.requests.valid & self.requests.ready),
            window_end.eq(inputs.last.k0 & inputs.last.k1),
            inputs.advance.eq(step & ~(window_end & held.operand & ~operand)),
            done.eq(inputs.advance & inputs.done),
            emit.eq(window_end & Mux(held.column_mode, mask.mask[-1], ~held.operand | operand)),
            mask.advance.eq(inputs.advance & window_end & held.column_mode),
            mask.restart.eq(inputs.last.x),
            *(getattr(mask, name).eq(payload[name]) for name in ("column_mode", "count_kx", "step_x")),
            *(unit.load.eq(take) for unit in (inputs, destination, second, mask)),
            *self._load_inputs(inputs, payload, columns.columns),
            *self._follow(destination, "dst", inputs, step & emit),
            *self._follow(second, "b", inputs, step & emit),
        ]
        with m.If(step):
            m.d.sync += operand.eq(window_end & held.operand & ~operand)
        self._hold(m, held, take, pending)
        block_end = inputs.last.x & inputs.last.y & window_end
        with m.If(take):
            m.d.sync += hold.eq(uses_parameters(payload))
        with m.Elif(step):
            m.d.sync += hold.eq(inputs.advance & block_end & held.uses_parameters & held.per_block)
        self._describe(m, held, inputs, (destination, second), mask, {
            "take": take, "step": step, "operand": operand, "window_end": window_end, "emit": emit, "hold": hold,
            "advance": inputs.advance, "block_end": block_end,
        })  # fmt: skip
        return m

    def _input_nest(self) -> LoopNest:
        address_bits = self._params.scratchpad_address_bits
        levels = [("n", 16), ("y", 16), ("x", _COLUMN_BITS), ("k1", 8), ("k0", 8)]
        return LoopNest(
            [LoopLevel(name, bits) for name, bits in levels],
            [
                LoopTrack("address", address_bits, {"n": 24, "y": 24, "x": 16, "k1": 24, "k0": 24}),
                LoopTrack("column", POSITION_BITS, {"x": 9, "k0": 9}),
                LoopTrack("row", POSITION_BITS, {"y": 9, "k1": 9, "k0": 9}),
            ],
        )

    @staticmethod
    def _load_inputs(nest: LoopNest, i: Any, columns: Value) -> list[Any]:
        column_mode = i.column_mode
        return [
            nest.counts.n.eq(i.count_n),
            nest.counts.y.eq(i.count_y),
            nest.counts.x.eq(Mux(column_mode, columns, i.count_x)),
            nest.counts.k1.eq(Mux(column_mode, 1, i.count_ky)),
            nest.counts.k0.eq(Mux(column_mode, i.count_ky, i.count_kx)),
            nest.bases.address.eq(i.a_address),
            nest.strides.address.n.eq(i.a_stride_n),
            nest.strides.address.y.eq(i.a_stride_y),
            nest.strides.address.x.eq(Mux(column_mode, i.a_stride_kx, i.a_stride_x)),
            nest.strides.address.k1.eq(i.a_stride_ky),
            nest.strides.address.k0.eq(Mux(column_mode, i.a_stride_ky, i.a_stride_kx)),
            nest.bases.column.eq(i.origin_x),
            nest.strides.column.x.eq(Mux(column_mode, 1, i.step_x)),
            nest.strides.column.k0.eq(Mux(column_mode, 0, i.dilation_x)),
            nest.bases.row.eq(i.origin_y),
            nest.strides.row.y.eq(i.step_y),
            nest.strides.row.k1.eq(i.dilation_y),
            nest.strides.row.k0.eq(Mux(column_mode, i.dilation_y, 0)),
        ]

    def _follow(self, track: OutputTrack, prefix: str, inputs: LoopNest, advance: Value) -> list[Any]:
        """Connects a track of the outputs to the instruction's fields of that prefix."""
        payload = self.instruction.payload
        return [
            track.advance.eq(advance),
            track.base.eq(payload[f"{prefix}_address"]),
            *(track.last[name].eq(inputs.last[name]) for name in ("n", "y", "x")),
            *(track.strides[name].eq(payload[f"{prefix}_stride_{name}"]) for name in ("n", "y", "x")),
        ]

    def _hold(self, m: Module, held: Any, take: Signal, pending: Signal) -> None:
        """Keeps what steps and the data path need of the instruction taken."""
        i = self.instruction.payload
        op = i.op
        sums = (op == VectorOp.DEPTHWISE) | (op == VectorOp.SUM) | (op == VectorOp.MUL)
        with m.If(take):
            m.d.sync += [
                held.column_mode.eq(i.column_mode),
                held.operand.eq(i.operand),
                held.limit_x.eq(i.limit_x),
                held.limit_y.eq(i.limit_y),
                held.weighted.eq(op == VectorOp.DEPTHWISE),
                held.multiply.eq(op == VectorOp.MUL),
                held.table.eq(op == VectorOp.TABLE),
                held.maximum.eq(op == VectorOp.MAX),
                held.uses_parameters.eq(uses_parameters(i)),
                held.per_block.eq(i.param_stride_n != 0),
                self.config.pad_value.eq(i.pad_value),
                self.config.zero_in.eq(Mux(sums, i.zero_in, INT8_LOW)),
                self.config.zero_factor.eq(i.zero_operand),
                *connect_post_config(self.config.post, i, sums),
                # The second operand of MUL is a factor, and none to stage B.
                self.config.post.operand.eq(i.operand & (op != VectorOp.MUL)),
                pending.eq(1),
            ]
        with m.Elif(self.config_taken):
            m.d.sync += pending.eq(0)

    def _describe(
        self, m: Module, held: Any, inputs: LoopNest, outputs: tuple[OutputTrack, OutputTrack], mask: ColumnMask,
        now: dict[str, Signal],
    ) -> None:  # fmt: skip
        """The step's request; ``outputs`` are the tracks of its destination and of its second operand."""
        request, step = self.requests.payload, self.requests.payload.step
        operand = now["operand"]
        begin, set_index = Signal(), Signal()
        row, column = Signal(tap_address_bits(self._params) - 1), Signal(tap_column_bits(self._params))
        self._tap_place(m, held, now, row, column)
        with m.If(now["take"]):
            m.d.sync += begin.eq(1)
        with m.Elif(now["step"]):
            m.d.sync += begin.eq(0)
        # Sets of parameters alternate between the halves of the tap store, in the order in which they are loaded.
        ends_set = now["block_end"] & held.uses_parameters & (held.per_block | inputs.last.n)
        with m.If(now["advance"] & ends_set):
            m.d.sync += set_index.eq(~set_index)
        inside = (inputs.values.column < held.limit_x) & (inputs.values.row < held.limit_y)
        first = inputs.first.k0 & inputs.first.k1
        m.d.comb += [
            request.address.eq(Mux(operand, outputs[1].value, inputs.values.address)),
            request.destination.eq(outputs[0].value),
            request.final.eq(inputs.last.n & inputs.last.y & inputs.last.x),
            step.read.eq(operand | (inside & (mask.mask.any() | ~held.column_mode))),
            step.operand.eq(operand),
            step.active.eq(Mux(operand == held.multiply, mask.mask, 0)),
            step.fresh.eq(Mux(first, mask.start, 0)),
            step.shift.eq(first & held.column_mode),
            *(step[name].eq(held[name]) for name in ("weighted", "multiply", "maximum", "table")),
            step.row.eq(Cat(row, set_index)),
            step.column.eq(Mux(held.column_mode, slots(self._params) - 1, column)),
            step.emit.eq(now["emit"]),
            step.begin.eq(begin),
            step.parameters.eq(now["hold"]),
            step.swap.eq(begin | now["hold"]),
            step.release.eq(held.table & ends_set & (~held.operand | operand)),  # once, with the set's last step
        ]

    def _tap_place(self, m: Module, held: Any, now: dict[str, Signal], row: Signal, column: Signal) -> None:
        """Where the weights of a step are: in column mode a row per kernel row, in plain mode one after the other."""
        last_column = slots(self._params) - 1
        with m.If(now["take"] | (now["step"] & now["window_end"])):
            m.d.sync += [row.eq(0), column.eq(0)]
        with m.Elif(now["step"]):
            wrap = held.column_mode | (column == last_column)
            m.d.sync += [row.eq(row + wrap), column.eq(Mux(wrap, 0, column + 1))]
