"""Where an accelerator is placed: a device, out of context, or a board with its pins."""

from __future__ import annotations

from dataclasses import dataclass

from systola.driver.synth.devices import TARGETS, Target
from systola.driver.synth.yosys import Around
from systola.hw.params import Params

__all__ = ["Placement", "board_placement"]


@dataclass(frozen=True)
class Placement:
    """``asked_mhz``: what place and route tries to reach. ``around``: what the accelerator is put into; None: the harness.
    ``constraints``: pins, as an LPF file; ``board``: empty without one."""

    target: Target
    speed: int
    asked_mhz: float
    around: Around | None = None
    constraints: str = ""
    board: str = ""


def board_placement(params: Params, name: str, clock_mhz: float | None = None) -> Placement:
    """A board by name, with the accelerator at the clock that its PLL makes of ``clock_mhz``.

    Raises ConfigError for a board or a clock that is not there, ToolError without amaranth-boards.
    """
    from systola.hw.board.boards import constraints, find_board  # noqa: PLC0415 - loads the hardware description
    from systola.hw.board.top import BOARD_MODULE, board_pll, emit_board  # noqa: PLC0415

    board = find_board(name)
    pll = board_pll(board, clock_mhz)
    target = next(target for target in TARGETS.values() if target.part == board.part)
    around = Around(BOARD_MODULE, emit_board(params, board, pll))
    return Placement(target, board.speed, pll.clock_hz / 1e6, around, constraints(board), name)
