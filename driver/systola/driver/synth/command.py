"""``systola synth``: what a user sees of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from systola.hw.errors import ConfigError, SystolaError

if TYPE_CHECKING:
    from systola.reports.synthesis.schema import SynthesisReport

__all__ = ["parse_clock", "synth_command"]

PLAIN_WIDTH = 120
SECONDS_BETWEEN_LINES = 10.0
"""Where standard error is no terminal."""

Accel = Annotated[str, typer.Option(help="tiny, small, base, tall, wide, large, or the path of an accelerator.toml.")]
Device = Annotated[
    str | None,
    typer.Option(help="ecp5-25k, ecp5-45k or ecp5-85k to place and route; xc7, gowin or ice40 to count resources."),
]
OnBoard = Annotated[
    str | None,
    typer.Option("--board", help="For a board, with its pins, memory and serial port: ulx3s-25f, ulx3s-45f or ulx3s-85f."),
]
Seeds = Annotated[int, typer.Option(help="Place and route with this many seeds, and keep the best.", min=1, max=100)]
Clock = Annotated[
    str | None, typer.Option(help="Clock to try for: 120 (MHz) or 120MHz; default: the description's, or the board's.")
]
Speed = Annotated[int | None, typer.Option(help="Speed grade of ECP5: 6, 7 or 8, the fastest and default; a board has its own.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Json = Annotated[bool, typer.Option("--json", help="Print synthesis.json instead of the tables.")]


def synth_command(
    accel: Accel, output: Output, device: Device = None, board: OnBoard = None, seeds: Seeds = 1, clock: Clock = None,
    speed: Speed = None, json: Json = False,
) -> None:  # fmt: skip
    """Synthesize the accelerator for an FPGA; on ECP5, place and route it. Exit status 1 if it does not fit, or misses
    a board's clock."""
    from systola.driver.synth.clock import remember
    from systola.driver.synth.devices import SPEED_GRADES
    from systola.driver.synth.flow import synthesize_accelerator, synthesize_for_board
    from systola.driver.synth.output import write_synthesis
    from systola.hw.config import load_config
    from systola.hw.params import Params
    from systola.reports.files import output_folder
    from systola.reports.synthesis.text import missed_clock

    if (device is None) == (board is None):
        raise ConfigError("give either a device (--device ecp5-85k, for instance) or a board (--board ulx3s-85f)")
    if board is not None and speed is not None:
        raise ConfigError("--speed goes with --device: a board's FPGA has the speed grade that it has")
    params, clock_mhz = Params(load_config(accel)), None if clock is None else parse_clock(clock)
    with _progress() as notify:
        if board is not None:
            result = synthesize_for_board(params, board, seeds=seeds, clock_mhz=clock_mhz, progress=notify)
        else:
            grade = SPEED_GRADES[-1] if speed is None else speed
            result = synthesize_accelerator(
                params, device or "", seeds=seeds, clock_mhz=clock_mhz, speed=grade, progress=notify
            )
        files = write_synthesis(result, output_folder(output))
        remember(result.report)
    _print(result.report, files, json)
    if result.report.fits is False:
        raise SystolaError(_failure(result.report))
    if result.report.board and not result.report.met:
        raise SystolaError(missed_clock(result.report))


def parse_clock(text: str) -> float:
    """A clock in MHz: a number, or one with a unit. Raises ConfigError."""
    from systola.driver.search.quantities import FREQUENCY

    try:
        value = float(text)
    except ValueError:
        return FREQUENCY.parse(text, "--clock")
    if not 0 < value < float("inf"):
        raise ConfigError(f"--clock is '{text}': a frequency must be more than 0, and finite")
    return value


def _print(report: SynthesisReport, files: list[Path], json: bool) -> None:
    from systola.reports.synthesis.text import print_synthesis

    if json:
        print(report.model_dump_json(indent=2))
        return
    console = Console()
    print_synthesis(report, console if console.is_terminal else Console(width=PLAIN_WIDTH))
    Console().print("Results: " + ", ".join(map(str, files)), style="dim", soft_wrap=True)


def _failure(report: SynthesisReport) -> str:
    from systola.reports.synthesis.text import shortage_text

    name = report.accelerator["name"]
    if report.short:
        return f"{name} does not fit {report.device}: {shortage_text(report)}. Describe a smaller accelerator"
    failures = "; ".join(sorted({seed.failure for seed in report.seeds}))
    return f"{name} could not be routed on {report.device} with any of {len(report.seeds)} seeds: {failures}. Try other seeds"


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is being done, on standard error: in place on a terminal; elsewhere a line now and then."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return
    last = [0.0]

    def tell(text: str) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES:
            last[0] = now
            print(text, file=sys.stderr, flush=True)

    yield tell
