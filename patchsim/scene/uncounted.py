"""Pixels that do not count beside those of the alpha: masks of the image, boxes, and NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.geometry.area import Area, Region
from patchsim.metrics import Visibility, divided_by_gcd
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import masks
from patchsim.types import Weights


def in_image(
    image: Picture, mask: Picture | None, area: Area, options: Options
) -> tuple[Picture, Visibility | None]:
    """Return the image, without NaN that are invisible, and the visibility of an area.

    Parameters
    ----------
    image : Picture
    mask : Picture, optional
        White pixels count fully, black pixels not at all, grey ones in proportion. It is a factor
        of the image's alpha.
    area : Area
    options : Options
        Its `ignore_alpha`, `ignore` and `nan` are used.

    Returns
    -------
    image : Picture
        Invisible NaN have its lowest value.
    visible : Visibility or None
        As of `masks.visibility`.

    Raises
    ------
    InputError
        If the mask has another size than the image or is in colour, or if nothing of the area
        counts.
    """
    picture = windowed.of(image.pixels)
    if picture is not None:
        from patchsim.scene import visible_windows  # few images are read so

        return visible_windows.in_image(image, picture, mask, area, options)
    alpha = None if options.ignore_alpha else image.alpha
    if mask is None and not options.ignore and not options.is_nan_ignored:
        return image, masks.visibility(alpha, area)
    if mask is not None:  # the image is in memory, and so the mask may be
        mask = mask._replace(pixels=np.concatenate([*windowed.bands(mask.pixels)]))
    missing = _missing(image, options)
    if mask is None and not options.ignore and missing is None:
        return image, masks.visibility(alpha, area)
    levels = _levels(alpha, mask, image)
    levels = np.full(image.pixels.shape[:2], 255, np.uint8) if levels is None else levels.copy()
    for x, y, width, height in options.ignore:
        levels[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = 0
    if missing is not None:
        levels[missing] = 0
        image = image._replace(pixels=_without_nan(image))
    if not area.crop(levels).any():
        raise InputError(
            f"no pixel of {area.name} counts: its alpha, the image mask, the boxes of --ignore and"
            " NaN leave none"
        )
    return image, masks.visibility(levels, area)


def in_kernel(
    kernel: Picture, weights: Weights | None, options: Options
) -> tuple[Picture, Weights | None]:
    """Return a kernel and the weights of its pixels, 0 where it has NaN that do not count.

    Raises
    ------
    InputError
        If no pixel is left.
    """
    missing = _missing(kernel, options)
    if missing is None:
        return kernel, weights
    kept = np.where(missing, np.uint8(0), np.uint8(1) if weights is None else weights)
    if not kept.any():
        raise InputError(f"{titled('kernel', kernel.name)} has NaN wherever it counts")
    visible = Visibility((kept > 0).astype(np.uint8), 1)
    return kernel._replace(pixels=masks.fill_hidden(kernel.pixels, visible)), divided_by_gcd(kept)


def notices(boxes: Sequence[Region], size: tuple[int, int], name: str) -> list[str]:
    """Return a notice for each box of `ignore` that has no pixel of an image of (height, width)."""
    return [
        f"{titled('image', name)} has no pixel in the box {','.join(map(str, box))} that is ignored"
        for box in boxes
        if min(box[0] + box[2], box[1] + box[3]) <= 0 or box[0] >= size[1] or box[1] >= size[0]
    ]


def _levels(
    alpha: NDArray[np.uint8] | None, mask: Picture | None, image: Picture
) -> NDArray[Any] | None:
    """Return alpha times mask [H, W] on any scale; None without both."""
    if mask is None:
        return alpha
    weights = masks.image_weights(mask, image)
    if weights is None:
        return alpha
    return weights if alpha is None else alpha.astype(np.uint16) * weights


def _missing(picture: Picture, options: Options) -> NDArray[np.bool_] | None:
    """Return which pixels [H, W] have a NaN that does not count, in any channel; None without."""
    if not options.is_nan_ignored or picture.pixels.dtype.kind != "f":
        return None
    missing = np.asarray(np.isnan(picture.pixels).any(axis=2))
    return missing if missing.any() else None


def _without_nan(image: Picture) -> NDArray[Any]:
    """Return the pixels of an image with its lowest value in place of NaN."""
    lowest = np.fmin.reduce(image.pixels, axis=None)
    return np.where(np.isnan(image.pixels), lowest, image.pixels)
