"""Safe reading of feature files from untrusted sources: tensors alone, never code.

A file is checked before its contents are read: it must be as long as its header says, must hold
plain floating-point tensors, and must fit the memory if it cannot be read in pieces.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim.errors import AGAIN, DamageError, InputError, printable
from patchsim.files import atomic
from patchsim.slots import pickle_guard
from patchsim.slots.feature_readers import READERS
from patchsim.slots.stored_tensors import Stored

if TYPE_CHECKING:
    from torch import Tensor

_LISTED = 20  # keys that a message lists

# The errors where a file is damaged: of these readers, and of zipfile, zlib, json and NumPy.
# A missing library, too little memory or a fault of this program is none of these.
_DAMAGE = (
    DamageError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RecursionError,  # of JSON that is nested too deeply
    NotImplementedError,  # of a later version of zip
)


@contextmanager
def open_features(path: Path, memory: int) -> Iterator[Mapping[str, Stored]]:
    """Open a file and list its tensors by their keys; a .npy has the one key ``""``.

    Parameters
    ----------
    path : Path
        .safetensors, .pt or .pth (of torch 1.6 and later), .npz or .npy (both without pickles).
    memory : int
        Bytes that may be used for tensors which must be read as a whole: all of .npz, and those
        whose values do not follow each other row by row.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged or would run code.
    """
    where = printable(path)
    reader = READERS.get(path.suffix.lower())
    if where == "-" and not path.exists():
        raise InputError("features are not read from standard input; give a file of features")
    if reader is None:
        raise InputError(f"{where} is none of {', '.join(READERS)}; save the features as one")
    with ExitStack() as stack:
        with _reading(path):
            # Checked before the file is opened, because a pipe or a device might never end.
            status = path.stat()
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise InputError(f"{where} is not a regular file; give a file of features")
            file = stack.enter_context(path.open("rb"))
            if not file.read(1):
                raise InputError(f"{where} is empty (0 bytes); {AGAIN}")
            tensors = reader(file, memory)
        yield tensors


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the exceptions of opening and reading into messages that name the file."""
    where = printable(path)
    try:
        yield
    except InputError:
        raise
    except pickle_guard.RefusedError as error:
        raise InputError(f"{where} {error}") from error
    except OSError as error:
        raise atomic.read_error(error, where, path, "a file of features") from error
    except _DAMAGE as error:
        # The words of Python's own exceptions are for programmers.
        is_told = isinstance(error, (DamageError, zipfile.BadZipFile, zlib.error))
        said = f": {printable(error)}" if is_told else ""
        raise InputError(f"{where} is damaged or cut short{said}; {AGAIN}") from error


def read_rows(stored: Stored, start: int, stop: int, path: Path) -> Tensor:
    """Read the rows [start, stop) of a tensor in a file.

    Raises
    ------
    InputError
        If the file is damaged there.
    """
    with _reading(path):
        return stored.read(start, stop)


def pick(tensors: Mapping[str, Stored], keys: tuple[str, ...], path: Path) -> Stored:
    """Return the tensor of the first of the keys that the file has.

    Raises
    ------
    InputError
        If the file has none of the keys, or the tensor cannot be scored.
    """
    where = printable(path)
    for key in keys:
        if key in tensors:
            with _reading(path):
                stored = tensors[key]
            if stored.problem:
                raise InputError(f"{where}: {printable(repr(key))} {stored.problem}")
            return stored
    wanted = " or ".join(map(repr, keys))
    have = printable(", ".join(repr(key[:200]) for key in islice(tensors, _LISTED))) or "nothing"
    raise InputError(
        f"{where} has no {wanted}; it has {have}. Name them with --f-key, --p-key or --key"
    )
