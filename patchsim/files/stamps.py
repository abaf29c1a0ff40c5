"""Stamps: size and time, which tell one version of a file or folder from another.

A folder, as of a Zarr store, may have millions of files, so that the work is bounded. Of up to
`MOST_FILES` files, however deep, sizes and times count. Of more files only the times of the folders
count: a chunk that is renamed into place, as zarr does, changes that of its folder; one that is
written in place does not. Folders behind the first `MOST_FOLDERS`, and what lies in a folder of
more than `MOST_FILES` entries, are not looked at.
"""

from __future__ import annotations

import os
from collections import deque
from itertools import islice
from pathlib import Path
from typing import NamedTuple

MOST_FILES = 2000
MOST_FOLDERS = 2000


class Stamp(NamedTuple):
    """The size in bytes, and the time of the last change in nanoseconds.

    Those of a folder are the size of the files in it and the latest time. The sum of all times of
    a folder tells of a change even where another machine's clock gave some file a later time.
    """

    size: int
    mtime_ns: int
    sum_ns: int = 0


def of(path: str | os.PathLike[str]) -> Stamp:
    """Return the stamp of a file; that of a folder, as of a Zarr store, is of what lies in it.

    Raises
    ------
    OSError, ValueError
        If there is none, or it cannot be read.
    """
    status = Path(path).stat()
    return _of_folder(path) if Path(path).is_dir() else Stamp(status.st_size, status.st_mtime_ns)


def _of_folder(path: str | os.PathLike[str]) -> Stamp:
    times: list[int] = []
    files: list[os.DirEntry[str]] = []
    count, left = 0, deque([os.fspath(path)])
    while left and len(times) < MOST_FOLDERS:
        folder = left.popleft()
        times.append(Path(folder).stat().st_mtime_ns)
        with os.scandir(folder) as listing:
            entries = list(islice(listing, MOST_FILES + 1))
        count += len(entries)
        if len(entries) <= MOST_FILES:
            left += sorted(entry.path for entry in entries if entry.is_dir())
            files += [entry for entry in entries if not entry.is_dir()]
    size = 0
    if count <= MOST_FILES:
        states = [entry.stat() for entry in files]
        times += [state.st_mtime_ns for state in states]
        size = sum(state.st_size for state in states)
    return Stamp(size, max(times), sum(times))
