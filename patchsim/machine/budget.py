"""How much memory may be used: sizes as people write them, and what this machine has to spare."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from pathlib import Path

from patchsim.errors import InputError

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_UNITS = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)


def parse(size: int | str) -> int:
    """Bytes in a size such as ``512MB``, ``1.5GiB``, ``2g`` or ``1000000``.

    Raises
    ------
    InputError
        If it is not a size, or not at least one byte.
    """
    text = str(size)
    found = _SIZE.fullmatch(text)
    if not found:
        raise InputError(f"memory {text!r} is not a size; write it like 512MB or 1.5GiB")
    unit = (found[2] or "").lower()
    count = int(float(found[1]) * ({**_UNITS, **_BINARY_UNITS}[unit]))
    if count < 1:
        raise InputError(f"memory {text!r} is no memory at all; write it like 512MB or 1.5GiB")
    return count


def text(count: int) -> str:
    """A number of bytes as people read it, rounded up: 48.8 MB."""
    for unit, scale in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if count >= scale:
            tenths = -(-count * 10 // scale)
            return f"{tenths / 10:.1f} {unit}"
    return f"{count} B"


def default() -> int:
    """A quarter of the memory that this process could still get, in bytes."""
    return max(1, _available_in(int(time.monotonic())) // 4)


@lru_cache(maxsize=1)
def _available_in(second: int) -> int:  # noqa: ARG001 - the key
    # Half of what a search of small pictures takes otherwise goes into asking.
    return available()


def available() -> int:
    """Bytes this process could still get: the machine's, or its cgroup's where that is less."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    return min([machine, *_cgroup_headroom()])


def _cgroup_headroom(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """What each cgroup this process is in, and each parent, leaves free; none outside Linux."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.lstrip("/")
        # Inside a container the path in /proc may name a group that is not mounted; its root is.
        for level in (group, *group.parents):
            free = _headroom(level, *names)
            if free is not None:
                found.append(free)
            if level == base:
                break
    return found


def _headroom(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    try:
        limit = (group / limit_name).read_text().strip()
        if limit == "max":
            return None
        usage = int((group / usage_name).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Pages of files not in use are given back before anything is killed.
    return max(0, int(limit) - usage + int(stat.get(cache_name, 0)))
