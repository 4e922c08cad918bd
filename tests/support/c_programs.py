"""C programs of the firmware's files, compiled as C99 and as C++ with every warning an error."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from digits import Digits

from systola.driver.artifacts import write_image
from systola.reports.files import output_folder

__all__ = ["LANGUAGES", "compile_c", "program", "write"]

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
LANGUAGES = {"c": ("gcc", "-std=c99"), "c++": ("g++", "-std=c++11")}


def write(data: Digits, folder: Path) -> None:
    """What ``systola compile`` writes, in ``image``; the samples' codes in ``input.bin``."""
    network = data.network
    write_image(network.image, network.graph, network.params, output_folder(folder / "image"))
    next(iter(data.inputs.values())).tofile(folder / "input.bin")


def compile_c(language: str, *arguments: str | Path, folder: Path) -> None:
    """Compile with the firmware's headers at hand; a test fails where that fails, and skips without a compiler."""
    compiler, standard = LANGUAGES[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not here")
    command = [compiler, "-x", language, standard, *WARNINGS, "-O2", "-I", folder / "image/c", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def program(source: Path, folder: Path, language: str = "c") -> Path:
    """A program of a source file and all of the firmware's."""
    made = folder / source.stem
    compile_c(language, source, *sorted((folder / "image/c").glob("*.c")), "-o", made, folder=folder)
    return made
