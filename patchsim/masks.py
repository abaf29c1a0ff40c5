"""Which pixels of a kernel count, and how much."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, shown
from patchsim.images import Picture
from patchsim.metrics import INTEGER_RANGE, Weights

_SHADES = 255


def weights(kernel: Picture, mask: Picture | None, *, ignore_alpha: bool) -> Weights | None:
    """The weights of a kernel's pixels.

    Parameters
    ----------
    kernel : Picture
    mask : Picture, optional
        White pixels count, black ones do not, those between weigh. It replaces the kernel's alpha.
    ignore_alpha : bool
        Opaque and transparent pixels count the same.

    Returns
    -------
    uint8 array [h, w] or None
        Whole numbers without a common factor, so that 0 and 1 are all there is of a mask without
        shades; None if all pixels count the same. Masks of more than 256 shades are rounded to
        these, of which 255 is their brightest.

    Raises
    ------
    InputError
        If the mask has another size or is in colour, or no pixel counts.
    """
    if mask is not None:
        found, source = _of_mask(mask, kernel), mask.name
    elif kernel.alpha is not None and not ignore_alpha:
        found, source = kernel.alpha, kernel.name
    else:
        return None
    if not found.any():
        what = "mask" if mask is not None else "kernel"
        how = "black" if mask is not None else "transparent"
        raise InputError(
            f"{what} {shown(source)} is {how} everywhere, so no pixel of the kernel counts;"
            + (" give a mask with white pixels" if mask is not None else " use --ignore-alpha")
        )
    if found.dtype.kind == "u":
        found = reduced(found)
    if found.max() > _SHADES or found.dtype.kind == "f":
        found = reduced(np.rint(found * (_SHADES / float(found.max()))).astype(np.uint8))
    return None if found.min() == found.max() else np.ascontiguousarray(found, np.uint8)


def reduced(levels: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers, less their common factor."""
    factor = math.gcd(*np.unique(levels).tolist()) or 1
    return levels if factor == 1 else levels // levels.dtype.type(factor)


def _of_mask(mask: Picture, kernel: Picture) -> NDArray[Any]:
    height, width, channels = mask.pixels.shape
    if (height, width) != kernel.pixels.shape[:2]:
        raise InputError(
            f"mask {shown(mask.name)} is {width}x{height} pixels, kernel {shown(kernel.name)}"
            f" {kernel.pixels.shape[1]}x{kernel.pixels.shape[0]}; give one of the same size"
        )
    if channels > 1 and (mask.pixels != mask.pixels[..., :1]).any():
        raise InputError(f"mask {shown(mask.name)} is in colour; give one in grey")
    values = mask.pixels[..., 0]
    largest = INTEGER_RANGE.get(values.dtype.name, 1)
    if not (values.min() >= 0 and values.max() <= largest):  # nor NaN
        raise InputError(f"mask {shown(mask.name)} has values outside 0 to {largest}")
    return values
