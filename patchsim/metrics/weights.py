"""How much each pixel counts in a score: a kernel's weights and an image's visibility."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.area import NO_MARGINS, Margins
from patchsim.types import Pixels, Weights


@dataclass(frozen=True, eq=False, repr=False)
class Kernel:
    """The picture that is searched for.

    Attributes
    ----------
    pixels : array [h, w, C]
    weights : uint8 array [h, w] or [h, w, C], optional
        The weight of each pixel, or of each of its values; 0 leaves it out. Without weights all
        values count equally.
    margins : Margins
        What was trimmed from the whole kernel: rows and columns that do not count.
    rim : int
        How many pixels around those that count stay when the kernel is trimmed, because what counts
        was made from them, too.
    """

    pixels: Pixels
    weights: Weights | None = None
    margins: Margins = NO_MARGINS
    rim: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def whole_size(self) -> tuple[int, int]:
        """Height and width of the kernel before it was trimmed."""
        height, width = self.size
        margins = self.margins
        return height + margins.top + margins.bottom, width + margins.left + margins.right

    def trimmed(self) -> Kernel:
        """Return the kernel without the rows and columns along its sides that do not count.

        Its scores are the same: a weight of 0 leaves a pixel out of all sums and means. The margins
        of a trimmed kernel are those of the whole one. It is made once, so that what is prepared of
        it serves the next image.
        """
        return self._trimmed

    @cached_property
    def _trimmed(self) -> Kernel:
        if self.weights is None:
            return self
        counts = self.weights > 0 if self.weights.ndim == 2 else (self.weights > 0).any(axis=2)
        rows, columns = (np.logical_or.reduce(counts, axis) for axis in (1, 0))
        (top, bottom), (left, right) = (_span(counted, self.rim) for counted in (rows, columns))
        margins = Margins(top, left, self.size[0] - bottom, self.size[1] - right)
        if margins == NO_MARGINS:
            return self
        before = self.margins
        weights = np.ascontiguousarray(self.weights[top:bottom, left:right])
        return Kernel(
            np.ascontiguousarray(self.pixels[top:bottom, left:right]),
            None if weights.min() == weights.max() else weights,
            Margins(*(old + new for old, new in zip(before, margins, strict=True))),
            self.rim,
        )

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + (0 if self.weights is None else self.weights.nbytes)


def _span(counts: NDArray[np.bool_], rim: int) -> tuple[int, int]:
    """Return where the true values begin and end, with so many more on both sides, if there are."""
    return max(0, int(counts.argmax()) - rim), len(counts) - max(
        0, int(counts[::-1].argmax()) - rim
    )


class Visibility(NamedTuple):
    """How much of an image is visible.

    Attributes
    ----------
    levels : uint8 array [H, W]
        The level of each pixel; 0 is invisible.
    full_level : int
        The level of a fully visible pixel.
    """

    levels: Weights
    full_level: int

    def crop(self, index: Any) -> Visibility:
        """Return the visibility of a part of the image, given as an index into [H, W]."""
        return Visibility(self.levels[index], self.full_level)

    def window_weights(
        self, weights: Weights | None, y: int, x: int, size: tuple[int, int]
    ) -> NDArray[Any] | None:
        """Return a kernel's weights times the visibility of the window at (y, x).

        Parameters
        ----------
        weights : uint8 array [h, w] or [h, w, C], optional
            The kernel's weights.
        y, x : int
            The window's top-left pixel.
        size : (h, w)

        Returns
        -------
        uint16 array [h, w] or [h, w, C], or `weights`
            `weights` itself if every pixel that counts is fully visible.
        """
        levels = self.levels[y : y + size[0], x : x + size[1]].astype(np.uint16)
        if weights is None:
            return None if (levels == self.full_level).all() else levels
        levels = levels if weights.ndim == 2 else levels[..., None]
        # A window that hides no counting pixel must get exactly the score that it has without
        # visibility, so its weights must not be scaled.
        return (
            weights
            if np.array_equal(weights * levels, weights * np.uint16(self.full_level))
            else weights * levels
        )


def total_weight(shape: tuple[int, ...], weights: NDArray[Any] | None) -> int:
    """Return the sum of the weights of a window [h, w, C]; without weights each value weighs 1."""
    return sum(channel_totals(shape, weights))


def channel_totals(shape: tuple[int, ...], weights: NDArray[Any] | None) -> list[int]:
    """Return the sum of the weights of each channel."""
    if weights is None:
        return [shape[0] * shape[1]] * shape[2]
    sums = weights.sum(0, dtype=np.int64).sum(0)
    return [int(sums)] * shape[2] if weights.ndim == 2 else [int(channel) for channel in sums]


def divided_by_gcd(levels: NDArray[Any]) -> NDArray[Any]:
    """Divide integers by their greatest common divisor."""
    factor = math.gcd(*np.unique(levels).tolist()) or 1
    return levels if factor == 1 else levels // levels.dtype.type(factor)
