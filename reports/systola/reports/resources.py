"""FPGA resources of an accelerator that was not synthesized. ``docs/explanation/resources.md`` has the method and its limits.

Multipliers and block RAM follow from the configuration by rule, exactly. Logic and registers come from a model of each unit,
fitted on yosys counts by ``benchmarks/resources.py``; its coefficients and its errors are in ``resource_models/ecp5.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources as package_files
from math import prod
from typing import Any

from systola.hw.errors import ConfigError
from systola.hw.params import Params, partial_sum_bits
from systola.reports.resources_memory import Storage, storage

__all__ = [
    "DEVICES", "LUT4_PER_CARRY", "LUT4_PER_RAM", "UNITS", "Device", "Estimate", "Resources", "Shortage", "UnitResources",
    "estimate_resources", "evaluate", "features", "fits", "load_model", "multipliers", "outside", "term_value",
]  # fmt: skip

LUT4_PER_CARRY = 2
"""LUT4 that a CCU2C takes."""

LUT4_PER_RAM = 6
"""LUT4 that a TRELLIS_DPR16X4 takes: four for the memory, two for its write port. PFUMX and L6MUX21 take none. So counts nextpnr
("Total LUT4s")."""

UNITS = {
    "array": ("array",),
    "drain": ("drain",),
    "vector": ("vector",),
    "load": ("load",),
    "store": ("store",),
    "scratchpad": ("scratchpad",),
    "fetch": ("fetch",),
    "guard": ("guard",),
    "frontends": ("frontend_load", "frontend_array", "frontend_drain", "frontend_vector", "frontend_store"),
    "control": ("controller", "counters", "waits", "timeline", "end"),
}
"""Units of the estimate, and the parts of the accelerator that each consists of. What connects them, a dozen registers and gates,
is not counted."""


@dataclass(frozen=True)
class Device:
    """What an FPGA has: 4-input look-up tables (as many registers), 18 × 18 multipliers, block RAMs of 18 kbit."""

    name: str
    lut4: int
    dsp: int
    ebr: int


DEVICES = {
    device.name: device
    for device in (
        Device("ecp5-25k", lut4=24288, dsp=28, ebr=56),
        Device("ecp5-45k", lut4=43848, dsp=72, ebr=108),
        Device("ecp5-85k", lut4=83640, dsp=156, ebr=208),
    )
}
"""LFE5U-25F, -45F and -85F, from the device data of nextpnr-ecp5 0.11.1 (Project Trellis), which prints them for any design."""


@dataclass(frozen=True)
class Estimate:
    """A count, and how far it may be off: the largest error, relative, when the model predicts what it was not fitted on."""

    value: int
    relative_error: float


@dataclass(frozen=True)
class UnitResources:
    """``lut4``: LUT4-equivalents; ``ff``: registers; ``dsp``: MULT18X18D; ``ebr``: DP16KD."""

    lut4: Estimate
    ff: Estimate
    dsp: Estimate
    ebr: Estimate


@dataclass(frozen=True)
class Resources(UnitResources):
    """Of the whole accelerator, and of its units (UNITS), which do not quite add up to it: yosys simplifies across their borders.

    ``extrapolated``: parameters that are outside of what the model was fitted on, with that range; the errors do not hold there.
    """

    units: Mapping[str, UnitResources]
    extrapolated: tuple[str, ...]


@dataclass(frozen=True)
class Shortage:
    """``needed`` of a resource are more than the ``limit``: ``over`` of them."""

    resource: str
    needed: int
    limit: int

    @property
    def over(self) -> int:
        return self.needed - self.limit


def estimate_resources(params: Params) -> Resources:
    """The resources of an accelerator on ECP5, before place and route."""
    model = load_model()
    found, stores, dsp = features(params), storage(params), multipliers(params)
    units: dict[str, UnitResources] = {}
    for unit in UNITS:
        store, terms = stores.get(unit, Storage()), model["units"][unit]
        logic = evaluate(terms["logic"]["terms"], found) + LUT4_PER_RAM * store.distributed
        units[unit] = UnitResources(
            lut4=Estimate(round(logic), terms["logic"]["largest_error"]),
            ff=Estimate(round(evaluate(terms["ff"]["terms"], found)), terms["ff"]["largest_error"]),
            dsp=Estimate(dsp.get(unit, 0), 0.0),
            ebr=Estimate(store.block, 0.0),
        )
    whole = model["whole"]
    return Resources(
        lut4=Estimate(round(whole["lut4"]["ratio"] * sum(u.lut4.value for u in units.values())), whole["lut4"]["largest_error"]),
        ff=Estimate(round(whole["ff"]["ratio"] * sum(u.ff.value for u in units.values())), whole["ff"]["largest_error"]),
        dsp=Estimate(sum(u.dsp.value for u in units.values()), 0.0),
        ebr=Estimate(sum(u.ebr.value for u in units.values()), 0.0),
        units=units,
        extrapolated=outside(model["range"], found),
    )


def fits(resources: UnitResources, device: str, lut4_utilization: float = 0.8) -> list[Shortage]:
    """What of a device (DEVICES) is not enough; empty where it fits.

    ``lut4_utilization``: the share of the look-up tables that can be used. A rule of thumb: a router needs room, and packing for
    it adds some. Multipliers and block RAM can all be used. Raises ConfigError for a device that is not there.
    """
    if device not in DEVICES:
        raise ConfigError(f"device is '{device}': there are no figures of it; the devices are {', '.join(DEVICES)}")
    has = DEVICES[device]
    lut4 = int(has.lut4 * lut4_utilization)
    needs = (
        Shortage("lut4", resources.lut4.value, lut4),
        Shortage("ff", resources.ff.value, has.lut4),
        Shortage("dsp", resources.dsp.value, has.dsp),
        Shortage("ebr", resources.ebr.value, has.ebr),
    )
    return [need for need in needs if need.over > 0]


def multipliers(params: Params) -> dict[str, int]:
    """MULT18X18D by unit: one for a processing element; four for a lane that is requantized at once (two for the halves of a sum,
    one for each operand of stage B); one for a tap of a lane, if look-up tables do not make it; one for the vector engine's
    addresses."""
    return {
        "array": params.rows * params.columns,
        "drain": 4 * params.drain_lanes,
        "vector": 4 * params.vector_lanes + (0 if params.taps_in_logic else params.taps * params.lanes) + 1,
    }


def features(params: Params) -> dict[str, float]:
    """What the terms of the model are products of, and ``queue_units``, which is a parameter alone.

    ``drain_lanes``, ``vector_lanes``: requantized at once; ``waiting_columns``, ``waiting_lanes``: the others of a word.
    ``slots``: sums of a lane in the vector engine; ``logic_taps``: its products that look-up tables make. ``joined_bytes``: of a
    word that several beats make. ``fetch_joined``, ``fetch_buffered``: the same for instructions, or the width of the buffer
    where a beat is more than one. ``queue_deep``, ``queue_block``: 1 where an instruction queue is more than one piece of
    distributed RAM deep, or is block RAM.
    """
    p, bus, vector = params, params.config.bus, params.config.vector
    stores = storage(p)
    return {
        "rows": p.rows,
        "columns": p.columns,
        "lanes": p.lanes,
        "sum_bits": p.partial_sum_bits,
        "adder_bits": p.columns * (sum(partial_sum_bits(row) for row in range(2, p.rows + 1)) + 32),
        "array_bits": _array_bits(p),
        "banks": p.banks,
        "address_bits": p.scratchpad_address_bits,
        "multiplier_bits": p.multiplier_bits,
        "drain_lanes": p.drain_lanes,
        "vector_lanes": p.vector_lanes,
        "waiting_columns": p.columns - p.drain_lanes,
        "waiting_lanes": p.lanes - p.vector_lanes,
        "taps": p.taps,
        "slots": max(1, p.taps),
        "logic_taps": p.taps * p.lanes if p.taps_in_logic else 0,
        "tap_depth": vector.tap_depth,
        "table_lanes": min(vector.table_lanes, p.lanes),
        "bus_bytes": p.bus_bytes,
        "bus_address_bits": bus.address_bits,
        "outstanding_bits": bus.read_outstanding.bit_length() + bus.write_outstanding.bit_length(),
        "joined_bytes": max(0, p.lanes - p.bus_bytes),
        "fetch_joined": max(0, 16 - p.bus_bytes),
        "fetch_buffered": p.bus_bytes if p.bus_bytes > 16 else 0,
        "queue_units": p.config.queue.units,
        "queue_bits": p.config.queue.units.bit_length(),
        "queue_deep": int(p.config.queue.units > 8),
        "queue_block": int(stores["frontends"].block > 0),
    }


def _array_bits(params: Params) -> int:
    """Registers of the systolic array: two weights, a product and a sum for a processing element; the skew; weights that wait
    for rows that follow; between segments, what goes in, without the weights of segments passed, and sums that wait."""
    p = params
    elements = p.columns * sum(32 + partial_sum_bits(row) for row in range(1, p.rows + 1))
    skew = 8 * p.rows * (p.rows + 1) // 2
    waiting = 8 * p.rows * max(0, p.rows - p.columns)
    into_segment = 10 * p.rows + 4 * p.lanes
    between = (p.segments - 1) * (into_segment + p.columns * p.partial_sum_bits // 2)
    return elements + skew + waiting + between


def evaluate(terms: Mapping[str, float], found: Mapping[str, float]) -> float:
    """The sum of coefficients times products: ``{"rows * columns": 3.0, "1": 5.0}``."""
    return sum(coefficient * term_value(term, found) for term, coefficient in terms.items())


def term_value(term: str, found: Mapping[str, float]) -> float:
    """A product of features; "1" is an empty one."""
    return prod(found[name] for name in term.split(" * ") if name != "1")


def outside(ranges: Mapping[str, list[float]], found: Mapping[str, float]) -> tuple[str, ...]:
    """The features that are outside of their range."""
    return tuple(f"{name} {found[name]:g} (fitted on {low:g} to {high:g})" for name, (low, high) in ranges.items()
                 if not low <= found[name] <= high)  # fmt: skip


@lru_cache
def load_model() -> dict[str, Any]:
    """The fitted model."""
    text = package_files.files("systola.reports").joinpath("resource_models", "ecp5.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
