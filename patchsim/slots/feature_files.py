"""Safe reading of feature files from untrusted sources: tensors alone, never code.

A file is checked before its contents are read: it must be as long as its header says, must hold
plain floating-point tensors, and must fit the memory if it cannot be read in pieces.
"""

from __future__ import annotations

import pickle
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.files import atomic, npy
from patchsim.machine.memory import format_size
from patchsim.slots import pickle_guard

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".pth", ".npz", ".npy")

# The types that can be scored, as each format names them.
_NUMPY_FLOATS = ("float16", "float32", "float64")
_SAFETENSORS_FLOATS = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, which can be read in blocks of rows of its first dimension.

    Attributes
    ----------
    shape : tuple of int
    itemsize : int
        Bytes of one value.
    read : (start, stop) -> Tensor
        Reads the rows [start, stop) to the CPU.
    problem : str or None
        The reason why the tensor cannot be scored.
    held : int
        Bytes that stay in memory once a row was read.
    """

    shape: tuple[int, ...]
    itemsize: int
    read: Callable[[int, int], Tensor]
    problem: str | None = None
    held: int = 0


@contextmanager
def open_features(path: Path, memory: int) -> Iterator[Mapping[str, Stored]]:
    """Open a file and list its tensors by their keys; a .npy has the one key ``""``.

    Parameters
    ----------
    path : Path
        .safetensors, .pt or .pth (unpickled with ``weights_only=True``), .npz or .npy (without
        pickles).
    memory : int
        Bytes that may be used for files which must be read as a whole: .npz, and .pt in the format
        before torch 1.6.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, would run code, or does not fit.
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
            with path.open("rb") as file:
                if not file.read(1):
                    raise InputError(f"{where} is empty (0 bytes)")
            tensors = reader(path, memory, stack)
        yield tensors


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the exceptions of opening and reading into messages that name the file."""
    where = printable(path)
    try:
        # An error says what is wrong with a file; a warning would say it twice.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except OSError as error:
        raise atomic.read_error(error, where, path, "a file of features") from error
    except Exception as error:
        # Each library has its own exceptions for damage; the first line of the text says enough.
        # The words of Python's own exceptions are for programmers.
        is_foreign = type(error).__module__ not in ("builtins", "struct")
        said = f": {str(error).splitlines()[0]}" if is_foreign and str(error) else ""
        raise InputError(f"{where} is damaged or cut short{said}") from error


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
            if tensors[key].problem:
                raise InputError(f"{where}: {key!r} {tensors[key].problem}")
            return tensors[key]
    wanted = " or ".join(map(repr, keys))
    have = ", ".join(map(repr, list(tensors)[:20])) or "nothing"
    raise InputError(
        f"{where} has no {wanted}; it has {have}. Name them with --f-key, --p-key or --key"
    )


def _safetensors(path: Path, memory: int, stack: ExitStack) -> dict[str, Stored]:  # noqa: ARG001
    from safetensors import safe_open

    file = stack.enter_context(safe_open(path, framework="pt", device="cpu"))

    def stored(key: str) -> Stored:
        part = file.get_slice(key)
        kind = part.get_dtype()
        problem = None if kind in _SAFETENSORS_FLOATS else f"is {kind}, not floating point"
        size = {"F64": 8, "F32": 4}.get(kind, 2)
        return Stored(tuple(part.get_shape()), size, lambda a, b: part[a:b], problem)

    return {key: stored(key) for key in file.keys()}  # noqa: SIM118 - not a mapping


def _torch(path: Path, memory: int, stack: ExitStack) -> dict[str, Stored]:  # noqa: ARG001
    import torch

    size, where = path.stat().st_size, printable(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise InputError(f"{where} is compressed inside, which torch.save never does")
            if sum(m.file_size for m in members) > size:
                raise InputError(f"{where} says that it holds more than its {size:,} bytes")
            for member in members:
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as file:
                        pickle_guard.check(file, where)
    else:
        if size > memory:
            raise InputError(
                f"{where} has the format before torch 1.6, which is read whole:"
                f" {format_size(size)}, but memory is {format_size(memory)};"
                " save it anew, or allow more with --memory"
            )
        with path.open("rb") as file:
            for _ in range(pickle_guard.BEFORE_TORCH_1_6):
                pickle_guard.check(file, where)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise pickle_guard.refused(where) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{where} holds a {type(content).__name__}; save a dict of tensors, {{'f': ...}}"
        )

    def stored(value: Any) -> Stored:
        problem = _tensor_problem(value)
        if problem:
            return Stored((), 0, _unreadable, problem)
        plain = value.detach()
        return Stored(tuple(plain.shape), plain.itemsize, lambda a, b: plain[a:b])

    return {str(key): stored(value) for key, value in content.items()}


def _tensor_problem(value: Any) -> str | None:
    """Return the reason why a value is no plain tensor of floats that is all in the file."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a {type(value).__name__}, not a tensor"
    if value.is_quantized:
        return f"is quantised ({value.dtype}), not floating point"
    if value.layout != torch.strided or value.device.type != "cpu":
        return f"is a {value.layout} tensor on {value.device}, not a plain one"
    if not value.is_floating_point():
        return f"is {value.dtype}, not floating point"
    held = value.untyped_storage().nbytes()
    if value.numel() * value.itemsize > held:
        return f"says {list(value.shape)} but holds {held} bytes; save it with .contiguous()"
    return None


def _unreadable(_start: int, _stop: int) -> Tensor:
    raise AssertionError("a tensor with a problem is not read")


def _npz(path: Path, memory: int, stack: ExitStack) -> dict[str, Stored]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    tensors = {}
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        with archive.open(member) as file:
            header = npy.read_header(file)
        shape, dtype, needed = header.shape, header.dtype, header.nbytes
        held = member.file_size - header.length
        problem: str | None
        if dtype.hasobject:
            problem = "holds Python objects, which are not read"
        elif needed != held:
            problem = f"says {list(shape)} of {dtype}, {needed:,} bytes, but holds {held:,}"
        elif needed > memory:
            problem = (
                f"takes {format_size(needed)} read whole, but memory is {format_size(memory)};"
                " save it as .safetensors, or allow more with --memory"
            )
        else:
            problem = _numpy_problem(dtype)
        key = member.filename.removesuffix(".npy")
        rows = _npz_rows(archive, member)
        tensors[key] = Stored(shape, dtype.itemsize, rows, problem, held=needed)
    return tensors


def _npz_rows(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[int, int], Tensor]:
    """Return a reader of rows, which reads the array when it is first called."""

    @cache
    def array() -> NDArray[Any]:
        with archive.open(member) as file:
            loaded: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return loaded

    return lambda start, stop: _as_tensor(array()[start:stop])


def _npy(path: Path, memory: int, stack: ExitStack) -> dict[str, Stored]:  # noqa: ARG001
    with path.open("rb") as file:
        npy.read_header(file)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    problem = _numpy_problem(array.dtype)
    return {"": Stored(array.shape, array.itemsize, lambda a, b: _as_tensor(array[a:b]), problem)}


def _numpy_problem(dtype: np.dtype[Any]) -> str | None:
    return (
        None if dtype.name in _NUMPY_FLOATS else f"is {dtype}, not floating point of 16 to 64 bits"
    )


def _as_tensor(array: NDArray[Any]) -> Tensor:
    import torch

    # torch takes no read-only arrays and no foreign byte order, so the array is copied.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))
