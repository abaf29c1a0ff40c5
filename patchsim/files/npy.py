"""Which array a .npy stream holds, by its untrusted header."""

from __future__ import annotations

import math
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np

from patchsim.errors import DamageError

MAGIC = b"\x93NUMPY"
_LARGEST_HEADER = 1 << 16


class Header(NamedTuple):
    """The header of a .npy stream.

    Attributes
    ----------
    shape : tuple of int
        The array's shape.
    columns_first : bool
        True if the first index varies fastest (Fortran's order).
    dtype : dtype
        The type of the values.
    length : int
        The header's length in bytes; the values begin there.
    """

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[Any]
    length: int

    @property
    def nbytes(self) -> int:
        """The size of the values in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


def read_header(file: IO[bytes]) -> Header:
    """Read the header of a .npy stream.

    The length that the header states is checked before that many bytes are read.

    Raises
    ------
    DamageError
        If the stream does not begin with a header of version 1 to 3, or the header is too long.
    """
    start = file.read(len(MAGIC) + 2)
    length_bytes, parse = {
        MAGIC + b"\x01\x00": (2, np.lib.format.read_array_header_1_0),
        MAGIC + b"\x02\x00": (4, np.lib.format.read_array_header_2_0),
        # It differs in the encoding of the names of fields, which no array of numbers has.
        MAGIC + b"\x03\x00": (4, np.lib.format.read_array_header_2_0),
    }.get(start, (0, None))
    if parse is None:
        raise DamageError("it does not begin like a .npy")
    length_field = file.read(length_bytes)
    length = int.from_bytes(length_field, "little")
    if length > _LARGEST_HEADER:
        raise DamageError(f"a header of {length:,} bytes")
    try:
        shape, columns_first, dtype = parse(BytesIO(length_field + file.read(length)))
    except Exception as error:  # of many types, with words on NumPy's own functions
        raise DamageError("its header says neither type nor shape of an array") from error
    return Header(shape, columns_first, dtype, len(start) + length_bytes + length)
