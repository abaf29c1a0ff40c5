"""Where windows may lie: inside the image or a region of it, and how far beyond the border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.checks import whole_number
from patchsim.errors import InputError, titled
from patchsim.types import Pixels

Region = tuple[int, int, int, int]  # x, y of the top-left pixel, width, height

# The mode of NumPy's `pad` for each padding; None if there is none.
_MODES: dict[str, Literal["edge", "reflect", "constant"] | None] = {
    "valid": None,
    "edge": "edge",
    "reflect": "reflect",
    "zero": "constant",
    "transparent": "edge",  # of pixels that do not count
}
TRANSPARENT = "transparent"
DEFAULT_PADDING = "valid"


class Margins(NamedTuple):
    """Rows and columns along the four sides of a kernel."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


NO_MARGINS = Margins()


def check_region(region: object, option: str = "region") -> Region | None:
    """Return a region as four integers, or None for the whole image; messages name the option.

    Raises
    ------
    InputError
        If the region is anything else, or is empty.
    """
    if region is None:
        return None
    values = region if isinstance(region, tuple | list) else ()
    numbers = [number for value in values if (number := whole_number(value)) is not None]
    if len(values) != 4 or len(numbers) != 4:
        raise InputError(
            f"{option} {region!r} is not four whole numbers; give x, y, width and height"
        )
    x, y, width, height = numbers
    if min(width, height) < 1:
        raise InputError(
            f"{option} {_text((x, y, width, height))} is empty: {width}x{height} pixels;"
            " give a width and a height from 1"
        )
    return x, y, width, height


class Area(NamedTuple):
    """The part of an image that windows lie in. With padding they may extend beyond it.

    Attributes
    ----------
    image : str
        The image's name.
    region : Region or None
        None stands for the whole image.
    size : (height, width)
        The size of the region, or of the whole image.
    padding : str
        One of `choices.PADDINGS`. With any but ``valid``, every window that shares at least one
        pixel with the area counts; with ``transparent`` none of its other pixels does. ``reflect``
        repeats the pixels of an area that is one row high or one column wide.
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
        """Return the area of a region in an image.

        Parameters
        ----------
        image : str
            The image's name.
        size : (height, width)
            The image's size.
        region : Region or None
            None stands for the whole image.
        padding : str
            One of `choices.PADDINGS`.

        What hangs over the border is cut off.

        Raises
        ------
        InputError
            If no pixel of the region lies inside the image.
        """
        if region is None:
            return cls(image, None, size, padding)
        x, y, width, height = region
        left, top = max(0, x), max(0, y)
        right, bottom = min(size[1], x + width), min(size[0], y + height)
        if left >= right or top >= bottom:
            raise InputError(
                f"region {_text(region)} spans x {x} to {x + width - 1} and y {y} to"
                f" {y + height - 1}, none of it in the {titled('image', image)} with"
                f" {size[1]}x{size[0]} pixels;\ngive one inside 0,0,{size[1]},{size[0]}"
            )
        inside = left, top, right - left, bottom - top
        return cls(image, inside, (bottom - top, right - left), padding)

    def notices(self, region: Region | None) -> Iterator[str]:
        """Yield a notice if a part of the region that was given is cut off."""
        if region is not None and self.region is not None and region != self.region:
            image = titled("image", self.image)
            yield (
                f"region {_text(region)} hangs over the border of the {image};"
                f" {_text(self.region)} of it is searched"
            )

    @property
    def name(self) -> str:
        """The area's name in messages."""
        prefix = f"region {_text(self.region)} of the " if self.region is not None else ""
        return f"{prefix}{titled('image', self.image)}"

    @property
    def is_border_hidden(self) -> bool:
        """Whether what lies beyond the border does not count."""
        return self.padding == TRANSPARENT

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column, in the image, of the area's top-left pixel."""
        return (0, 0) if self.region is None else (self.region[1], self.region[0])

    @property
    def padding_mode(self) -> Literal["edge", "reflect", "constant"] | None:
        """The mode of `numpy.pad` that continues the area; None if nothing does."""
        return _MODES[self.padding]

    def crop(self, pixels: Pixels) -> Pixels:
        """Return the area's pixels.

        A region is copied, so that the rest of the image can be freed.
        """
        if self.region is None:
            return pixels
        (top, left), (height, width) = self.corner, self.size
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])

    def has_windows(self, kernel: tuple[int, int]) -> bool:
        """Return whether a kernel of (height, width) fits into the area, or padding makes room."""
        if _MODES[self.padding]:
            return True
        return kernel[0] <= self.size[0] and kernel[1] <= self.size[1]

    def too_large(self, kernel: tuple[int, int], name: str, *, is_part: bool = False) -> InputError:
        """Return the error for a kernel of (height, width), or its part that counts."""
        counted = "the part that counts of " if is_part else ""
        problem = f"{counted}{titled('kernel', name)} is {kernel[1]}x{kernel[0]} pixels"
        problem = f"{problem}, larger than the"
        problem = f"{problem} {self.name}"
        if self.region is not None:
            return InputError(
                f"{problem};"
                " give a larger region, a smaller kernel, or --padding edge (padding='edge')"
            )
        return InputError(
            f"{problem} with {self.size[1]}x{self.size[0]};"
            " give a smaller kernel, swap the two, or give --padding edge (padding='edge')"
        )

    def check_values(self, data_range: tuple[float, float] | None) -> None:
        """Check that the padding's values lie in the data range (low, high).

        Raises
        ------
        InputError
            If the padding is zero and the data range excludes 0.
        """
        if self.padding == "zero" and data_range and not data_range[0] <= 0 <= data_range[1]:
            raise InputError(
                f"padding zero is outside the data range {data_range[0]:g}:{data_range[1]:g};"
                " give edge or reflect"
            )

    def overhang(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Return how many rows and columns a kernel's windows reach beyond each border."""
        return (kernel[0] - 1, kernel[1] - 1) if _MODES[self.padding] else (0, 0)

    def origin(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Return row and column, in the image, of the top-left pixel of a kernel's first window."""
        (top, left), (rows, cols) = self.corner, self.overhang(kernel)
        return top - rows, left - cols

    def skipped(
        self, kernel: tuple[int, int], margins: Margins, stride: tuple[int, int]
    ) -> tuple[int, int]:
        """Return how many rows and columns lie before the first window of a trimmed kernel.

        Windows are a stride apart, and those in which the kernel lies with its margins must be
        among them. So the first one is not the first place where the trimmed kernel fits, but up
        to a stride behind it. Where no such window fits, it is that place.

        Parameters
        ----------
        kernel : (height, width)
            Of the trimmed kernel.
        margins : Margins
            What it was trimmed by.
        stride : (y, x)
        """
        around = margins.top + margins.bottom, margins.left + margins.right
        untrimmed = self.origin((kernel[0] + around[0], kernel[1] + around[1]))
        places = zip(
            untrimmed, self.origin(kernel), margins[:2], stride, self.extent(kernel), kernel,
            strict=True,
        )  # fmt: skip
        down, across = (
            rest if (rest := (start - first + margin) % step) <= length - window else 0
            for start, first, margin, step, length, window in places
        )
        return down, across

    def extent(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the rectangle that a kernel's windows cover together."""
        rows, cols = self.overhang(kernel)
        return self.size[0] + 2 * rows, self.size[1] + 2 * cols

    def padded_size(self, kernels: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return height and width of the copy that `padded_views` makes; 0, 0 without padding."""
        if not _MODES[self.padding]:
            return 0, 0
        extents = [self.extent(kernel) for kernel in kernels]
        return max(height for height, _ in extents), max(width for _, width in extents)

    def padded_views(
        self, pixels: Pixels, kernels: Sequence[tuple[int, int]], zero: NDArray[Any]
    ) -> list[Pixels]:
        """Return the pixels that each kernel's windows cover, as views of one padded copy.

        Parameters
        ----------
        pixels : array [H, W, C]
            The area's pixels.
        kernels : sequence of (height, width)
        zero : array [C]
            The pixel that padding with zeros has in the pixels' colour space.

        Returns
        -------
        list of array [h, w, C]
            One for each kernel.
        """
        mode = _MODES[self.padding]
        if mode is None:
            return [pixels] * len(kernels)
        overhangs = [self.overhang(kernel) for kernel in kernels]
        rows, cols = (max(overhang[axis] for overhang in overhangs) for axis in (0, 1))
        padded = np.pad(pixels, ((rows, rows), (cols, cols), (0, 0)), mode)
        if mode == "constant" and zero.any():
            height, width, _ = pixels.shape
            padded[:rows] = padded[rows + height :] = zero
            padded[:, :cols] = padded[:, cols + width :] = zero
        views = []
        for kernel, (above, beside) in zip(kernels, overhangs, strict=True):
            height, width = self.extent(kernel)
            top, left = rows - above, cols - beside
            views.append(padded[top : top + height, left : left + width])
        return views


def _text(region: Region) -> str:
    return ",".join(map(str, region))
