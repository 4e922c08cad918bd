"""Files that a user gets: written whole or not at all, and only inside the folder that was named."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import SystolaError

__all__ = ["output_folder", "safe_name", "write_array", "write_bytes", "write_text"]


def output_folder(path: Path) -> Path:
    """The folder, made if it is not there. Raises SystolaError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystolaError(f"the output folder {path} cannot be made: {error.strerror}") from error
    return path


def safe_name(name: str) -> str:
    """A tensor's name as a file name: nothing that leads out of the folder."""
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".")
    return kept[:200] or "_"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under another name, then move it into place. Raises SystolaError where that cannot be."""
    try:
        _write_whole(path, data)
    except OSError as error:
        raise SystolaError(f"the file {path} cannot be written: {error.strerror}") from error


def _write_whole(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
