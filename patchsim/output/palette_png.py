"""PNG files of pictures with a palette, smooth ones in particular.

Pillow writes the pixels of such pictures without a filter, which makes smooth ones larger and takes
longer.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import putchunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _IS_PALETTE = 8, 3
_UP = 2  # the filter that replaces each pixel by its difference from the one above


def write(
    file: BinaryIO,
    size: tuple[int, int],
    palette: bytes,
    text: Mapping[str, str],
    bands: Iterable[NDArray[np.uint8]],
) -> None:
    """Write a PNG of 8 bits, band by band.

    Parameters
    ----------
    file : binary file
    size : (width, height)
    palette : bytes
        Red, green and blue of each colour, at most 256.
    text : mapping of str to str
        Keywords and values of Latin-1.
    bands : iterable of uint8 arrays [rows, width]
        Indices into the palette, from top to bottom.
    """
    file.write(_SIGNATURE)
    putchunk(file, b"IHDR", struct.pack(">IIBBBBB", *size, _BITS, _IS_PALETTE, 0, 0, 0))
    putchunk(file, b"PLTE", palette)
    for keyword, value in text.items():
        putchunk(file, b"tEXt", keyword.encode("latin-1"), b"\0", value.encode("latin-1"))
    # Differences repeat or are small. Other strategies take longer and save little.
    deflate = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    above = np.zeros(size[0], np.uint8)
    for band in bands:
        filtered = np.empty((len(band), 1 + size[0]), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(band[0], above, out=filtered[0, 1:])
        np.subtract(band[1:], band[:-1], out=filtered[1:, 1:])
        above = band[-1].copy()  # the next band may take this one's place
        compressed = deflate.compress(filtered.data)
        if compressed:
            putchunk(file, b"IDAT", compressed)
    putchunk(file, b"IDAT", deflate.flush())
    putchunk(file, b"IEND")
