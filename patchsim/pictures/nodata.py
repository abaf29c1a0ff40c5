"""Pixels of a GeoTIFF that have the value of no data (GDAL's tag GDAL_NODATA) do not count."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

import numpy as np

from patchsim.pictures import tiff_directory
from patchsim.pictures.limits import Decoded

GDAL_NODATA = 42113
_AS_STORED = (1, 2)  # colours whose values a reader does not change: grey from black, RGB
_WHOLE_BITS = (8, 16, 32, 64)


def hidden(decoded: Decoded, stream: BinaryIO, name: str) -> Decoded:
    """Return the picture of a TIFF, transparent where all channels have the value of no data.

    That is the mask of a data set in GDAL. These pixels get the lowest of the other values, so that
    a range of values is that of the data. A notice says how many they are.
    """
    page = tiff_directory.find_page(stream)
    text = None if page is None else page.tags.get(GDAL_NODATA)
    if page is None or text is None:
        return decoded
    number = text if isinstance(text, str) else ""
    try:
        value = float(number.strip(" \0"))
    except ValueError:
        return decoded
    bits = tiff_directory.whole_number(page.tags, tiff_directory.BITS_PER_SAMPLE, 1)
    colors = tiff_directory.whole_number(page.tags, tiff_directory.PHOTOMETRIC, 0)
    if bits not in _WHOLE_BITS or colors not in _AS_STORED:
        told = f"{name} has a value of no data, {value:g}, which is not applied to its colours"
        return replace(decoded, notices=(*decoded.notices, told))
    pixels = decoded.pixels
    if np.isnan(value):
        is_empty = np.isnan(pixels).all(axis=2)
    else:
        with np.errstate(over="ignore"):  # no float32 is equal to a value beyond its range
            sought = np.asarray(value + decoded.shift, np.result_type(pixels.dtype, np.float32))
        is_empty = (pixels == sought).all(axis=2)
    count = int(is_empty.sum())
    if not count > 0:
        return decoded
    if count < is_empty.size:
        pixels = pixels.copy()
        pixels[is_empty] = pixels[~is_empty].min()
    opacity = np.uint8(255) if decoded.alpha is None else decoded.alpha
    told = f"{name} has {count:,} pixels of no data (GDAL_NODATA {value:g}), which do not count"
    return replace(
        decoded,
        pixels=pixels,
        alpha=np.where(is_empty, np.uint8(0), opacity),
        notices=(*decoded.notices, told),
    )
