"""Runs a tool, tells what it says as it says it, and ends it when this process is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from systola.driver.synth.tools import Tool
from systola.hw.errors import ToolError

__all__ = ["Ended", "run_tool"]

TAIL_LINES = 15


@dataclass(frozen=True)
class Ended:
    """A tool that ended: its exit status, and all that it printed."""

    tool: str
    status: int
    output: str

    def require_success(self) -> str:
        """The output. Raises ToolError with its end if the tool failed."""
        if self.status:
            tail = "\n".join(self.output.splitlines()[-TAIL_LINES:])
            raise ToolError(f"{self.tool} failed with status {self.status}. It said last:\n{tail}")
        return self.output


def run_tool(tool: Tool, arguments: Sequence[str], folder: Path, on_line: Callable[[str], None] | None = None) -> Ended:
    """Run a tool in a folder. ``on_line`` is told each line as it comes. Raises ToolError if it does not start."""
    try:
        process = subprocess.Popen(
            [*tool.command, *arguments], cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{tool.name} does not start: {error}") from error
    lines = []
    try:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip())
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return Ended(tool.name, status, "".join(lines))


def _environment() -> dict[str, str]:
    """Without what turns a tool's own warnings into errors."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
