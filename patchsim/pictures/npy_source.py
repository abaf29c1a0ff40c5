"""Windows of a picture in a .npy file, by reads; a memory map would count all it has touched."""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.pictures import arrays
from patchsim.pictures.source import Identity
from patchsim.types import Pixels

_WORTH_ROWS = 2  # whole rows are read in one piece where they have no more than so many times


class NpySource(NamedTuple):
    """The array [H, W] or [H, W, C] of a .npy file in C order; implements `PixelSource`."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    identity: Identity
    stored: np.dtype[Any]
    start: int  # where the values begin in the file

    held_bytes: int = 0
    cache: None = None
    description: str = "by windows from the .npy file"

    @classmethod
    def open(cls, stream: BinaryIO, path: str) -> NpySource:
        """Read the header.

        Raises
        ------
        InputError
            If the array is no picture, or not stored row by row.
        DamageError
            If the file is damaged.
        """
        header, dtype = arrays.read_header(stream, printable(path))
        arrays.check_complete(header, stream)
        if header.columns_first:
            raise InputError(
                f"{printable(path)} is too large to be read whole, and is stored column by column"
                " (fortran_order);\nsave it row by row with numpy.ascontiguousarray, or allow more"
                " with --max-pixels and --memory"
            )
        height, width, *channels = header.shape
        shape = height, width, channels[0] if channels else 1
        return cls(shape, dtype, Identity.of(path, stream), header.dtype, header.length)

    @property
    def chunk(self) -> tuple[int, int]:
        """A row."""
        return 1, self.shape[1]

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the pixels of a window; as for `PixelSource`."""
        height, width, channels = rows.stop - rows.start, cols.stop - cols.start, self.shape[2]
        row_bytes = self.shape[1] * channels * self.stored.itemsize
        first = cols.start * channels * self.stored.itemsize
        with self.identity.open() as stream:
            if width * _WORTH_ROWS < self.shape[1]:
                window = np.empty((height, width, channels), self.stored)
                for number, row in enumerate(window):
                    self._fill(stream, row, (rows.start + number) * row_bytes + first)
            else:
                full_rows = np.empty((height, *self.shape[1:]), self.stored)
                self._fill(stream, full_rows, rows.start * row_bytes)
                window = full_rows[:, cols]
        return np.ascontiguousarray(arrays.to_pixels(window, self.identity.path))

    def _fill(self, stream: BinaryIO, values: np.ndarray[Any, Any], place: int) -> None:
        """Read values that begin at a place behind the header."""
        stream.seek(self.start + place)
        content = values.reshape(-1).view(np.uint8)
        while len(content):  # one call gives at most 2 GB
            count = stream.readinto(content)  # type: ignore[attr-defined] # files have it
            if not count:
                raise InputError(f"{printable(self.identity.path)} ends too early")
            content = content[count:]

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel while a window is read: whole rows, the window, its pixels."""
        return self.shape[2] * ((_WORTH_ROWS + 1) * self.stored.itemsize + self.dtype.itemsize)
