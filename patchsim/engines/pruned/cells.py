"""Where a kernel is summed: in cells, boxes of one size in which every pixel has a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.types import Weights

COARSE, FINE, FINEST = 4, 8, 16  # cells along a side, or a few more

_LONGEST_SIDE = 256  # pixels of a cell's side; the extension sums no more

# If cells cover less than this share of the weighted pixels, smaller cells are tried. Their sides
# are divided by these factors.
_ENOUGH_COVERED = 0.7
_DIVISORS = (1, 1.5, 2, 3, 4)
# Single pixels are the alternative to cells, at most so many. They are taken if all cells together
# cover less than this share of their number.
_MOST_SINGLE_PIXELS = 1024
_TOO_LITTLE_COVERED = 0.25
# A kernel with longer sides is searched for cells on a coarser grid, which is quick.
_FINEST_SIDE = 128


@dataclass(frozen=True, eq=False)
class Cells:
    """Boxes that have no pixel in common.

    Attributes
    ----------
    height, width : int
        Size of each cell in pixels.
    places : int64 array [n, 2]
        y and x of each cell.
    weight : int
        The least weight of a pixel in them.
    """

    height: int
    width: int
    places: NDArray[np.int64]
    weight: int = 1

    @property
    def area(self) -> int:
        """The number of pixels of all cells."""
        return len(self.places) * self.height * self.width

    def sums(self, above: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return the sums over each cell, [n, C], below 2**32, from the `integral` of [h, w, C]."""
        top, left = self.places.T
        down, right = top + self.height, left + self.width
        strips = above[down, right] - above[top, right], above[down, left] - above[top, left]
        sums: NDArray[np.uint32] = strips[0] - strips[1]
        return sums


def lattice(height: int, width: int, target: int) -> Cells:
    """Return cells that cover most of a kernel, about `target` along each side."""
    rows, cols = _parts(height, target), _parts(width, target)
    tall, wide = height // rows, width // cols
    return Cells(tall, wide, np.argwhere(np.ones((rows, cols), np.bool_)) * (tall, wide))


def _parts(length: int, target: int) -> int:
    """Return the number of equal parts that cover most of a side; each fits the extension."""
    fewest = max(target, -(-length // _LONGEST_SIDE))
    return max(
        range(min(length, fewest), min(length, 2 * fewest) + 1), key=lambda n: n * (length // n)
    )


def inside(weights: Weights, target: int) -> Cells:
    """Return cells in which all pixels count, as large as those of `lattice` or smaller.

    Parameters
    ----------
    weights : uint8 array [h, w] or [h, w, C]
        Not all zero.
    target : int
        The least number of cells along a side of the weighted part.

    Returns
    -------
    Cells
        Without places if no pixel counts in every channel.
    """
    pixels = weights if weights.ndim == 2 else weights.min(axis=2)
    tall, wide = (min(-(-side // _FINEST_SIDE), _LONGEST_SIDE) for side in pixels.shape)
    inner = _inside(
        _least(pixels, tall, wide), target, (_LONGEST_SIDE // tall, _LONGEST_SIDE // wide)
    )
    inner = Cells(
        inner.height * tall, inner.width * wide, inner.places * (tall, wide), inner.weight
    )
    heavy, counts = _heavy(pixels)
    single = np.flatnonzero(counts)
    single = single[:: -(-len(single) // _MOST_SINGLE_PIXELS) or 1]
    if inner.area > _TOO_LITTLE_COVERED * len(single):
        return inner
    return Cells(1, 1, np.column_stack(np.unravel_index(single, counts.shape)), heavy)


def _least(pixels: Weights, tall: int, wide: int) -> Weights:
    """Return the least weight in each box of tall x wide pixels."""
    rows, cols = pixels.shape[0] // tall, pixels.shape[1] // wide
    boxes = pixels[: rows * tall, : cols * wide].reshape(rows, tall, cols, wide)
    box_minima: Weights = boxes.min((1, 3))
    return box_minima


def _heavy(pixels: Weights) -> tuple[int, NDArray[np.bool_]]:
    """Return a weight, 0 if all are 0, and the pixels that have at least that."""
    # The weight w with the largest sum of w over all pixels that weigh at least w.
    at_least = np.bincount(pixels.ravel(), minlength=256)[::-1].cumsum()[::-1]
    heavy = int((np.arange(256) * at_least).argmax())
    return heavy, (pixels >= heavy) & (heavy > 0)


def _inside(pixels: Weights, target: int, largest: tuple[int, int]) -> Cells:
    """Return cells with sides up to `largest` that cover most of the weighted pixels [h, w]."""
    heavy, counts = _heavy(pixels)
    if heavy == 0:
        return Cells(1, 1, np.empty((0, 2), np.int64))
    rows, cols = (np.flatnonzero(counts.any(axis)) for axis in (1, 0))
    sides = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    grids = []
    for divisor in _DIVISORS:
        height, width = (
            max(1, min(most, int(side / (target * divisor))))
            for side, most in zip(sides, largest, strict=True)
        )
        grids.append(Cells(height, width, _placed(counts, height, width), heavy))
        if grids[-1].area >= _ENOUGH_COVERED * np.count_nonzero(counts) or height == width == 1:
            break
    return max(grids, key=lambda cells: cells.area)


def count(weights: Weights) -> int:
    """Return the number of coarse cells of a kernel with these weights."""
    return len(inside(weights, COARSE).places)


def _placed(counts: NDArray[np.bool_], height: int, width: int) -> NDArray[np.int64]:
    """Place cells inside the pixels that count, each as far up and then left as it fits."""
    above = integral(counts[..., None])[..., 0]
    strips = above[height:] - above[:-height]
    is_free = strips[:, width:] - strips[:, :-width] == height * width
    places = []
    for y, row in enumerate(is_free):
        while row.any():
            x = int(row.argmax())
            places.append((y, x))
            is_free[y : y + height, max(0, x - width + 1) : x + width] = False
    return np.array(places, np.int64).reshape(-1, 2)


def integral(values: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the sums of [h, w, C] above and left of [h + 1, w + 1] places, modulo 2**32.

    Sums over boxes, which are differences of these, are right if they are below 2**32.
    """
    height, width, channels = values.shape
    summed = np.zeros((height + 1, width + 1, channels), np.uint32)
    inner = summed[1:, 1:]
    np.cumsum(values, axis=0, dtype=np.uint32, out=inner)
    np.cumsum(inner, axis=1, dtype=np.uint32, out=inner)
    return summed
