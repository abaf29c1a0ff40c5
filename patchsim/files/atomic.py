"""How a file is written: as a whole or not at all; devices and pipes are written to directly."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from patchsim.errors import InputError, OutputError, printable

# These paths name the process's own streams, even if a stream leads to a regular file.
_OWN_STREAM = re.compile(r"/dev/(?:stdout|stderr|fd/(?P<fd>\d+))|/proc/self/fd/(?P<proc>\d+)")


def check_target(path: str | os.PathLike[str], suffix: str, inputs: Iterable[Path]) -> None:
    """Check before a search that its output can be written and overwrites no input.

    Parameters
    ----------
    path : path
        The output.
    suffix : str
        The suffix of the format that will be written, such as ``.png``.
    inputs : iterable of Path
        The files that are read.

    Raises
    ------
    InputError
        If the folder is missing or read-only, or the path is a folder, ``-``, has another suffix,
        or is one of the inputs.
    """
    target = Path(path)
    if os.fspath(target) == "-":
        raise InputError(
            f"output '-' is no file, and standard output carries the results; give a name that"
            f" ends in {suffix}"
        )
    if _is_written_directly(target):
        return
    real = Path(os.path.realpath(target))
    try:
        os.lstat(real)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # for example, the name is too long
        raise InputError(
            f"output {printable(target)} cannot be written: {failure_reason(error)}"
        ) from None
    if real.is_dir():
        raise InputError(f"output {printable(target)} is a folder; give the path of a file")
    if target.suffix.lower() != suffix:
        raise InputError(
            f"output {printable(target)} would be written as {suffix}; end its name in {suffix}"
        )
    if not real.parent.is_dir():
        raise InputError(
            f"output folder {printable(real.parent)} does not exist; create it or choose another"
        )
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise InputError(f"output folder {printable(real.parent)} is not writable; choose another")
    for source in inputs:
        if real.exists() and source.exists() and real.samefile(source):
            raise InputError(
                f"output {printable(target)} would overwrite the input {printable(source)};"
                " rename one"
            )


def check_distinct(paths: Sequence[str]) -> None:
    """Check that no two outputs are the same file.

    Raises
    ------
    InputError
        If two are. A device or a pipe may take several outputs.
    """
    path_by_file: dict[str, str] = {}
    for path in paths:
        if _is_written_directly(Path(path)):
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
    try:
        if _is_written_directly(target):
            # A reader may close the pipe early; that is no error.
            with suppress(BrokenPipeError), _open_directly(target) as file:
                yield file
        else:
            with _replacing(Path(os.path.realpath(target))) as file:
                yield file
    except OSError as error:
        raise OutputError(f"cannot write {printable(target)}: {failure_reason(error)}") from error


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
    elif path.is_dir():  # before PermissionError, which Windows raises for folders
        problem = f"is a folder; give {wanted}"
    elif isinstance(error, PermissionError):
        problem = "may not be read (permission denied)"
    elif error.errno is not None:
        problem = f"cannot be read: {error.strerror or errno.errorcode.get(error.errno)}"
    else:  # from a decoder, not from the system
        problem = "is damaged or cut short"
    return InputError(f"{where} {problem}")


def failure_reason(error: OSError) -> str:
    """Return why writing failed, and what to do about it."""
    message = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{message}; free some space or write elsewhere"
    return message


def _own_stream(target: Path) -> int | None:
    """Return the descriptor of the process's own stream that a path names, or None."""
    name_match = _OWN_STREAM.fullmatch(os.fspath(target))
    if not name_match:
        return None
    number = name_match["fd"] or name_match["proc"]
    return int(number) if number else {"stdout": 1, "stderr": 2}[target.name]


def _is_written_directly(target: Path) -> bool:
    """Return whether a path is a device, a pipe or an own stream, which no file may replace."""
    if _own_stream(target) is not None:
        return True
    try:
        kind = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _open_directly(target: Path) -> BinaryIO:
    stream = _own_stream(target)
    # A duplicate of the descriptor shares the stream's position; opening the path would not.
    return os.fdopen(os.dup(stream), "wb") if stream is not None else target.open("wb")


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside the target, which it replaces when the block ends.

    The new file has the permissions of the one that it replaces.
    """
    temporary = target.with_name(f".patchsim-{os.urandom(6).hex()}.tmp")
    # os.open applies the umask, which tempfile does not.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            # Before the first byte, which others may not read. There may be no such file, or the
            # file system may have no permissions.
            with suppress(OSError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
