"""Pixels of a GeoTIFF that have the value of no data (GDAL's tag GDAL_NODATA) do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.pictures import tiff, tiff_directory
from patchsim.pictures.limits import Decoded
from patchsim.pictures.windowed import Windowed
from patchsim.types import Pixels

GDAL_NODATA = 42113
_AS_STORED = (1, 2)  # colours whose values a reader does not change: grey from black, RGB
_WHOLE_BITS = (8, 16, 32, 64)


class NoData(NamedTuple):
    """The value of no data of a picture.

    Attributes
    ----------
    value : float
        As it is stored.
    shift : int
        What `arrays.to_pixels` adds to stored values.
    name : str
        The picture's.
    """

    value: float
    shift: int
    name: str

    def is_empty(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Return where all channels of pixels [h, w, C] have the value: GDAL's mask."""
        if np.isnan(self.value):
            return np.asarray(np.isnan(pixels).all(axis=2))
        with np.errstate(over="ignore"):  # no float32 is equal to a value beyond its range
            sought = np.asarray(self.value + self.shift, np.result_type(pixels.dtype, np.float32))
        return np.asarray((pixels == sought).all(axis=2))

    def notice(self, count: int) -> str:
        """Return the notice of so many pixels of no data."""
        return (
            f"{self.name} has {count:,} pixels of no data (GDAL_NODATA {self.value:g}), which do"
            " not count"
        )


def found(
    text: object, *, bits: int, colors: int, shift: int, name: str
) -> tuple[NoData | None, tuple[str, ...]]:
    """Return the value of no data of a tag's text, and notices.

    Parameters
    ----------
    text : object
        The tag's value, None where there is none.
    bits, colors : int
        The tags BitsPerSample and PhotometricInterpretation.
    shift : int
    name : str
    """
    try:
        value = float(text.strip(" \0") if isinstance(text, str) else "")
    except ValueError:
        return None, ()
    if bits not in _WHOLE_BITS or colors not in _AS_STORED:
        told = f"{name} has a value of no data, {value:g}, which is not applied to its colours"
        return None, (told,)
    return NoData(value, shift, name), ()


def hidden(decoded: Decoded, stream: BinaryIO, name: str) -> Decoded:
    """Return the picture of a TIFF, transparent where all channels have the value of no data.

    These pixels get the lowest of the other values, so that a range of values is that of the data.
    A notice says how many they are.
    """
    text, bits, colors = _tags(stream, name)
    none, notices = found(text, bits=bits, colors=colors, shift=decoded.shift, name=name)
    if none is None:
        return decoded._replace(notices=(*decoded.notices, *notices))
    pixels = decoded.pixels
    is_empty = none.is_empty(pixels)
    count = int(is_empty.sum())
    if not count:
        return decoded
    if count < is_empty.size:
        pixels = pixels.copy()
        pixels[is_empty] = pixels[~is_empty].min()
    opacity = np.uint8(255) if decoded.alpha is None else decoded.alpha
    return decoded._replace(
        pixels=pixels,
        alpha=np.where(is_empty, np.uint8(0), opacity),
        notices=(*decoded.notices, none.notice(count)),
    )


def _tags(stream: BinaryIO, name: str) -> tuple[object, int, int]:
    """Return the value of no data, bits and colours of the page of a TIFF that is read."""
    page = tiff_directory.find_page(stream)
    if page is None:  # tifffile read it, as a BigTIFF of a big-endian machine
        stream.seek(0)
        with tiff.library(name, "a TIFF").TiffFile(stream) as file:
            full, _ = tiff.first_full_page(file, name)
            return full.tags.valueof(GDAL_NODATA), full.bitspersample, full.photometric
    return (
        page.tags.get(GDAL_NODATA),
        tiff_directory.whole_number(page.tags, tiff_directory.BITS_PER_SAMPLE, 1),
        tiff_directory.whole_number(page.tags, tiff_directory.PHOTOMETRIC, 0),
    )


def hidden_by_windows(
    none: NoData,
    samples: Windowed,
    colors: Callable[[Pixels], Pixels],
    levels: Callable[[Pixels], NDArray[np.uint8]] | None,
) -> tuple[Callable[[Pixels], Pixels], Callable[[Pixels], NDArray[np.uint8]] | None, str | None]:
    """Do as `hidden` does for a picture that is read by windows, after reading it once.

    Parameters
    ----------
    none : NoData
    samples : Windowed
        What the file has.
    colors : (samples [h, w, S]) -> pixels [h, w, C]
        The pixels of a window.
    levels : (samples [h, w, S]) -> array [h, w], optional
        The alpha of a window, 0 to 255, where the picture has one.

    Returns
    -------
    colors, levels : callable
        These functions with pixels of no data hidden.
    notice : str or None
        None if there is no such pixel.
    """
    count, lowest = 0, []
    for pixels in samples.converted(colors).bands():
        is_empty = none.is_empty(pixels)
        count += int(is_empty.sum())
        if not is_empty.all():
            lowest.append(pixels[~is_empty].min())
    if not count:
        return colors, levels, None

    def filled(window: Pixels) -> Pixels:
        pixels = colors(window)
        is_empty = none.is_empty(pixels)[..., None]
        return np.where(is_empty, np.min(lowest), pixels) if lowest else pixels

    def opacity(window: Pixels) -> NDArray[np.uint8]:
        others = np.uint8(255) if levels is None else levels(window)
        return np.where(none.is_empty(colors(window)), np.uint8(0), others)

    return filled, opacity, none.notice(count)
