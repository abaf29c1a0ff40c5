"""Cells: boxes of one size inside a kernel, of which all pixels count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import Weights

COARSE, FINE = 4, 8  # cells along a side, or a few more

_TALLEST = 256  # the extension sums no more pixels

# Where cells of one size cover less of the weight than that, smaller ones are tried.
_ENOUGH = 0.7
_SMALLER = (1, 1.5, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Cells:
    """Boxes that have no pixel in common.

    Attributes
    ----------
    height, width : int
        Of each, in pixels.
    places : int64 array [n, 2]
        y and x of each.
    weight : int
        What every pixel in them weighs at least.
    """

    height: int
    width: int
    places: NDArray[np.int64]
    weight: int = 1

    @property
    def area(self) -> int:
        """Pixels of all cells."""
        return len(self.places) * self.height * self.width


def lattice(height: int, width: int, target: int) -> Cells:
    """About so many cells along each side of a kernel, which cover most of it."""
    rows, cols = _parts(height, target), _parts(width, target)
    tall, wide = height // rows, width // cols
    return Cells(tall, wide, np.argwhere(np.ones((rows, cols), np.bool_)) * (tall, wide))


def _parts(length: int, target: int) -> int:
    """Into how many equal parts to cut so that they cover most; each fits the extension."""
    least = max(target, -(-length // _TALLEST))
    return max(
        range(min(length, least), min(length, 2 * least) + 1), key=lambda n: n * (length // n)
    )


def inside(weights: Weights, target: int) -> Cells:
    """Cells where all pixels count: as large as `lattice` has them, or smaller ones.

    Parameters
    ----------
    weights : uint8 array [h, w] or [h, w, C]
        Not all zero.
    target : int
        Cells along a side of what counts, at least.

    Returns
    -------
    Cells
        None at all where no pixel counts in every channel.
    """
    pixels = weights if weights.ndim == 2 else weights.min(axis=2)
    # The weight of which there is most: so much of it lies in all pixels that weigh at least that.
    at_least = np.bincount(pixels.ravel(), minlength=256)[::-1].cumsum()[::-1]
    heavy = int((np.arange(256) * at_least).argmax())
    if heavy == 0:
        return Cells(1, 1, np.empty((0, 2), np.int64))
    counts = pixels >= heavy
    rows, cols = (np.flatnonzero(counts.any(axis)) for axis in (1, 0))
    sides = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    found = []
    for smaller in _SMALLER:
        height, width = (max(1, min(_TALLEST, int(side / (target * smaller)))) for side in sides)
        found.append(Cells(height, width, _placed(counts, height, width), heavy))
        if found[-1].area >= _ENOUGH * at_least[heavy] or height == width == 1:
            break
    return max(found, key=lambda cells: cells.area)


def count(weights: Weights) -> int:
    """The coarse cells that a kernel with such weights has."""
    return len(inside(weights, COARSE).places)


def _placed(counts: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int64]:
    """Where cells lie inside what counts, each as far up and then left as there is room."""
    whole = box_sums(counts[..., None], height, width)[..., 0] == height * width
    places = []
    for y, row in enumerate(whole):
        while row.any():
            x = int(row.argmax())
            places.append((y, x))
            whole[y : y + height, max(0, x - width + 1) : x + width] = False
    return np.array(places, np.int64).reshape(-1, 2)


def box_sums(values: NDArray[np.generic], height: int, width: int) -> NDArray[np.uint32]:
    """Sums of [height, width] values at every place of [h, w, planes], to 2**32 - 1 each."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1, values.shape[2]), np.uint32)
    inner = sums[1:, 1:]
    # They pass 2**32, but their differences come back.
    np.cumsum(values, axis=0, dtype=np.uint32, out=inner)
    np.cumsum(inner, axis=1, dtype=np.uint32, out=inner)
    below, right = sums[height:], np.s_[width:]
    above, left = sums[: len(below)], np.s_[: sums.shape[1] - width]
    found: NDArray[np.uint32] = below[:, right] - above[:, right] - below[:, left] + above[:, left]
    return found
