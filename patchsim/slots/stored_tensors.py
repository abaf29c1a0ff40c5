"""Tensors in files, read in blocks of rows.

Files are read, not mapped: where a mapped file becomes shorter, the system ends the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from patchsim.errors import DamageError
from patchsim.machine.memory import format_size

if TYPE_CHECKING:
    from torch import Tensor

# Bytes of one value of each type that can be scored, by torch's names.
ITEMSIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
_MOST_DIMENSIONS = 64  # of torch and NumPy
_LARGEST_DIMENSION = (1 << 63) - 1


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, which can be read in blocks of rows of its first dimension.

    Attributes
    ----------
    shape : tuple of int
    itemsize : int
        Bytes of one value.
    read : (start, stop) -> Tensor
        Reads the rows [start, stop) to the CPU. It raises DamageError if the file is damaged there.
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


def refused(problem: str) -> Stored:
    """Return a tensor that cannot be scored, with the reason."""

    def read(_start: int, _stop: int) -> Tensor:
        raise AssertionError("a tensor with a problem is not read")

    return Stored((), 0, read, problem)


def too_large(needed: int, memory: int) -> str:
    """Return the reason why a tensor that must be read whole cannot be scored."""
    return (
        f"takes {format_size(needed)} read whole, but memory is {format_size(memory)};"
        " save it as .safetensors, or allow more with --memory"
    )


def check_shape(shape: Sequence[Any]) -> None:
    """Refuse a shape from a file that no tensor has, before its numbers are multiplied.

    Raises
    ------
    DamageError
        If it has more than 64 dimensions, or one that is no number from 0 below 2**63.
    """
    if len(shape) > _MOST_DIMENSIONS or not all(
        type(size) is int and 0 <= size <= _LARGEST_DIMENSION for size in shape
    ):
        raise DamageError("a tensor in it has no possible shape")


def size_of(dtype: str, shape: Sequence[int]) -> int:
    """Return the bytes of all values."""
    return ITEMSIZES[dtype] * math.prod(shape)


def span(dtype: str, shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return the bytes from the first value to the end of the last one."""
    if 0 in shape:
        return 0
    steps = ((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return ITEMSIZES[dtype] * (1 + sum(steps))


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in values, of a tensor whose last dimension varies fastest."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def floats(
    file: BinaryIO,
    offset: int,
    dtype: str,
    shape: Sequence[int],
    strides: Sequence[int] | None = None,
    *,
    memory: int,
    is_swapped: bool = False,
) -> Stored:
    """Return a tensor of floats whose values are known to lie in the file.

    Parameters
    ----------
    file : file
        It must be open while rows are read.
    offset : int
        Where the first value lies, in bytes.
    dtype : str
        One of `ITEMSIZES`.
    shape, strides : sequence of int
        Strides are in values, by default those of rows that follow each other.
    memory : int
        Bytes that may be used to read a tensor whose rows do not follow each other.
    is_swapped : bool
        Whether the values have the other byte order than this machine.
    """
    shape = tuple(shape)
    itemsize, plain = ITEMSIZES[dtype], strides_of(shape)
    if strides is None:
        strides = plain
    # The stride of a dimension of one value says nothing.
    in_rows = all(size == 1 or a == b for size, a, b in zip(shape, strides, plain, strict=True))
    if in_rows or 0 in shape:
        row = itemsize * math.prod(shape[1:])

        def read_rows(start: int, stop: int) -> Tensor:
            content = read(file, offset + start * row, (stop - start) * row)
            return _tensor(content, dtype, is_swapped).view(stop - start, *shape[1:])

        return Stored(shape, itemsize, read_rows)

    needed = span(dtype, shape, strides)
    if needed > memory:
        return refused(too_large(needed, memory))

    @cache
    def whole() -> Tensor:
        content = read(file, offset, needed)
        return _tensor(content, dtype, is_swapped).as_strided(shape, strides)

    return Stored(shape, itemsize, lambda a, b: whole()[a:b], held=needed)


def read(file: BinaryIO, offset: int, count: int) -> bytearray:
    """Read bytes of a file.

    Raises
    ------
    DamageError
        If the file ends before them.
    """
    content = bytearray(count)
    file.seek(offset)
    if file.readinto(content) != count:  # type: ignore[attr-defined]  # as buffered files have
        raise DamageError("it ends too early")
    return content


def _tensor(content: bytearray, dtype: str, is_swapped: bool) -> Tensor:
    import numpy as np
    import torch

    if is_swapped:
        np.frombuffer(content, f"u{ITEMSIZES[dtype]}").byteswap(inplace=True)
    kind = getattr(torch, dtype)
    return torch.frombuffer(content, dtype=kind) if content else torch.empty(0, dtype=kind)
