"""Opening the files of a model without being led elsewhere.

A model folder comes from anywhere. A file in it is opened only if it is a regular file inside the folder: no ``..``,
no absolute path, no symbolic link that leaves the folder, no pipe or device (which could block or never end).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from systola.hw.errors import DataModelError, Place

__all__ = ["open_regular", "path_inside"]


def path_inside(folder: Path, label: str, suffix: str, place: Place) -> Path:
    """The path of the file ``label + suffix`` in ``folder``; nothing needs to exist yet.

    Raises:
        DataModelError: the label is empty, absolute, has a ``..`` or control character, or a link on the way leaves
            the folder.
    """
    parts = PurePosixPath(label).parts
    wrong = (
        not parts
        or "\\" in label
        or any(ord(character) < 32 for character in label)
        or len(label) > 1024
        or PurePosixPath(label).is_absolute()
        or Path(label).is_absolute()
        or ".." in parts
    )
    if wrong:
        raise DataModelError(
            f"the label {label[:60]!r} does not name a file inside the model's folder: a label is a relative path "
            "without '..'",
            place,
        )
    path = folder.joinpath(*parts[:-1], parts[-1] + suffix)
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        inside = False
    if not inside:
        raise DataModelError(f"the file of label {label[:60]!r} is a link that leads out of the model's folder", place)
    return path


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever waiting on a pipe.

    Raises:
        DataModelError: it does not exist, cannot be read, or is no regular file.
    """
    place = Place(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DataModelError("there is no such file", place) from None
    except (OSError, ValueError) as error:
        raise DataModelError(f"the file cannot be opened: {getattr(error, 'strerror', None) or error}", place) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataModelError("this is a folder, pipe or device, not a regular file", place)
    return os.fdopen(descriptor, "rb")
