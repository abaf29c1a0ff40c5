"""A Zarr store or a slide of several files that must not change while it is read."""

from __future__ import annotations

import time

from patchsim.errors import InputError, printable
from patchsim.files import stamps

_SHARE = 20  # looking at many files takes one part in so many of the time, at most
_QUICK = 0.005  # seconds of a look at few files, which is made each time


class WatchedStore:
    """A store that is read, and must not change meanwhile.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp, self._next = stamps.of(path), 0.0

    def check(self) -> None:
        """Check that the store is still what it was; of many files, unless that was just done.

        Raises
        ------
        InputError
            If it is gone, or has changed.
        """
        begun = time.monotonic()
        if begun < self._next:
            return
        name = printable(self._path)
        try:
            now = stamps.of(self._path)
        except OSError as error:
            raise InputError(f"{name} cannot be read any more: {error.strerror}") from error
        if now != self._stamp:
            raise InputError(f"{name} changed while it was read; search it again")
        ended = time.monotonic()
        if ended - begun > _QUICK:
            self._next = ended + _SHARE * (ended - begun)
