"""Stamps: size and time, which tell one version of a file or folder from another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """The size in bytes, and the time of the last change in nanoseconds."""

    size: int
    mtime_ns: int


def of(path: str | os.PathLike[str]) -> Stamp:
    """Return the stamp of a file; that of a folder, as of a Zarr store, is of what lies in it.

    Raises
    ------
    OSError, ValueError
        If there is none, or it cannot be read.
    """
    status = Path(path).stat()
    if not Path(path).is_dir():
        return Stamp(status.st_size, status.st_mtime_ns)
    with os.scandir(path) as entries:
        inside = [entry.stat() for entry in entries if entry.is_file()]
    sizes = sum(one.st_size for one in inside)
    return Stamp(sizes, max([status.st_mtime_ns, *(one.st_mtime_ns for one in inside)]))
