"""Compiles inner loops with numba, once per version of their sources: the mapper's, and for the cycle model its own.

They are plain Python on NumPy arrays and run as such, a hundred times slower, where ``NUMBA_DISABLE_JIT=1`` is set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.cpu import CPUTargetOptions

__all__ = ["BORROWING", "cache_folder", "compiled", "jit", "jit_borrowing"]

Function = TypeVar("Function", bound=Callable[..., Any])

BORROWING = {"_nrt": False} if hasattr(CPUTargetOptions, "_nrt") else {}
"""Options of a function that makes no arrays and returns none: numba's "no run time". Arrays of its caller are not counted again
at each use, which is slow, as threads could share them."""


def cache_folder(name: str, sources: Iterable[bytes]) -> str:
    """Where functions compiled from ``sources`` are kept: numba itself looks only at the file of the outermost function."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sources:
        digest.update(source)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return str(base / "systola" / name / digest.hexdigest()[:16])


def compiled(function: Function, folder: str, **options: bool) -> Function:
    """The function, compiled at its first call and kept in ``folder`` for later processes."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, folder  # read when a function is decorated
    try:
        return cast("Function", numba.njit(cache=True, nogil=True, **options)(function))
    finally:
        numba.config.CACHE_DIR = before


_OWN = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
_FOLDER = cache_folder("mapper", (source for source in _OWN if b"@jit" in source))


def jit(function: Function) -> Function:
    """A function of the mapper, compiled."""
    return compiled(function, _FOLDER)


def jit_borrowing(function: Function) -> Function:
    """As jit, for a function that makes no arrays and returns none."""
    return compiled(function, _FOLDER, **BORROWING)
