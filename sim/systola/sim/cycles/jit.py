"""Compiles the cycle model's functions with numba, once per version of their sources.

The functions are plain Python on NumPy records and run as such, a thousand times slower, where ``NUMBA_DISABLE_JIT=1`` is set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from systola.hw import isa, latencies, registers

__all__ = ["jit", "jit_inlined"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _cache_folder() -> Path:
    """Compiled functions by the hash of all sources whose functions or constants are in them: numba itself looks only at the file
    of the outermost function."""
    digest = hashlib.sha256(numba.__version__.encode())
    specification = [Path(module.__file__ or "") for module in (isa, latencies, registers)]
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *specification):
        digest.update(path.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "systola" / "cycles" / digest.hexdigest()[:16]


numba.config.CACHE_DIR = str(_cache_folder())


def jit(function: Function) -> Function:
    """The function, compiled at its first call and kept on disk for later processes.

    It must not allocate: without numba's runtime, arrays are not reference-counted, which would take most of the time.
    """
    return cast("Function", numba.njit(cache=True, nogil=True, _nrt=False)(function))


def jit_inlined(function: Function) -> Function:
    """As ``jit``, but always a part of its caller: for what is called in every cycle from one place, above all with arrays, which
    are seven numbers each when they are handed over."""
    return cast("Function", numba.njit(cache=True, nogil=True, _nrt=False, forceinline=True)(function))
