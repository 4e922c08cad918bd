"""Root causes in words and colours: why a cycle of an engine was not useful work, and what would shorten it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CAUSE_COLOURS", "CAUSE_MEANINGS", "CAUSE_WORDS", "Cause"]


class Cause(IntEnum):
    """Why a cycle was not useful work; each cycle has exactly one."""

    USEFUL = 0
    ROWS = 1
    COLUMNS = 2
    REPEATED = 3
    WEIGHTS = 4
    ARRAY = 5
    DRAIN = 6
    VECTOR = 7
    TRANSFER = 8
    DRAM_BANDWIDTH = 9
    DRAM_LATENCY = 10
    BANK = 11
    FILL = 12
    ORDER = 13
    FETCH = 14
    START = 15
    FINISH = 16


CAUSE_WORDS = {
    Cause.USEFUL: "useful work",
    Cause.ROWS: "empty rows",
    Cause.COLUMNS: "empty columns",
    Cause.REPEATED: "computed again",
    Cause.WEIGHTS: "weight tiles",
    Cause.ARRAY: "the array's speed",
    Cause.DRAIN: "the drain's speed",
    Cause.VECTOR: "the vector engine's speed",
    Cause.TRANSFER: "load's and store's word a cycle",
    Cause.DRAM_BANDWIDTH: "DRAM bandwidth",
    Cause.DRAM_LATENCY: "DRAM latency",
    Cause.BANK: "memory banks",
    Cause.FILL: "fill and drain",
    Cause.ORDER: "order of the work",
    Cause.FETCH: "instruction fetch",
    Cause.START: "start",
    Cause.FINISH: "finish",
}

CAUSE_MEANINGS = {
    Cause.USEFUL: ("Work that the network asked for.", ""),
    Cause.ROWS: (
        "Its own busy cycles, edge waste in rows.",
        "An array with fewer rows, or a network whose input channels are multiples of the rows.",
    ),
    Cause.COLUMNS: (
        "Its own busy cycles, edge waste in columns (of the vector engine: in lanes).",
        "An array with fewer columns, or a network whose output channels are multiples of the columns.",
    ),
    Cause.REPEATED: (
        "Its own busy cycles for what was computed before.",
        "A larger `memory.scratchpad_bytes`: tiles then overlap less.",
    ),
    Cause.WEIGHTS: (
        "Passes shorter than loading a weight tile, its own or those of the array that it waits for.",
        "A larger `memory.accumulator_bytes` where the layer has the pixels for longer passes; a fully connected layer has one "
        "pixel, and loading its weights is its floor.",
    ),
    Cause.ARRAY: ("It waits while the array multiplies.", "A larger array."),
    Cause.DRAIN: (
        "It waits while the drain requantizes, a pixel of `array.columns` channels in `drain_word_cycles`.",
        "A larger `memory.accumulator_bytes`: more of the drain is hidden behind the array's work. More "
        "`requantize.lanes`, where they are fewer than the columns.",
    ),
    Cause.VECTOR: (
        "It waits while the vector engine computes.",
        "`vector.depthwise_taps` as wide as the network's kernels, or more lanes (`array.rows` or `array.columns`).",
    ),
    Cause.TRANSFER: (
        "It waits while load or store moves a scratchpad word in each cycle, and a beat is more than a word.",
        "A larger `memory.scratchpad_bytes`, so that more stays on chip, or more lanes.",
    ),
    Cause.DRAM_BANDWIDTH: (
        "It waits while data move between memory and chip, as fast as memory and bus allow.",
        "More `dram.bytes_per_cycle` (and `bus.data_bytes`, if the bus is full), or a larger `memory.scratchpad_bytes`.",
    ),
    Cause.DRAM_LATENCY: (
        "It waits while the memory has not answered.",
        "A lower `dram.latency_cycles`; a larger `memory.scratchpad_bytes`, so that loads begin earlier; more "
        "`bus.read_outstanding`.",
    ),
    Cause.BANK: (
        "Its requests are refused by a memory bank, or those of the engine that it waits for.",
        "More `memory.scratchpad_banks`.",
    ),
    Cause.FILL: (
        "Instructions begin and end, its own or those of the engine that it waits for.",
        "Larger tiles, so larger memories.",
    ),
    Cause.ORDER: (
        "Engines wait for each other in a ring, or a finish is being passed on: a layer needs all of the one before.",
        "Larger memories, so that more work is at hand; or a larger network: small layers leave nothing to do meanwhile.",
    ),
    Cause.FETCH: ("An instruction has not arrived.", "More `queue.units`."),
    Cause.START: ("Nothing has arrived yet.", "A lower `dram.latency_cycles`."),
    Cause.FINISH: ("All is done; the end is being noticed.", ""),
}
"""What a cause says of the engine's cycles, and what would shorten them."""

CAUSE_COLOURS = {
    Cause.USEFUL: "#2a78d6",
    Cause.ROWS: "#8fb8e8",
    Cause.COLUMNS: "#5f9be0",
    Cause.REPEATED: "#17508f",
    Cause.WEIGHTS: "#eda100",
    Cause.ARRAY: "#8a7fd0",
    Cause.DRAIN: "#e87ba4",
    Cause.VECTOR: "#b0568f",
    Cause.TRANSFER: "#8d6b4f",
    Cause.DRAM_BANDWIDTH: "#b3450f",
    Cause.DRAM_LATENCY: "#eb6834",
    Cause.BANK: "#e34948",
    Cause.FILL: "#1baf7a",
    Cause.ORDER: "#4a3aa7",
    Cause.FETCH: "#8b8a82",
    Cause.START: "#c3c2b7",
    Cause.FINISH: "#dddcd5",
}
