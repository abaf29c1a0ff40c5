"""How much memory may be used: sizes as people write them, and the free memory of this machine."""

from __future__ import annotations

import math
import re
import time
from functools import lru_cache
from pathlib import Path

from patchsim.errors import InputError

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_UNITS = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_DIGITS = 5  # binary digits of the default limit
_SIZE = r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?)?b?\s*"


def parse_size(size: int | str) -> int:
    """Return the bytes in a size such as ``512MB``, ``1.5GiB``, ``2g`` or ``1000000``.

    Raises
    ------
    InputError
        If the text is not a size, or the size is less than one byte or not finite.
    """
    text = str(size)
    size_match = re.fullmatch(_SIZE, text, re.IGNORECASE)
    if not size_match:
        raise InputError(f"memory {text!r} is not a size; write it like 512MB or 1.5GiB")
    unit = (size_match[2] or "").lower()
    count = float(size_match[1]) * ({**_UNITS, **_BINARY_UNITS}[unit])
    if count == math.inf:
        raise InputError(f"memory {text!r} is more than any machine has; write it like 1.5GiB")
    if count < 1:
        raise InputError(f"memory {text!r} is no memory at all; write it like 512MB or 1.5GiB")
    return int(count)


def format_size(count: int) -> str:
    """Return a number of bytes as people read it, rounded up, such as ``48.8 MB``."""
    for unit, scale in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        # A size that is rounded up to 1000 of a unit is told as one of the next.
        tenths = -(-count * 10 // scale)
        if count >= scale or -(-count * 10 // (scale // 1000)) >= 10_000:
            return f"{tenths / 10:.1f} {unit}"
    return f"{count} B"


def default_limit() -> int:
    """Return about a quarter of the memory that this process could still get, in bytes.

    The result is rounded down to a sixteenth of a power of two, so that it seldom changes while
    little else happens on the machine: plans that are kept hold for one limit.
    """
    quarter = max(1, _available_in(int(time.monotonic())) // 4)
    unit = max(0, quarter.bit_length() - _DIGITS)
    return quarter >> unit << unit


@lru_cache(maxsize=1)
def _available_in(second: int) -> int:  # noqa: ARG001 - the cache's key
    # The query takes as long as a search of small pictures, so its answer is kept for a second.
    return available()


def available() -> int:
    """Return the bytes that this process could still get.

    This is the free memory of the machine or, where that is less, of the process's cgroup.
    """
    return min([_free_in_machine(), *_cgroup_headroom()])


def _free_in_machine(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that the machine could still give, as Linux or psutil estimates them."""
    try:  # psutil reads the same line; importing it takes longer than a small search
        _, _, after = meminfo.read_text().partition("\nMemAvailable:")
        return int(after.split(maxsplit=1)[0]) * 1024
    except (OSError, IndexError, ValueError):
        import psutil

        return int(psutil.virtual_memory().available)


def _cgroup_headroom(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Return the free bytes of each cgroup of this process and of each parent cgroup.

    The list is empty outside Linux.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    headrooms = []
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
                headrooms.append(free)
            if level == base:
                break
    return headrooms


def _headroom(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    try:
        limit = (group / limit_name).read_text().strip()
        if limit == "max":
            return None
        usage = int((group / usage_name).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # The kernel takes back cached file pages before it kills a process, so they count as free.
    return max(0, int(limit) - usage + int(stat.get(cache_name, 0)))
