"""The interpreter: executes programs instruction by instruction, plainly. It is *the* definition of the instruction set.

Numbers follow ``systola.hw.numerics`` in vectorised form; loops and addresses follow ``docs/explanation/machine.md``. There is
no time in it: an engine's instruction is executed at once, whole. Instructions of different engines may be executed in any
order that their waits allow (``order_seed``); a correct program gives the same bytes in every order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import DeviceError
from systola.hw.isa import ENGINES, RECORD, RECORD_BYTES, Engine, Instruction, Opcode, VectorOp
from systola.hw.params import Params

__all__ = ["Interpreter"]

Words = NDArray[np.int64]
Codes = NDArray[np.int64]


class Interpreter:
    """One accelerator's memories and what its instructions do to them.

    ``dram``: uint8, the memory behind the bus; addresses are offsets from its start.
    """

    def __init__(self, params: Params, dram: NDArray[np.uint8]) -> None:
        self.params = params
        self.dram = dram
        self.scratchpad = np.zeros((params.scratchpad_words, params.lanes), dtype=np.int8)
        self.accumulators = np.zeros((params.accumulator_words, params.columns), dtype=np.int64)
        self._run: dict[Opcode, Callable[[Instruction], None]] = {
            Opcode.LOAD: self._load,
            Opcode.ARRAY: self._array,
            Opcode.DRAIN: self._drain,
            Opcode.VECTOR: self._vector,
            Opcode.STORE: self._store,
        }

    def execute(self, instruction: Instruction) -> None:
        """Execute one instruction whose waits are over; END has nothing to do."""
        if instruction.opcode is not Opcode.END:
            self._run[instruction.opcode](instruction)

    def run(self, streams: Mapping[Engine, Sequence[Instruction]], order_seed: int | None = None) -> None:
        """Execute a program: each engine's instructions in order (END last, or left out), the engines in turn as far as their
        waits allow, or in a random order that they allow.

        Raises DeviceError if the waits are never over.
        """
        finished = [0] * len(ENGINES)
        position = dict.fromkeys(streams, 0)
        choice = None if order_seed is None else random.Random(order_seed)
        while left := [engine for engine, stream in streams.items() if position[engine] < len(stream)]:
            ready = [engine for engine in left if _ready(streams[engine][position[engine]], finished)]
            if not ready:
                names = ", ".join(engine.name.lower() for engine in left)
                raise DeviceError(f"the program waits for itself: the next instruction of {names} can never begin")
            for engine in ready if choice is None else [choice.choice(ready)]:
                instruction = streams[engine][position[engine]]
                self.execute(instruction)
                position[engine] += 1
                finished[engine] += instruction.opcode is not Opcode.END

    # --- transfers -------------------------------------------------------------------------------------------------

    def _transfer(self, i: Instruction) -> tuple[Words, Words]:
        """(first DRAM byte, scratchpad word) of every word moved, in order."""
        x, y, z = np.arange(i["count_x"]), np.arange(i["count_y"])[:, None], np.arange(i["count_z"])[:, None, None]
        dram = i["dram_address"] + z * i["dram_stride_z"] + y * i["dram_stride_y"] + x * self.params.lanes
        chip = i["sp_address"] + z * i["sp_stride_z"] + y * i["sp_stride_y"] + x
        return dram.reshape(-1), self._wrap(chip.reshape(-1))

    def _load(self, i: Instruction) -> None:
        dram, chip = self._transfer(i)
        self.scratchpad[chip] = self.dram[dram[:, None] + np.arange(self.params.lanes)].view(np.int8)

    def _store(self, i: Instruction) -> None:
        dram, chip = self._transfer(i)
        self.dram[dram[:, None] + np.arange(self.params.lanes)] = self.scratchpad[chip].view(np.uint8)

    def _wrap(self, words: Words) -> Words:
        return words & self.params.scratchpad_words - 1

    # --- array -----------------------------------------------------------------------------------------------------

    def _array(self, i: Instruction) -> None:
        p, pixels = self.params, i["count_y"] * i["count_x"]
        weights = self._weight_tiles(i)
        tile = 0
        for n in range(i["count_n"]):
            acc = i["acc_address"] + n * pixels + np.arange(pixels)
            fresh = not i["accumulate"]
            for ky in range(i["count_ky"]):
                for kx in range(i["count_kx"]):
                    for kb in range(i["count_kb"]):
                        word = kb // p.row_groups * i["stride_kb"]
                        codes = self._window(i, "act_address", "stride", ky, kx, word)
                        group = kb % p.row_groups * p.rows
                        product = codes[:, group : group + p.rows] @ weights[tile]
                        self.accumulators[acc] = product if fresh else self.accumulators[acc] + product
                        fresh, tile = False, tile + 1

    def _weight_tiles(self, i: Instruction) -> NDArray[np.int64]:
        """[tiles, rows, columns]."""
        p = self.params
        tiles = i["count_n"] * i["count_ky"] * i["count_kx"] * i["count_kb"]
        words = self._wrap(i["weight_address"] + np.arange(tiles * p.weight_tile_words))
        return self.scratchpad[words].astype(np.int64).reshape(tiles, p.rows, p.columns)

    def _window(self, i: Instruction, address: str, stride: str, ky: int, kx: int, offset: int) -> Codes:
        """The codes [pixels, lanes] at one kernel position of every output pixel, ``pad_value`` outside."""
        y, x = (a.reshape(-1) for a in np.indices((i["count_y"], i["count_x"])))
        iy = i["origin_y"] + y * i["step_y"] + ky * i["dilation_y"]
        ix = i["origin_x"] + x * i["step_x"] + kx * i["dilation_x"]
        inside = (iy >= 0) & (iy < i["limit_y"]) & (ix >= 0) & (ix < i["limit_x"])
        word = i[address] + offset + y * i[f"{stride}_y"] + x * i[f"{stride}_x"] + ky * i[f"{stride}_ky"] + kx * i[f"{stride}_kx"]
        codes = self.scratchpad[self._wrap(word)].astype(np.int64)
        codes[~inside] = i["pad_value"]
        return codes

    # --- drain -----------------------------------------------------------------------------------------------------

    def _drain(self, i: Instruction) -> None:
        p, pixels = self.params, i["count_y"] * i["count_x"]
        y, x = (a.reshape(-1) for a in np.indices((i["count_y"], i["count_x"])))
        for n in range(i["count_n"]):
            word, group = divmod(i["group"] + n, p.column_groups)
            lanes = slice(group * p.columns, (group + 1) * p.columns)
            sums = self.accumulators[i["acc_address"] + n * i["acc_stride_n"] + np.arange(pixels)]
            records = self._records(i["param_address"] + n * p.drain_record_words, p.columns)
            codes = _stage_a(i, sums, records)
            if i["stage_b"]:
                operand = np.zeros_like(codes)
                if i["operand"]:
                    where = i["b_address"] + word * i["b_stride_n"] + y * i["b_stride_y"] + x
                    operand = self.scratchpad[self._wrap(where)][:, lanes].astype(np.int64)
                codes = _stage_b(i, codes, operand)
            out = i["dst_address"] + word * i["dst_stride_n"] + y * i["dst_stride_y"] + x * i["dst_stride_x"]
            self.scratchpad[self._wrap(out), lanes] = codes.astype(np.int8)

    def _records(self, address: int, channels: int) -> dict[str, Codes]:
        """Requantization records of consecutive channels, by field, [channels]."""
        words = -(-channels * RECORD_BYTES // self.params.lanes)
        raw = self.scratchpad[self._wrap(address + np.arange(words))].reshape(-1).view("<u8")[:channels]
        fields, position = {}, 0
        for item in RECORD:
            values = (raw >> np.uint64(position) & np.uint64((1 << item.width_bits) - 1)).astype(np.int64)
            fields[item.name] = values - (values >> item.width_bits - 1 << item.width_bits) if item.signed else values
            position += item.width_bits
        return fields

    # --- vector ----------------------------------------------------------------------------------------------------

    def _vector(self, i: Instruction) -> None:
        p, op = self.params, VectorOp(i["op"])
        y, x = (a.reshape(-1) for a in np.indices((i["count_y"], i["count_x"])))
        for n in range(i["count_n"]):
            params = i["param_address"] + n * i["param_stride_n"]
            operand = np.zeros((y.size, p.lanes), dtype=np.int64)
            if i["operand"] or op is VectorOp.MUL:
                where = i["b_address"] + n * i["b_stride_n"] + y * i["b_stride_y"] + x * i["b_stride_x"]
                operand = self.scratchpad[self._wrap(where)].astype(np.int64)
            codes = self._vector_codes(i, op, n, params, operand)
            if i["stage_b"]:
                codes = _stage_b(i, codes, operand)
            out = i["dst_address"] + n * i["dst_stride_n"] + y * i["dst_stride_y"] + x * i["dst_stride_x"]
            self.scratchpad[self._wrap(out)] = codes.astype(np.int8)

    def _vector_codes(self, i: Instruction, op: VectorOp, n: int, params: int, operand: Codes) -> Codes:
        windows = [
            self._window(i, "a_address", "a_stride", ky, kx, n * i["a_stride_n"])
            for ky in range(i["count_ky"])
            for kx in range(i["count_kx"])
        ]
        if op is VectorOp.MAX:
            largest: Codes = np.stack(windows).max(axis=0)
            return largest
        if op is VectorOp.COPY:
            return windows[0]
        if op is VectorOp.TABLE:
            words = self._wrap(params + np.arange(self.params.table_words))
            table: Codes = self.scratchpad[words].reshape(-1).astype(np.int64)
            return table[windows[0] + 128]
        records = self._records(params, self.params.lanes)
        if op is VectorOp.MUL:
            sums = (windows[0] - i["zero_in"]) * (operand - i["zero_operand"])
        elif op is VectorOp.SUM:
            sums = np.stack(windows).sum(axis=0) - len(windows) * i["zero_in"]
        else:
            where = self._wrap(params + self.params.vector_record_words + np.arange(len(windows)))
            weights = self.scratchpad[where].astype(np.int64)
            sums = np.sum([(w - i["zero_in"]) * row for w, row in zip(windows, weights, strict=True)], axis=0)
        return _stage_a(i, sums, records)


def _ready(instruction: Instruction, finished: list[int]) -> bool:
    return all(
        (finished[e] - instruction[f"wait_{e.name.lower()}"] & 0xFFFF) < 1 << 15
        for e in ENGINES
        if instruction["wait_enable"] >> e & 1
    )


def _rounding_shift(value: Codes, shift: Codes | int) -> Codes:
    amount = np.asarray(shift, dtype=np.int64)
    half = np.where(amount > 0, np.int64(1) << np.maximum(amount - 1, 0), 0)
    return (value + half) >> amount


def _stage_a(i: Instruction, sums: Codes, records: dict[str, Codes]) -> Codes:
    """numerics.requantize for [pixels, channels]. The product fits: 32 bits times at most 17."""
    scaled = _rounding_shift((sums + records["bias"]) * records["multiplier"], records["shift"])
    return np.clip(scaled + i["zero_a"], i["low_a"], i["high_a"])


def _stage_b(i: Instruction, codes: Codes, operand: Codes) -> Codes:
    """numerics.elementwise for [pixels, channels]."""
    difference = codes - i["zero_a"]
    factor = np.where(difference < 0, i["multiplier_negative"], i["multiplier_positive"])
    total = difference * factor + (operand - i["zero_operand"]) * i["multiplier_operand"]
    return np.clip(_rounding_shift(total, i["shift_b"]) + i["zero_b"], i["low_b"], i["high_b"])
