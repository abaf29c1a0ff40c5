"""The header of a .npy stream, read without trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

import numpy as np

MAGIC = b"\x93NUMPY"
_LARGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class Header:
    """What a .npy says of its array; `length` is where the values begin, in bytes."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[Any]
    length: int

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return self.dtype.itemsize * math.prod(self.shape)


def read_header(file: IO[bytes]) -> Header:
    """Shape, order, type and the header's length of a .npy stream.

    The length is looked at before as much is read.

    Raises
    ------
    ValueError
        If it is no header of version 1 or 2.
    """
    start = file.read(len(MAGIC) + 2)
    width, read = {
        MAGIC + b"\x01\x00": (2, np.lib.format.read_array_header_1_0),
        MAGIC + b"\x02\x00": (4, np.lib.format.read_array_header_2_0),
    }.get(start, (0, None))
    if read is None:
        raise ValueError("it does not begin like a .npy")
    field = file.read(width)
    length = int.from_bytes(field, "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    shape, columns_first, dtype = read(BytesIO(field + file.read(length)))
    return Header(shape, columns_first, dtype, len(start) + width + length)
