"""The formats of feature files: each reader lists the tensors of an open file by their keys.

A reader checks the headers before it reads values. It raises `DamageError`, or an exception of a
library, if the file is damaged, and `pickle_guard.RefusedError` if a pickle holds what is not read.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchsim.errors import DamageError, printable
from patchsim.files import npy
from patchsim.slots import archives, pickle_guard, stored_tensors
from patchsim.slots.stored_tensors import Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_WANTED = "floating point of 16 to 64 bits"

# Bytes of the header of a .safetensors: about 20,000 tensors.
_LARGEST_HEADER = 2_000_000

# The types of .safetensors that can be scored, by torch's names.
_SAFETENSORS_FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


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


def safetensors(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
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


def torch(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
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


def npz(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    """List the arrays of a .npz, which are read as a whole."""
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


def one_array(file: BinaryIO, memory: int) -> Mapping[str, Stored]:
    """List the array of a .npy under the key ``""``."""
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


READERS: Mapping[str, Callable[[BinaryIO, int], Mapping[str, Stored]]] = {
    ".safetensors": safetensors,
    ".pt": torch,
    ".pth": torch,
    ".npz": npz,
    ".npy": one_array,
}
