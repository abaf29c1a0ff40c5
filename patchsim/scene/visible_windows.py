"""How much the pixels of an image that is read by windows count: its alpha, a mask, boxes, NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.geometry.area import Area, Region
from patchsim.metrics import Visibility
from patchsim.options import Options
from patchsim.pictures import plane, windowed
from patchsim.pictures.plane import Plane
from patchsim.pictures.reader import Picture
from patchsim.pictures.windowed import Windowed
from patchsim.scene import masks
from patchsim.types import Pixels, Weights

_LEVELS = 1 << 16  # of alpha times a mask
_FULL = 255
_LEVEL_BYTES = 12  # of a pixel, while its level is made of alpha, mask and boxes


class _Levels(NamedTuple):
    """The level of each pixel on any scale.

    Attributes
    ----------
    alpha : array or Plane [H, W], or None
    weights : uint8 array [H, W] or None
        Of the mask.
    boxes : sequence of (x, y, width, height)
        Their pixels have the level 0, and so have NaN of the image, if it is given.
    image : Windowed or None
    """

    alpha: NDArray[np.uint8] | None
    weights: Weights | None
    boxes: Sequence[Region]
    image: Windowed | None

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the levels of a window, uint16 [h, w, 1]."""
        size = rows.stop - rows.start, cols.stop - cols.start
        alone = self.alpha is None and self.weights is None
        levels = np.full(size, _FULL if alone else 1, np.uint16)
        for factor in (self.alpha, self.weights):
            if factor is not None:
                levels *= factor[rows, cols]
        for x, y, width, height in self.boxes:
            top, left = max(0, y - rows.start), max(0, x - cols.start)
            levels[top : max(0, y + height - rows.start), left : max(0, x + width - cols.start)] = 0
        if self.image is not None:
            levels[np.isnan(self.image[rows, cols]).any(axis=2)] = 0
        return levels[..., None]


def in_image(
    image: Picture, picture: Windowed, mask: Picture | None, area: Area, options: Options
) -> tuple[Picture, Visibility | None]:
    """Return an image and the visibility of an area, as `uncounted.in_image` does.

    All of the image's levels are read once, if there are any.
    """
    has_nan = options.is_nan_ignored and image.pixels.dtype.kind == "f"
    alpha = None if options.ignore_alpha else image.alpha
    ones = _ones(area) if area.is_border_hidden else None
    weights = None if mask is None else _weights(mask, image)
    if alpha is None and weights is None and not options.ignore and not has_nan:
        return image, ones
    made = _Levels(alpha, weights, options.ignore, picture if has_nan else None)
    shape, held = (*picture.shape[:2], 1), 0 if weights is None else weights.nbytes
    raw = Windowed(
        shape, np.dtype(np.uint16), made.read, held, picture.pixel_bytes + _LEVEL_BYTES, ""
    )
    if has_nan:
        image = image._replace(pixels=_without_nan(picture))
    counts = _counts(raw)
    inside = counts if area.region is None else _counts(_part(raw, area))
    if not inside[1:].any():
        is_alpha = mask is None and not options.ignore and not has_nan
        raise InputError(_nothing_counts(area, is_alpha=is_alpha))
    values = np.flatnonzero(counts)
    # The full level is the whole image's, so that it does not depend on the region.
    scaled = masks.to_weights(values.astype(np.uint16))
    if scaled is None:
        return image, ones
    table = np.zeros(_LEVELS, np.uint8)
    table[values] = scaled
    full = int(scaled.max())
    if (table[np.flatnonzero(inside)] == full).all():
        return image, ones
    levels = _part(raw, area).converted(lambda window: table[window])
    return image, Visibility(Plane(levels).as_array(), full)


def _weights(mask: Picture, image: Picture) -> Weights | None:
    """Return the weights of an image's pixels, as `masks.image_weights`; a mask may be windowed."""
    picture = windowed.of(mask.pixels)
    if picture is None:
        return masks.image_weights(mask, image)
    masks.check_size(mask, image, "image")
    if picture.dtype.kind != "u" or mask.shift:
        raise InputError(
            f"{titled('image mask', mask.name)} is read by windows, because it is too large to be"
            " read whole; give one of 8 or 16 bits"
        )
    counts = np.zeros(_LEVELS, np.int64)
    for band in picture.bands():
        masks.check_grey(mask, band)
        counts += np.bincount(band[..., 0].reshape(-1), minlength=_LEVELS)
    if not counts[1:].any():
        raise masks.black_everywhere(mask)
    values = np.flatnonzero(counts)
    scaled = masks.to_weights(values.astype(picture.dtype))
    if scaled is None:
        return None
    table = np.zeros(_LEVELS, np.uint8)
    table[values] = scaled
    return Plane(picture.converted(lambda window: table[window[..., :1]])).as_array()


def filled(pixels: Windowed, visible: Visibility) -> Windowed:
    """Return pixels with the invisible ones filled in each window, as `masks.fill_hidden`."""
    levels = visible.levels
    row, col = _first_visible(levels)
    color = pixels[row : row + 1, col : col + 1][0, 0]

    def read(rows: slice, cols: slice) -> Pixels:
        window, seen = pixels.read(rows, cols), levels[rows, cols]
        if not seen.any():
            return np.broadcast_to(color, window.shape).copy()
        return masks.fill_hidden(window, Visibility(seen, visible.full_level))

    levels_plane = plane.of(levels)
    more = 0 if levels_plane is None else levels_plane.picture.pixel_bytes
    value_bytes = pixels.itemsize * pixels.shape[2]
    return replace(pixels, read=read, pixel_bytes=pixels.pixel_bytes + more + value_bytes)


def _ones(area: Area) -> Visibility:
    """Return the visibility of an area of which all is visible."""

    def read(rows: slice, cols: slice) -> Pixels:
        return np.ones((rows.stop - rows.start, cols.stop - cols.start, 1), np.uint8)

    levels = Windowed((*area.size, 1), np.dtype(np.uint8), read, 0, 1, "")
    return Visibility(Plane(levels).as_array(), 1)


def _part(picture: Windowed, area: Area) -> Windowed:
    return picture.part(*area.corner, *area.size)


def _counts(levels: Windowed) -> NDArray[np.int64]:
    """Return how many pixels have each level; all are read."""
    counts = np.zeros(_LEVELS, np.int64)
    for band in levels.bands():
        counts += np.bincount(band.reshape(-1), minlength=_LEVELS)
    return counts


def _first_visible(levels: Weights) -> tuple[int, int]:
    """Return the row and column of the first pixel that is visible; one is."""
    step = max(1, (1 << 22) // levels.shape[1])
    for top in range(0, len(levels), step):
        band = levels[top : top + step]
        if band.any():
            row, col = np.unravel_index(int((band > 0).argmax()), band.shape)
            return top + int(row), int(col)
    raise AssertionError("no pixel is visible")


def _nothing_counts(area: Area, *, is_alpha: bool) -> str:
    if is_alpha:
        return (
            f"{area.name} is transparent everywhere, so nothing of it is visible;"
            " use --ignore-alpha"
        )
    return (
        f"no pixel of {area.name} counts: its alpha, the image mask, the boxes of --ignore and"
        " NaN leave none"
    )


def _without_nan(picture: Windowed) -> Pixels:
    """Return pixels with the lowest value in place of NaN."""
    lowest = math.inf
    for band in picture.bands():
        lowest = min(lowest, float(np.fmin.reduce(band, axis=None, initial=math.inf)))
    fill = picture.dtype.type(lowest)
    return picture.converted(lambda window: np.where(np.isnan(window), fill, window)).as_pixels()
