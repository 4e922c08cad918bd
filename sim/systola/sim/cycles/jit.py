"""Compiles the cycle model's functions with numba, once per version of their sources.

The functions are plain Python on NumPy records and run as such, a thousand times slower, where ``NUMBA_DISABLE_JIT=1`` is set.
None of them may make an array: without numba's run time, arrays are not reference-counted, which would take most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from systola.hw import isa, latencies, registers
from systola.mapper.jit import BORROWING, cache_folder, compiled

__all__ = ["jit", "jit_inlined"]

Function = TypeVar("Function", bound=Callable[..., Any])

_SPECIFICATION = [Path(module.__file__ or "") for module in (isa, latencies, registers)]
"""Their constants are in the compiled functions."""

_FOLDER = cache_folder("cycles", (path.read_bytes() for path in (*sorted(Path(__file__).parent.glob("*.py")), *_SPECIFICATION)))


def jit(function: Function) -> Function:
    """The function, compiled at its first call and kept on disk for later processes."""
    return compiled(function, _FOLDER, **BORROWING)


def jit_inlined(function: Function) -> Function:
    """As ``jit``, but always a part of its caller: for what is called in every cycle from one place, above all with arrays, which
    are seven numbers each when they are handed over."""
    return compiled(function, _FOLDER, forceinline=True, **BORROWING)
