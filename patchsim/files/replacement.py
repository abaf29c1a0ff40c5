"""How a regular file is made: without a name until it is whole, where the system can do that."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from patchsim.files import leftovers

_WITHOUT_NAME: int | None = getattr(os, "O_TMPFILE", None)  # Linux
_PERMISSIONS = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
_ANYONE_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

# Temporary names that may be there now.
_unfinished: set[Path] = set()


@contextmanager
def of(target: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the target's place when the block ends without an error.

    On Linux the file has no name before it is whole, so that nothing is left even of a process that
    is killed. Elsewhere, and on file systems that lack this, it has a temporary name beside the
    target. The new file has the permissions of the one that it replaces, and its owner and group
    where the system allows it.
    """
    temporary = leftovers.new_name(target)
    _unfinished.add(temporary)
    try:
        handle = _open_without_name(target.parent)
        has_name = handle is None
        if handle is None:
            handle = _open_with_name(temporary)
        with os.fdopen(handle, "wb") as file:
            # Before the first byte, which others may not read.
            _take_over(file.fileno(), temporary, target)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not has_name:
                if _link(file.fileno(), target):
                    return
                _link(file.fileno(), temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


@contextmanager
def of_folder(target: Path) -> Iterator[Path]:
    """Make a folder that takes the target's place when the block ends without an error.

    It has a temporary name meanwhile. Nothing but an empty folder is replaced.
    """
    temporary = leftovers.new_name(target)
    _unfinished.add(temporary)
    leftovers.sweep(target.parent)
    held = None
    try:
        held = make_folder(temporary)
        yield temporary
        sync_folder(temporary)
        temporary.rename(target)
    finally:
        leftovers.remove(temporary)
        _unfinished.discard(temporary)
        if held is not None:
            os.close(held)


def sync_folder(root: Path) -> None:
    """Let the disk have all files of a folder, before it gets its name."""
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH123 - joined as walked
                os.fsync(file.fileno())


def discard_unfinished() -> None:
    """Remove the temporary files of this process, which then has to end at once."""
    for temporary in tuple(_unfinished):
        leftovers.remove(temporary)


def is_read_only(target: Path) -> bool:
    """Return whether a file is there that nobody may write, or not this user."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    # Root may write any file, and would replace one that its owner protects.
    return not (mode & _ANYONE_WRITES and os.access(target, os.W_OK))


def _open_without_name(folder: Path) -> int | None:
    """Open a new file that has no name, or return None where the system lacks such files."""
    if _WITHOUT_NAME is None:
        return None
    try:
        handle = os.open(folder, os.O_WRONLY | _WITHOUT_NAME, 0o666)
    except OSError:  # of several kinds, by kernel and file system
        return None
    if not Path(f"/proc/self/fd/{handle}").exists():  # the file gets its name by this path
        os.close(handle)
        return None
    return handle


def _open_with_name(temporary: Path) -> int:
    """Open a new file that has a temporary name, and is locked where the system can do that."""
    leftovers.sweep(temporary.parent)
    while True:
        # os.open applies the umask, which tempfile does not.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if leftovers.claim(handle, temporary):
            return handle
        os.close(handle)
        temporary.unlink(missing_ok=True)


def make_folder(temporary: Path, mode: int = 0o777) -> int | None:
    """Make a folder; return the descriptor that locks it, where the system can do that."""
    while True:
        temporary.mkdir(mode)
        if os.name == "nt":  # it opens no folders
            return None
        try:
            handle = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for a leftover
            continue
        if leftovers.claim(handle, temporary):
            return handle
        os.close(handle)
        leftovers.remove(temporary)


def _link(handle: int, name: Path) -> bool:
    """Give a file without a name one, unless that is taken; return whether it was free."""
    try:
        # With a folder's descriptor Python calls linkat, which follows the link in /proc.
        os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
    except FileExistsError:
        return False
    return True


def _take_over(handle: int, temporary: Path, target: Path) -> None:
    """Give a new file the owner, group and permissions of the file that it will replace, if any."""
    try:
        before = target.stat()
    except OSError:
        return
    if hasattr(os, "fchown"):
        for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):
            with suppress(OSError):  # only root gives files away; others may give them to a group
                os.fchown(handle, owner, group)
    with suppress(OSError):  # the file system may have no permissions
        permissions = before.st_mode & _PERMISSIONS
        os.fchmod(handle, permissions) if hasattr(os, "fchmod") else temporary.chmod(permissions)
