"""How a file is written: as a whole or not at all; devices and pipes are written to directly."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from patchsim.errors import AGAIN, InputError, OutputError, printable
from patchsim.files import direct, replacement

_FOLDERS = ("", os.curdir, os.pardir)  # last parts of a path that name a folder


def check_target(
    path: str | os.PathLike[str],
    suffixes: Sequence[str],
    inputs: Iterable[Path],
    *,
    force: bool = False,
) -> None:
    """Check before a search that its output can be written and overwrites no input.

    Parameters
    ----------
    path : path
        The output.
    suffixes : sequence of str
        The suffixes of the formats that can be written, such as ``.png``; the usual one first.
    inputs : iterable of Path
        The files that are read.
    force : bool
        Whether a file that is read-only may be replaced.

    Raises
    ------
    InputError
        If the folder is missing or read-only, or the path is a folder, ``-``, a symbolic link to
        itself, has another suffix, is a read-only file, or is one of the inputs.
    """
    target = Path(path)
    name = f"output {printable(os.fspath(path))}"
    if os.fspath(target) == "-":
        raise InputError(
            f"output '-' is no file, and standard output carries the results; give a name that"
            f" ends in {suffixes[0]}"
        )
    try:
        if direct.is_written_directly(target):
            return
        real = Path(os.path.realpath(target))
        problem = _problem(os.fspath(path), real)
    except FileNotFoundError:
        raise InputError(
            f"{name} cannot be written: the current folder was deleted; change to another"
        ) from None
    except (OSError, ValueError) as error:  # for example, the name is too long
        raise InputError(f"{name} cannot be written: {failure_reason(error)}") from None
    if problem is not None:
        raise InputError(f"{name} {problem}")
    if target.suffix.lower() not in suffixes:
        wanted = " or ".join(suffixes)
        raise InputError(f"{name} would be written as {suffixes[0]}; end its name in {wanted}")
    check_folder(real.parent)
    if not force and replacement.is_read_only(real):
        raise InputError(f"{name} is read-only; give another name, or --force (force=True)")
    for source in inputs:
        if _is_same_file(real, source):
            raise InputError(f"{name} would overwrite the input {printable(source)}; rename one")


def _problem(given: str, real: Path) -> str | None:
    """Return why a path names no file that could be written, or None.

    Raises
    ------
    OSError
        If the path cannot be looked at, although it, or its folder, is there.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(real)
    if real.is_dir():
        return "is a folder; give the path of a file"
    if os.path.split(given)[1] in _FOLDERS:
        return "ends like the path of a folder; give the path of a file"
    if real.is_symlink():  # what is left of a chain of links that has an end is no link
        return "is a symbolic link that leads to itself; remove it, or give another name"
    return None


def check_folder(folder: Path) -> None:
    """Check that a folder can take a new file.

    Raises
    ------
    InputError
        If it is not there, or is not writable.
    """
    if not is_folder(folder):
        raise InputError(
            f"output folder {printable(folder)} does not exist; create it or choose another"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"output folder {printable(folder)} is not writable; choose another")


def check_distinct(paths: Sequence[str]) -> None:
    """Check that no two outputs are the same file.

    Raises
    ------
    InputError
        If two are. A device or a pipe may take several outputs.
    """
    path_by_file: dict[str, str] = {}
    for path in paths:
        if direct.is_written_directly(Path(path)):
            continue
        real = os.path.realpath(path)
        if real in path_by_file:
            raise InputError(
                f"outputs {printable(path_by_file[real])} and {printable(path)} are one file;"
                " give two names"
            )
        path_by_file[real] = path


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that appears at `path` when the block ends without an error.

    After an error the path is as it was before.

    Raises
    ------
    OutputError
        If the disk is full or the file cannot be written.
    """
    target = Path(path)
    with naming_errors(target):
        if direct.is_written_directly(target):
            with direct.opened(target) as file:
                yield file
        else:
            with replacement.of(Path(os.path.realpath(target))) as file:
                yield file


@contextmanager
def writing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder that appears at `path` when the block ends without an error.

    Raises
    ------
    OutputError
        If the disk is full, or something has the name.
    """
    with naming_errors(path), replacement.of_folder(Path(os.path.realpath(path))) as folder:
        yield folder


@contextmanager
def naming_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a system's error while a file is written into an `OutputError` that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {printable(path)}: {failure_reason(error)}") from error


def read_error(error: OSError, where: str, path: Path, wanted: str) -> InputError:
    """Return the error that says why a file could not be read.

    Parameters
    ----------
    error : OSError
        The system's or a decoder's error.
    where : str
        The file's name in the message.
    path : Path
        The file.
    wanted : str
        The kind of file that is needed, such as ``a picture``.
    """
    if isinstance(error, FileNotFoundError):
        problem = "does not exist; check the path"
    elif is_folder(path):  # before PermissionError, which Windows raises for folders
        problem = f"is a folder; give {wanted}"
    elif isinstance(error, PermissionError):
        problem = "may not be read (permission denied); change its permissions"
    elif error.errno is not None:
        reason = error.strerror or errno.errorcode.get(error.errno)
        problem = f"cannot be read: {reason}; give another path"
    else:  # from a decoder, not from the system
        problem = f"is damaged or cut short; {AGAIN}"
    return InputError(f"{where} {problem}")


def failure_reason(error: OSError | ValueError) -> str:
    """Return why writing failed, and what to do about it."""
    message = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"{message}; free some space or write elsewhere"
    return message


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False if it cannot be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Return whether there is a file; False if the path cannot be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there, or cannot be looked at
        return False
