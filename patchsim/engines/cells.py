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
_MOST = 1024  # single pixels, where there is nothing larger
_SIDE = 128  # where larger kernels are looked at in squares, it is quick


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
    tall, wide = (min(-(-side // _SIDE), _TALLEST) for side in pixels.shape)
    found = _inside(_least(pixels, tall, wide), target, (_TALLEST // tall, _TALLEST // wide))
    if found.area:
        places = found.places * (tall, wide)
        return Cells(found.height * tall, found.width * wide, places, found.weight)
    heavy, counts = _heavy(pixels)
    places = np.argwhere(counts)
    return Cells(1, 1, places[:: -(-len(places) // _MOST) or 1], heavy)


def _least(pixels: Weights, tall: int, wide: int) -> Weights:
    """The least weight in each box of so many pixels."""
    rows, cols = pixels.shape[0] // tall, pixels.shape[1] // wide
    boxes = pixels[: rows * tall, : cols * wide].reshape(rows, tall, cols, wide)
    least: Weights = boxes.min((1, 3))
    return least


def _heavy(pixels: Weights) -> tuple[int, NDArray[np.bool_]]:
    """A weight, 0 if all are, and which pixels have it or more."""
    # The weight of which there is most: so much of it lies in all pixels that weigh at least that.
    at_least = np.bincount(pixels.ravel(), minlength=256)[::-1].cumsum()[::-1]
    heavy = int((np.arange(256) * at_least).argmax())
    return heavy, (pixels >= heavy) & (heavy > 0)


def _inside(pixels: Weights, target: int, largest: tuple[int, int]) -> Cells:
    heavy, counts = _heavy(pixels)
    if heavy == 0:
        return Cells(1, 1, np.empty((0, 2), np.int64))
    rows, cols = (np.flatnonzero(counts.any(axis)) for axis in (1, 0))
    sides = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    found = []
    for smaller in _SMALLER:
        height, width = (
            max(1, min(most, int(side / (target * smaller))))
            for side, most in zip(sides, largest, strict=True)
        )
        found.append(Cells(height, width, _placed(counts, height, width), heavy))
        if found[-1].area >= _ENOUGH * np.count_nonzero(counts) or height == width == 1:
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
