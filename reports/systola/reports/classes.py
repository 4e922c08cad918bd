"""The classes of cycles in words and colours, the same in every table and figure."""

from __future__ import annotations

from systola.hw.registers import CycleClass

__all__ = ["CLASS_COLOURS", "CLASS_ORDER", "CLASS_REMEDIES", "CLASS_WORDS"]

CLASS_ORDER = (
    CycleClass.BUSY, CycleClass.SETUP, CycleClass.FLUSH, CycleClass.WEIGHTS, CycleClass.BANK, CycleClass.DRAM_LATENCY,
    CycleClass.DRAM_BANDWIDTH, CycleClass.WAIT_LOAD, CycleClass.WAIT_ARRAY, CycleClass.WAIT_DRAIN, CycleClass.WAIT_VECTOR,
    CycleClass.WAIT_STORE,
    CycleClass.IDLE,
)  # fmt: skip
"""Useful work first, then what can be shortened, then waiting, then nothing."""

CLASS_WORDS = {
    CycleClass.IDLE: "no instruction",
    CycleClass.BUSY: "busy",
    CycleClass.WAIT_LOAD: "waits for load",
    CycleClass.WAIT_ARRAY: "waits for array",
    CycleClass.WAIT_DRAIN: "waits for drain",
    CycleClass.WAIT_VECTOR: "waits for vector",
    CycleClass.WAIT_STORE: "waits for store",
    CycleClass.BANK: "bank conflict",
    CycleClass.DRAM_LATENCY: "DRAM latency",
    CycleClass.DRAM_BANDWIDTH: "DRAM bandwidth",
    CycleClass.WEIGHTS: "weight tile",
    CycleClass.SETUP: "set-up",
    CycleClass.FLUSH: "flush",
}

CLASS_REMEDIES = {
    CycleClass.IDLE: "it had no instruction: instruction fetch waited for room in another engine's queue, or for memory, or "
    "nothing was left to do",
    CycleClass.WAIT_LOAD: "data came too late: more DRAM bandwidth, or tiles that are used more often",
    CycleClass.WAIT_ARRAY: "it waited for itself",
    CycleClass.WAIT_DRAIN: "accumulators were still full: a shorter drain, or larger accumulators",
    CycleClass.WAIT_VECTOR: "the vector engine came before it: more depthwise taps",
    CycleClass.WAIT_STORE: "a buffer was still being stored: more DRAM bandwidth, or a larger scratchpad",
    CycleClass.BANK: "another engine had the bank: more banks",
    CycleClass.DRAM_LATENCY: "the memory had not answered yet: lower latency",
    CycleClass.DRAM_BANDWIDTH: "the memory gave less than the bus takes: more bandwidth",
    CycleClass.WEIGHTS: "passes were shorter than loading a weight tile: larger tiles of pixels, so larger accumulators",
    CycleClass.SETUP: "instructions were short against their start: larger tiles",
    CycleClass.FLUSH: "its pipeline emptied: larger tiles",
}
"""What an array engine's lost cycles of a class say, and what would shorten them."""

CLASS_COLOURS = {
    CycleClass.BUSY: "#2a78d6",
    CycleClass.SETUP: "#1baf7a",
    CycleClass.FLUSH: "#7cc9a8",
    CycleClass.WEIGHTS: "#eda100",
    CycleClass.BANK: "#e34948",
    CycleClass.DRAM_LATENCY: "#eb6834",
    CycleClass.DRAM_BANDWIDTH: "#b3450f",
    CycleClass.WAIT_LOAD: "#4a3aa7",
    CycleClass.WAIT_ARRAY: "#8a7fd0",
    CycleClass.WAIT_DRAIN: "#e87ba4",
    CycleClass.WAIT_VECTOR: "#b0568f",
    CycleClass.WAIT_STORE: "#8d6b4f",
    CycleClass.IDLE: "#c3c2b7",
}
