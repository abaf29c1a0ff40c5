"""Which pictures a scan searches: files, folders, patterns and URLs become requests."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.pictures import remote
from patchsim.scanning import requests
from patchsim.scanning.requests import Request

# How the names of pictures in folders end; a file that is named itself may be called anything.
SUFFIXES = frozenset(
    {
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
        ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jxl", ".qoi", ".pcx", ".ico", ".sgi",
        ".rgb", ".bw", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".npy", ".dcm",
        ".fits", ".fit", ".fts", ".exr",
    }
)  # fmt: skip


def listed(words: Iterable[str]) -> Iterator[Request]:
    """Yield a request for each picture that words name, in the order of the words.

    A folder stands for the pictures in it and in its folders, by name, without hidden ones and
    without following links to folders. A word with ``*``, ``?`` or ``[`` that is no file is a
    pattern, in which ``**`` stands for any folders. A word that names no picture is a request with
    a fault.
    """
    for word in words:
        try:
            yield from _of_word(word)
        except InputError as error:
            yield Request(word, fault=str(error))
        except OSError as error:
            reason = atomic.failure_reason(error)
            yield Request(word, fault=f"{printable(word)} cannot be listed: {reason}")


def _of_word(word: str) -> Iterator[Request]:
    path = Path(word)
    if remote.is_url(word):
        for name in remote.listed(word):
            if name == word or PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield Request(name, name)
    elif "\0" not in word and path.is_dir():
        yield from _at_least_one(
            _in_folder(word), f"{printable(word)} is a folder without pictures"
        )
    elif glob.has_magic(word) and "\0" not in word and not os.path.lexists(word):
        found = sorted(glob.iglob(word, recursive=True))  # noqa: PTH207
        files = (Request(name, name) for name in found if not Path(name).is_dir())
        yield from _at_least_one(files, f"no file is called like {printable(word)}")
    else:
        yield requests.of_path(word)


def _at_least_one(found: Iterator[Request], fault: str) -> Iterator[Request]:
    """Yield what was found.

    Raises
    ------
    InputError
        If that is nothing.
    """
    is_empty = True
    for request in found:
        is_empty = False
        yield request
    if is_empty:
        raise InputError(f"{fault}; give paths of pictures")


def _in_folder(folder: str) -> Iterator[Request]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((one.name, one.is_dir(follow_symlinks=False)) for one in entries)
    except OSError as error:
        reason = atomic.failure_reason(error)
        yield Request(folder, fault=f"{printable(folder)} cannot be listed: {reason}")
        return
    for name, is_folder in found:
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        if is_folder:
            yield from _in_folder(path)
        elif Path(name).suffix.lower() in SUFFIXES:
            yield Request(path, path)
