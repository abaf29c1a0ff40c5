"""Stamps: size and time, which tell one version of a file or folder from another.

A folder, as of a Zarr store, may have millions of files, so that the work is bounded. Of up to
`MOST_FILES` files, however deep, sizes and times count. Of more files only the times of the folders
count: a chunk that is renamed into place, as zarr does, changes that of its folder; one that is
written in place does not. Folders behind the first `MOST_FOLDERS`, and what lies in a folder of
more than `MOST_FILES` entries, are not looked at.

Some slides are a file and others beside it that have the pixels; these count, too.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

MOST_FILES = 2000
MOST_FOLDERS = 2000

_IN_FOLDER = ".mrxs"  # slides of MIRAX, whose pixels are in the folder of the same name
_LISTING = (".vms", ".vmu")  # slides of Hamamatsu, which name the files of their pixels
_NAMED = re.compile(rb"^\w[^=\n]*=[ \t]*([^\r\n]+)", re.MULTILINE)
_LONGEST = 1 << 20  # bytes of such a list


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

    That of a slide is of all of its files.

    Raises
    ------
    OSError, ValueError
        If there is none, or it cannot be read.
    """
    file = Path(path)
    status = file.stat()
    if file.is_dir():
        return _joined(*_in_folder(file))
    ending = file.suffix.lower()
    if ending == _IN_FOLDER and file.with_suffix("").is_dir():
        times, files = _in_folder(file.with_suffix(""))
        return _joined(times, [status, *files])
    if ending in _LISTING:
        return _joined([], [status, *_named_in(file)])
    return Stamp(status.st_size, status.st_mtime_ns)


def _joined(times: list[int], files: list[os.stat_result]) -> Stamp:
    """Return the stamp of folders of some times and of files."""
    times = times + [status.st_mtime_ns for status in files]
    return Stamp(sum(status.st_size for status in files), max(times), sum(times))


def _in_folder(path: Path) -> tuple[list[int], list[os.stat_result]]:
    """Return the times of a folder and those in it, and the files in all of them, if not many."""
    times: list[int] = []
    files: list[os.DirEntry[str]] = []
    count, left = 0, deque([os.fspath(path)])
    while left and len(times) < MOST_FOLDERS:
        folder = left.popleft()
        try:
            status = Path(folder).stat()
            with os.scandir(folder) as listing:
                entries = list(islice(listing, MOST_FILES + 1))
        except FileNotFoundError:
            if not times:
                raise
            continue  # it went away since it was listed
        times.append(status.st_mtime_ns)
        count += len(entries)
        if len(entries) <= MOST_FILES:
            left += sorted(entry.path for entry in entries if entry.is_dir())
            files += [entry for entry in entries if not entry.is_dir()]
    if count > MOST_FILES:
        files = []
    return times, _present(files)


def _named_in(path: Path) -> list[os.stat_result]:
    """Return the files that a text names behind ``=``, of those that are there."""
    with path.open("rb") as stream:
        names = _NAMED.findall(stream.read(_LONGEST))
    return _present(path.parent / os.fsdecode(name.strip()) for name in names)


def _present(files: Iterable[Path | os.DirEntry[str]]) -> list[os.stat_result]:
    return [status for file in files if (status := _status(file)) is not None]


def _status(file: Path | os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a file that was listed; None if it is not there, or not any more."""
    try:
        return file.stat()
    except (OSError, ValueError):  # the second for names that no file can have
        return None
