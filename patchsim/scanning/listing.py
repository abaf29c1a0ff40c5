"""Which pictures a scan searches: files, folders, patterns and URLs become requests."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.output import mark
from patchsim.pictures import remote, slide_source, zarr_layout
from patchsim.scanning import requests
from patchsim.scanning.requests import Request

# How the names of pictures in folders end; a file that is named itself may be called anything.
SUFFIXES = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
        ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jxl", ".qoi", ".pcx", ".ico", ".sgi",
        ".rgb", ".bw", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".npy", ".dcm",
        ".fits", ".fit", ".fts", ".exr", *slide_source.ENDINGS,
    }
)  # fmt: skip


def listed(
    words: Iterable[str], tell: Callable[[str], None] | None = None, *, are_many: bool = False
) -> Iterator[Request]:
    """Yield a request for each picture that words name, in the order of the words.

    A folder stands for the pictures in it and in its folders, by name, without hidden ones and
    without following links to folders. A word with ``*``, ``?`` or ``[`` that is no file is a
    pattern, in which ``**`` stands for any folders. A word that names no picture is a request with
    a fault. Heatmaps, overlays and maps that the command wrote are left out.

    Parameters
    ----------
    words : iterable of str
    tell : callable, optional
        Told of pictures that are left out.
    are_many : bool
        A word may be one of many that a shell made of a pattern. Otherwise a file that is named
        itself is searched whatever it is.
    """
    for word in words:
        drawn: list[str] = []
        try:
            yield from _of_word(word, drawn, are_many=are_many)
        except InputError as error:
            yield Request(word, fault=str(error))
        except OSError as error:
            reason = atomic.failure_reason(error)
            yield Request(word, fault=f"{printable(word)} cannot be listed: {reason}")
        if drawn and tell is not None:
            more = f" and {len(drawn) - 1:,} more" if len(drawn) > 1 else ""
            words = "were drawn by patchsim and are" if more else "was drawn by patchsim and is"
            tell(f"{printable(drawn[0])}{more} {words} not searched")


def _of_word(word: str, drawn: list[str], *, are_many: bool) -> Iterator[Request]:
    """Yield the requests of a word, and note the pictures that are left out."""
    path = Path(word)
    if remote.is_url(word) and not zarr_layout.is_zarr(word):
        for name in remote.listed(word):
            if name == word or PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield Request(name, name)
    elif zarr_layout.is_zarr(word):
        yield from _named(word, drawn, are_many=are_many)
    elif "\0" not in word and atomic.is_folder(path):
        pictures = _without(drawn, _in_folder(word))
        yield from _at_least_one(pictures, f"{printable(word)} is a folder without pictures")
    elif glob.has_magic(word) and "\0" not in word and not os.path.lexists(word):
        names = sorted(glob.iglob(word, recursive=True))  # noqa: PTH207 - names as typed
        files = (
            Request(name, name)
            for name in names
            if not Path(name).is_dir() or zarr_layout.is_zarr(name)
        )
        pictures = _without(drawn, files)
        yield from _at_least_one(pictures, f"no file is called like {printable(word)}")
    else:
        yield from _named(word, drawn, are_many=are_many)


def _named(word: str, drawn: list[str], *, are_many: bool) -> Iterator[Request]:
    """Return the request of a path, unless it is one of many and was drawn by the command."""
    request = iter([requests.of_path(word)])
    return _without(drawn, request) if are_many else request


def _without(drawn: list[str], pictures: Iterator[Request]) -> Iterator[Request]:
    """Leave out pictures that the command drew, and note their names."""
    for request in pictures:
        if request.fault is None and mark.is_own(request.name):
            drawn.append(request.name)
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
        if is_folder and zarr_layout.is_zarr(path):
            yield Request(path, path)
        elif is_folder:
            yield from _in_folder(path)
        # A pipe or a device that lies in a folder would be waited for.
        elif Path(name).suffix.lower() in SUFFIXES and not _is_special(path):
            yield Request(path, path)


def _is_special(path: str) -> bool:
    """Return whether a path is a pipe, a socket or a device; not if it cannot be looked at."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
