"""Safe reading of feature files from untrusted sources: tensors alone, never code.

A file is checked before its contents are read: it must be as long as its header says, must hold
plain floating-point tensors, and must fit the memory if it cannot be read in pieces.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchsim.errors import AGAIN, DamageError, InputError, printable
from patchsim.files import atomic, npy
from patchsim.slots import archives, pickle_guard, stored_tensors
from patchsim.slots.stored_tensors import Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".pth", ".npz", ".npy")

_WANTED = "floating point of 16 to 64 bits"
_LISTED = 20  # keys that a message lists

# Bytes of the header of a .safetensors: about 20,000 tensors.
_LARGEST_HEADER = 2_000_000

# The types of .safetensors that can be scored, by torch's names.
_SAFETENSORS_FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}

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


class _Tensors(Mapping[str, Stored]):
    """The tensors of a file by their keys; each is looked at when it is asked for."""

    def __init__(self, make: Callable[[Any], Stored], source_by_key: Mapping[str, Any]) -> None:
        self._make = make
        self._source_by_key = source_by_key

    def __getitem__(self, key: str) -> Stored:
        return self._make(self._source_by_key[key])

    def __contains__(self, key: object) -> bool:
        return key in self._source_by_key

    def __iter__(self) -> Iterator[str]:
        return iter(self._source_by_key)

    def __len__(self) -> int:
        return len(self._source_by_key)


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
    readers = {
        ".safetensors": _safetensors,
        ".pt": _torch,
        ".pth": _torch,
        ".npz": _npz,
        ".npy": _npy,
    }
    where = printable(path)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{where} is none of {', '.join(SUFFIXES)}; save the features as one")
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


def _safetensors(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    """List the tensors of a .safetensors: a length, a header in JSON, the values."""
    size = _size(file)
    length = int.from_bytes(stored_tensors.read(file, 0, 8), "little")
    if length > size - 8:
        raise DamageError(f"a header of {length:,} bytes")
    if length > _LARGEST_HEADER:
        raise DamageError(f"a header of {length:,} bytes; save fewer tensors in one file")
    header = json.loads(stored_tensors.read(file, 8, length).decode())
    if not isinstance(header, dict):
        raise DamageError("its header names no tensors")
    header.pop("__metadata__", None)

    def stored(entry: Any) -> Stored:
        match entry:
            case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
                pass
            case _:
                raise DamageError("its header says neither type nor place of a tensor")
        stored_tensors.check_shape(shape)
        dtype = _SAFETENSORS_FLOATS.get(kind)
        if dtype is None:
            return stored_tensors.refused(f"is {printable(kind)}, not {_WANTED}")
        first = 8 + length
        held = max(0, min(stop, size - first) - start)
        if start < 0 or held != stop - start or held != stored_tensors.size_of(dtype, shape):
            raise DamageError(
                f"it says {printable(shape)} of {kind}, but bytes {start:,} to {stop:,} of"
                f" {size - first:,}"
            )
        return stored_tensors.floats(file, first + start, dtype, shape, memory=memory)

    return _Tensors(stored, header)


def _torch(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    """List the tensors of a .pt: a zip archive, whose pickle names members with the values."""
    if stored_tensors.read(file, 0, 2) != b"PK":
        raise pickle_guard.RefusedError(
            "is refused: it is no zip archive as torch writes them since 1.6; save it anew"
        )
    member_by_name = archives.members(archives.opened(file))
    roots = [name for name in member_by_name if name.count("/") == 1 and name.endswith("/data.pkl")]
    root = roots[0].removesuffix("data.pkl") if len(roots) == 1 else None
    if root is None or not all(name.startswith(root) for name in member_by_name):
        raise pickle_guard.RefusedError(
            "is refused: it is not laid out as by torch.save; save a dict of tensors"
        )

    @cache
    def content(name: str) -> tuple[int, int]:
        member = member_by_name.get(f"{root}{name}")
        if member is None:
            raise DamageError(f"it lacks the member {printable(repr(name))}")
        archives.check_sum(member, file)
        return archives.start_of(member, file), member.file_size

    if f"{root}byteorder" in member_by_name:
        start, size = content("byteorder")
        order = stored_tensors.read(file, start, min(size, 6))
        if order != sys.byteorder.encode():
            raise pickle_guard.RefusedError("comes from a machine of another byte order")
    start, size = content("data.pkl")
    held = pickle_guard.read(
        bytes(stored_tensors.read(file, start, min(size, pickle_guard.LARGEST + 1)))
    )
    if type(held) is not pickle_guard.Pairs:
        raise pickle_guard.RefusedError(
            f"holds a {_type_name(held)}; save a dict of tensors, {{'f': ...}}"
        )
    value_by_key = dict(zip(map(_key, held[::2]), held[1::2], strict=True))
    return _Tensors(lambda value: _torch_tensor(value, content, file, memory), value_by_key)


def _key(key: Any) -> str:
    if type(key) not in (str, int):
        raise pickle_guard.RefusedError("is refused: a key of its dict is no text; use texts")
    return str(key)


def _type_name(value: Any) -> str:
    if isinstance(value, pickle_guard.TensorRecord):
        return "Tensor"
    if isinstance(value, pickle_guard.Named):
        return value.name.replace(" ", ".")
    return "dict" if isinstance(value, pickle_guard.Pairs) else type(value).__name__


def _torch_tensor(
    value: Any, content: Callable[[str], tuple[int, int]], file: BinaryIO, memory: int
) -> Stored:
    """Check that a tensor of a .pt has plain floats, all in the file."""
    if not isinstance(value, pickle_guard.TensorRecord):
        return stored_tensors.refused(f"is a {_type_name(value)}, not a tensor")
    if value.dtype not in stored_tensors.ITEMSIZES or value.is_flagged:
        flagged = " with a flag" * value.is_flagged
        return stored_tensors.refused(f"is torch.{value.dtype}{flagged}, not {_WANTED}")
    stored_tensors.check_shape(value.shape)
    itemsize = stored_tensors.ITEMSIZES[value.dtype]
    start, held = content(f"data/{value.storage.key}")
    if held != value.storage.count * itemsize:
        raise DamageError(f"it says {value.storage.count:,} values in {held:,} bytes")
    needed = stored_tensors.size_of(value.dtype, value.shape)
    if needed > held:
        shape = printable(list(value.shape))
        return stored_tensors.refused(
            f"says {shape} but holds {held} bytes; save it with .contiguous()"
        )
    end = value.offset * itemsize + stored_tensors.span(value.dtype, value.shape, value.strides)
    if end > held:
        raise DamageError("a tensor in it reaches beyond its values")
    return stored_tensors.floats(
        file,
        start + value.offset * itemsize,
        value.dtype,
        value.shape,
        value.strides,
        memory=memory,
    )


def _npz(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    archive = archives.opened(file)
    member_by_key = {
        name.removesuffix(".npy"): member
        for name, member in archives.members(archive).items()
        if name.endswith(".npy")
    }

    def stored(member: zipfile.ZipInfo) -> Stored:
        with archive.open(member) as content:
            header = npy.read_header(content)
        problem = _array_problem(header, member.file_size - header.length)
        if problem is None and header.nbytes > memory:
            problem = stored_tensors.too_large(header.nbytes, memory)
        if problem is not None:
            return stored_tensors.refused(problem)

        @cache
        def array() -> NDArray[Any]:
            with archive.open(member) as content:
                return np.lib.format.read_array(content, allow_pickle=False)

        def rows(start: int, stop: int) -> Tensor:
            import torch

            # torch takes no read-only arrays and no foreign byte order, so the array is copied.
            dtype = header.dtype.newbyteorder("=")
            return torch.from_numpy(np.array(array()[start:stop], dtype))

        return Stored(header.shape, header.dtype.itemsize, rows, held=header.nbytes)

    return _Tensors(stored, member_by_key)


def _npy(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    file.seek(0)
    header = npy.read_header(file)
    problem = _array_problem(header, _size(file) - header.length)
    if problem is not None:
        stored = stored_tensors.refused(problem)
    else:
        stored = stored_tensors.floats(
            file,
            header.length,
            header.dtype.name,
            header.shape,
            stored_tensors.strides_of(header.shape[::-1])[::-1] if header.columns_first else None,
            is_swapped=not header.dtype.isnative,
            memory=memory,
        )
    return {"": stored}


def _array_problem(header: npy.Header, held: int) -> str | None:
    """Return the reason why an array of NumPy cannot be scored."""
    dtype = header.dtype
    stored_tensors.check_shape(header.shape)
    if dtype.hasobject:
        return "holds Python objects, which are not read"
    if dtype.name not in stored_tensors.ITEMSIZES:
        return f"is {printable(dtype)}, not {_WANTED}"
    if header.nbytes != held:
        shape = printable(list(header.shape))
        raise DamageError(
            f"it says {shape} of {dtype}, {header.nbytes:,} bytes, but holds {held:,}"
        )
    return None


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
