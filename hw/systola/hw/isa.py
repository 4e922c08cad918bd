"""The instruction set: one table, from which come the Amaranth layouts, the encoder, the disassembler, the interpreter
and the reference page.

An instruction is a whole loop nest for one engine. It is a little-endian bit string of ``units`` × 32 bytes; fields are
packed from bit 0 upwards in the order of the table. Every instruction begins with the header.

**Streams.** Each engine has its own stream of instructions in DRAM, and runs them in order. A stream ends with END; then the
engine has no more to do.

**Order.** Between engines, order comes from *timeline semaphores*: every engine counts the instructions it has finished (modulo
2**16, zero at start), and an instruction may wait until engines' counts have reached given values. A wait holds while
``(count − threshold) mod 2**16`` is 2**15 or more: so an engine has at most MAX_INSTRUCTIONS in a program. Streams are fetched
independently, so a program whose instructions can be listed in an order in which every wait names an earlier one cannot
deadlock, whatever the queues' depth.

**Addresses.** Scratchpad addresses count words of ``lanes`` bytes and wrap modulo the scratchpad's size. DRAM addresses
are byte offsets from the DRAM base register. Strides are signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from types import MappingProxyType

from systola.hw.errors import ImageError

__all__ = [
    "ENGINES",
    "HEADER",
    "INSTRUCTIONS",
    "ISA_VERSION",
    "MAX_INSTRUCTIONS",
    "RECORD",
    "RECORD_BYTES",
    "UNIT_BYTES",
    "Engine",
    "Field",
    "Instruction",
    "Opcode",
    "VectorOp",
    "decode",
    "encode",
    "instruction_units",
]

ISA_VERSION = 2
UNIT_BYTES = 32
RECORD_BYTES = 8
MAX_INSTRUCTIONS = (1 << 15) - 1
"""Of one engine in a program: any two counts are then near enough to be compared modulo 2**16."""


class Engine(IntEnum):
    """The engines, in the order of their waits in the header."""

    LOAD = 0
    ARRAY = 1
    DRAIN = 2
    VECTOR = 3
    STORE = 4


ENGINES = tuple(Engine)


class Opcode(IntEnum):
    """First field of every instruction; the engine's number plus one, or END."""

    LOAD = 1
    ARRAY = 2
    DRAIN = 3
    VECTOR = 4
    STORE = 5
    END = 6


class VectorOp(IntEnum):
    """What the vector engine computes for each output word; ``a`` and ``b`` are operand codes, lane by lane."""

    DEPTHWISE = 0  # stage A of Σ (a − zero_in) · weight over the window
    SUM = 1  # stage A of Σ (a − zero_in) over the window
    MAX = 2  # the largest a of the window
    MUL = 3  # stage A of (a − zero_in) · (b − zero_operand)
    COPY = 4  # a
    TABLE = 5  # table[a + 128]


@dataclass(frozen=True)
class Field:
    """One field: ``width_bits`` wide, two's complement where ``signed``."""

    name: str
    width_bits: int
    meaning: str
    signed: bool = False

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << self.width_bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.width_bits - self.signed) - 1


def _u(name: str, width_bits: int, meaning: str) -> Field:
    return Field(name, width_bits, meaning)


def _s(name: str, width_bits: int, meaning: str) -> Field:
    return Field(name, width_bits, meaning, signed=True)


HEADER = (
    _u("opcode", 4, "which instruction"),
    _u("wait_enable", 5, "bit e: wait for engine e"),
    *(_u(f"wait_{e.name.lower()}", 16, f"finished instructions of the {e.name.lower()} engine to wait for") for e in ENGINES),
    _u("tag", 16, "number of the layer, for reports; no effect"),
)

_TRANSFER = (
    _u("dram_address", 32, "byte offset of the first word in DRAM; a multiple of the word size"),
    _u("sp_address", 24, "first scratchpad word"),
    _u("count_x", 16, "words in a row, consecutive on both sides"),
    _u("count_y", 16, "rows in a plane"),
    _u("count_z", 16, "planes"),
    _s("dram_stride_y", 32, "bytes from a row to the next in DRAM; a multiple of the word size"),
    _s("dram_stride_z", 32, "bytes from a plane to the next in DRAM; a multiple of the word size"),
    _s("sp_stride_y", 24, "words from a row to the next in the scratchpad"),
    _s("sp_stride_z", 24, "words from a plane to the next in the scratchpad"),
)

_WINDOW = (
    _s("origin_x", 16, "column, in the tile of input, of the first output's first kernel position; negative: padding"),
    _s("origin_y", 16, "row of the same"),
    _u("step_x", 8, "stride: input columns from an output to the next"),
    _u("step_y", 8, "stride: input rows from an output row to the next"),
    _u("dilation_x", 8, "input columns from a kernel position to the next"),
    _u("dilation_y", 8, "input rows from a kernel row to the next"),
    _u("limit_x", 16, "columns of the tile: a position outside 0 … limit_x − 1 is padding"),
    _u("limit_y", 16, "rows of the tile, likewise"),
    _s("pad_value", 8, "code of a padding position"),
)

_STAGE_B = (
    _u("stage_b", 1, "1: stage B follows"),
    _s("multiplier_positive", 18, "stage B: factor of the code where it is not below its zero point"),
    _s("multiplier_negative", 18, "stage B: factor of the code where it is"),
    _s("multiplier_operand", 18, "stage B: factor of the second operand"),
    _u("shift_b", 6, "stage B: rounding right shift"),
    _s("zero_operand", 8, "zero point of the second operand"),
    _s("zero_b", 8, "stage B: output zero point"),
    _s("low_b", 8, "stage B: smallest output code"),
    _s("high_b", 8, "stage B: largest output code"),
)

_STAGE_A = (
    _s("zero_a", 8, "output zero point of stage A; the zero point of a code that skips it"),
    _s("low_a", 8, "stage A: smallest output code"),
    _s("high_a", 8, "stage A: largest output code"),
)

INSTRUCTIONS: Mapping[Opcode, tuple[int, tuple[Field, ...]]] = MappingProxyType({
    Opcode.LOAD: (2, _TRANSFER),
    Opcode.STORE: (2, _TRANSFER),
    Opcode.ARRAY: (
        2,
        (
            _u("act_address", 24, "scratchpad word of input tile position (origin_y, origin_x), modulo 2**24"),
            _s("stride_x", 16, "words from an output column to the next (step_x)"),
            _s("stride_y", 24, "words from an output row to the next (step_y · row pitch)"),
            _s("stride_kx", 24, "words from a kernel column to the next (dilation_x)"),
            _s("stride_ky", 24, "words from a kernel row to the next (dilation_y · row pitch)"),
            _s("stride_kb", 24, "words from a block of lanes channels to the next"),
            _u("count_x", 16, "output columns"),
            _u("count_y", 16, "output rows"),
            _u("count_kb", 16, "blocks of rows input channels"),
            _u("count_kx", 8, "kernel columns"),
            _u("count_ky", 8, "kernel rows"),
            _u("count_n", 16, "blocks of columns output channels"),
            *_WINDOW,
            _u("weight_address", 24, "scratchpad word of the first weight tile; tiles follow each other in loop order"),
            _u("acc_address", 16, "accumulator word of the first output pixel"),
            _u("accumulate", 1, "1: add to what the accumulators hold; 0: the first product overwrites"),
        ),
    ),
    Opcode.DRAIN: (
        2,
        (
            _u("acc_address", 16, "accumulator word of the first output pixel"),
            _u("acc_stride_n", 16, "accumulator words from a block to the next (count_y · count_x of the array's instruction)"),
            _u("count_x", 16, "output columns"),
            _u("count_y", 16, "output rows"),
            _u("count_n", 16, "blocks of columns output channels"),
            _u("group", 4, "column group of a word that the first block goes to"),
            _u("dst_address", 24, "scratchpad word of the first output"),
            _s("dst_stride_x", 16, "words from an output column to the next"),
            _s("dst_stride_y", 24, "words from an output row to the next"),
            _s("dst_stride_n", 24, "words from a block of lanes channels to the next"),
            _u("param_address", 24, "scratchpad word of the first block's requantization records"),
            *_STAGE_A,
            *_STAGE_B,
            _u("operand", 1, "1: stage B has a second operand (the residual), read from the scratchpad"),
            _u("b_address", 24, "scratchpad word of the first second operand"),
            _s("b_stride_y", 24, "words from its row to the next; columns are consecutive"),
            _s("b_stride_n", 24, "words from its block of lanes channels to the next"),
        ),
    ),
    Opcode.VECTOR: (
        3,
        (
            _u("op", 4, "VectorOp"),
            _u("count_x", 16, "output columns"),
            _u("count_y", 16, "output rows"),
            _u("count_n", 16, "blocks of lanes channels"),
            _u("count_kx", 8, "window columns (1 for MUL, COPY and TABLE)"),
            _u("count_ky", 8, "window rows (1 for MUL, COPY and TABLE)"),
            _u("column_mode", 1, "1: one input column a step, all window columns at once (DEPTHWISE, SUM, MAX; "
               "count_kx ≤ taps, dilation_x 1, no second operand)"),
            _u("a_address", 24, "scratchpad word of input tile position (origin_y, origin_x), modulo 2**24"),
            _s("a_stride_x", 16, "words from an output column to the next (step_x)"),
            _s("a_stride_y", 24, "words from an output row to the next (step_y · row pitch)"),
            _s("a_stride_n", 24, "words from a block of lanes channels to the next"),
            _s("a_stride_kx", 16, "words from a window column to the next (dilation_x)"),
            _s("a_stride_ky", 24, "words from a window row to the next (dilation_y · row pitch)"),
            *_WINDOW,
            _u("operand", 1, "1: there is a second operand b (always for MUL)"),
            _u("b_address", 24, "scratchpad word of the first second operand"),
            _s("b_stride_x", 16, "words from its column to the next; 0 broadcasts"),
            _s("b_stride_y", 24, "words from its row to the next; 0 broadcasts"),
            _s("b_stride_n", 24, "words from its block of lanes channels to the next"),
            _u("dst_address", 24, "scratchpad word of the first output"),
            _s("dst_stride_x", 16, "words from an output column to the next"),
            _s("dst_stride_y", 24, "words from an output row to the next"),
            _s("dst_stride_n", 24, "words from a block of lanes channels to the next"),
            _u("param_address", 24, "scratchpad word of the first block's records and weights, or of the table"),
            _u("param_stride_n", 16, "words from a block's records to the next's; 0: one set serves all blocks"),
            _s("zero_in", 8, "zero point taken from a before it is multiplied or summed"),
            *_STAGE_A,
            *_STAGE_B,
        ),
    ),
    Opcode.END: (1, ()),
})

RECORD = (
    _s("bias", 32, "added to the accumulator"),
    _u("multiplier", 24, "below 2**multiplier_bits"),
    _u("shift", 6, "rounding right shift"),
    _u("reserved", 2, "zero"),
)
"""Requantization record of one channel: 8 bytes, little endian. Records of a block follow each other by channel, and
fill whole words."""


@dataclass(frozen=True)
class Instruction:
    """A decoded instruction: ``fields`` holds header and body by name, absent ones are zero."""

    opcode: Opcode
    fields: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        """The value of a field."""
        return self.fields.get(name, 0)

    @property
    def engine(self) -> Engine | None:
        """The engine that runs it; None for END."""
        return None if self.opcode is Opcode.END else ENGINES[self.opcode - 1]


def instruction_units(opcode: Opcode) -> int:
    """Units of 32 bytes that an instruction takes."""
    return INSTRUCTIONS[opcode][0]


def encode(instruction: Instruction) -> bytes:
    """The instruction's bytes. Raises ImageError for an unknown field or a value out of its range."""
    opcode, places = instruction.opcode, _places(instruction.opcode)
    bits = int(opcode)
    for name, value in instruction.fields.items():
        if name == "opcode":
            continue
        if name not in places:
            raise ImageError(f"{opcode.name} has no field {name}")
        position, mask, low, high = places[name]
        if not low <= value <= high:
            raise ImageError(f"{opcode.name}.{name} is {value}; its range is {low} to {high}")
        bits |= (int(value) & mask) << position
    return bits.to_bytes(instruction_units(opcode) * UNIT_BYTES, "little")


@cache
def _places(opcode: Opcode) -> Mapping[str, tuple[int, int, int, int]]:
    """Of each field: lowest bit, mask, smallest and largest value."""
    places = {}
    position = 0
    for item in (*HEADER, *INSTRUCTIONS[opcode][1]):
        places[item.name] = position, (1 << item.width_bits) - 1, item.low, item.high
        position += item.width_bits
    return places


def decode(data: bytes) -> Instruction:
    """The instruction that ``data`` begins with. Raises ImageError for an unknown opcode or too few bytes."""
    bits = int.from_bytes(data[: 3 * UNIT_BYTES], "little")
    try:
        opcode = Opcode(bits & 15)
    except ValueError:
        raise ImageError(f"opcode {bits & 15} does not exist") from None
    units, body = INSTRUCTIONS[opcode]
    if len(data) < units * UNIT_BYTES:
        raise ImageError(f"{opcode.name} takes {units * UNIT_BYTES} bytes; {len(data)} are left")
    fields = {}
    for item in (*HEADER, *body):
        value = bits & (1 << item.width_bits) - 1
        if item.signed and value >> item.width_bits - 1:
            value -= 1 << item.width_bits
        fields[item.name] = value
        bits >>= item.width_bits
    return Instruction(opcode, fields)
