"""What an engine's cycles went to, in the reader's terms: words and colours, the same in every table and figure."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from systola.hw.registers import CycleClass

__all__ = ["USE_COLOURS", "USE_MEANINGS", "USE_OF_CLASS", "USE_ORDER", "USE_WORDS", "WAITS", "Use"]


class Use(IntEnum):
    """What a cycle of an engine went to; each cycle of each engine is in exactly one."""

    USEFUL = 0
    ROWS = 1
    COLUMNS = 2
    REPEATED = 3
    WEIGHTS = 4
    BANK = 5
    DRAM_LATENCY = 6
    DRAM_BANDWIDTH = 7
    WAIT_LOAD = 8  # the waits for engines, in the order of ``Engine``
    WAIT_ARRAY = 9
    WAIT_DRAIN = 10
    WAIT_VECTOR = 11
    WAIT_STORE = 12
    FILL = 13
    FETCH = 14
    START = 15
    FINISH = 16


WAITS = (Use.WAIT_LOAD, Use.WAIT_ARRAY, Use.WAIT_DRAIN, Use.WAIT_VECTOR, Use.WAIT_STORE)
USE_ORDER = tuple(Use)
"""Work first, then what can be shortened, then waiting, then nothing."""

_OF_CLASS = {
    CycleClass.IDLE: Use.FETCH,
    CycleClass.BUSY: Use.USEFUL,
    CycleClass.WAIT_LOAD: Use.WAIT_LOAD,
    CycleClass.WAIT_ARRAY: Use.WAIT_ARRAY,
    CycleClass.WAIT_DRAIN: Use.WAIT_DRAIN,
    CycleClass.WAIT_VECTOR: Use.WAIT_VECTOR,
    CycleClass.WAIT_STORE: Use.WAIT_STORE,
    CycleClass.BANK: Use.BANK,
    CycleClass.DRAM_LATENCY: Use.DRAM_LATENCY,
    CycleClass.DRAM_BANDWIDTH: Use.DRAM_BANDWIDTH,
    CycleClass.WEIGHTS: Use.WEIGHTS,
    CycleClass.SETUP: Use.FILL,
    CycleClass.FLUSH: Use.FILL,
}
USE_OF_CLASS = np.array([_OF_CLASS[c] for c in CycleClass], dtype=np.int8)
"""By ``CycleClass``. BUSY is USEFUL until edge waste is taken from it; IDLE is FETCH but for an engine's START and FINISH."""

USE_WORDS = {
    Use.USEFUL: "useful work",
    Use.ROWS: "empty rows",
    Use.COLUMNS: "empty columns",
    Use.REPEATED: "computed again",
    Use.WEIGHTS: "weight tile",
    Use.BANK: "memory bank",
    Use.DRAM_LATENCY: "DRAM latency",
    Use.DRAM_BANDWIDTH: "DRAM bandwidth",
    Use.WAIT_LOAD: "waits for load",
    Use.WAIT_ARRAY: "waits for array",
    Use.WAIT_DRAIN: "waits for drain",
    Use.WAIT_VECTOR: "waits for vector",
    Use.WAIT_STORE: "waits for store",
    Use.FILL: "fill and drain",
    Use.FETCH: "no instruction",
    Use.START: "start",
    Use.FINISH: "finish",
}

USE_MEANINGS = {
    Use.USEFUL: "Work that the network asked for. Array: its busy cycles times the share of multipliers that do a "
    "multiply-accumulate of the network's definition (products with padding pixels are in it, as everywhere MACs are "
    "counted): over a layer, MACs / (rows · columns). Drain and vector: the share of columns or lanes that carry a channel. "
    "Load and store: every cycle in which a beat or word moves.",
    Use.ROWS: "Array busy, edge waste in rows: multipliers in rows of a weight tile without an input channel which an output of "
    "the tile needs: the last block of input channels, a first layer of three, other groups' channels.",
    Use.COLUMNS: "Edge waste in columns. Array: multipliers in a row with a channel, in a column without an output channel that "
    "needs it (the last block of output channels, fully connected layers of ten classes). Drain: columns, vector: lanes, "
    "without an output channel.",
    Use.REPEATED: "Array busy with products that the network's definition has once and the schedule more often: the overlap of "
    "tiles whose inputs are computed again instead of kept.",
    Use.WEIGHTS: "Array: the next weight tile is not loaded yet: passes are shorter than loading one.",
    Use.BANK: "Refused by a scratchpad bank, or by the half of the accumulators, which another engine uses in this cycle.",
    Use.DRAM_LATENCY: "Load or store waits for the memory and no data beat has moved for `bus.data_bytes` cycles: the memory has "
    "not answered yet.",
    Use.DRAM_BANDWIDTH: "Load or store waits for the memory while beats move, its own or another's: the memory gives or takes "
    "less than a beat a cycle.",
    Use.WAIT_LOAD: "Its next instruction waits for the load engine to finish one: its operands are not there yet.",
    Use.WAIT_ARRAY: "The same for the array.",
    Use.WAIT_DRAIN: "The same for the drain: results are not there yet, or accumulators are still full.",
    Use.WAIT_VECTOR: "The same for the vector engine.",
    Use.WAIT_STORE: "The same for the store engine: the place is still being read.",
    Use.FILL: "Start of an instruction (its first operands, records or tables are on their way), or its last results leave the "
    "pipeline while no other instruction is at hand.",
    Use.FETCH: "No instruction has arrived and been decoded, although there is one left to do.",
    Use.START: "Before its first instruction arrived.",
    Use.FINISH: "After it finished its last instruction; all the time where it has none.",
}
"""What a use says, engine by engine where they differ."""

USE_COLOURS = {
    Use.USEFUL: "#2a78d6",
    Use.ROWS: "#8fb8e8",
    Use.COLUMNS: "#5f9be0",
    Use.REPEATED: "#17508f",
    Use.WEIGHTS: "#eda100",
    Use.BANK: "#e34948",
    Use.DRAM_LATENCY: "#eb6834",
    Use.DRAM_BANDWIDTH: "#b3450f",
    Use.WAIT_LOAD: "#4a3aa7",
    Use.WAIT_ARRAY: "#8a7fd0",
    Use.WAIT_DRAIN: "#e87ba4",
    Use.WAIT_VECTOR: "#b0568f",
    Use.WAIT_STORE: "#8d6b4f",
    Use.FILL: "#1baf7a",
    Use.FETCH: "#8b8a82",
    Use.START: "#c3c2b7",
    Use.FINISH: "#dddcd5",
}
