"""How a list of pictures is read from a stream, each line as soon as it is there."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain

from patchsim.errors import printable
from patchsim.files import waits
from patchsim.scanning import listing, requests
from patchsim.scanning.requests import Request

_CHUNK = 1 << 16
_LONGEST = 1 << 20  # bytes of a line


def read(descriptor: int, *, name: str = "-", by_null: bool = False) -> Iterator[Request]:
    """Yield what each line of a stream asks, without waiting for the next line.

    Blank lines are passed over, and the mark with which some editors begin UTF-8. The last line
    needs no end. A wait for the first line is told of, and none for later ones: who writes them may
    take their time.

    Parameters
    ----------
    descriptor : int
        An open file; it is read to its end, and stays open.
    name : str
        The list's in messages.
    by_null : bool
        Lines are paths that end with a null character, as `find -print0` writes them, instead of
        paths or JSON objects that end with a new line.
    """
    with waiting(name):
        first = os.read(descriptor, _CHUNK)
    chunks = chain([first], iter(lambda: os.read(descriptor, _CHUNK), b"")) if first else ()
    for number, (line, is_whole) in enumerate(_split(chunks, b"\0" if by_null else b"\n")):
        text = os.fsdecode(line.removeprefix(codecs.BOM_UTF8) if number == 0 else line)
        fault = _fault(text, is_whole=is_whole, by_null=by_null)
        if fault is not None:
            name = printable(text)
            yield Request(name, fault=f"{name} {fault}")
        elif by_null and text:
            yield _without_wait(requests.of_path(text))
        elif not by_null and text.strip():
            request = requests.of_line(text.removesuffix("\r"))  # of a list from Windows
            if request is not None:
                yield _without_wait(request)


def waiting(name: str) -> AbstractContextManager[None]:
    """Tell of a wait for the first line of a list, or for a process that writes it."""
    where = "of standard input" if name == "-" else printable(name)
    return waits.telling(f"the list {where}", "has given no name yet")


def _without_wait(request: Request) -> Request:
    """Return a request; each is answered, so that a pipe to pass over is one with a fault.

    `find` lists all that is called so.
    """
    if request.fault is not None or not listing.is_passed_over(request.name):
        return request
    fault = f"{printable(request.name)} is no regular file, for which a list is not held up"
    return replace(request, source=None, fault=f"{fault}; give it alone to read it")


def _fault(text: str, *, is_whole: bool, by_null: bool) -> str | None:
    """Return why a line can be no path, if it cannot, as where the list has other ends."""
    if not by_null and "\0" in text:
        return "is no path: it has null characters; add --null (-0) for a list of names that end so"
    if by_null and "\n" in text and not (is_whole and os.path.lexists(text)):
        return "is no file, and has ends of lines; leave out --null (-0) for a list of lines"
    return None if is_whole else "is no path: the line has more than a mebibyte"


def _split(chunks: Iterable[bytes], end: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield lines without their ends; of one that is too long its beginning, and False."""
    begun = b""
    is_cut = False
    for chunk in chunks:
        *complete, rest = chunk.split(end)
        for line in complete:
            if not is_cut:
                yield begun + line, True
            begun, is_cut = b"", False
        if not is_cut:
            begun += rest
            if len(begun) > _LONGEST:
                yield begun, False
                begun, is_cut = b"", True
    if begun:
        yield begun, True
