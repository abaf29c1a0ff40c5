"""The conversions of the scene, window by window, for pictures that are read by windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.area import Area
from patchsim.metrics import Visibility
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import masks, value_range
from patchsim.types import Pixels

_SMALL = 8  # a region of so many times less than the memory is read whole


def crop(pixels: Pixels, area: Area, memory: int) -> Pixels:
    """Return the area's pixels, as `Area.crop`; a small region of a large picture in memory."""
    picture = windowed.of(pixels)
    if picture is None or area.region is None:
        return area.crop(pixels)
    picture_region = picture.part(*area.corner, *area.size)
    if math.prod(picture_region.shape) * picture_region.itemsize * _SMALL <= memory:
        height, width, _ = picture_region.shape
        pixels = picture_region[:height, :width]
        if picture.cache is not None:
            picture.cache.clear()
        return pixels
    return picture_region.as_pixels()


def without_hidden(pixels: Pixels, visible: Visibility | None) -> Pixels:
    """Return an area's pixels with the invisible ones filled, as `masks.fill_hidden`.

    An area that is read by windows is filled window by window, by which no score changes.
    """
    picture = windowed.of(pixels)
    if picture is not None and visible is not None:
        from patchsim.scene import visible_windows  # few images are read so

        return visible_windows.filled(picture, visible).as_pixels()
    return masks.fill_hidden(pixels, visible)


def in_memory(visible: Visibility | None, pixels: Pixels) -> Visibility | None:
    """Return the visibility of an area in memory if its pixels are."""
    if visible is None or windowed.of(pixels) is not None:
        return visible
    from patchsim.pictures import plane  # where something is hidden

    if plane.of(visible.levels) is None:
        return visible
    return Visibility(visible.levels[:], visible.full_level)


def extent(image: Picture, *, is_needed: bool) -> tuple[float, float]:
    """Return `value_range.extent`; NaN of an image by windows where that is not needed.

    Then the values are checked when they are read.
    """
    if windowed.of(image.pixels) is not None and not is_needed:
        return math.nan, math.nan
    return value_range.extent(image)


def checked(
    image: Picture, data_range: tuple[float, float] | None, metric: str, ends: tuple[float, float]
) -> Pixels:
    """Return an image's pixels once `value_range.check_values` has passed them, or will.

    Each window of a picture that is read by windows is checked when it is read; what no window
    covers is not.
    """
    picture = windowed.of(image.pixels)
    if picture is None:
        value_range.check_values(image, data_range, metric, ends)
        return image.pixels
    about = image._replace(pixels=np.zeros((0, 0, 1), np.uint8))

    def check(window: Pixels, corner: tuple[int, int]) -> None:
        read = about._replace(pixels=window)
        value_range.check_values(read, data_range, metric, corner=corner)

    return picture.checked(check).as_pixels()


def padded(
    pixels: Pixels, area: Area, sizes: Sequence[tuple[int, int]], zero: NDArray[Any]
) -> list[Pixels]:
    """Return the pixels that windows of each size cover, as `Area.padded_views`."""
    picture = windowed.of(pixels)
    mode = area.padding_mode
    if picture is None or mode is None:
        return area.padded_views(pixels, sizes, zero)
    return [picture.padded(*area.overhang(size), mode, zero).as_pixels() for size in sizes]
