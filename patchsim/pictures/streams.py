"""How a file or standard input becomes a seekable stream, and its errors messages about it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from patchsim.errors import AGAIN, DamageError, InputError, MachineError, printable
from patchsim.files import atomic, waits
from patchsim.machine import packages
from patchsim.pictures import remote


@contextmanager
def open_seekable(label: str, memory: int | None) -> Iterator[BinaryIO]:
    """Open a file as a seekable stream; a pipe and what is behind a URL are first read."""
    if label == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("the picture '-' is read from standard input; pipe one in")
        from patchsim.pictures import piped  # as below, where one is given

        with waits.telling(_where(label)):
            content = piped.read_whole(sys.stdin.buffer, _where(label), memory)
        yield _not_empty(content, label)
        return
    if remote.is_url(label) and not atomic.is_there(Path(label)):
        yield remote.read(label, memory)
        return
    if stat.S_ISFIFO(Path(label).stat().st_mode):
        from patchsim.pictures import piped

        yield _not_empty(piped.read_named(label, memory), label)
        return
    with Path(label).open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if status.st_size == 0:
                raise InputError(f"{printable(label)} is empty (0 bytes); {AGAIN}")
            yield file
        elif stat.S_ISSOCK(status.st_mode):  # of /dev/fd; a socket with a name cannot be opened
            from patchsim.pictures import piped

            with waits.telling(_where(label)):
                content = piped.read_whole(file, _where(label), memory)
            yield _not_empty(content, label)
        else:
            raise InputError(f"{printable(label)} is neither a file nor a pipe; give a picture")


def _not_empty(content: BytesIO, label: str) -> BytesIO:
    if not content.getbuffer().nbytes:
        advice = "pipe a picture in" if label == "-" else AGAIN
        raise InputError(f"{_where(label)} is empty (0 bytes); {advice}")
    return content


def _where(label: str) -> str:
    return "standard input" if label == "-" else printable(label)


@dataclass(eq=False, repr=False)
class Told:
    """The facts about a file that is being read, for messages.

    Attributes
    ----------
    kind : str
        The name of its format, such as ``a PNG``, or nothing.
    lines : list of str
        What decoders wrote.
    """

    kind: str = ""
    lines: list[str] = field(default_factory=list)


@contextmanager
def naming_errors(label: str) -> Iterator[Told]:
    """Convert errors of opening and decoding to an `InputError` that names the picture.

    It gives a note of what is known; if decoders fail, the first line that they wrote says why.
    """
    where = _where(label)
    told = Told()
    try:
        yield told
    except (InputError, MachineError):
        raise
    except DamageError as error:
        raise _damaged(where, told.kind, printable(error)) from error
    except Image.DecompressionBombError:
        raise InputError(
            f"{where} has more pixels than Pillow decodes of its format; convert it to PNG"
        ) from None
    except MemoryError:
        raise InputError(
            f"{where} does not fit into memory when decoded; close other programs"
        ) from None
    except Exception as error:  # decoders raise many types for damaged files, in their own words
        unloaded = packages.failure(error)
        if unloaded is not None:
            raise MachineError(unloaded) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise atomic.read_error(error, where, Path(label), "a picture") from error
        raise _damaged(where, told.kind, told.lines[0] if told.lines else "") from error


@contextmanager
def naming_part(described: str) -> Iterator[None]:
    """Convert errors of a codec to a `DamageError` that names the part of a picture.

    Errors of the machine are no damage: `naming_errors` explains them.
    """
    try:
        yield
    except (MemoryError, DamageError):
        raise
    except Exception as error:  # each codec and store has its own
        if packages.failure(error) is not None:
            raise
        raise DamageError(f"{described} cannot be decoded: {error}") from error


def _damaged(where: str, kind: str, why: str) -> InputError:
    what = f"{kind} that is damaged or cut short" if kind else "damaged or cut short"
    reason = f": {why};\n" if why else "; "
    return InputError(f"{where} is {what}{reason}{AGAIN}")
