"""Heatmaps that the command wrote: a folder or pattern that is searched may hold some."""

from __future__ import annotations

import contextlib
from pathlib import Path

_START = 4096  # bytes that hold the texts of a heatmap, which stand before its pixels
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MARKS = (b"tEXtSoftware\0patchsim", b"tEXtscore_min\0")


def is_one(path: str) -> bool:
    """Return whether a file is a heatmap of `patchsim match`, as the texts of its PNG say."""
    if not path.lower().endswith(".png"):
        return False
    with contextlib.suppress(OSError, ValueError), Path(path).open("rb") as file:
        start = file.read(_START)
        return start.startswith(_SIGNATURE) and all(mark in start for mark in _MARKS)
    return False
