"""Where windows may lie: in the whole image or in a region of it."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from patchsim.errors import InputError, shown
from patchsim.metrics import Pixels

Region = tuple[int, int, int, int]  # x, y of the top-left pixel, width, height


def check_region(region: object) -> Region | None:
    """Four whole numbers, or None.

    Raises
    ------
    InputError
        If it is anything else, or empty.
    """
    if region is None:
        return None
    given = region if isinstance(region, tuple | list) else ()
    try:
        # True is an int to Python, but no place.
        numbers = [operator.index(n) for n in given if not isinstance(n, bool)]
    except TypeError:
        numbers = []
    if len(given) != 4 or len(numbers) != 4:
        raise InputError(
            f"region {region!r} is not four whole numbers; give x, y, width and height"
        )
    x, y, width, height = numbers
    if min(width, height) < 1:
        raise InputError(
            f"region {_text((x, y, width, height))} is empty: {width}x{height} pixels;"
            " give a width and a height from 1"
        )
    return x, y, width, height


@dataclass(frozen=True)
class Area:
    """The part of an image that windows lie in.

    Attributes
    ----------
    image : str
        The image's name.
    region : Region or None
        None is the whole image.
    size : (height, width)
        Of the region, or else of the image.
    """

    image: str
    region: Region | None
    size: tuple[int, int]

    @classmethod
    def of(cls, image: str, size: tuple[int, int], region: Region | None) -> Area:
        """Of an image of this name and size (height, width).

        Raises
        ------
        InputError
            If the region does not lie inside the image.
        """
        if region is None:
            return cls(image, None, size)
        x, y, width, height = region
        if x < 0 or y < 0 or x + width > size[1] or y + height > size[0]:
            raise InputError(
                f"region {_text(region)} spans x {x} to {x + width - 1} and y {y} to"
                f" {y + height - 1}, not all of it in the image {shown(image)} with"
                f" {size[1]}x{size[0]} pixels;\ngive one inside 0,0,{size[1]},{size[0]}"
            )
        return cls(image, region, (height, width))

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of its first pixel in the image."""
        return (0, 0) if self.region is None else (self.region[1], self.region[0])

    def of_image(self, pixels: Pixels) -> Pixels:
        """Its pixels; of a region a copy, so that the rest of the image need not stay."""
        if self.region is None:
            return pixels
        (top, left), (height, width) = self.corner, self.size
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])

    def check_kernel(self, kernel: tuple[int, int], name: str) -> None:
        """Refuse a kernel of (height, width) that is larger.

        Raises
        ------
        InputError
        """
        if kernel[0] <= self.size[0] and kernel[1] <= self.size[1]:
            return
        size = f"kernel {shown(name)} is {kernel[1]}x{kernel[0]} pixels, larger than the"
        if self.region is not None:
            raise InputError(
                f"{size} region {_text(self.region)} of the image {shown(self.image)};"
                " give a larger region, or a smaller kernel"
            )
        raise InputError(
            f"{size} image {shown(self.image)} with {self.size[1]}x{self.size[0]};"
            " give a smaller kernel, or swap the two"
        )


def _text(region: Region) -> str:
    return ",".join(map(str, region))
