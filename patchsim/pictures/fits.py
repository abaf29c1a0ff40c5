"""How FITS pictures are read, by astropy: the first image, BSCALE and BZERO applied."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.machine.quiet import without_warnings
from patchsim.pictures import arrays, rescaling
from patchsim.pictures.limits import Decoded, Limits, silence_logger

PACKAGE = "astropy"  # the extra `fits`

_VALUE_BYTES = 8 + 8 + 8  # peak bytes a value: as stored, scaled, and as pixels
_DEFLATED = 1032  # the most bytes that one byte of deflate stands for
_DESCRIPTOR = 8  # bytes of the row of a table that a compressed tile has
_UNCHECKED = ("HCOMPRESS_1", "PLIO_1")  # compressions whose tiles state their size
_MOST_HDUS = 1000  # that are looked at for an image


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first image of a FITS file, of a cube its first plane.

    The first row of the file is at the bottom, as viewers of FITS draw it. Values are
    ``BZERO + BSCALE * stored`` (FITS Standard 4.0, 4.4.2.5), unsigned integers where these are
    meant, and NaN where integers are BLANK.

    Raises
    ------
    InputError
        If there is no image, it is too large, or the package is not installed.
    Exception
        If the file is damaged.
    """
    try:
        from astropy.io import fits
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is a FITS file; the package that reads it is not installed:\n"
            f"pip install {PACKAGE}, or save its data as .npy"
        ) from None
    silence_logger("astropy")
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(size, is_all=False)
    stream.seek(0)
    with without_warnings():
        file = fits.open(stream, memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True)
        try:
            number, hdu = _first_image(file, limits.name)
            *planes, height, width = hdu.shape
            limits.check_held(width, height, _least_bytes(hdu))
            limits.check_pixels(width, height)
            needed = math.prod(hdu.shape) * _VALUE_BYTES
            if _is_deflated(hdu):
                needed += _DEFLATED * size
            limits.check_memory(needed + size)
            if getattr(hdu, "compression_type", "") in _UNCHECKED:
                _check_tiles(fits, stream, number, hdu)
            data, header = np.asarray(hdu.data), hdu.header
            notices = _notices(limits.name, number, planes, _has_unit(file, number + 1))
        finally:
            file.close(closed=False)  # the stream is the caller's
    for _ in planes:
        data = data[0]
    values = _scaled(data, header)
    pixels = arrays.to_pixels(values[::-1], limits.name, copy=True)
    return Decoded(pixels, notices=notices, shift=arrays.shift_of(values.dtype), profile=None)


def _scaled(stored: NDArray[Any], header: Any) -> NDArray[Any]:
    """Apply BSCALE, BZERO and BLANK to the stored values [H, W]."""
    scale, zero, blank = (header.get(name) for name in ("BSCALE", "BZERO", "BLANK"))
    scale, zero = (1.0 if scale is None else float(scale)), float(zero or 0)
    is_integer = stored.dtype.kind in "iu"
    values = stored
    if (scale, zero) != (1, 0):
        limits = np.iinfo(stored.dtype) if is_integer else None
        span = (limits.min, limits.max) if limits else (0, 0)
        values = rescaling.rescaled(stored, scale, zero, span)
    is_blank = stored == blank if is_integer and isinstance(blank, int) else None
    if is_blank is None or not is_blank.any():
        return values
    blanked = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    blanked[is_blank] = np.nan
    return blanked


def _least_bytes(hdu: Any) -> int:
    """Return how many bytes a file with this image has at least."""
    if not hasattr(hdu, "compression_type"):
        return int(math.prod(hdu.shape)) * abs(int(hdu.header["BITPIX"])) // 8
    sides = zip(hdu.shape, getattr(hdu, "tile_shape", hdu.shape), strict=True)
    return _DESCRIPTOR * int(math.prod(-(-side // max(1, tile)) for side, tile in sides))


def _check_tiles(fits: Any, stream: BinaryIO, number: int, hdu: Any) -> None:
    """Check what compressed tiles state of themselves, which astropy's C believes.

    Raises
    ------
    DamageError
        If a tile of HCOMPRESS states another size (R. White's format, as in CFITSIO), or one of
        PLIO more words than it has.
    """
    most = math.prod(hdu.tile_shape)
    stream.seek(0)
    tables = fits.open(stream, memmap=False, disable_image_compression=True)
    try:
        tiles = tables[number].data.field("COMPRESSED_DATA")
        for tile in map(np.asarray, tiles):
            if not tile.size:  # of floats that are compressed in another way
                continue
            if hdu.compression_type == "HCOMPRESS_1":
                height, width = np.frombuffer(tile[:10].tobytes().ljust(10, b"\0"), ">i4", 2, 2)
                is_sound = min(height, width) > 0 and int(height) * int(width) <= most
            else:
                words = [*tile[:5].astype(int), 0, 0, 0, 0, 0]
                stated = words[2] if words[2] > 0 else (words[4] << 15) + words[3]
                is_sound = stated <= tile.size
            if not is_sound:
                raise DamageError("a compressed tile states another size")
    finally:
        tables.close(closed=False)  # the stream is the caller's


def _is_deflated(hdu: Any) -> bool:
    return str(getattr(hdu, "compression_type", "")).startswith("GZIP")


def _first_image(file: Any, name: str) -> tuple[int, Any]:
    """Return the number and the HDU of the first image of two axes or more."""
    number = 0
    while number < _MOST_HDUS and _has_unit(file, number):
        hdu = file[number]
        if getattr(hdu, "is_image", False) and len(hdu.shape) >= 2 and math.prod(hdu.shape):
            return number, hdu
        number += 1
    raise InputError(f"{name} is a FITS file without a picture; give one with an image of two axes")


def _has_unit(file: Any, number: int) -> bool:
    try:
        file[number]
    except IndexError:
        return False
    return True


def _notices(name: str, number: int, planes: list[int], has_more: bool) -> tuple[str, ...]:
    count = math.prod(planes)
    notices: tuple[str, ...] = ()
    if count > 1:
        notices += (f"{name} has {count} planes; the first is used",)
    if number and has_more:
        notices += (f"{name} has several parts; the image in extension {number} is used",)
    return notices
