"""Which pictures a scan searches: files, folders, patterns and URLs become requests."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.output import mark
from patchsim.pictures import path_kinds, remote
from patchsim.scanning import requests
from patchsim.scanning.requests import Request

# How the names of pictures in folders end; a file that is named itself may be called anything.
SUFFIXES = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
        ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jxl", ".qoi", ".pcx", ".ico", ".sgi",
        ".rgb", ".bw", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".npy", ".dcm",
        ".fits", ".fit", ".fts", ".exr", *path_kinds.SLIDE_ENDINGS,
    }
)  # fmt: skip

_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
_ANY_FOLDERS = re.compile(rf"(?:^|(?<=[{_SEPARATORS}]))\*\*(?:[{_SEPARATORS}]+|$)")


class _Left(NamedTuple):
    """The names of files that a word stands for, and that are not searched."""

    drawn: list[str]
    special: list[str]


def listed(
    words: Iterable[str], tell: Callable[[str], None] | None = None, *, are_many: bool = False
) -> Iterator[Request]:
    """Yield a request for each picture that words name, in the order of the words.

    A folder stands for the pictures in it and in its folders, by name, without hidden ones and
    without following links to folders. A word with ``*``, ``?`` or ``[`` that is no file is a
    pattern, in which ``**`` stands for any folders, without following links to them. A word that
    names no picture is a request with a fault. Heatmaps, overlays and maps that the command wrote
    are left out, and so are pipes, sockets and devices, for which the scan would wait.

    Parameters
    ----------
    words : iterable of str
    tell : callable, optional
        Told of pictures that are left out.
    are_many : bool
        A word may be one of many that a shell made of a pattern. Then a pipe is still read if it is
        not called like a picture, as of `<(...)`. Otherwise a file that is named itself is searched
        whatever it is.
    """
    for word in words:
        left = _Left([], [])
        try:
            yield from _of_word(word, left, are_many=are_many)
        except InputError as error:
            yield Request(word, fault=str(error))
        except OSError as error:
            reason = atomic.failure_reason(error)
            yield Request(word, fault=f"{printable(word)} cannot be listed: {reason}")
        if tell is not None:
            _tell(left, tell)


def _tell(left: _Left, tell: Callable[[str], None]) -> None:
    """Tell which files are left out."""
    if left.drawn:
        words = "was drawn by patchsim and is", "were drawn by patchsim and are"
        tell(f"{_counted(left.drawn, *words)} not searched")
    if left.special:
        words = "is no regular file and is", "are no regular files and are"
        pronoun = "one" if len(left.special) > 1 else "it"
        tell(f"{_counted(left.special, *words)} not searched; give {pronoun} alone to read it")


def _counted(names: list[str], one: str, many: str) -> str:
    """Return the first of names and the number of the others, with the words for one or many."""
    more = f" and {len(names) - 1:,} more {many}" if len(names) > 1 else f" {one}"
    return printable(names[0]) + more


def _of_word(word: str, left: _Left, *, are_many: bool) -> Iterator[Request]:
    """Yield the requests of a word, and note the pictures that are left out."""
    path = Path(word)
    if remote.is_url(word) and not path_kinds.is_zarr(word):
        for name in remote.listed(word):
            if name == word or PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield Request(name, name)
    elif path_kinds.is_zarr(word):
        yield from _named(word, left, are_many=are_many)
    elif "\0" not in word and atomic.is_folder(path):
        pictures = _without(left, _in_folder(word))
        yield from _at_least_one(pictures, f"{printable(word)} is a folder without pictures")
    elif glob.has_magic(word) and "\0" not in word and not os.path.lexists(word):
        files = (
            Request(name, name)
            for name in sorted(set(_called_like(word)))
            if not Path(name).is_dir() or path_kinds.is_zarr(name)
        )
        pictures = _without(left, files)
        yield from _at_least_one(pictures, f"no file to search is called like {printable(word)}")
    else:
        yield from _named(word, left, are_many=are_many)


def _named(word: str, left: _Left, *, are_many: bool) -> Iterator[Request]:
    """Return the request of a path, unless it is one of many that a pattern would leave out."""
    request = iter([requests.of_path(word)])
    is_left_to_user = _is_special(word) and not is_passed_over(word)
    return _without(left, request) if are_many and not is_left_to_user else request


def is_passed_over(path: str) -> bool:
    """Return whether a path, one of many, is a pipe, a socket or a device for no reading.

    A pipe that is not called like a picture may be one that the shell made for the output of a
    command.
    """
    return Path(path).suffix.lower() in SUFFIXES and _is_special(path)


def _without(left: _Left, pictures: Iterator[Request]) -> Iterator[Request]:
    """Leave out special files and pictures that the command drew, and note their names."""
    for request in pictures:
        if request.fault is None and _is_special(request.name):
            left.special.append(request.name)
        elif request.fault is None and mark.is_own(request.name):
            left.drawn.append(request.name)
        else:
            yield request


def _at_least_one(pictures: Iterator[Request], fault: str) -> Iterator[Request]:
    """Yield what was found.

    Raises
    ------
    InputError
        If that is nothing.
    """
    is_empty = True
    for request in pictures:
        is_empty = False
        yield request
    if is_empty:
        raise InputError(f"{fault}; give paths of pictures")


def _in_folder(folder: str) -> Iterator[Request]:
    try:
        with os.scandir(folder) as entries:
            names = sorted((one.name, one.is_dir(follow_symlinks=False)) for one in entries)
    except OSError as error:
        reason = atomic.failure_reason(error)
        yield Request(folder, fault=f"{printable(folder)} cannot be listed: {reason}")
        return
    for name, is_folder in names:
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        if is_folder and path_kinds.is_zarr(path):
            yield Request(path, path)
        elif is_folder:
            yield from _in_folder(path)
        elif Path(name).suffix.lower() in SUFFIXES:
            yield Request(path, path)


def _called_like(pattern: str) -> Iterator[str]:
    """Yield the files and folders that a pattern stands for; some perhaps more than once.

    `glob` follows links in place of ``**``: each picture beside a link to the folder above it
    would come as often as the system follows links.
    """
    any_folders = _ANY_FOLDERS.search(pattern)
    before = pattern[: any_folders.start()] if any_folders else pattern
    # Names stay as they were typed; `pathlib` would leave out "./" and double separators.
    bases = glob.iglob(before) if before else iter([""])  # noqa: PTH207 - names as typed
    if any_folders is None:
        yield from bases
        return
    after = pattern[any_folders.end() :] or "*"
    for base in bases:
        for folder in _folders(base):
            yield from _called_like(glob.escape(folder) + after)


def _folders(base: str) -> Iterator[str]:
    """Yield a folder and those in it, without hidden and linked ones, each with a separator."""
    yield base
    names = []
    with contextlib.suppress(OSError), os.scandir(base or os.curdir) as entries:
        names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
    for name in names:
        if not name.startswith("."):
            yield from _folders(os.path.join(base, name, ""))


def _is_special(path: str) -> bool:
    """Return whether a path is a pipe, a socket or a device; not if it cannot be looked at."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # of a name with a null character
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
