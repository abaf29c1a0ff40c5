"""The contract of readers of pictures larger than memory: any window of the pixels, when asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.pictures.chunk_cache import ChunkCache
from patchsim.types import Pixels


class Identity(NamedTuple):
    """The marks of a file by which it is known to be still the one that was opened.

    Attributes
    ----------
    path : str
    size : int
        Bytes.
    mtime_ns : int
        The time of the last change, in nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str, stream: BinaryIO) -> Identity:
        """Return the identity of an open file."""
        status = os.fstat(stream.fileno())
        return cls(path, status.st_size, status.st_mtime_ns)

    @classmethod
    def of_path(cls, path: str) -> Identity:
        """Return the identity of a file that is there."""
        status = Path(path).stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    def check(self) -> None:
        """Check that the file is still what it was.

        Raises
        ------
        InputError
            If it is gone, or has changed.
        """
        self.open().close()

    def open(self) -> BinaryIO:
        """Open the file again.

        Raises
        ------
        InputError
            If it is gone, or has changed since it was opened first.
        """
        name = printable(self.path)
        try:
            stream = open(self.path, "rb", buffering=0)  # noqa: PTH123, SIM115 - the caller closes it
        except OSError as error:
            raise InputError(f"{name} cannot be read any more: {error.strerror}") from error
        if Identity.of(self.path, stream) != self:
            stream.close()
            raise InputError(f"{name} changed while it was read; search it again")
        return stream


class PixelSource(Protocol):
    """A picture whose pixels are read by windows; several threads may read at once.

    Attributes
    ----------
    shape : (height, width, channels)
    dtype : dtype
        uint8, uint16, float32 or float64.
    identity : Identity or None
        The file, if there is one; reading fails once it has changed.
    chunk : (rows, columns)
        What is decoded at once: a tile or strip of the file, or some rows.
    cache : ChunkCache or None
        The decoded chunks that are kept.
    held_bytes : int
        The bytes that are held beside them.
    pixel_bytes : int
        The bytes that each pixel of a window takes at most while it is read.
    description : str
        How the picture is read, for ``--explain``.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def identity(self) -> Identity | None: ...
    @property
    def chunk(self) -> tuple[int, int]: ...
    @property
    def cache(self) -> ChunkCache | None: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def pixel_bytes(self) -> int: ...
    @property
    def description(self) -> str: ...

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the pixels [h, w, C] of a window that lies inside the picture, side by side.

        Raises
        ------
        InputError
            If the file has changed or is damaged.
        """


def no_part(name: str, kind: str, count: int, asked: int) -> InputError:
    """Return the error for a level or frame that a picture of so many lacks."""
    held = f"one {kind}, of number 0" if count == 1 else f"{kind}s from 0 to {count - 1}"
    return InputError(f"{name} has {held}; there is no {kind} {asked}")


def level_notice(name: str, level: int, count: int, shape: tuple[int, ...]) -> str:
    """Return the notice that a level of a picture [H, W, C] is searched."""
    return (
        f"{name}: level {level} of 0 to {count - 1} is searched, of {shape[1]}x{shape[0]} pixels,"
        " to which x and y belong"
    )


def only_whole(name: str, reason: str) -> InputError:
    """Return the error for a picture that is too large for memory and is only read whole."""
    return InputError(
        f"{name} is too large to be read whole, and {reason};\nor allow more with --max-pixels and"
        " --memory"
    )
