"""The matches in one or more maps: best first, exact, without overlaps.

A map may be off by what its engine states; a match may not. So windows are taken in the order of
the best score that they could have, scored exactly when their turn comes, and put back; a window
that is still first with its exact score is a match. Windows that overlap a match are dropped.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.metrics import Exact
from patchsim.tiles import Tile

_BLOCK = 64  # cells; a heap holds the first cell of each block, not all cells
_GONE = -np.inf  # dropped: reported, or overlapping what was


@dataclass(frozen=True, slots=True)
class Peak:
    """A match: its top-left pixel, its exact score, and which field it lies in."""

    y: int
    x: int
    score: float
    field: int


class Field:
    """The scores of one kernel's windows, as good as they are known.

    Parameters
    ----------
    shape : (rows, cols)
    kernel : (height, width)
    stride : (y, x)
    exact : (y, x) -> float
        The exact score of the window whose top-left pixel is there.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        exact: Exact,
    ) -> None:
        # The exact score where `settled`, elsewhere the highest that it could be.
        self.highest: NDArray[np.float64] = np.full(shape, np.nan)
        self.settled: NDArray[np.bool_] = np.zeros(shape, dtype=bool)
        self.kernel = kernel
        self.stride = stride
        self._exact = exact

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile."""
        exact = np.equal(bounds.error, 0.0)
        # Rounded up: the sum of a score and its error must not fall below the true score.
        highest = np.nextafter(bounds.map + bounds.error, np.inf)
        self.highest[tile.index] = np.where(exact, bounds.map, highest)
        self.settled[tile.index] = exact

    def settle(self, row: int, col: int) -> None:
        """Replace what a window's score could be by what it is."""
        self.highest[row, col] = self._exact(row * self.stride[0], col * self.stride[1])
        self.settled[row, col] = True

    def first(self, top: int, left: int) -> tuple[int, int]:
        """The first cell of the block at (top, left): highest, unsettled before settled."""
        block = np.s_[top : top + _BLOCK, left : left + _BLOCK]
        values = self.highest[block]
        row, col = divmod(int(values.argmax()), values.shape[1])
        settled = self.settled[block]
        if settled[row, col] and values[row, col] > _GONE:
            # An equal cell that is not settled could yet prove better or worse: look at it first.
            open_cells = (values == values[row, col]) & ~settled
            if open_cells.any():
                row, col = divmod(int(open_cells.argmax()), values.shape[1])
        return top + row, left + col

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
        if overlap >= 1:  # which no intersection over union exceeds
            return
        y, x, box_height, box_width = box
        height, width = self.kernel
        rows = _touching(y, box_height, height, self.stride[0], self.highest.shape[0])
        cols = _touching(x, box_width, width, self.stride[1], self.highest.shape[1])
        tall = _shared(rows, self.stride[0], height, y, box_height)
        wide = _shared(cols, self.stride[1], width, x, box_width)
        near = self.highest[rows.start : rows.stop, cols.start : cols.stop]
        for first in range(0, len(near), _BLOCK):  # large kernels overlap in millions of cells
            part = slice(first, first + _BLOCK)
            shared = tall[part, None] * wide
            union = box_height * box_width + height * width - shared
            near[part][shared > overlap * union] = _GONE


def resolve(
    fields: Sequence[Field], *, top: int | None, threshold: float | None, overlap: float
) -> list[Peak]:
    """The best windows of all fields together, best first; the fields are used up.

    Equal scores rank by smaller y, then smaller x, then the earlier field.

    Parameters
    ----------
    fields : sequence of Field
        Complete.
    top : int or None
        How many at the most; None for all.
    threshold : float or None
        The lowest score.
    overlap : float
        Of two windows with a larger intersection over union the lower one goes.
    """
    floor = _GONE if threshold is None else threshold
    peaks: list[Peak] = []
    heap: list[tuple[float, bool, int, int, int, int, int, int, int]] = []

    def push(number: int, top: int, left: int) -> None:
        field = fields[number]
        row, col = field.first(top, left)
        value = float(field.highest[row, col])
        if math.isnan(value):
            raise ValueError(f"field {number} has no score in row {row}, col {col}")
        if value >= floor and value > _GONE:
            y, x = row * field.stride[0], col * field.stride[1]
            # Of equal values those not settled come first: they could come down.
            key = (-value, bool(field.settled[row, col]), y, x, number)
            heapq.heappush(heap, (*key, row, col, top, left))

    for number, field in enumerate(fields):
        rows, cols = field.highest.shape
        for block_top in range(0, rows, _BLOCK):
            for block_left in range(0, cols, _BLOCK):
                push(number, block_top, block_left)
    while heap and (top is None or len(peaks) < top):
        minus, settled, y, x, number, row, col, block_top, block_left = heapq.heappop(heap)
        field = fields[number]
        # Dropped cells stay in the heap until their turn; they are just not reported.
        if field.highest[row, col] == -minus:
            if settled:
                peaks.append(Peak(y, x, -minus, number))
                field.highest[row, col] = _GONE
                for other in fields:
                    other.drop_overlapping((y, x, *field.kernel), overlap)
            else:
                field.settle(row, col)
        push(number, block_top, block_left)
    return peaks


def _touching(start: int, length: int, own: int, step: int, count: int) -> range:
    """Cells whose windows (`own` pixels from cell x step) share a pixel with the interval."""
    first = max(0, (start - own) // step + 1)
    return range(first, max(first, min(count, -(-(start + length) // step))))


def _shared(cells: range, step: int, own: int, start: int, length: int) -> NDArray[np.int64]:
    """How many pixels each cell's window shares with the interval."""
    begin = np.arange(cells.start, cells.stop, dtype=np.int64) * step
    return np.minimum(begin + own, start + length) - np.maximum(begin, start)
