"""The cache of what takes long to make: named by a hash of all that it depends on, made once, never half there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from systola.hw.errors import ToolError

__all__ = ["Progress", "cache_folder", "digest", "lock", "tell", "write_atomically"]

Progress = Callable[[str], None]
"""Told what is being done, in a few words, before it is done."""


def cache_folder() -> Path:
    """Where builds are kept: ``$SYSTOLA_CACHE``, else ``$XDG_CACHE_HOME/systola``, else ``~/.cache/systola``."""
    if named := os.environ.get("SYSTOLA_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "systola"


@contextmanager
def lock(place: Path, progress: Progress | None) -> Iterator[None]:
    """Holds the lock of a place in the cache. Another process that builds the same is waited for."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = place.with_name(place.name + ".lock").open("a")
    except OSError as error:
        raise ToolError(f"the build cache cannot be written: {error}. Set SYSTOLA_CACHE to a folder that can") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(progress, "waiting for another process that builds the same")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, text: str) -> None:
    """The file is there whole or not at all. Its folder is there."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as out:
        out.write(text)
    Path(out.name).rename(path)


def digest(parts: Iterable[str]) -> str:
    """A name for a sequence of texts; no two sequences run together."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode()
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()[:24]


def tell(progress: Progress | None, message: str) -> None:
    """Tell ``progress``, if there is one."""
    if progress is not None:
        progress(message)
