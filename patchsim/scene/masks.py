"""How much each pixel and channel counts: masks, alpha and channel weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.geometry.area import Area
from patchsim.metrics import INTEGER_RANGE, Visibility, divided_by_gcd, type_name
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels, Weights

_LARGEST_WEIGHT = 255
_TOLERANCE = 1e-12  # the largest relative rounding error of scaled channel weights


def kernel_weights(kernel: Picture, mask: Picture | None, *, ignore_alpha: bool) -> Weights | None:
    """Return the weights of a kernel's pixels.

    Parameters
    ----------
    kernel : Picture
    mask : Picture, optional
        White pixels count fully, black pixels not at all, grey ones in proportion. It replaces the
        kernel's alpha.
    ignore_alpha : bool
        True if the kernel's alpha does not weigh its pixels.

    Returns
    -------
    uint8 array [h, w] or None
        Integers without a common factor, so that a mask of black and white gives 0 and 1; None if
        all pixels count equally. A mask with more than 256 shades is rounded, with its brightest
        shade at 255.

    Raises
    ------
    InputError
        If the mask has another size than the kernel, is in colour, or leaves no pixel.
    """
    if mask is not None:
        levels, source = shades(mask, kernel, "kernel"), mask.name
    elif kernel.alpha is not None and not ignore_alpha:
        levels, source = kernel.alpha, kernel.name
    else:
        return None
    if not levels.any():
        picture = "mask" if mask is not None else "kernel"
        defect = "black" if mask is not None else "transparent"
        raise InputError(
            f"{titled(picture, source)} is {defect} everywhere, so no pixel of the kernel"
            " counts;"
            + (" give a mask with white pixels" if mask is not None else " use --ignore-alpha")
        )
    return to_weights(levels)


def image_weights(mask: Picture, image: Picture) -> Weights | None:
    """Return the weights [H, W] of an image's pixels by a mask; None if all count equally.

    Raises
    ------
    InputError
        If the mask has another size than the image, is in colour, or leaves no pixel.
    """
    levels = shades(mask, image, "image")
    if not levels.any():
        raise black_everywhere(mask)
    return to_weights(levels)


def black_everywhere(mask: Picture) -> InputError:
    """Return the error for a mask of an image that leaves no pixel."""
    return InputError(
        f"{titled('image mask', mask.name)} is black everywhere, so no pixel of the image"
        " counts; give a mask with white pixels"
    )


def visibility(alpha: NDArray[np.uint8] | None, area: Area) -> Visibility | None:
    """Return the visibility of an area.

    Parameters
    ----------
    alpha : uint8 array [H, W] or None
        The alpha of the image.
    area : Area

    Returns
    -------
    Visibility or None
        Its levels are reduced like those of `kernel_weights`; None if all is fully visible, and
        what lies beyond the border counts.

    Raises
    ------
    InputError
        If nothing is visible.
    """
    all_visible = Visibility(np.ones(area.size, np.uint8), 1) if area.is_border_hidden else None
    if alpha is None:
        return all_visible
    if not area.crop(alpha).any():
        raise InputError(
            f"{area.name} is transparent everywhere, so nothing of it is visible;"
            " use --ignore-alpha"
        )
    # The full level is the whole image's, so that it does not depend on the region.
    levels = to_weights(alpha)
    if levels is None:
        return all_visible
    visible = Visibility(area.crop(levels), int(levels.max()))
    return all_visible if (visible.levels == visible.full_level).all() else visible


def fill_hidden(pixels: Pixels, visible: Visibility | None) -> Pixels:
    """Replace the invisible pixels of a picture [H, W, C] by visible neighbours.

    Their values must not matter. A pixel takes the value of the nearest visible pixel to the left,
    or else to the right, or else of the row above, so that flat areas stay flat.
    """
    if visible is None or visible.levels.all():
        return pixels
    filled = pixels.copy()
    hidden = visible.levels == 0
    above = filled[np.unravel_index(int(hidden.argmin()), hidden.shape)]
    columns = np.arange(pixels.shape[1])
    for row, hidden_row in zip(filled, hidden, strict=True):
        if hidden_row.all():
            row[...] = above
        elif hidden_row.any():
            nearest = np.maximum.accumulate(np.where(hidden_row, -1, columns))
            row[...] = row[np.where(nearest < 0, hidden_row.argmin(), nearest)]
        above = row
    return filled


def channel_shares(channel_weights: Sequence[float], channels: int) -> list[int]:
    """Return the weights of channels as integers from 0 to 255 without a common factor.

    Parameters
    ----------
    channel_weights : sequence of float
        Finite numbers from 0, one of them above 0.
    channels : int
        The number of channels of the converted pictures.

    Raises
    ------
    InputError
        If the number of weights differs from the number of channels.
    """
    if len(channel_weights) != channels:
        weights = ",".join(f"{weight:g}" for weight in channel_weights)
        raise InputError(
            f"channel weights {weights} are {len(channel_weights)},"
            f" but the pictures are compared in {channels} channel{'s'[: channels > 1]};"
            " give a weight for each"
        )
    ratios = np.array(channel_weights) / max(channel_weights)
    # The smallest largest weight that keeps the ratios; if none does, 255 with rounding.
    for largest in range(1, _LARGEST_WEIGHT + 1):
        shares = np.rint(ratios * largest)
        if np.allclose(shares, ratios * largest, rtol=0, atol=_TOLERANCE * largest):
            break
    return [int(share) for share in shares]


def value_weights(weights: Weights | None, shares: Sequence[int], size: tuple[int, int]) -> Weights:
    """Return the weights [h, w, C] of a kernel's values: those of its pixels times the shares.

    Parameters
    ----------
    weights : uint8 array [h, w] or None
        The weights of the pixels.
    shares : sequence of int
        The weights of the channels, which are not all equal.
    size : (h, w)
    """
    pixel_weights = np.ones(size, np.uint16) if weights is None else weights.astype(np.uint16)
    products = to_weights(pixel_weights[..., None] * np.asarray(shares, np.uint16))
    assert products is not None, "equal shares need no weights"
    return products


def to_weights(levels: NDArray[Any]) -> Weights | None:
    """Scale levels to integers up to 255 without a common factor; None if all are equal."""
    if levels.dtype.kind == "u":
        levels = divided_by_gcd(levels)
    if levels.max() > _LARGEST_WEIGHT or levels.dtype.kind == "f":
        scaled = np.rint(levels * (_LARGEST_WEIGHT / float(levels.max())))
        levels = divided_by_gcd(scaled.astype(np.uint8))
    is_uniform = levels.min() == levels.max()
    return None if is_uniform else np.ascontiguousarray(levels, np.uint8)


def check_size(mask: Picture, masked: Picture, what: str) -> None:
    """Check that a mask has the size of the picture, the kernel or the image.

    Raises
    ------
    InputError
        If it has another one.
    """
    height, width = mask.pixels.shape[:2]
    if (height, width) != masked.pixels.shape[:2]:
        raise InputError(
            f"{titled('mask', mask.name)} is {width}x{height} pixels,"
            f" {titled(what, masked.name)} {masked.pixels.shape[1]}x{masked.pixels.shape[0]};"
            " give one of the same size"
        )


def check_grey(mask: Picture, pixels: Pixels) -> None:
    """Check that the pixels of a mask are grey.

    Raises
    ------
    InputError
        If they are not.
    """
    if pixels.shape[2] > 1 and (pixels != pixels[..., :1]).any():
        raise InputError(f"{titled('mask', mask.name)} is in colour; give one in grey")


def shades(mask: Picture, masked: Picture, what: str) -> NDArray[Any]:
    """Return the brightness [h, w] of the mask of a picture, the kernel or the image.

    Raises
    ------
    InputError
        If it has another size than the picture, is in colour, or has values beyond its type's
        range.
    """
    check_size(mask, masked, what)
    check_grey(mask, mask.pixels)
    values = mask.pixels[..., 0]
    if mask.shift:
        values = values.astype(np.float64) - mask.shift
    largest = INTEGER_RANGE.get(type_name(values.dtype), 1)
    lowest, highest = float(values.min()), float(values.max())  # both are NaN if a value is
    if math.isnan(lowest):
        y, x = np.argwhere(np.isnan(values))[0].tolist()
        raise InputError(
            f"{titled('mask', mask.name)} has a value nan at x={x}, y={y};"
            f" give numbers from 0, where a pixel does not count, to {largest}, where it does"
        )
    if lowest < 0 or highest > largest:
        raise InputError(
            f"{titled('mask', mask.name)} has values from {lowest:g} to {highest:g}, outside 0 to"
            f" {largest};\nscale them so that 0 leaves a pixel out and {largest} counts it"
            " fully, or give uint8"
        )
    return values
