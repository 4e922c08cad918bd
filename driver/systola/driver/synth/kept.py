"""Results of tools in Systola's cache: a folder for each, made once, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from systola.hw.errors import SystolaError
from systola.sim.rtl.cache import Progress, cache_folder, digest, lock

__all__ = ["keep"]


def keep(kind: str, depends_on: Iterable[str], make: Callable[[Path], None], progress: Progress | None = None) -> Path:
    """The folder that ``make`` filled, now or before, for all that it ``depends_on``.

    It is made beside its place and renamed into it, under a lock: two processes make it once, and what was interrupted leaves
    nothing that looks finished. Raises what ``make`` raises; then nothing is kept.
    """
    folder = cache_folder() / "synthesis" / kind / digest(depends_on)
    if folder.is_dir():
        return folder
    with lock(folder, progress):
        if not folder.is_dir():
            try:
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-", ignore_cleanup_errors=True) as name:
                    work = Path(name) / "result"
                    work.mkdir()
                    make(work)
                    work.rename(folder)
            except OSError as error:
                raise SystolaError(f"a result of synthesis cannot be kept in {folder.parent}: {error}") from error
    return folder
