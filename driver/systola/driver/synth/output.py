"""What ``systola synth`` leaves in its folder, each file whole or not there; the report last, and beside what it is of."""

from __future__ import annotations

import contextlib
from pathlib import Path

from systola.driver.synth.flow import BITSTREAM, Synthesized
from systola.driver.synth.nextpnr import LPF
from systola.driver.synth.yosys import LOG
from systola.hw.errors import SystolaError
from systola.reports.files import output_folder, write_bytes, write_text
from systola.reports.synthesis.schema import JSON_NAME
from systola.reports.synthesis.text import markdown

__all__ = ["write_synthesis"]

MARKDOWN_NAME = "synthesis.md"
NETLIST_NAME = "netlist.v"


def write_synthesis(result: Synthesized, folder: Path) -> list[Path]:
    """The netlist, the tools' logs, the bitstream, a board's pins, the report as Markdown and JSON; their paths.

    What an earlier run left under these names is removed first: a folder with JSON_NAME holds one run. Raises SystolaError.
    """
    home = output_folder(folder)
    _remove_old(home)
    files = {NETLIST_NAME: (result.netlist.folder / "netlist.v").read_bytes(), LOG: (result.netlist.folder / LOG).read_bytes()}
    files |= {_log_name(run.seed): run.log.read_bytes() for run in result.runs}
    if result.report.board and result.runs:
        files[LPF] = (result.runs[0].folder / LPF).read_bytes()
    if result.bitstream is not None:
        files[BITSTREAM] = result.bitstream
    for name, data in files.items():
        write_bytes(home / name, data)
    write_text(home / MARKDOWN_NAME, markdown(result.report))
    write_text(home / JSON_NAME, result.report.model_dump_json(indent=2) + "\n")
    return [home / name for name in (*files, MARKDOWN_NAME, JSON_NAME)]


def _log_name(seed: int | str) -> str:
    return f"nextpnr-{seed}.log"


def _remove_old(home: Path) -> None:
    try:
        for path in (home / JSON_NAME, home / MARKDOWN_NAME, home / BITSTREAM, home / LPF, *home.glob(_log_name("*"))):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    except OSError as error:
        raise SystolaError(f"an earlier result in {home} cannot be removed: {error.strerror}") from error
