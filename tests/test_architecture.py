"""Who may import whom, read from the source; and that the project speaks of itself alone."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("hw", "sim", "mapper", "driver", "reports")
SPECIFICATION = ("config", "params", "isa", "registers", "numerics", "errors", "latencies")
"""The modules of hw that everyone may import: what the accelerator is, without how it is built."""

MAPPER_TYPES = ("graph", "quantgraph", "image", "layout")
HOST_ARITHMETIC = ("reference", "reference_ops")
"""What golden and the runtime's host operations share with the float reference: functions on arrays, no compiler pass."""

COMPILING = "systola.mapper.jit"
"""How inner loops are compiled and kept, the mapper's and the cycle model's."""

MACHINE_PATHS = tuple(f"/{name}/" for name in ("work", "root"))
SKIPPED_FOLDERS = {".git", ".venv", "__pycache__", "out", "build", "dist", "node_modules"}


def modules(part: str) -> list[Path]:
    """The source files of a part."""
    return sorted((ROOT / part / "systola" / part).rglob("*.py"))


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    inside = path.relative_to(ROOT).parts[1:]
    return ".".join((*inside[:-1], path.stem)).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it; ``from a import b`` gives a.b."""
    package = module_name(path) if path.stem == "__init__" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(name for name in (above, node.module) if name)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


SPEC = tuple(f"systola.hw.{name}" for name in SPECIFICATION)
TYPES = tuple(f"systola.mapper.{name}" for name in MAPPER_TYPES)
MAY_IMPORT = {
    "hw": ("systola.hw",),
    "mapper": ("systola.mapper", *SPEC),
    "sim": ("systola.sim", "systola.hw.emit", COMPILING, *SPEC, *TYPES, *(f"systola.mapper.{name}" for name in HOST_ARITHMETIC)),
    "reports": ("systola.reports", *SPEC, *TYPES),
    "driver": tuple(f"systola.{part}" for part in PARTS),
}
"""What of Systola each part may import. ``hw.emit`` is for the RTL simulation alone (below)."""


@pytest.mark.parametrize("part", PARTS)
def test_import_rule(part: str) -> None:
    """A part imports of Systola only what it may."""
    files = modules(part)
    assert files
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in files
        for name in imported(path)
        if within(name, "systola") and not within(name, *MAY_IMPORT[part])
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_rtl_simulation_emits_verilog() -> None:
    """Of sim, only sim.rtl knows how the accelerator is built."""
    users = {module_name(p) for p in modules("sim") if any(within(n, "systola.hw.emit") for n in imported(p))}
    assert all(within(user, "systola.sim.rtl") for user in users)


@pytest.mark.parametrize("name", SPECIFICATION)
def test_specification_is_without_amaranth(name: str) -> None:
    """A specification module imports neither Amaranth nor a module of hw that is not one."""
    path = ROOT / "hw" / "systola" / "hw" / f"{name}.py"
    wrong = [i for i in imported(path) if within(i, "amaranth") or (within(i, "systola") and not within(i, *SPEC))]
    assert not wrong, wrong


def test_amaranth_is_only_in_hw() -> None:
    """The hardware description language stays in hw."""
    others = [path for part in PARTS if part != "hw" for path in modules(part)]
    wrong = [module_name(path) for path in others if any(within(name, "amaranth") for name in imported(path))]
    assert not wrong, wrong


def test_namespace_package() -> None:
    """``systola`` is put together from five folders: an __init__.py in one would hide the others."""
    assert not [part for part in PARTS if (ROOT / part / "systola" / "__init__.py").exists()]
    assert all((ROOT / part / "systola" / part / "__init__.py").is_file() for part in PARTS)


def test_every_part_is_typed() -> None:
    """Each part says that it has types."""
    assert all((ROOT / part / "systola" / part / "py.typed").is_file() for part in PARTS)


def files() -> Iterator[Path]:
    """Every file of the project."""
    for folder, names, found in os.walk(ROOT):
        names[:] = [n for n in names if n not in SKIPPED_FOLDERS and not n.endswith("_cache") and not n.startswith(".hypothesis")]
        yield from (Path(folder) / name for name in found)


def test_no_machine_paths() -> None:
    """No file names a folder of the machine that it was written on."""
    wrong = [str(p.relative_to(ROOT)) for p in files() if any(path.encode() in p.read_bytes() for path in MACHINE_PATHS)]
    assert not wrong, wrong
