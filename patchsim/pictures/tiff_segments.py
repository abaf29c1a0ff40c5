"""The tiles or strips of a page of a TIFF, decoded one by one."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from patchsim.errors import DamageError, printable
from patchsim.pictures import jpeg, streams, tiff, tiff_colors, tiff_directory, tiff_jpeg
from patchsim.pictures.limits import Limits
from patchsim.types import Pixels


class TiffSegments:
    """The segments of a page; several threads may read them at once.

    Parameters
    ----------
    page : tifffile.TiffPage
    path : str
        That of the file, for messages.
    grid : (rows, columns)
        The number of segments of each plane.
    """

    def __init__(self, page: Any, path: str, grid: tuple[int, int]) -> None:
        _, _, height, width, _ = page.shaped
        self._page, self._grid, self._shape = page, grid, (height, width)
        self._size = tiff_colors.segment_size(page)
        self._decode, self._tables = page.decode, page.jpegtables
        self._limits = Limits(printable(path), 0, None)

    def read(self, stream: BinaryIO, number: int) -> Pixels | None:
        """Return the samples [h, w, S] of a segment, or None if it is left out.

        Raises
        ------
        DamageError
            If it is cut short, or cannot be decoded.
        """
        place, length = self._page.dataoffsets[number], self._page.databytecounts[number]
        if not length:
            return None
        stream.seek(place)
        data = stream.read(length)
        (tall, wide), (rows, cols) = self._size, self._grid
        at = f"its tile or strip {number} at x={number % cols * wide}"
        at += f", y={number // cols % rows * tall}"
        if len(data) < length:
            raise DamageError(f"{at} ends too early")
        if self._page.compression == tiff_directory.JPEG:
            jpeg.check_scans(BytesIO(data), self._limits, 0, length)
        tiff.check_coded_size(self._page, data)
        with streams.naming_part(at):
            values, _, shape = self._decode(data, number, jpegtables=self._tables)
        if values is None:
            return None
        samples: Pixels = values[0, : shape[1], : shape[2]]
        if self._is_filled_up(number, samples) and tiff_jpeg.is_truncated(
            data, self._tables, tall * wide
        ):
            raise DamageError(f"{at} ends too early")
        return samples

    def _is_filled_up(self, number: int, samples: Pixels) -> bool:
        """Return whether the last visible pixel of a JPEG has the value of those that lack data."""
        if self._page.compression != tiff_directory.JPEG or samples.dtype != np.uint8:
            return False
        rows, cols = self._grid
        place = divmod(number % (rows * cols), cols)
        last = (
            min(size, length - index * size) - 1
            for size, length, index in zip(self._size, self._shape, place, strict=True)
        )
        return bool(jpeg.may_be_filled(samples[tuple(last)]))
