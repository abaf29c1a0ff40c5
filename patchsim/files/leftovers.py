"""Temporary files and folders with names: what a killed process left of them is removed later.

A process holds a lock on each that it uses; one that nobody holds is left over. The names tell the
machine, because locks of network file systems may be known to one machine alone.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

# Windows has no such locks; nothing is removed there.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


def new_name(target: Path) -> Path:
    """Return a temporary name beside a target."""
    return target.with_name(f"{_prefix()}{os.urandom(6).hex()}.tmp")


def claim(handle: int, temporary: Path) -> bool:
    """Lock a new file or folder, so that nobody removes it before its descriptor is closed.

    Returns
    -------
    bool
        False if another process removes it at this moment; then another name is needed.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, where nothing is removed
        return True
    try:
        return os.path.samestat(os.fstat(handle), temporary.stat())
    except OSError:
        return False


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder."""
    if fcntl is None:
        return
    prefix = _prefix()
    with suppress(OSError), os.scandir(folder) as entries:
        names = [one.name for one in entries if one.name.startswith(prefix)]
        for name in names:
            _remove_unless_held(folder / name)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if that can be."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_unless_held(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone meanwhile, or of another user
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is held, or the file system has no locks
        pass
    else:
        remove(path)
    finally:
        os.close(handle)


def _prefix() -> str:
    machine = zlib.crc32(platform.node().encode())  # `hashlib` takes 3 ms to load
    return f".patchsim-{machine:08x}-"
