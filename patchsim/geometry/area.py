"""Where windows may lie: in the image or a region of it, and how far beyond its border."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.types import Pixels

Region = tuple[int, int, int, int]  # x, y of the top-left pixel, width, height

# How NumPy's `pad` continues a picture beyond its border.
_MODES: dict[str, Literal["edge", "reflect", "constant"] | None] = {
    "valid": None,
    "edge": "edge",
    "reflect": "reflect",
    "zero": "constant",
}
DEFAULT_PADDING = "valid"


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
    """The part of an image that windows lie in, or hang over with padding.

    Attributes
    ----------
    image : str
        The image's name.
    region : Region or None
        None is the whole image.
    size : (height, width)
        Of the region, or else of the image.
    padding : str
        With one a window shares at least a pixel with the area. Of an area of one row or column
        `reflect` repeats that.
    """

    image: str
    region: Region | None
    size: tuple[int, int]
    padding: str = DEFAULT_PADDING

    @classmethod
    def in_image(
        cls,
        image: str,
        size: tuple[int, int],
        region: Region | None,
        padding: str = DEFAULT_PADDING,
    ) -> Area:
        """Of an image of this name and size (height, width).

        Raises
        ------
        InputError
            If the region does not lie inside the image.
        """
        if region is None:
            return cls(image, None, size, padding)
        x, y, width, height = region
        if x < 0 or y < 0 or x + width > size[1] or y + height > size[0]:
            raise InputError(
                f"region {_text(region)} spans x {x} to {x + width - 1} and y {y} to"
                f" {y + height - 1}, not all of it in the image {printable(image)} with"
                f" {size[1]}x{size[0]} pixels;\ngive one inside 0,0,{size[1]},{size[0]}"
            )
        return cls(image, region, (height, width), padding)

    @property
    def name(self) -> str:
        """What messages call it."""
        part = f"region {_text(self.region)} of the " if self.region is not None else ""
        return f"{part}image {self.image}"

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of its first pixel in the image."""
        return (0, 0) if self.region is None else (self.region[1], self.region[0])

    def crop(self, pixels: Pixels) -> Pixels:
        """Its pixels; of a region a copy, so that the rest of the image need not stay."""
        if self.region is None:
            return pixels
        (top, left), (height, width) = self.corner, self.size
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])

    def has_windows(self, kernel: tuple[int, int]) -> bool:
        """Whether a kernel of (height, width) has windows."""
        if _MODES[self.padding]:
            return True
        return kernel[0] <= self.size[0] and kernel[1] <= self.size[1]

    def check_kernel(self, kernel: tuple[int, int], name: str) -> None:
        """Refuse a kernel of (height, width) that is larger, unless padding makes room for it.

        Raises
        ------
        InputError
        """
        if self.has_windows(kernel):
            return
        larger = f"kernel {printable(name)} is {kernel[1]}x{kernel[0]} pixels, larger than the"
        larger = f"{larger} {printable(self.name)}"
        if self.region is not None:
            raise InputError(
                f"{larger};"
                " give a larger region, a smaller kernel, or --padding edge (padding='edge')"
            )
        raise InputError(
            f"{larger} with {self.size[1]}x{self.size[0]};"
            " give a smaller kernel, swap the two, or give --padding edge (padding='edge')"
        )

    def check_values(self, data_range: tuple[float, float] | None) -> None:
        """Refuse zeros for padding where no pixel may be zero.

        Raises
        ------
        InputError
        """
        if self.padding == "zero" and data_range and not data_range[0] <= 0 <= data_range[1]:
            raise InputError(
                f"padding zero is outside the data range {data_range[0]:g}:{data_range[1]:g};"
                " give edge or reflect"
            )

    def overhang(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns beyond each border the windows of a kernel reach."""
        return (kernel[0] - 1, kernel[1] - 1) if _MODES[self.padding] else (0, 0)

    def origin(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Row and column, in the image, of the first pixel of a kernel's first window."""
        (top, left), (rows, cols) = self.corner, self.overhang(kernel)
        return top - rows, left - cols

    def extent(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what the windows of a kernel cover."""
        rows, cols = self.overhang(kernel)
        return self.size[0] + 2 * rows, self.size[1] + 2 * cols

    def padded_size(self, kernels: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Height and width of the padded copy that `padded_views` makes; 0 without padding."""
        if not _MODES[self.padding]:
            return 0, 0
        covered = [self.extent(kernel) for kernel in kernels]
        return max(height for height, _ in covered), max(width for _, width in covered)

    def padded_views(
        self, pixels: Pixels, kernels: Sequence[tuple[int, int]], zero: NDArray[Any]
    ) -> list[Pixels]:
        """The pixels that the windows of each kernel cover; all are views of one padded copy.

        Parameters
        ----------
        pixels : array [H, W, C]
            Of the area.
        kernels : sequence of (height, width)
        zero : array [C]
            What 0 is in the pixels' colour space.
        """
        mode = _MODES[self.padding]
        if mode is None:
            return [pixels] * len(kernels)
        overhangs = [self.overhang(kernel) for kernel in kernels]
        rows, cols = (max(overhang[axis] for overhang in overhangs) for axis in (0, 1))
        around = np.pad(pixels, ((rows, rows), (cols, cols), (0, 0)), mode)
        if mode == "constant" and zero.any():
            height, width, _ = pixels.shape
            around[:rows] = around[rows + height :] = zero
            around[:, :cols] = around[:, cols + width :] = zero
        views = []
        for kernel, (above, beside) in zip(kernels, overhangs, strict=True):
            height, width = self.extent(kernel)
            top, left = rows - above, cols - beside
            views.append(around[top : top + height, left : left + width])
        return views


def _text(region: Region) -> str:
    return ",".join(map(str, region))
