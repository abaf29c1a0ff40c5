"""Where the files of a folder lie."""

from __future__ import annotations

import os
from pathlib import Path

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})


def is_memory(folder: str | os.PathLike[str], mounts: Path = Path("/proc/mounts")) -> bool:
    """Return whether the files of a folder lie in memory; False where the system does not tell.

    Parameters
    ----------
    folder : path
    mounts : Path
        The list of file systems that Linux keeps: device, place and kind on each line.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real = Path(os.path.realpath(folder))
    kinds: dict[Path, str] = {}  # a later one hides those before it
    for line in lines:
        _, place, kind, *_ = [*line.split(" "), "", "", ""]
        kinds[Path(_unescaped(place))] = kind
    inside = [place for place in kinds if place == real or place in real.parents]
    return kinds[max(inside, key=lambda place: len(place.parts))] in _IN_MEMORY if inside else False


def _unescaped(place: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(code, sign)
    return place
