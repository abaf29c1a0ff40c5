"""Outputs that are written to directly: devices, pipes and the process's own streams."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from patchsim.errors import printable
from patchsim.files import waits

STDOUT = "/dev/stdout"  # stands for standard output, also where the system has no such path
# These paths name the process's own streams, even if a stream leads to a regular file.
_OWN_STREAM = re.compile(r"/dev/(?:stdout|stderr|fd/(?P<fd>\d+))|/proc/self/fd/(?P<proc>\d+)")


def is_written_directly(target: Path) -> bool:
    """Return whether a path is a device, a pipe or an own stream, which no file may replace."""
    if _own_stream(target) is not None:
        return True
    try:
        kind = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def opened(target: Path) -> BinaryIO:
    """Open what is written to directly; a reader may close the pipe early, which is no error."""
    stream = _own_stream(target)
    if stream is None:
        # Opening a pipe waits for a process that reads it.
        with waits.telling(printable(target), "is a pipe that nobody reads yet"):
            handle = os.open(target, os.O_WRONLY)
    else:
        # A duplicate of the descriptor shares the stream's position; opening the path would not.
        handle = os.dup(stream)
    return io.BufferedWriter(_Pipe(handle))


def _own_stream(target: Path) -> int | None:
    """Return the descriptor of the process's own stream that a path names, or None."""
    name_match = _OWN_STREAM.fullmatch(target.as_posix())
    if not name_match:
        return None
    number = name_match["fd"] or name_match["proc"]
    return int(number) if number else {"stdout": 1, "stderr": 2}[target.name]


class _Pipe(io.RawIOBase):
    """A stream that drops what it is given once its reader is gone.

    It does not tell its descriptor: NumPy and Pillow would write to that past this class.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        try:
            return os.write(self._handle, data)
        except BrokenPipeError:
            return memoryview(data).nbytes

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                os.close(self._handle)
