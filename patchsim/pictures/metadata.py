"""How much of a file may be texts, profiles and comments, which are read before the pixels.

A decoder reads these as a whole, whatever the size of the picture. A small picture can thus take
any memory and time, unless what it reads is counted.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from patchsim.errors import InputError
from patchsim.machine.memory import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchsim.pictures.limits import Limits

MOST = 64_000_000  # bytes; cameras write some megabytes
_MOST_CALLS = 1_000_000  # of a file that is read byte by byte
_COPIES = 3  # that decoders make of what they read
_NOT_WORTH_CHECKING = 1 << 20  # bytes


def check(limits: Limits, size: int, copies: int = _COPIES) -> None:
    """Check the size of what a file holds beside its pixels, before it is read.

    Parameters
    ----------
    limits : Limits
    size : int
        Bytes in the file.
    copies : int
        Bytes of memory that each of these takes.

    Raises
    ------
    InputError
        If that is more than pictures have, or than the memory that decoding may take.
    """
    if size > MOST:
        raise InputError(
            f"{limits.name} has {format_size(size)} of texts, profiles or comments, more than"
            f" {format_size(MOST)};\nsave it without them"
        )
    if size > _NOT_WORTH_CHECKING:
        limits.check_memory(copies * size, is_all=False)


class Counted:
    """A stream that refuses to read more beside the pixels than `check` allows.

    Attributes
    ----------
    held : int
        Bytes that were read as a whole, before it was known how large the picture is.
    """

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._is_on = True
        self._size = 0
        self._calls = 0
        self.held = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as the stream does, and count what is read."""
        if not self._is_on:
            return self._stream.read(-1 if size is None else size)
        if size is None or size < 0:  # WebP and AVIF: pixels and all else
            place = self._stream.tell()
            self.held = self._stream.seek(0, os.SEEK_END) - place
            self._stream.seek(place)
            if self.held > _NOT_WORTH_CHECKING:
                self._limits.check_memory(_COPIES * self.held, is_all=False)
            return self._stream.read()
        content = self._stream.read(min(size, MOST + 1))
        self._size += len(content)
        self._calls += 1
        check(self._limits, self._size)
        if self._calls > _MOST_CALLS:
            raise InputError(
                f"{self._limits.name} has a header of more than {format_size(self._size)} in"
                f" {_MOST_CALLS:,} parts;\nsave it without texts and comments"
            )
        return content

    @contextmanager
    def pixels(self) -> Iterator[None]:
        """Return a context in which nothing is counted."""
        self._is_on = False
        try:
            yield
        finally:
            self._is_on = True
