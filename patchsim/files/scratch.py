"""A folder for the files of other programs while they work; a kill's is removed by the next one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from patchsim.files import leftovers, replacement

_OWN = 0o700  # nobody else may look into it, as Python's own temporary folders


class ScratchFolder:
    """A new folder in TMPDIR, until it is closed.

    Attributes
    ----------
    path : pathlib.Path

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        leftovers.sweep(parent)
        self.path = leftovers.new_name(parent / "scratch")
        self._lock = replacement.make_folder(self.path, _OWN)

    def close(self) -> None:
        """Remove the folder and what is in it."""
        leftovers.remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
