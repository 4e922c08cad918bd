"""The documentation: generated pages are current, links lead somewhere, what it shows runs and says what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, Block, Command, blocks, commands, documents, matches, needs_rtl

RUNNABLE = ("python", "console", "toml", "text")
TIMEOUT_SECONDS = 600
NAMES = [str(page.relative_to(ROOT)) for page in documents()]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_generated_pages_are_current() -> None:
    """``python docs/generate.py`` would change nothing."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_links(name: str) -> None:
    """Every link to a file of the project leads to one."""
    page = ROOT / name
    for target in _LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name} links to {target}"


def test_every_page_can_be_found() -> None:
    """The index links to every page of docs/."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(index.read_text(encoding="utf-8"))}
    assert {page for page in documents() if index.parent in page.parents and page != index} <= linked


@pytest.mark.parametrize("name", [name for name in NAMES if any(b.language in RUNNABLE for b in blocks(ROOT / name))])
def test_code(name: str, tmp_path: Path) -> None:
    """The page's code, in order, but for what needs the RTL simulation."""
    _run_page(name, tmp_path, rtl=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if any(needs_rtl(b) for b in blocks(ROOT / name))])
def test_code_with_rtl(name: str, tmp_path: Path) -> None:
    """All of the page's code."""
    _run_page(name, tmp_path, rtl=True)


def test_a_wrong_page_is_seen(tmp_path: Path) -> None:
    """A line that the output does not have, or a command that fails, fails."""
    _prepare(tmp_path)
    text = "$ systola verilog --help\nUsage: ... verilog\nwrite to the moon\n"
    with pytest.raises(AssertionError, match="write to the moon"):
        _run_block(Block(Path("page.md"), 1, "console", text), tmp_path, {})
    with pytest.raises(AssertionError, match="status 1"):
        _run_block(Block(Path("page.md"), 1, "console", "$ systola verilog --accel huge -o out\n"), tmp_path, {})


def _prepare(folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))


def _run_page(name: str, folder: Path, *, rtl: bool) -> None:
    _prepare(folder)
    names: dict[str, object] = {}
    for block in blocks(ROOT / name):
        if rtl or not needs_rtl(block):
            _run_block(block, folder, names)


def _run_block(block: Block, folder: Path, names: dict[str, object]) -> None:
    if block.file is not None:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "console":
        for command in commands(block):
            _run_command(block, command, folder)
    elif block.language == "python":
        before = Path.cwd()
        os.chdir(folder)
        try:
            exec(compile("\n" * block.line + block.text, block.page, "exec"), names)
        finally:
            os.chdir(before)


def _run_command(block: Block, command: Command, folder: Path) -> None:
    place = f"{block.page.name}:{block.line}: {command.line}"
    if command.line.startswith("systola "):
        words = [sys.executable, "-m", "systola.driver.cli", *shlex.split(command.line)[1:]]
    else:
        words = ["bash", "-c", command.line]
    environment = {**os.environ, "COLUMNS": "150", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}
    result = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert result.returncode == 0, f"{place} ended with status {result.returncode}:\n{result.stdout}{result.stderr}"
    missing = matches(command.expected, result.stdout)
    assert missing is None, f"{place} does not say '{missing}':\n{result.stdout}"
