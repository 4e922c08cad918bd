"""The wheel: every module and data file, and nothing else."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("hw", "sim", "mapper", "driver", "reports")
SUFFIXES = {
    ".py", ".typed", ".toml", ".nnef", ".lark", ".v", ".sv", ".cpp", ".c", ".h", ".vlt", ".html", ".css", ".js", ".json", ".j2",
}  # fmt: skip
"""What a package may hold; a file of another kind in its folder is there by mistake."""

EXAMPLES = (
    "systola/hw/presets/base.toml",
    "systola/mapper/nnef/grammar.lark",
    "systola/mapper/nnef/standard.nnef",
    "systola/sim/rtl/harness.sv",
    "systola/sim/rtl/harness.vlt",
    "systola/sim/rtl/dram.cpp",
    "systola/driver/cli.py",
)


def package_files() -> set[str]:
    """Paths, as in the wheel, of all files in the packages' folders."""
    folders = [(ROOT / part, ROOT / part / "systola") for part in PARTS]
    return {
        str(path.relative_to(above))
        for above, folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_only_known_kinds_of_files() -> None:
    """The packages' folders hold source and data."""
    wrong = {name for name in package_files() if Path(name).suffix not in SUFFIXES}
    assert not wrong, sorted(wrong)


@pytest.mark.slow
def test_wheel(tmp_path: Path) -> None:
    """What is in the folders is in the wheel, and the entry point."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source / name)
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", str(tmp_path)]
    if importlib.util.find_spec("hatchling") is not None:
        command.append("--no-build-isolation")
    result = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("systola-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = {name for name in names if ".dist-info/" in name}
        entry_points = next(archive.read(name).decode() for name in metadata if name.endswith("entry_points.txt"))
    assert names - metadata == package_files()
    assert set(EXAMPLES) <= names
    assert "systola = systola.driver.cli:main" in entry_points
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
