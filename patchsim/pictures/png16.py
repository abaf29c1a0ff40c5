"""Colour of 16 bits in PNG and PNM files, of which Pillow keeps 8."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from patchsim.errors import InputError
from patchsim.pictures import tiff
from patchsim.pictures.limits import Decoded, Limits, opacity

_ROWS = 64  # converted at a time

# Decoded with alpha, without it, and the alpha while it is turned into 8 bits.
_PNG_BYTES = 8 + 6 + 17
_PNG_SIGNATURE = 8  # bytes
# What says which colours the pixels have (gAMA, iCCP, ...) changes no value and is left out: the
# codec would complain of it on stderr.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def png(stream: BinaryIO, width: int, height: int, limits: Limits) -> Decoded:
    """Grey with alpha, RGB or RGBA of 16 bits, decoded by libpng.

    Parameters
    ----------
    stream : binary file
    width, height : int
    limits : Limits

    Raises
    ------
    InputError
        If it is too large, or the packages that decode it are not installed.
    Exception
        If it is damaged.
    """
    try:
        import imagecodecs
    except ImportError:
        raise InputError(
            f"{limits.name} is colour (or grey with alpha) of 16 bits a channel, of which Pillow"
            f" keeps 8; a package that reads it is not installed:\npip install {tiff.PACKAGES}"
        ) from None
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(width * height * _PNG_BYTES + 2 * size)
    stream.seek(0)
    content = b"".join(_png_chunks(stream, size))
    pixels = imagecodecs.png_decode(content)  # [H, W, C]
    if pixels.shape[:2] != (height, width) or pixels.dtype != np.uint16:
        raise ValueError(f"it decodes to {list(pixels.shape)} of {pixels.dtype}")
    if pixels.shape[2] == 3:
        return Decoded(pixels)
    alpha = opacity(pixels[..., -1], np.iinfo(np.uint16).max)
    return Decoded(np.ascontiguousarray(pixels[..., :-1]), alpha)


def _png_chunks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """The signature and the chunks that hold pixels."""
    yield stream.read(_PNG_SIGNATURE)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _PNG_CHUNKS:
            yield head + stream.read(min(length + 4, size))
        else:
            stream.seek(length + 4, os.SEEK_CUR)


def ppm(
    stream: BinaryIO, width: int, height: int, *, offset: int, most: int, limits: Limits
) -> Decoded:
    """RGB of a binary PPM whose largest value is over 255, scaled to 65535 as Pillow scales grey.

    Parameters
    ----------
    stream : binary file
    width, height : int
    offset : int
        Where the pixels begin.
    most : int
        The value of white, 256 to 65535.
    limits : Limits

    Raises
    ------
    InputError
        If it is too large.
    ValueError
        If it is cut short.
    """
    limits.check_memory(width * height * 6 + min(height, _ROWS) * width * 30)
    scaled = np.minimum(np.rint(np.arange(65536) / most * 65535), 65535).astype(np.uint16)
    pixels = np.empty((height, width, 3), np.uint16)
    stream.seek(offset)
    for top in range(0, height, _ROWS):
        strip = pixels[top : top + _ROWS]
        content = stream.read(strip.nbytes)
        if len(content) < strip.nbytes:
            raise ValueError(f"it ends in row {top + len(content) // (width * 6)} of {height}")
        strip[...] = scaled[np.frombuffer(content, ">u2").reshape(strip.shape)]
    return Decoded(pixels)
