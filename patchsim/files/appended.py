"""A file that one process alone appends records to, and reads again after it was killed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO

from patchsim.errors import InputError, printable


class AppendedFile:
    """A file that is open to be read, cut and appended to.

    Parameters
    ----------
    path : path
        The file; it is made if it is not there.
    name : str
        What messages call it.
    work : str
        What another process that has the file does, such as ``scan``.

    Raises
    ------
    InputError
        If another process has the file.
    OSError, ValueError
        If it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, work: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file = os.open(path, flags, 0o666)
        try:
            self._lock(name, work)
        except BaseException:  # an interruption, too, leaves no file open
            self.close()
            raise

    def close(self) -> None:
        """Close the file, which lets others write it."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return os.fstat(self._file).st_size

    def reading(self) -> BinaryIO:
        """Return a stream of the file from its beginning; the caller closes it."""
        stream = os.fdopen(os.dup(self._file), "rb")
        stream.seek(0)
        return stream

    def cut(self, size: int) -> None:
        """Keep only the first bytes."""
        os.ftruncate(self._file, size)

    def append(self, data: bytes) -> None:
        """Append a record.

        Raises
        ------
        OSError
            If the disk is full, for example; the file is then as before.
        """
        before = self.size
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            with suppress(OSError):  # a device has no length
                self.cut(before)
            raise

    def _lock(self, name: str, work: str) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{printable(name)} is being written by another {work}; wait for its end"
            ) from None
        except OSError:  # a file system without locks
            return
