"""Pictures that a person looks at: opened in reduced size, within the memory that there is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.pictures import (
    frames,
    large,
    opening,
    path_kinds,
    pillow_reader,
    reader,
    signatures,
    streams,
    windowed,
)
from patchsim.pictures.limits import Limits, TooLargeError
from patchsim.pictures.opening import Opening
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source

_BAND_BYTES = 1 << 23  # of rows that are read together
_COEFFICIENT_BYTES = 2  # of each value of a progressive JPEG, all of which are kept


def open_reduced(source: Source, side: int, way: Opening, *, name: str) -> Pixels:
    """Open a picture, reduced by a whole factor until its longer side is less than twice `side`.

    A JPEG is decoded in reduced size. Other pictures that are too large to be decoded whole are
    read by windows, from the smallest level that is large enough where a file has several.

    Parameters
    ----------
    source : path, PIL image or array
    side : int
        Pixels.
    way : Opening
    name : str
        The picture's name if it is not a file.

    Returns
    -------
    array [h, w, C]
        Means of squares of pixels: 1 channel or 3. A picture that is not reduced keeps its type.

    Raises
    ------
    InputError
        If it cannot be read, or takes more memory than there is.
    """
    if isinstance(source, str | os.PathLike):
        _check_stays(source)
        if way.frame is None and not way.level:
            decoded = _draft(source, side, way)
            if decoded is not None:
                return _means(decoded, side)
    try:
        pixels = _whole(source, way, name)
    except TooLargeError:
        by_windows = _by_windows(source, side, way)
        if by_windows is None:
            raise
        pixels = by_windows
    return _means(pixels, side)


def _check_stays(source: str | os.PathLike[str]) -> None:
    """Check that a path is not that of a pipe, which would be waited for."""
    path = Path(source)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{printable(os.fspath(source))} is a pipe, which is read once")


def _draft(source: str | os.PathLike[str], side: int, way: Opening) -> Pixels | None:
    """Decode a JPEG in an eighth, a quarter or half of its size; None of other formats."""
    if path_kinds.is_zarr(source) or path_kinds.is_slide(source):
        return None
    label, file = reader.checked_path(source)
    limits = Limits(printable(label), way.max_pixels, way.memory)
    with streams.naming_errors(label), streams.open_seekable(label, way.memory) as stream:
        if stream.read(len(signatures.JPEG)) != signatures.JPEG:
            return None
        from patchsim.pictures import jpeg  # as its readers do

        jpeg.check_scans(stream, limits)
        image, counted = pillow_reader.open_image(stream, limits)
        with image:
            width, height = image.size
            longer = max(width, height)
            image.draft(None, (max(1, width * side // longer), max(1, height * side // longer)))
            if "progressive" in image.info or "progression" in image.info:
                values = width * height * len(image.getbands())
                limits.check_memory(values * _COEFFICIENT_BYTES)
            decoded = pillow_reader.decode(image, limits, counted)
    return reader.upright(decoded, label, file, ()).pixels


def _whole(source: Source, way: Opening, name: str) -> Pixels:
    if way.level:
        return large.open_level(
            source,
            way.level,
            max_pixels=way.max_pixels,
            memory=_memory(way),
            alpha=way.alpha,
            ignore_alpha=True,
        ).pixels
    limited: dict[str, Any] = {
        "name": name, "max_pixels": way.max_pixels, "memory": way.memory, "alpha": way.alpha,
    }  # fmt: skip
    if way.frame is None:
        return opening.open_source(source, **limited).pixels
    ((_, picture),) = frames.open_frames(source, way.frame, **limited)
    return picture.pixels


def _by_windows(source: Source, side: int, way: Opening) -> Pixels | None:
    """Open a picture to be read by windows: the smallest level that is large enough."""
    given: dict[str, Any] = {
        "memory": _memory(way), "alpha": way.alpha, "ignore_alpha": True,
    }  # fmt: skip
    best = None
    for level in itertools.count(1) if way.frame is None else ():
        try:
            pixels = large.open_level(source, level, max_pixels=0, **given).pixels
        except InputError:  # there is no such level
            break
        if max(pixels.shape[:2]) < side:
            break
        best = pixels
    if best is not None:
        return best
    opened = large.open_by_windows(source, frame=way.frame, **given)
    return None if opened is None else opened.pixels


def _memory(way: Opening) -> int:
    return way.memory or 1 << 62


def _means(pixels: Pixels, side: int) -> Pixels:
    """Return means of squares of pixels, of those channels that can be shown."""
    height, width, channels = pixels.shape
    factor = max(1, max(height, width) // side)
    channels_shown = slice(3 if channels >= 3 else 1)
    if factor == 1:
        return pixels[:, :][..., channels_shown]
    starts = np.arange(0, width, factor)
    widths = np.minimum(width - starts, factor)[:, None]
    by_windows = windowed.of(pixels)
    pixel_bytes = channels * pixels.itemsize + (by_windows.pixel_bytes if by_windows else 0)
    step = max(1, _BAND_BYTES // (width * (pixel_bytes + 8)))
    means: Pixels = np.empty((-(-height // factor), len(starts), channels_shown.stop), pixels.dtype)
    for row, top in enumerate(range(0, height, factor)):
        bottom = min(height, top + factor)
        bands = (
            pixels[y : min(bottom, y + step), :][..., channels_shown]
            for y in range(top, bottom, step)
        )
        if pixels.dtype.kind == "f":
            means[row] = _mean_of_numbers(bands, starts)
        else:
            sums = sum(band.sum(0, dtype=np.uint32) for band in bands)
            means[row] = np.rint(
                np.add.reduceat(sums, starts, axis=0, dtype=np.float64) / (widths * (bottom - top))
            )
    return means


def _mean_of_numbers(bands: Iterable[Pixels], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the means of all rows of some bands, and of columns from each start to the next.

    Values that are no numbers do not count; the mean of these alone is NaN.
    """
    total: Any = 0.0
    count: Any = 0
    for band in bands:
        is_number = np.isfinite(band)
        sums = np.where(is_number, band, 0).sum(0, dtype=np.float64)
        total = total + np.add.reduceat(sums, starts, axis=0)
        count = count + np.add.reduceat(is_number.sum(0), starts, axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)
