"""Pictures that can be compared, but hardly as people mean it, and the option that helps."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from typing import NamedTuple

from patchsim import metrics
from patchsim.errors import printable, titled
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.types import Pixels

# Values are small below this share of the range of their type. Dark pictures of 8 bits are common,
# labels from 0 to 1 are meant otherwise.
_SMALL = {"uint8": 1 / 16, "uint16": 1 / 4}
_SMALL_FLOATS = 1 / 4
_WIDE = 2  # times the range of 8 bits
_NOTHING = 2.0**-40  # of the data range: scores of values that vary by less are about equal
_DEPTHS = (8, 10, 12, 14)  # bits of which 16 often hold values
_ROWS = 16  # most pictures show in every 16th row that they are not small, or in colour
_FEW = 1 << 13  # values that are looked at in less time than another call takes


class Mixed(NamedTuple):
    """Kernels that are grey where the image is in colour, or the other way round.

    Attributes
    ----------
    numbers : list of int
    is_image_grey : bool
    """

    numbers: list[int]
    is_image_grey: bool


def small_values(image: Picture, kernels: Sequence[Picture], options: Options) -> list[str]:
    """Return a notice if values are small beside the data range: every score is high, or low.

    Parameters
    ----------
    image : Picture
    kernels : sequence of Picture
    options : Options
    """
    depends = not metrics.formula_of(options.metric).correlates
    is_unread = windowed.of(image.pixels) is not None  # all of it would be read for a hint
    if not depends or is_unread:
        return []
    if options.data_range is not None:
        pictures = [image, *kernels]
        nothing = _next_to_nothing(pictures, options.data_range)
        return nothing or _beside_wide_range(pictures, options.data_range)
    if image.shift:
        return []
    largest = _largest_if_small(image.pixels)
    if largest is None:
        return []
    kind = metrics.type_name(image.pixels.dtype)
    full = metrics.INTEGER_RANGE.get(kind, 1)
    remedy = "use --metric zncc (metric='zncc'), which needs no range"
    largest_values = [_largest_if_small(kernel.pixels) for kernel in kernels]
    if kind == "uint8" and None in largest_values:  # a dark picture, not labels
        return []
    if all(kernel.pixels.dtype == image.pixels.dtype and not kernel.shift for kernel in kernels):
        known = [largest, *(one for one in largest_values if one is not None)]
        if len(known) > len(kernels):
            end = _end(max(known), kind)
            remedy = f"give --data-range 0:{end} (data_range=(0, {end}))"
    effect = "differences are small beside it, and every score is high"
    bright = next(
        (one for one, small in zip(kernels, largest_values, strict=True) if small is None), None
    )
    if bright is not None and bright.pixels.any():
        effect = f"it counts as far darker than {titled('kernel', bright.name)}"
    return [
        f"{titled('image', image.name)} has values up to {largest:g}, but the range is 0 to {full}:"
        f" {effect};\n{remedy}"
    ]


def _beside_wide_range(pictures: Sequence[Picture], data_range: tuple[float, float]) -> list[str]:
    """Return a notice if 8 bits are taken as they are in a range of others: far darker ones."""
    if any(picture.shift for picture in pictures):
        return []
    kinds = [metrics.type_name(picture.pixels.dtype) for picture in pictures]
    low, high = data_range
    if not {"uint8", "uint16"} <= {*kinds} or high - low < _WIDE * metrics.INTEGER_RANGE["uint8"]:
        return []
    number = kinds.index("uint8")
    name = titled("kernel" if number else "image", pictures[number].name)
    return [
        f"{name} has 8 bits, which --data-range takes as values up to 255 of {low:g} to {high:g}:"
        " it counts as far darker;\nuse --metric zncc (metric='zncc'), which needs no range"
    ]


def _next_to_nothing(pictures: Sequence[Picture], data_range: tuple[float, float]) -> list[str]:
    """Return a notice if values vary by so little of the range that scores hardly differ."""
    room = (data_range[1] - data_range[0]) * _NOTHING
    if room < 1 and any(picture.pixels.dtype.kind != "f" for picture in pictures):
        return []  # integers that differ do so by 1
    low, high = math.inf, -math.inf
    image = pictures[0]
    middle = image._replace(pixels=image.pixels[len(image.pixels) // 2])
    for picture in (middle, *pictures):  # one row tells of most images
        values = picture.pixels
        low = min(low, float(values.min()) - picture.shift)
        high = max(high, float(values.max()) - picture.shift)
        if not high - low <= room:  # nor is NaN
            return []
    if low == high:
        return []
    first, last = data_range
    name = titled("image", pictures[0].name)
    others = "kernel" if len(pictures) == 2 else "kernels"
    return [
        f"all values of {name} and the {others} lie from {low:g} to {high:g}, next to nothing of"
        f" the data range {first:g} to {last:g}: every score is about the same, and the best place"
        " says little;\n"
        "name their own range with --data-range LO:HI (data_range=), or use --metric zncc"
        " (metric='zncc'), which needs none"
    ]


def grey_beside_color(image: Picture, kernels: Sequence[Picture], options: Options) -> Mixed:
    """Return which kernels are grey where the image is in colour, or the other way round.

    They become RGB, in which grey differs from all colours.
    """
    is_grey = image.pixels.shape[2] == 1
    if options.color != colors.DEFAULT or windowed.of(image.pixels) is not None:
        return Mixed([], is_grey)
    other = 3 if is_grey else 1
    numbers = [n for n, kernel in enumerate(kernels) if kernel.pixels.shape[2] == other]
    if is_grey:
        numbers = [number for number in numbers if _has_color(kernels[number].pixels)]
    elif image.pixels.shape[2] != 3 or not (numbers and _has_color(image.pixels)):
        numbers = []
    return Mixed(numbers, is_grey)


def grey_notice(image: str, names: Collection[str], *, is_image_grey: bool) -> str:
    """Return the notice for kernels that `grey_beside_color` found."""
    first, *others = names
    more = f" and {len(others)} more kernels" if others else ""
    if len(others) == 1:
        more = f" and {titled('kernel', others[0])}"
    verb = "are" if others else "is"
    ours, theirs = ("in colour", "grey") if is_image_grey else ("grey", "in colour")
    return (
        f"{titled('kernel', first)}{more} {verb} {ours}, {printable(image)} is {theirs}: they are"
        " compared as RGB, in which grey differs from any colour;\n"
        "--color gray (color='gray') compares both in grey"
    )


def _has_color(pixels: Pixels) -> bool:
    """Return whether some rows of a picture [H, W, 3] have a pixel that is not grey."""
    rows = pixels[::_ROWS] if len(pixels) > _ROWS**2 else pixels
    return bool((rows[..., 0] != rows[..., 1]).any() or (rows[..., 1] != rows[..., 2]).any())


def _largest_if_small(pixels: Pixels) -> float | None:
    """Return the largest value of a picture if it is small beside the range, but not 0."""
    kind = metrics.type_name(pixels.dtype)
    limit = metrics.INTEGER_RANGE.get(kind, 1) * _SMALL.get(kind, _SMALL_FLOATS)
    # One row tells of most pictures that they are not small; a NaN is not small.
    parts = (pixels[len(pixels) // 2], pixels[::_ROWS], pixels)
    for rows in parts if pixels.size > _FEW else (pixels,):
        largest = float(rows.max())
        if not 0 <= largest <= limit:
            return None
    return largest or None


def _end(largest: float, kind: str) -> str:
    """Return the upper end of a data range for values up to the largest."""
    if kind == "uint16":
        return str(next((1 << bits) - 1 for bits in _DEPTHS if largest < 1 << bits))
    if kind == "uint8":
        return f"{largest:.0f}"
    step = 10.0 ** (math.floor(math.log10(largest)) - 1)  # two digits
    if step < sys.float_info.min:  # and has few digits itself
        return repr(largest)
    return f"{math.ceil(largest / step - 1e-9) * step:.10g}"
