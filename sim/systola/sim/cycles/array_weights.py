"""The weight loader of the array engine: ``systola.hw.array.weights``."""

from __future__ import annotations

from systola.sim.cycles.array_pixels import POSITION_MASK
from systola.sim.cycles.jit import jit
from systola.sim.cycles.records import Record

__all__ = ["WEIGHT_FIELDS", "begin_tiles", "load_beside_pass", "load_words", "weights_valid"]

WEIGHT_FIELDS = (
    "weight_reads",
    "tiles_left",  # to request, the one in progress too
    "word",  # the next of the tile in progress
    "weights_address",
    "tile_ready",
)


@jit
def weights_valid(s: Record, swap: int) -> int:
    """Whether a word is requested; ``swap``: the tile before is swapped in in this cycle."""
    valid: int = (s.tiles_left > 0) & ((1 - s.tile_ready) | swap)
    return valid


@jit
def begin_tiles(hw: Record, s: Record, fields: Record) -> None:
    """The tiles of the instruction ``fields`` are requested from the next cycle on."""
    s.tiles_left = fields.count_n * fields.count_ky * fields.count_kx * fields.count_kb
    s.weights_address = fields.weight_address & (hw.scratchpad_words - 1)


@jit
def load_words(hw: Record, s: Record, words: int, swap: int) -> None:
    """As many words of the tile in progress are accepted; ``swap``: the tile before was swapped in meanwhile."""
    if swap:
        s.tile_ready = 0
    s.weight_reads += words
    s.weights_address = (s.weights_address + words) & (hw.scratchpad_words - 1)
    s.word += words
    if s.word == hw.weight_tile_words:
        s.word = 0
        s.tile_ready = 1
        s.tiles_left -= 1


@jit
def load_beside_pass(hw: Record, s: Record, cycles: int, stop: int) -> int:
    """Words are accepted in ``cycles`` cycles in which the pixel at hand, then the nest's in its pass are issued: none where both
    want the same bank. With ``stop`` the cycles end before the one with the tile's last word. Returns the cycles.
    """
    banks, left = hw.banks - 1, hw.weight_tile_words - s.word
    weights, activations, reads = s.weights_address, s.act_address, 1 - s.pixel_padding
    address, address_y, x_left = s.address, s.address_y, s.x_left
    ix, iy, row_reads = s.ix, s.iy, s.iy < s.limit_y
    accepted = cycle = 0
    while cycle < cycles and accepted < left:
        if reads == 0 or (activations ^ weights) & banks != 0:
            if stop and accepted == left - 1:
                cycles = cycle
                break
            accepted += 1
            weights += 1
        activations, reads = address + s.offset, row_reads & (ix < s.limit_x)
        cycle += 1
        if x_left:
            x_left -= 1
            address += s.stride_x
            ix = (ix + s.step_x) & POSITION_MASK
        else:
            x_left = s.x_last
            address_y += s.stride_y
            address = address_y
            ix, iy = s.ix_kx, (iy + s.step_y) & POSITION_MASK
            row_reads = iy < s.limit_y
    load_words(hw, s, accepted, s.pixel_swap)
    return cycles
