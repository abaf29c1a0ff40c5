"""Which pixels of kernels and image count, which of their channels, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry.area import Area
from patchsim.metrics import INTEGER_RANGE, Visibility, divided_by_gcd
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels, Weights

_SHADES = 255
_SAME = 1e-12  # what numbers that were scaled together are off by at the most


def kernel_weights(kernel: Picture, mask: Picture | None, *, ignore_alpha: bool) -> Weights | None:
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
            f"{what} {printable(source)} is {how} everywhere, so no pixel of the kernel counts;"
            + (" give a mask with white pixels" if mask is not None else " use --ignore-alpha")
        )
    return _shades(found)


def visibility(alpha: NDArray[np.uint8] | None, area: Area) -> Visibility | None:
    """How much of an area is visible, by the alpha [H, W] of its image.

    Levels are as `kernel_weights` has them; None if all of it is as visible as can be.

    Raises
    ------
    InputError
        If nothing is visible.
    """
    if alpha is None:
        return None
    if not area.crop(alpha).any():
        raise InputError(
            f"{area.name} is transparent everywhere, so nothing of it is visible;"
            " use --ignore-alpha"
        )
    levels = _shades(alpha)  # of the whole image, whatever is searched of it
    if levels is None:
        return None
    found = Visibility(area.crop(levels), int(levels.max()))
    return None if (found.levels == found.full_level).all() else found


def fill_hidden(pixels: Pixels, visible: Visibility | None) -> Pixels:
    """Pixels [H, W, C] in which those not visible, which must not matter, are as one beside them.

    That is the next visible one to the left or else to the right, or else that of the row above,
    so that flat areas stay flat.
    """
    if visible is None or visible.levels.all():
        return pixels
    found = pixels.copy()
    hidden = visible.levels == 0
    above = found[np.unravel_index(int(hidden.argmin()), hidden.shape)]
    columns = np.arange(pixels.shape[1])
    for row, gone in zip(found, hidden, strict=True):
        if gone.all():
            row[...] = above
        elif gone.any():
            nearest = np.maximum.accumulate(np.where(gone, -1, columns))
            row[...] = row[np.where(nearest < 0, gone.argmin(), nearest)]
        above = row
    return found


def channel_shares(channel_weights: Sequence[float], channels: int) -> list[int]:
    """The weights of channels in whole numbers, 0 to 255, without a common factor.

    Parameters
    ----------
    channel_weights : sequence of float
        Finite, none negative, one above 0.
    channels : int
        How many the pictures have where they are compared.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    if len(channel_weights) != channels:
        given = ",".join(f"{weight:g}" for weight in channel_weights)
        raise InputError(
            f"channel weights {given} are {len(channel_weights)},"
            f" but the pictures are compared in {channels} channel{'s'[: channels > 1]};"
            " give a weight for each"
        )
    ratios = np.array(channel_weights) / max(channel_weights)
    for heaviest in range(1, _SHADES + 1):
        whole = np.rint(ratios * heaviest)
        if np.allclose(whole, ratios * heaviest, rtol=0, atol=_SAME * heaviest):
            break
    return [int(number) for number in whole]


def value_weights(weights: Weights | None, shares: Sequence[int], size: tuple[int, int]) -> Weights:
    """The weights of a kernel's values [h, w, C], from those of its pixels and of the channels."""
    each = np.ones(size, np.uint16) if weights is None else weights.astype(np.uint16)
    found = _shades(each[..., None] * np.asarray(shares, np.uint16))
    assert found is not None, "channels that count the same have no weights"
    return found


def _shades(levels: NDArray[Any]) -> Weights | None:
    """Whole numbers up to 255 without a common factor; None if they are one."""
    if levels.dtype.kind == "u":
        levels = divided_by_gcd(levels)
    if levels.max() > _SHADES or levels.dtype.kind == "f":
        levels = divided_by_gcd(np.rint(levels * (_SHADES / float(levels.max()))).astype(np.uint8))
    same = levels.min() == levels.max()
    return None if same else np.ascontiguousarray(levels, np.uint8)


def _of_mask(mask: Picture, kernel: Picture) -> NDArray[Any]:
    height, width, channels = mask.pixels.shape
    if (height, width) != kernel.pixels.shape[:2]:
        raise InputError(
            f"mask {printable(mask.name)} is {width}x{height} pixels,"
            f" kernel {printable(kernel.name)} {kernel.pixels.shape[1]}x{kernel.pixels.shape[0]};"
            " give one of the same size"
        )
    if channels > 1 and (mask.pixels != mask.pixels[..., :1]).any():
        raise InputError(f"mask {printable(mask.name)} is in colour; give one in grey")
    values = mask.pixels[..., 0]
    largest = INTEGER_RANGE.get(values.dtype.name, 1)
    if not (values.min() >= 0 and values.max() <= largest):  # nor NaN
        raise InputError(f"mask {printable(mask.name)} has values outside 0 to {largest}")
    return values
