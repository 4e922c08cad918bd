"""Compiles the mapper's inner loops with numba, once per version of their sources.

They are plain Python on NumPy arrays and run as such, a hundred times slower, where ``NUMBA_DISABLE_JIT=1`` is set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.cpu import CPUTargetOptions

__all__ = ["jit", "jit_borrowing"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _cache_folder() -> str:
    """Compiled functions by the hash of all sources: numba itself looks only at the file of the outermost function."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if b"@jit" in source:
            digest.update(source)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return str(base / "systola" / "mapper" / digest.hexdigest()[:16])


_FOLDER = _cache_folder()
_BORROWING = {"_nrt": False} if hasattr(CPUTargetOptions, "_nrt") else {}  # numba's "no run time": nothing is counted


def jit(function: Function) -> Function:
    """The function, compiled at its first call and kept on disk for later processes."""
    return _compiled(function)


def jit_borrowing(function: Function) -> Function:
    """As jit, for a function that makes no arrays and returns none: those of its caller are not counted again at each use, which
    is slow, as threads could share them."""
    return _compiled(function, **_BORROWING)


def _compiled(function: Function, **options: bool) -> Function:
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, _FOLDER  # read when a function is decorated
    try:
        return cast("Function", numba.njit(cache=True, nogil=True, **options)(function))
    finally:
        numba.config.CACHE_DIR = before
