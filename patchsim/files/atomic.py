"""How files appear: whole or not at all; devices and pipes are written to directly."""

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

# These name the process's own streams, even where they lead to a regular file.
_OWN_STREAM = re.compile(r"/dev/(?:stdout|stderr|fd/(?P<fd>\d+))|/proc/self/fd/(?P<proc>\d+)")


def check_target(path: str | os.PathLike[str], suffix: str, inputs: Iterable[Path]) -> None:
    """See, before the work, that an output can be written and destroys no input.

    Raises
    ------
    InputError
        If the folder is missing or read-only, the path is a folder, has another suffix than what
        will be written, or is one of the inputs.
    """
    target = Path(path)
    if _directly(target):
        return
    real = Path(os.path.realpath(target))
    try:
        os.lstat(real)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # as of a name that is too long
        raise InputError(
            f"output {printable(target)} cannot be written: {failure_reason(error)}"
        ) from None
    if real.is_dir():
        raise InputError(f"output {printable(target)} is a folder; give the path of a file")
    if target.suffix and target.suffix.lower() != suffix:
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
    """See that no two outputs are one file.

    Raises
    ------
    InputError
        If they are; devices and pipes may serve several.
    """
    seen: dict[str, str] = {}
    for path in paths:
        if _directly(Path(path)):
            continue
        real = os.path.realpath(path)
        if real in seen:
            raise InputError(
                f"outputs {printable(seen[real])} and {printable(path)} are one file;"
                " give two names"
            )
        seen[real] = path


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and nothing otherwise.

    Raises
    ------
    OutputError
        If the disk is full or the file cannot be written.
    """
    target = Path(path)
    try:
        if _directly(target):
            with suppress(BrokenPipeError), _direct(target) as file:
                yield file  # a reader may leave early
        else:
            with _replacing(Path(os.path.realpath(target))) as file:
                yield file
    except OSError as error:
        raise OutputError(f"cannot write {printable(target)}: {failure_reason(error)}") from error


def read_error(error: OSError, where: str, path: Path, wanted: str) -> InputError:
    """Why a file could not be read, for a message about `where`, which is to be `wanted`."""
    if isinstance(error, FileNotFoundError):
        said = "does not exist"
    elif path.is_dir():  # of which Windows says that permission is denied
        said = f"is a folder; give {wanted}"
    elif isinstance(error, PermissionError):
        said = "may not be read (permission denied)"
    elif error.errno is not None:
        said = f"cannot be read: {error.strerror or errno.errorcode.get(error.errno)}"
    else:  # from a decoder, not from the system
        said = f"is damaged or cut short: {error}"
    return InputError(f"{where} {said}")


def failure_reason(error: OSError) -> str:
    """Why writing failed, and what to do about it."""
    said = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; free some space or write elsewhere"
    return said


def _own_stream(target: Path) -> int | None:
    found = _OWN_STREAM.fullmatch(os.fspath(target))
    if not found:
        return None
    number = found["fd"] or found["proc"]
    return int(number) if number else {"stdout": 1, "stderr": 2}[target.name]


def _directly(target: Path) -> bool:
    """True for what must not be replaced by a file: devices, pipes and own streams."""
    if _own_stream(target) is not None:
        return True
    try:
        kind = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _direct(target: Path) -> BinaryIO:
    stream = _own_stream(target)
    # A second handle on the stream shares its position; opening the path anew would not.
    return os.fdopen(os.dup(stream), "wb") if stream is not None else target.open("wb")


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    temporary = target.with_name(f".patchsim-{os.urandom(6).hex()}.tmp")
    # os.open applies the umask, which tempfile does not.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
